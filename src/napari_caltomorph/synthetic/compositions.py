"""The table of diseases: which cells, how much hemoglobin, what age.

A patient is a mixture of the normal differential and the disease's own cells. The share of the disease's cells, its
burden, varies widely between patients: a lymphoma that does not spill over, an MDS with few dysplastic cells or an
early myeloma looks normal, so that classes overlap as they do in the clinic. The sources say which cells, counts and
limits are typical of a disease; the numbers are our own estimates from them, and no study's table.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCES = {
    "Bain": "Bain BJ. Blood Cells: A Practical Guide. 6th ed., Wiley Blackwell 2022",
    "Dacie": "Bain BJ, Bates I, Laffan MA. Dacie and Lewis Practical Haematology. 12th ed., Elsevier 2017",
    "ICSH": "Palmer L et al. ICSH recommendations for the standardization of nomenclature and grading of peripheral "
    "blood cell morphological features. Int J Lab Hematol 2015;37:287-303",
    "WHO myeloid": "Khoury JD et al. The 5th edition of the WHO Classification of Haematolymphoid Tumours: Myeloid and "
    "Histiocytic/Dendritic Neoplasms. Leukemia 2022;36:1703-1719",
    "WHO lymphoid": "Alaggio R et al. The 5th edition of the WHO Classification of Haematolymphoid Tumours: Lymphoid "
    "Neoplasms. Leukemia 2022;36:1720-1748",
    "iwCLL": "Hallek M et al. iwCLL guidelines for diagnosis, indications for treatment, response assessment, and "
    "supportive management of CLL. Blood 2018;131:2745-2760",
    "IPSS-R": "Greenberg PL et al. Revised International Prognostic Scoring System for Myelodysplastic Syndromes. "
    "Blood 2012;120:2454-2465",
    "Kyle": "Kyle RA et al. Review of 1027 patients with newly diagnosed multiple myeloma. "
    "Mayo Clin Proc 2003;78:21-33",
    "Hehr": "Hehr M et al. Explainable AI identifies diagnostic cells of genetic AML subtypes. "
    "PLOS Digit Health 2023;2:e0000187",
    "IMWG": "Fernandez de Larrea C et al. Primary plasma cell leukemia: consensus definition by the International "
    "Myeloma Working Group according to peripheral blood plasma cell percentage. Blood Cancer J 2021;11:192",
}
"""What `Composition.source` names."""

# Per mille. Healthy blood, too, holds a few cells that look abnormal: no single cell makes a diagnosis.
# Dacie, chapter on reference ranges; Bain, chapter on normal ranges.
NORMAL_CELLS = {
    "segmented_neutrophil": 523,
    "lymphocyte": 280,
    "monocyte": 65,
    "band_neutrophil": 40,
    "eosinophil": 28,
    "smudge_cell": 10,
    "reactive_lymphocyte": 12,
    "basophil": 8,
    "giant_platelet": 8,
    "dysplastic_neutrophil": 6,
    "neoplastic_lymphocyte": 5,
    "metamyelocyte": 3,
    "convoluted_lymphocyte": 2,
    "platelet_clump": 2,
    "plasma_cell": 2,
    "myelocyte": 1,
    "erythroblast": 1,
    "promyelocyte": 1,
    "myeloblast": 1,
    "lymphoblast": 1,
    "hairy_cell": 1,
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
    source : str
        Where this stands: works of `SOURCES`, with the chapter or entity.
    likeness : float
        How alike the patients' mixtures of the disease's cells are: sum of the Dirichlet parameters. With 60 a type
        of 30 % varies by about 6 percent points between patients, with 12 by 13.
    rouleaux, teardrops : float
        Share of patients whose red cells form rolls, or of whom many are drawn out into drops.
    """

    detailed: str
    cells: dict[str, int]
    burden: tuple[float, float]
    hemoglobin: tuple[float, float]
    age: tuple[float, float]
    source: str
    likeness: float = 12.0
    rouleaux: float = 0.02
    teardrops: float = 0.01


