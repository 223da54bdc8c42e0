"""The table of diseases: which cells, how much hemoglobin, what age.

A patient is a mixture of the normal differential and the disease's own cells. The share of the disease's
cells, its burden, varies widely between patients: a lymphoma that does not spill over, or an MDS with few
dysplastic cells, looks normal, so that classes overlap as they do in the clinic.
"""

from __future__ import annotations

from dataclasses import dataclass

# Per mille. Healthy blood, too, holds a few cells that look abnormal: no single cell makes a diagnosis.
NORMAL_CELLS = {
    "segmented_neutrophil": 530,
    "lymphocyte": 280,
    "monocyte": 65,
    "band_neutrophil": 40,
    "eosinophil": 28,
    "smudge_cell": 12,
    "reactive_lymphocyte": 12,
    "basophil": 8,
    "giant_platelet": 8,
    "dysplastic_neutrophil": 6,
    "neoplastic_lymphocyte": 5,
    "metamyelocyte": 3,
    "convoluted_lymphocyte": 2,
    "plasma_cell": 1,
}


@dataclass(frozen=True)
class Composition:
    """What the blood of one detailed class looks like.

    Attributes
    ----------
    detailed : str
        Slug of the detailed class.
    cells : dict
        Relative frequency of the disease's cells by slug of the cell type.
    burden : (a, b)
        Beta distribution of the share of the disease's cells among all.
    hemoglobin : (mean, standard deviation)
        g/dl, of both sexes together.
    age : (mean, standard deviation)
        Years.
    """

    detailed: str
    cells: dict[str, int]
    burden: tuple[float, float]
    hemoglobin: tuple[float, float]
    age: tuple[float, float]


_ROWS = (
    Composition(
        "aml",
        {
            "myeloblast": 74,
            "promyelocyte": 6,
            "dysplastic_neutrophil": 6,
            "erythroblast": 5,
            "smudge_cell": 9,
        },
        burden=(1.5, 1.3),
        hemoglobin=(8.8, 1.5),
        age=(64, 15),
    ),
    Composition(
        "all",
        {"lymphoblast": 86, "smudge_cell": 9, "erythroblast": 5},
        burden=(1.6, 1.3),
        hemoglobin=(9.3, 1.9),
        age=(46, 19),
    ),
    Composition(
        "other_al",
        {"myeloblast": 42, "lymphoblast": 42, "smudge_cell": 10, "erythroblast": 6},
        burden=(1.5, 1.3),
        hemoglobin=(9.0, 1.7),
        age=(54, 18),
    ),
    Composition(
        "b_cell_neoplasm",
        {"neoplastic_lymphocyte": 74, "reactive_lymphocyte": 10, "smudge_cell": 9, "plasma_cell": 7},
        burden=(0.55, 1.3),
        hemoglobin=(12.2, 1.8),
        age=(68, 12),
    ),
    Composition(
        "cll",
        {"neoplastic_lymphocyte": 76, "smudge_cell": 24},
        burden=(4.5, 1.4),
        hemoglobin=(12.7, 1.8),
        age=(70, 10),
    ),
    Composition(
        "hcl",
        {"hairy_cell": 88, "lymphocyte": 12},
        burden=(0.8, 2.2),
        hemoglobin=(11.0, 1.9),
        age=(58, 12),
    ),
    Composition(
        "t_cell_neoplasm",
        {"convoluted_lymphocyte": 78, "reactive_lymphocyte": 14, "smudge_cell": 8},
        burden=(0.65, 1.6),
        hemoglobin=(12.4, 1.8),
        age=(63, 14),
    ),
    Composition(
        "mds",
        {
            "dysplastic_neutrophil": 68,
            "myeloblast": 8,
            "erythroblast": 9,
            "giant_platelet": 7,
            "metamyelocyte": 8,
        },
        burden=(1.2, 4.0),
        hemoglobin=(9.5, 1.5),
        age=(73, 10),
    ),
    Composition(
        "cmml",
        {"monocyte": 66, "dysplastic_neutrophil": 14, "myelocyte": 9, "metamyelocyte": 6, "myeloblast": 5},
        burden=(2.2, 2.2),
        hemoglobin=(10.8, 1.9),
        age=(73, 9),
    ),
    Composition(
        "mpn_mds_rs_t",
        {"giant_platelet": 48, "dysplastic_neutrophil": 34, "erythroblast": 12, "monocyte": 6},
        burden=(1.5, 3.4),
        hemoglobin=(9.6, 1.4),
        age=(73, 9),
    ),
    Composition(
        "other_mds_mpn",
        {
            "dysplastic_neutrophil": 32,
            "monocyte": 26,
            "myelocyte": 16,
            "metamyelocyte": 12,
            "giant_platelet": 8,
            "myeloblast": 6,
        },
        burden=(1.8, 2.4),
        hemoglobin=(10.2, 1.7),
        age=(71, 11),
    ),
    Composition(
        "cml",
        {
            "segmented_neutrophil": 24,
            "myelocyte": 24,
            "band_neutrophil": 18,
            "metamyelocyte": 12,
            "basophil": 9,
            "promyelocyte": 5,
            "eosinophil": 5,
            "myeloblast": 3,
        },
        burden=(4.5, 1.4),
        hemoglobin=(11.9, 1.9),
        age=(56, 15),
    ),
    Composition(
        "et",
        {"giant_platelet": 82, "segmented_neutrophil": 12, "basophil": 6},
        burden=(1.3, 6.5),
        hemoglobin=(13.8, 1.3),
        age=(60, 15),
    ),
    Composition(
        "pv",
        {
            "segmented_neutrophil": 42,
            "giant_platelet": 24,
            "band_neutrophil": 16,
            "basophil": 12,
            "eosinophil": 6,
        },
        burden=(2.6, 2.6),
        hemoglobin=(17.0, 1.5),
        age=(63, 13),
    ),
    Composition(
        "other_mpn",
        {
            "giant_platelet": 30,
            "erythroblast": 24,
            "myelocyte": 20,
            "basophil": 10,
            "metamyelocyte": 10,
            "myeloblast": 6,
        },
        burden=(1.4, 4.0),
        hemoglobin=(10.8, 1.9),
        age=(67, 11),
    ),
    Composition(
        "mm",
        {"plasma_cell": 72, "erythroblast": 14, "lymphocyte": 14},
        burden=(0.7, 7.0),
        hemoglobin=(10.6, 1.8),
        age=(69, 10),
    ),
    Composition(
        "pcl",
        {"plasma_cell": 92, "erythroblast": 5, "smudge_cell": 3},
        burden=(3.0, 2.6),
        hemoglobin=(9.2, 1.6),
        age=(67, 11),
    ),
    Composition(
        "reactive_changes",
        {
            "reactive_lymphocyte": 52,
            "band_neutrophil": 24,
            "monocyte": 12,
            "metamyelocyte": 5,
            "myelocyte": 4,
            "plasma_cell": 3,
        },
        burden=(1.2, 2.2),
        hemoglobin=(12.4, 1.9),
        age=(50, 20),
    ),
    Composition(
        "stem_cell_donor",
        {"reactive_lymphocyte": 50, "band_neutrophil": 40, "smudge_cell": 10},
        burden=(1.0, 25.0),
        hemoglobin=(14.4, 1.1),
        age=(32, 9),
    ),
)

COMPOSITIONS: dict[str, Composition] = {row.detailed: row for row in _ROWS}
