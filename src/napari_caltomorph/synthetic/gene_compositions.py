"""Four acute leukemias that are told apart by genes, beside healthy donors: what the aml-hehr layout is drawn from."""

from __future__ import annotations

from dataclasses import replace

from napari_caltomorph.synthetic.compositions import COMPOSITIONS, Composition

_ROWS = (
    Composition(
        "pml_rara",
        {
            "promyelocyte": 76,
            "myeloblast": 10,
            "smudge_cell": 6,
            "erythroblast": 5,
            "dysplastic_neutrophil": 3,
        },
        burden=(1.1, 1.3),  # Mostly leukopenic.
        hemoglobin=(9.3, 1.9),
        age=(48, 15),
        source="WHO myeloid (acute promyelocytic leukaemia with PML::RARA fusion); Bain, disorders of white cells; "
        "Hehr",
    ),
    Composition(
        "npm1",
        {
            "myeloblast": 66,
            "monocyte": 16,
            "smudge_cell": 9,
            "erythroblast": 4,
            "dysplastic_neutrophil": 3,
            "promyelocyte": 2,
        },
        burden=(1.6, 1.1),
        hemoglobin=(9.2, 1.7),
        age=(60, 14),
        likeness=8.0,  # With and without monocytic maturation.
        source="WHO myeloid (AML with NPM1 mutation, often monocytic); Hehr",
    ),
    Composition(
        "cbfb_myh11",
        {
            "myeloblast": 48,
            "monocyte": 26,
            "eosinophil": 8,
            "smudge_cell": 8,
            "myelocyte": 5,
            "promyelocyte": 5,
        },
        burden=(1.5, 1.1),
        hemoglobin=(9.0, 1.8),
        age=(48, 15),
        source="WHO myeloid (AML with CBFB::MYH11 fusion: myelomonocytic, abnormal eosinophils, which are commoner in "
        "marrow than in blood); Bain, disorders of white cells; Hehr",
    ),
    Composition(
        "runx1_runx1t1",
        {
            "myeloblast": 58,
            "dysplastic_neutrophil": 15,
            "myelocyte": 7,
            "promyelocyte": 6,
            "metamyelocyte": 5,
            "smudge_cell": 5,
            "eosinophil": 4,
        },
        burden=(1.4, 1.2),
        hemoglobin=(8.9, 1.8),
        age=(47, 16),
        source="WHO myeloid (AML with RUNX1::RUNX1T1 fusion: maturation, Auer rods, dysplastic neutrophils); Bain, "
        "disorders of white cells; Hehr",
    ),
    replace(COMPOSITIONS["stem_cell_donor"], detailed="control"),
)

AML_HEHR_COMPOSITIONS: dict[str, Composition] = {row.detailed: row for row in _ROWS}
"""By class of the aml-hehr taxonomy."""
