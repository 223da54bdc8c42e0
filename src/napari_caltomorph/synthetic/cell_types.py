"""The table of cell types: what each looks like on a Wright-Giemsa stained smear.

A new type is a new row; nothing else in the code knows the names.
"""

from __future__ import annotations

from napari_caltomorph.synthetic.anatomy import CellType, Cytoplasm, Granules, Nucleus
from napari_caltomorph.synthetic.shapes import Band, Lobed, Round

PINK, PINK_RIM = (224, 192, 193), (212, 176, 186)
NEUTROPHIL_GRANULES = Granules((168, 112, 160), 0.32, 0.62, (0.35, 0.75))
AZUROPHILIC = Granules((120, 40, 125), 0.38, 0.75, (0.6, 0.95), over_nucleus=0.45, patchiness=0.5)
FEW_AZUROPHILIC = Granules((130, 50, 135), 0.45, 1.8, (0.0, 0.9), patchiness=1.0)
MYELOCYTE_GRANULES = Granules((140, 70, 145), 0.34, 0.65, (0.35, 0.8), patchiness=0.5)
EOSINOPHILIC = Granules((196, 108, 112), 0.75, 0.72, (0.85, 1.0), patchiness=0.15)
BASOPHILIC = Granules((66, 18, 105), 0.75, 0.95, (0.85, 1.0), over_nucleus=0.8, patchiness=0.4)