_ROWS = (
    Composition(
        "aml",
        {
            "myeloblast": 68,
            "smudge_cell": 9,
            "monocyte": 7,
            "dysplastic_neutrophil": 6,
            "promyelocyte": 5,
            "erythroblast": 5,
        },
        burden=(1.1, 1.2),
        hemoglobin=(8.9, 1.7),
        age=(64, 15),
        source="WHO myeloid (acute myeloid leukaemia: 20 % blasts, or a defining fusion); Bain, disorders of white "
        "cells (aleukaemic cases show few blasts in the blood)",
    ),
    Composition(
        "all",
        {"lymphoblast": 86, "smudge_cell": 9, "erythroblast": 5},
        burden=(1.2, 1.2),
        hemoglobin=(9.4, 2.1),
        age=(46, 19),
        source="WHO lymphoid (B- and T-lymphoblastic leukaemia); Bain, disorders of white cells",
    ),
    Composition(
        "other_al",
        {"myeloblast": 42, "lymphoblast": 42, "smudge_cell": 10, "erythroblast": 6},
        burden=(1.2, 1.2),
        hemoglobin=(9.1, 1.9),
        age=(54, 18),
        likeness=3.0,  # Two populations or one that is neither: from nearly all myeloid to nearly all lymphoid.
        source="WHO myeloid (acute leukaemias of mixed or ambiguous lineage); Bain, disorders of white cells",
    ),
    Composition(
        "b_cell_neoplasm",
        {"neoplastic_lymphocyte": 68, "reactive_lymphocyte": 14, "smudge_cell": 9, "plasma_cell": 9},
        burden=(0.5, 1.8),
        hemoglobin=(12.2, 1.9),
        age=(68, 12),
        rouleaux=0.12,  # Lymphoplasmacytic lymphoma, with its IgM.
        source="WHO lymphoid (mature B-cell neoplasms); Bain, disorders of white cells (spill-over of lymphoma, often "
        "slight or absent)",
    ),
    Composition(
        "cll",
        {"neoplastic_lymphocyte": 76, "smudge_cell": 24},
        burden=(3.0, 1.6),
        hemoglobin=(12.6, 2.0),
        age=(70, 10),
        source="iwCLL (5 x 10^9/l clonal B cells; smudge cells); WHO lymphoid (CLL/SLL)",
    ),
    Composition(
        "hcl",
        {"hairy_cell": 85, "lymphocyte": 15},
        burden=(0.6, 3.0),
        hemoglobin=(11.0, 2.0),
        age=(57, 12),
        source="WHO lymphoid (hairy cell leukaemia); Bain, disorders of white cells (pancytopenia, few hairy cells)",
    ),
    Composition(
        "t_cell_neoplasm",
        {"convoluted_lymphocyte": 72, "reactive_lymphocyte": 20, "smudge_cell": 8},
        burden=(0.5, 1.8),
        hemoglobin=(12.4, 1.9),
        age=(63, 14),
        source="WHO lymphoid (mature T-cell and NK-cell neoplasms); Bain, disorders of white cells (Sezary syndrome)",
    ),
    Composition(
        "mds",
        {
            "dysplastic_neutrophil": 58,
            "erythroblast": 10,
            "myeloblast": 10,
            "giant_platelet": 8,
            "metamyelocyte": 8,
            "monocyte": 6,
        },
        burden=(0.8, 4.2),
        hemoglobin=(9.8, 1.7),
        age=(72, 10),
        likeness=8.0,  # From single-lineage dysplasia to increased blasts.
        teardrops=0.06,
        source="WHO myeloid (myelodysplastic neoplasms, with low or increased blasts); IPSS-R (age, hemoglobin); ICSH "
        "(hypogranular and pseudo-Pelger neutrophils)",
    ),
    Composition(
        "cmml",
        {"monocyte": 68, "dysplastic_neutrophil": 14, "myelocyte": 8, "metamyelocyte": 6, "myeloblast": 4},
        burden=(1.6, 3.2),
        hemoglobin=(10.9, 2.0),
        age=(72, 9),
        source="WHO myeloid (CMML: monocytes 0.5 x 10^9/l and 10 % of leukocytes); Bain, disorders of white cells",
    ),
    Composition(
        "mpn_mds_rs_t",
        {
            "giant_platelet": 41,
            "dysplastic_neutrophil": 34,
            "erythroblast": 12,
            "monocyte": 8,
            "platelet_clump": 5,
        },
        burden=(1.1, 4.6),
        hemoglobin=(9.9, 1.5),
        age=(72, 9),
        source="WHO myeloid (MDS/MPN with SF3B1 mutation and thrombocytosis); Bain, disorders of white cells",
    ),
    Composition(
        "other_mds_mpn",
        {
            "dysplastic_neutrophil": 32,
            "monocyte": 20,
            "myelocyte": 19,
            "metamyelocyte": 14,
            "giant_platelet": 8,
            "myeloblast": 7,
        },
        burden=(1.4, 3.0),
        hemoglobin=(10.3, 1.8),
        age=(70, 11),
        likeness=8.0,
        teardrops=0.08,
        source="WHO myeloid (MDS/MPN with neutrophilia: 10 % immature granulocytes, dysplasia; MDS/MPN NOS)",
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
        burden=(3.0, 1.5),
        hemoglobin=(11.8, 2.0),
        age=(56, 15),
        source="WHO myeloid (chronic myeloid leukaemia); Bain, disorders of white cells (peaks of myelocytes and "
        "neutrophils, basophilia)",
    ),
    Composition(
        "et",
        {"giant_platelet": 72, "segmented_neutrophil": 14, "platelet_clump": 8, "basophil": 6},
        burden=(1.0, 9.0),
        hemoglobin=(13.7, 1.4),
        age=(59, 15),
        source="WHO myeloid (essential thrombocythaemia); Bain, disorders of red cells and platelets",
    ),
    Composition(
        "pv",
        {
            "segmented_neutrophil": 44,
            "giant_platelet": 22,
            "band_neutrophil": 16,
            "basophil": 12,
            "eosinophil": 6,
        },
        burden=(1.6, 3.6),
        hemoglobin=(16.7, 1.8),
        age=(62, 13),
        source="WHO myeloid (polycythaemia vera: hemoglobin above 16.5 g/dl in men, 16.0 in women); Bain, disorders of "
        "red cells and platelets",
    ),
    Composition(
        "other_mpn",
        {
            "giant_platelet": 28,
            "erythroblast": 22,
            "myelocyte": 20,
            "basophil": 10,
            "metamyelocyte": 12,
            "myeloblast": 8,
        },
        burden=(1.0, 6.0),
        hemoglobin=(11.2, 2.1),
        age=(67, 11),
        likeness=8.0,
        teardrops=0.65,  # Overt fibrosis; the prefibrotic stage has none.
        source="WHO myeloid (primary myelofibrosis, prefibrotic and fibrotic); Bain, disorders of white cells "
        "(leukoerythroblastic film, teardrop cells)",
    ),
    Composition(
        "mm",
        {"plasma_cell": 70, "erythroblast": 12, "lymphocyte": 18},
        burden=(0.6, 18.0),
        hemoglobin=(10.8, 1.9),
        age=(67, 10),
        rouleaux=0.6,
        source="Kyle (age, hemoglobin); IMWG (5 % plasma cells or more make a plasma cell leukemia); Bain, disorders "
        "of white cells (rouleaux)",
    ),
    Composition(
        "pcl",
        {"plasma_cell": 90, "erythroblast": 6, "smudge_cell": 4},
        burden=(1.6, 2.6),
        hemoglobin=(9.3, 1.7),
        age=(65, 11),
        rouleaux=0.5,
        source="IMWG (5 % circulating plasma cells or more); WHO lymphoid (plasma cell neoplasms)",
    ),
    Composition(
        "reactive_changes",
        {
            "reactive_lymphocyte": 40,
            "band_neutrophil": 28,
            "monocyte": 12,
            "metamyelocyte": 6,
            "myelocyte": 5,
            "plasma_cell": 4,
            "dysplastic_neutrophil": 3,  # Drugs and infections, too, make pseudo-Pelger and hypogranular cells.
            "erythroblast": 2,
        },
        burden=(0.9, 2.2),
        hemoglobin=(12.2, 2.1),
        age=(50, 20),
        likeness=5.0,  # Viral, with its lymphocytes, or bacterial, with its left shift.
        rouleaux=0.15,
        source="Bain, quantitative changes in blood cells; ICSH (reactive lymphocytes, left shift)",
    ),
    Composition(
        "stem_cell_donor",
        {"reactive_lymphocyte": 50, "band_neutrophil": 40, "smudge_cell": 10},
        burden=(1.0, 25.0),
        hemoglobin=(14.3, 1.2),
        age=(32, 9),
        source="Dacie, reference ranges and normal values; Bain, normal ranges",
    ),
)

COMPOSITIONS: dict[str, Composition] = {row.detailed: row for row in _ROWS}
"""By detailed class of the caltomorph taxonomy."""
