"""The table of cell types: what each looks like on a Wright-Giemsa stained smear.

A new type is a new row; nothing else in the code knows the names.
"""

from __future__ import annotations

from napari_caltomorph.synthetic.anatomy import CellType, Cytoplasm, Granules, Nucleus
from napari_caltomorph.synthetic.shapes import Band, Lobed, Round, Smudged

PINK, PINK_RIM = (222, 184, 188), (204, 160, 176)
NEUTROPHIL_GRANULES = Granules((158, 98, 152), 0.34, 0.62, (0.4, 0.85), patchiness=0.4)
AZUROPHILIC = Granules((96, 26, 116), 0.45, 0.66, (0.75, 1.0), over_nucleus=0.5, patchiness=0.5)
FEW_AZUROPHILIC = Granules((130, 50, 135), 0.45, 1.8, (0.0, 0.9), patchiness=1.0)
MYELOCYTE_GRANULES = Granules((118, 50, 134), 0.36, 0.62, (0.4, 0.9), patchiness=0.6)
GROUND_GLASS = Granules((128, 92, 160), 0.26, 0.5, (0.25, 0.6), patchiness=0.4)
EOSINOPHILIC = Granules((184, 92, 114), 0.8, 0.78, (0.85, 1.0), over_nucleus=0.1, patchiness=0.2)
BASOPHILIC = Granules((62, 16, 104), 0.6, 0.68, (0.85, 1.0), over_nucleus=0.75, patchiness=0.45)