_ROWS = (
    CellType(
        "segmented_neutrophil",
        (13.5, 16.0),
        Cytoplasm(PINK, PINK_RIM, (NEUTROPHIL_GRANULES,)),
        Nucleus(Lobed((3, 5)), (0.27, 0.36), clump=0.45, contrast=0.35),
    ),
    CellType(
        "band_neutrophil",
        (13.5, 16.5),
        Cytoplasm(PINK, PINK_RIM, (NEUTROPHIL_GRANULES,)),
        Nucleus(Band(), (0.3, 0.4), clump=0.45, contrast=0.33),
    ),
    CellType(
        "dysplastic_neutrophil",  # Hypogranular pseudo-Pelger: two round, dense lobes in empty cytoplasm.
        (13.0, 15.5),
        Cytoplasm((232, 212, 206), (218, 196, 200), mottle=0.03),
        Nucleus(Lobed((1, 2), strand=0.5, bend=(2.8, 3.4)), (0.24, 0.33), (62, 22, 112), (96, 48, 138), 0.5, 0.3),
    ),
    CellType(
        "eosinophil",
        (14.0, 16.5),
        Cytoplasm((214, 160, 160), (200, 150, 160), (EOSINOPHILIC,)),
        Nucleus(Lobed((2, 3), strand=0.7, bend=(2.6, 3.6)), (0.26, 0.34), (80, 34, 126), (124, 78, 154)),
    ),
    CellType(
        "basophil",
        (11.5, 14.0),
        Cytoplasm((198, 150, 182), (170, 116, 165), (BASOPHILIC,), hairs=0.12),
        Nucleus(Lobed((2, 3), strand=1.6), (0.4, 0.52), (84, 36, 128), (132, 84, 158)),
    ),
    CellType(
        "monocyte",
        (16.5, 20.0),
        Cytoplasm(
            (170, 154, 186),
            (146, 128, 172),
            (Granules((150, 100, 165), 0.25, 0.55, (0.15, 0.45)),),
            mottle=0.12,
            vacuoles=(0, 9),
            waviness=0.08,
        ),
        Nucleus(
            Round((1.1, 1.5), (0.25, 0.75), (0.1, 0.6), 0.1, dents=2),
            (0.4, 0.54),
            (84, 38, 130),
            (136, 90, 164),
            0.42,
            0.4,
        ),
    ),
    CellType(
        "lymphocyte",
        (9.0, 12.0),
        Cytoplasm((170, 158, 202), (132, 112, 178), (FEW_AZUROPHILIC,)),
        Nucleus(Round((1.0, 1.2), (0.0, 0.25), (0.2, 0.9), 0.05), (0.66, 0.86), clump=0.6, contrast=0.3),
    ),
    CellType(
        "reactive_lymphocyte",
        (15.0, 19.5),
        Cytoplasm((186, 178, 208), (104, 86, 160), (FEW_AZUROPHILIC,), waviness=0.12, elongation=(1.0, 1.35)),
        Nucleus(
            Round((1.1, 1.4), (0.0, 0.2), (0.2, 0.9), 0.08),
            (0.34, 0.5),
            (84, 38, 132),
            (126, 78, 160),
            0.5,
            0.32,
        ),
    ),
    CellType(
        "neoplastic_lymphocyte",  # Mature B cell of CLL and its kin: blocks of chromatin, often a cleft.
        (10.5, 13.5),
        Cytoplasm((186, 174, 208), (152, 134, 190), waviness=0.05),
        Nucleus(
            Round((1.0, 1.3), (0.0, 0.5), (0.1, 0.6), 0.06),
            (0.74, 0.92),
            (62, 22, 114),
            (124, 82, 160),
            0.75,
            0.62,
        ),
    ),
    CellType(
        "hairy_cell",
        (13.0, 16.5),
        Cytoplasm((190, 182, 208), (156, 142, 190), mottle=0.1, waviness=0.08, hairs=0.55),
        Nucleus(Round((1.1, 1.5), (0.0, 0.4), (0.2, 0.7)), (0.38, 0.52), (86, 42, 134), (130, 84, 164), 0.35, 0.2),
    ),
    CellType(
        "convoluted_lymphocyte",  # Sezary-like T cell: a folded, notched nucleus in a narrow rim.
        (11.5, 15.0),
        Cytoplasm((180, 168, 204), (140, 120, 182)),
        Nucleus(
            Round((1.0, 1.3), (0.25, 0.6), (0.1, 0.4), 0.12, dents=3),
            (0.68, 0.85),
            (66, 24, 116),
            (112, 66, 150),
            0.4,
        ),
    ),
    CellType(
        "smudge_cell",
        (13.0, 20.0),
        None,
        Nucleus(
            Round((1.1, 1.8), (0.0, 0.4), (0.0, 0.0), 0.25, tear=0.7, dents=2),
            (0.75, 0.95),
            (112, 52, 145),
            (176, 128, 184),
            0.5,
            0.42,
        ),
    ),
    CellType(
        "plasma_cell",
        (13.5, 17.5),
        Cytoplasm((112, 90, 166), (84, 62, 150), mottle=0.14, hof=0.75, elongation=(1.1, 1.4), vacuoles=(0, 3)),
        Nucleus(
            Round((1.0, 1.15), (0.0, 0.0), (0.8, 1.0), 0.03),
            (0.28, 0.4),
            (64, 22, 112),
            (124, 74, 152),
            0.75,
            0.6,
        ),
    ),
    CellType(
        "myeloblast",
        (15.5, 19.5),
        Cytoplasm((150, 140, 194), (112, 94, 168), waviness=0.08, mottle=0.1, elongation=(1.0, 1.3)),
        Nucleus(
            Round((1.0, 1.3), (0.0, 0.35), (0.2, 0.9), 0.08),
            (0.68, 0.86),
            (102, 52, 146),
            (150, 104, 176),
            0.18,
            0.25,
            (1, 4),
        ),
    ),
    CellType(
        "lymphoblast",
        (11.0, 15.0),
        Cytoplasm((130, 116, 182), (100, 82, 162), waviness=0.05),
        Nucleus(
            Round((1.0, 1.25), (0.0, 0.4), (0.2, 0.8), 0.07),
            (0.82, 0.94),
            (88, 38, 134),
            (128, 80, 162),
            0.25,
            0.25,
            (0, 1),
        ),
    ),
    CellType(
        "promyelocyte",
        (17.0, 21.0),
        Cytoplasm((152, 134, 184), (118, 96, 164), (AZUROPHILIC,), hof=0.4, waviness=0.06),
        Nucleus(
            Round((1.0, 1.3), (0.0, 0.25), (0.5, 1.0), 0.06),
            (0.46, 0.6),
            (90, 40, 134),
            (134, 86, 164),
            0.26,
            0.28,
            (0, 2),
        ),
    ),
    CellType(
        "myelocyte",
        (14.5, 18.0),
        Cytoplasm((194, 166, 188), (168, 142, 180), (MYELOCYTE_GRANULES,)),
        Nucleus(
            Round((1.1, 1.45), (0.0, 0.2), (0.6, 1.0), 0.06),
            (0.42, 0.56),
            (78, 32, 124),
            (118, 70, 152),
            0.42,
        ),
    ),
    CellType(
        "metamyelocyte",
        (14.0, 17.0),
        Cytoplasm((208, 178, 190), (186, 158, 184), (MYELOCYTE_GRANULES,)),
        Nucleus(Round((1.3, 1.6), (0.35, 0.6), (0.5, 0.9), 0.05), (0.4, 0.5), (74, 30, 122), (114, 66, 150), 0.45),
    ),
    CellType(
        "erythroblast",
        (9.0, 12.5),
        Cytoplasm((172, 142, 170), (150, 124, 164), mottle=0.06, waviness=0.05),
        Nucleus(
            Round((1.0, 1.15), (0.0, 0.0), (0.1, 0.7), 0.03),
            (0.28, 0.5),
            (52, 18, 104),
            (98, 50, 138),
            0.6,
            0.4,
        ),
    ),
    CellType(
        "giant_platelet",
        (6.0, 10.5),
        Cytoplasm(
            (206, 176, 200),
            (204, 178, 204),
            (Granules((120, 50, 135), 0.42, 0.65, (0.75, 1.0), patchiness=0.6),),
            elongation=(1.0, 1.5),
            waviness=0.1,
            hairs=0.2,
        ),
        None,
    ),
)

CELL_TYPES: dict[str, CellType] = {row.slug: row for row in _ROWS}