_ROWS = (
    CellType(
        "segmented_neutrophil",
        (13.5, 16.5),
        Cytoplasm(PINK, PINK_RIM, (NEUTROPHIL_GRANULES,), waviness=0.06),
        Nucleus(Lobed((3, 5)), share=(0.28, 0.37), contrast=0.75),
    ),
    CellType(
        "band_neutrophil",
        (13.5, 16.5),
        Cytoplasm(PINK, PINK_RIM, (NEUTROPHIL_GRANULES,), waviness=0.06),
        Nucleus(Band(), share=(0.3, 0.4), contrast=0.75),
    ),
    CellType(
        "dysplastic_neutrophil",  # Hypogranular pseudo-Pelger: two round, dense lobes in empty cytoplasm.
        (13.0, 15.5),
        Cytoplasm((232, 212, 206), (214, 190, 196), mottle=0.04),
        Nucleus(Lobed((1, 2), strand=0.5, bend=(2.8, 3.4)), share=(0.24, 0.33), clump=0.28, contrast=0.5),
    ),
    CellType(
        "eosinophil",
        (14.0, 16.5),
        Cytoplasm((220, 164, 172), (204, 146, 160), (EOSINOPHILIC,)),
        Nucleus(Lobed((2, 3), strand=0.7, bend=(2.6, 3.6)), share=(0.26, 0.36), dark=(72, 30, 122)),
    ),
    CellType(
        "basophil",
        (11.5, 14.5),
        Cytoplasm((204, 156, 184), (170, 116, 165), (BASOPHILIC,), hairs=0.12),
        Nucleus(Lobed((2, 3), strand=1.6), share=(0.4, 0.52), dark=(84, 36, 128)),
    ),
    CellType(
        "monocyte",
        (16.0, 20.0),
        Cytoplasm(
            (178, 160, 186), (142, 122, 170), (GROUND_GLASS,), mottle=0.12, vacuoles=(0, 9), waviness=0.12, hairs=0.1
        ),
        Nucleus(
            Round((1.1, 1.5), dent=(0.25, 0.75), eccentricity=(0.1, 0.6), waviness=0.1, dents=2),
            share=(0.42, 0.56),
            dark=(80, 34, 126),
            light=(160, 112, 176),
            clump=0.24,
            contrast=0.9,
        ),
    ),
    CellType(
        "lymphocyte",
        (9.0, 12.0),
        Cytoplasm((170, 156, 198), (124, 104, 172), (FEW_AZUROPHILIC,), mottle=0.12, waviness=0.06),
        Nucleus(Round((1.0, 1.25), dent=(0.0, 0.25)), share=(0.66, 0.86), clump=0.28, contrast=0.7),
    ),
    CellType(
        "reactive_lymphocyte",
        (15.0, 20.0),
        Cytoplasm(
            (196, 184, 206), (110, 88, 158), (FEW_AZUROPHILIC,), mottle=0.1, waviness=0.17, elongation=(1.0, 1.35)
        ),
        Nucleus(
            Round((1.1, 1.45), dent=(0.0, 0.2), eccentricity=(0.2, 0.9), waviness=0.09),
            share=(0.34, 0.5),
            dark=(80, 34, 128),
            contrast=0.6,
        ),
    ),
    CellType(
        "neoplastic_lymphocyte",  # Mature B cell of CLL and its kin: blocks of chromatin, often a cleft.
        (10.5, 13.5),
        Cytoplasm((186, 172, 206), (146, 126, 184), waviness=0.05),
        Nucleus(
            Round((1.0, 1.3), dent=(0.0, 0.5), eccentricity=(0.1, 0.6), waviness=0.06),
            share=(0.74, 0.92),
            light=(160, 114, 178),
            clump=0.36,
            contrast=0.9,
        ),
    ),
    CellType(
        "hairy_cell",
        (13.0, 16.5),
        Cytoplasm((192, 182, 206), (152, 136, 186), mottle=0.14, waviness=0.08, hairs=0.55),
        Nucleus(
            Round((1.1, 1.5), dent=(0.0, 0.4), eccentricity=(0.2, 0.7)),
            share=(0.38, 0.52),
            dark=(86, 40, 132),
            clump=0.18,
            contrast=0.7,
        ),
    ),
    CellType(
        "convoluted_lymphocyte",  # Sezary-like T cell: a folded, notched nucleus in a narrow rim.
        (11.5, 15.0),
        Cytoplasm((180, 166, 202), (136, 114, 178)),
        Nucleus(
            Round((1.0, 1.3), dent=(0.25, 0.6), eccentricity=(0.1, 0.4), waviness=0.12, dents=3),
            share=(0.68, 0.85),
            contrast=0.65,
        ),
    ),
    CellType(
        "smudge_cell",
        (13.0, 20.0),
        None,
        Nucleus(Smudged(), share=(0.75, 0.95), dark=(122, 60, 150), light=(204, 160, 194), clump=0.16, contrast=0.8),
    ),
    CellType(
        "plasma_cell",
        (13.5, 17.5),
        Cytoplasm((116, 94, 164), (78, 56, 144), mottle=0.16, hof=0.6, elongation=(1.1, 1.4), vacuoles=(0, 3)),
        Nucleus(
            Round((1.0, 1.15), eccentricity=(0.8, 1.0), waviness=0.03), share=(0.28, 0.42), clump=0.4, contrast=1.0
        ),
    ),
    CellType(
        "myeloblast",
        (15.5, 20.0),
        Cytoplasm((158, 144, 192), (104, 84, 160), waviness=0.12, mottle=0.14, elongation=(1.0, 1.3)),
        Nucleus(
            Round((1.0, 1.3), dent=(0.0, 0.35), eccentricity=(0.2, 0.9), waviness=0.1),
            share=(0.66, 0.86),
            dark=(94, 42, 138),
            light=(172, 124, 184),
            clump=0.13,
            contrast=0.9,
            nucleoli=(1, 4),
        ),
    ),
    CellType(
        "lymphoblast",
        (11.0, 15.0),
        Cytoplasm((132, 114, 178), (92, 72, 154), waviness=0.07, mottle=0.12),
        Nucleus(
            Round((1.0, 1.25), dent=(0.0, 0.4), waviness=0.07),
            share=(0.8, 0.94),
            dark=(84, 36, 132),
            light=(146, 96, 172),
            clump=0.15,
            contrast=0.8,
            nucleoli=(0, 1),
        ),
    ),
    CellType(
        "promyelocyte",
        (17.0, 21.0),
        Cytoplasm((160, 138, 184), (112, 88, 158), (AZUROPHILIC,), mottle=0.12, hof=0.4, waviness=0.1),
        Nucleus(
            Round((1.0, 1.3), dent=(0.0, 0.25), eccentricity=(0.5, 1.0), waviness=0.06),
            share=(0.46, 0.6),
            dark=(82, 34, 130),
            light=(154, 102, 170),
            clump=0.17,
            contrast=0.85,
            nucleoli=(0, 2),
        ),
    ),
    CellType(
        "myelocyte",
        (14.5, 18.0),
        Cytoplasm((196, 168, 188), (158, 130, 174), (MYELOCYTE_GRANULES,), waviness=0.07),
        Nucleus(Round((1.1, 1.45), dent=(0.0, 0.2), eccentricity=(0.6, 1.0), waviness=0.06), share=(0.42, 0.56)),
    ),
    CellType(
        "metamyelocyte",
        (14.0, 17.0),
        Cytoplasm((208, 178, 190), (178, 148, 178), (MYELOCYTE_GRANULES,), waviness=0.07),
        Nucleus(Round((1.3, 1.6), dent=(0.35, 0.6), eccentricity=(0.5, 0.9)), share=(0.4, 0.5)),
    ),
    CellType(
        "erythroblast",
        (9.0, 13.0),
        Cytoplasm((168, 138, 168), (138, 110, 158), mottle=0.08, waviness=0.06),
        Nucleus(
            Round((1.0, 1.15), eccentricity=(0.1, 0.7), waviness=0.03),
            share=(0.28, 0.56),
            dark=(54, 18, 106),
            light=(138, 88, 156),
            clump=0.3,
            contrast=0.8,
        ),
    ),
    CellType(
        "giant_platelet",
        (6.0, 11.0),
        Cytoplasm(
            (180, 134, 178),
            (200, 168, 198),
            (Granules((112, 40, 128), 0.46, 0.6, (0.75, 1.0), patchiness=0.6),),
            elongation=(1.0, 1.5),
            waviness=0.1,
            hairs=0.2,
        ),
        None,
    ),
)

CELL_TYPES: dict[str, CellType] = {row.slug: row for row in _ROWS}
