"""The table of cell types: what each looks like on a Wright-Giemsa stained smear.

A new type is a new row; nothing else in the code knows the names.
"""

from __future__ import annotations

from napari_caltomorph.synthetic.anatomy import CellType
from napari_caltomorph.synthetic.cytoplasm import Cytoplasm, Granules
from napari_caltomorph.synthetic.nucleus import Nucleus
from napari_caltomorph.synthetic.shapes import Band, Lobed, Round, Smudged

PINK, PINK_RIM = (216, 178, 188), (198, 156, 178)
DUST = Granules((166, 112, 160), 0.28, 0.4, (0.35, 0.75), patchiness=0.4)
LAST_DUST = Granules((166, 112, 160), 0.28, 0.45, (0.0, 0.3), patchiness=1.0)
NEUTROPHIL_GRANULES = Granules((120, 58, 138), 0.3, 0.85, (0.2, 0.9), patchiness=0.8)
AZUROPHILIC = Granules((92, 24, 112), 0.42, 0.55, (0.6, 1.0), over_nucleus=0.5, patchiness=0.6)
FEW_AZUROPHILIC = Granules((130, 46, 126), 0.42, 2.0, (0.0, 0.9), patchiness=1.0)
MYELOCYTE_GRANULES = Granules((104, 40, 126), 0.34, 0.55, (0.3, 0.9), over_nucleus=0.2, patchiness=0.7)
GROUND_GLASS = Granules((128, 88, 150), 0.26, 0.42, (0.25, 0.6), patchiness=0.5)
EOSINOPHILIC = Granules((176, 82, 98), 0.6, 0.52, (0.8, 1.0), over_nucleus=0.12, patchiness=0.5)
BASOPHILIC = Granules((54, 12, 90), 0.6, 0.52, (0.85, 1.0), over_nucleus=0.9, patchiness=0.4)

NEUTROPHIL_BODY = Cytoplasm(PINK, PINK_RIM, granules=(DUST, NEUTROPHIL_GRANULES))

_ROWS = (
    CellType(
        "segmented_neutrophil",
        (13.0, 16.5),
        NEUTROPHIL_BODY,
        Nucleus(Lobed((2, 5)), share=(0.29, 0.4), open=0.35),
    ),
    CellType(
        "band_neutrophil",
        (13.5, 16.5),
        NEUTROPHIL_BODY,
        Nucleus(Band(), share=(0.3, 0.42), open=0.35),
    ),
    CellType(
        "dysplastic_neutrophil",  # Hypogranular pseudo-Pelger: two round, dense lobes in empty cytoplasm.
        (13.0, 15.5),
        Cytoplasm((226, 200, 198), (206, 176, 190), granules=(LAST_DUST,), mottle=0.05),
        Nucleus(
            Lobed((1, 2), strand=(0.3, 0.5), elongation=(1.0, 1.2), waviness=0.05),
            share=(0.24, 0.33),
            clump=0.35,
            open=0.22,
            blocks=0.5,
        ),
    ),
    CellType(
        "eosinophil",
        (13.5, 16.5),
        Cytoplasm((206, 156, 168), (186, 126, 146), granules=(EOSINOPHILIC,), frill=0.06),
        Nucleus(Lobed((2, 3), waviness=0.08), share=(0.28, 0.4), dark=(58, 18, 110), blocks=0.4),
    ),
    CellType(
        "basophil",
        (11.5, 15.0),
        Cytoplasm((202, 152, 182), (170, 112, 160), granules=(BASOPHILIC,), frill=0.16, vacuoles=(0, 5)),
        Nucleus(
            Lobed((1, 3), strand=(0.6, 0.9)), share=(0.4, 0.55), dark=(76, 30, 122), light=(140, 96, 166), open=0.4
        ),
    ),
    CellType(
        "monocyte",
        (15.5, 20.0),
        Cytoplasm(
            (176, 154, 186),
            (142, 116, 170),
            ripe=(196, 176, 192),
            granules=(GROUND_GLASS,),
            mottle=0.1,
            vacuoles=(0, 10),
            waviness=0.09,
            frill=0.06,
            corners=(0, 4),
            elongation=(1.0, 1.3),
        ),
        Nucleus(
            Round((1.1, 1.6), dent=(0.1, 0.75), eccentricity=(0.1, 0.6), waviness=0.09, dents=2, cleft=0.35),
            share=(0.4, 0.56),
            dark=(78, 28, 120),
            light=(146, 100, 170),
            clump=0.22,
            contrast=1.1,
            open=0.56,
            blocks=0.3,
            folds=0.7,
        ),
    ),
    CellType(
        "lymphocyte",
        (9.0, 12.5),
        Cytoplasm(
            (164, 146, 188), (108, 92, 158), ripe=(190, 176, 202), granules=(FEW_AZUROPHILIC,), waviness=0.05, frill=0.1
        ),
        Nucleus(
            Round((1.0, 1.25), dent=(-0.3, 0.3), waviness=0.04),
            share=(0.62, 0.88),
            dark=(64, 21, 113),
            light=(126, 82, 162),
            clump=0.4,
            open=0.3,
            blocks=0.35,
        ),
    ),
    CellType(
        "reactive_lymphocyte",
        (15.0, 19.5),
        Cytoplasm(
            (198, 184, 204),
            (106, 86, 152),
            ripe=(176, 160, 192),
            granules=(FEW_AZUROPHILIC,),
            mottle=0.09,
            waviness=0.09,
            elongation=(1.0, 1.35),
            corners=(1, 4),
            gives_way=True,
        ),
        Nucleus(
            Round((1.1, 1.5), dent=(-0.2, 0.3), eccentricity=(0.2, 0.9), waviness=0.08),
            share=(0.3, 0.5),
            dark=(84, 32, 120),
            light=(144, 98, 168),
            clump=0.3,
            open=0.35,
            folds=0.2,
        ),
    ),
    CellType(
        "neoplastic_lymphocyte",  # Mature B cell of CLL and its kin: blocks of chromatin, often a cleft.
        (10.5, 13.5),
        Cytoplasm((182, 166, 200), (138, 118, 172), waviness=0.03),
        Nucleus(
            Round((1.0, 1.3), dent=(-0.3, 0.6), eccentricity=(0.1, 0.6), waviness=0.05, cleft=0.6),
            share=(0.74, 0.92),
            light=(168, 122, 182),
            clump=0.42,
            open=0.34,
            blocks=0.8,
        ),
    ),
    CellType(
        "hairy_cell",
        (13.0, 16.5),
        Cytoplasm((190, 176, 202), (156, 138, 182), mottle=0.12, waviness=0.06, hairs=2.2, frill=0.12),
        Nucleus(
            Round((1.1, 1.4), dent=(-0.2, 0.5), eccentricity=(0.0, 0.4)),
            share=(0.34, 0.5),
            dark=(72, 26, 118),
            light=(140, 96, 168),
            clump=0.2,
            contrast=0.7,
            open=0.4,
        ),
    ),
    CellType(
        "convoluted_lymphocyte",  # Sezary-like T cell: a folded, notched nucleus in a narrow rim.
        (11.5, 15.0),
        Cytoplasm((180, 164, 198), (132, 112, 170)),
        Nucleus(
            Round((1.0, 1.3), dent=(0.2, 0.65), eccentricity=(0.1, 0.4), waviness=0.1, dents=4, cleft=0.6),
            share=(0.62, 0.82),
            dark=(56, 16, 108),
            clump=0.28,
            folds=0.6,
            open=0.4,
        ),
    ),
    CellType(
        "smudge_cell",
        (12.0, 18.5),
        None,
        Nucleus(
            Smudged(),
            share=(0.9, 1.0),
            dark=(116, 56, 138),
            light=(206, 158, 190),
            clump=0.3,
            contrast=0.55,
            open=0.42,
            blocks=0.25,
        ),
    ),
    CellType(
        "plasma_cell",
        (13.5, 17.5),
        Cytoplasm(
            (118, 92, 160),
            (82, 58, 140),
            mottle=0.12,
            hof=0.6,
            elongation=(1.1, 1.45),
            waviness=0.05,
            frill=0.06,
            vacuoles=(0, 4),
        ),
        Nucleus(
            Round((1.0, 1.2), eccentricity=(0.75, 1.0), waviness=0.03),
            share=(0.26, 0.42),
            light=(158, 110, 172),
            clump=0.5,
            open=0.3,
            blocks=0.75,
        ),
    ),
    CellType(
        "myeloblast",
        (14.5, 19.5),
        Cytoplasm(
            (156, 136, 184),
            (98, 78, 150),
            ripe=(180, 158, 190),
            waviness=0.05,
            mottle=0.11,
            elongation=(1.0, 1.3),
            corners=(0, 4),
            auer_rods=0.15,
        ),
        Nucleus(
            Round((1.0, 1.3), dent=(-0.4, 0.5), eccentricity=(0.3, 1.0), waviness=0.07, cleft=0.3),
            share=(0.64, 0.86),
            dark=(84, 36, 126),
            light=(150, 104, 176),
            clump=0.16,
            contrast=0.65,
            open=0.46,
            blocks=0.1,
            folds=0.12,
            nucleoli=(1, 4),
        ),
    ),
    CellType(
        "lymphoblast",
        (11.0, 15.0),
        Cytoplasm((140, 120, 176), (96, 78, 150), waviness=0.05, mottle=0.1, corners=(0, 3)),
        Nucleus(
            Round((1.0, 1.25), dent=(-0.3, 0.5), waviness=0.05, cleft=0.5),
            share=(0.8, 0.93),
            dark=(76, 28, 122),
            light=(130, 84, 166),
            clump=0.2,
            contrast=0.55,
            open=0.4,
            blocks=0.1,
            nucleoli=(0, 1),
        ),
    ),
    CellType(
        "promyelocyte",
        (16.5, 21.0),
        Cytoplasm(
            (164, 136, 180),
            (114, 86, 154),
            granules=(AZUROPHILIC,),
            mottle=0.1,
            hof=0.4,
            waviness=0.05,
            corners=(0, 4),
            frill=0.05,
        ),
        Nucleus(
            Round((1.0, 1.4), dent=(-0.2, 0.3), eccentricity=(0.5, 1.0), waviness=0.05),
            share=(0.46, 0.6),
            dark=(68, 20, 114),
            light=(134, 88, 166),
            clump=0.2,
            contrast=0.95,
            open=0.42,
            nucleoli=(0, 2),
        ),
    ),
    CellType(
        "myelocyte",
        (14.5, 18.0),
        Cytoplasm(
            (184, 150, 182), (150, 120, 166), ripe=(208, 176, 188), granules=(DUST, MYELOCYTE_GRANULES), corners=(0, 3)
        ),
        Nucleus(
            Round((1.1, 1.5), dent=(-0.3, 0.2), eccentricity=(0.6, 1.0), waviness=0.05),
            share=(0.42, 0.56),
            dark=(58, 16, 110),
            clump=0.28,
            open=0.34,
        ),
    ),
    CellType(
        "metamyelocyte",
        (14.0, 17.0),
        Cytoplasm(
            (196, 162, 186), (168, 136, 174), ripe=(212, 180, 190), granules=(DUST, MYELOCYTE_GRANULES), corners=(0, 3)
        ),
        Nucleus(
            Round((1.4, 1.8), dent=(0.35, 0.6), eccentricity=(0.5, 0.9)),
            share=(0.38, 0.5),
            dark=(56, 14, 108),
            clump=0.28,
            open=0.32,
        ),
    ),
    CellType(
        "erythroblast",
        (8.5, 12.5),
        Cytoplasm((146, 122, 168), (108, 88, 148), ripe=(190, 146, 160), mottle=0.06, waviness=0.05),
        Nucleus(
            Round((1.0, 1.15), eccentricity=(0.1, 0.8), waviness=0.02),
            share=(0.28, 0.58),
            dark=(46, 14, 98),
            light=(126, 86, 158),
            clump=0.4,
            open=0.18,
            blocks=0.6,
        ),
    ),
    CellType(
        "giant_platelet",
        (6.0, 11.0),
        Cytoplasm(
            (184, 142, 182),
            (202, 170, 198),
            granules=(Granules((112, 42, 126), 0.42, 0.5, (0.75, 1.0), patchiness=0.7, margin=0.5),),
            elongation=(1.0, 1.6),
            waviness=0.09,
            frill=0.2,
        ),
        None,
    ),
    CellType(
        "platelet_clump",
        (9.0, 17.0),
        Cytoplasm(
            (178, 138, 182),
            (196, 164, 196),
            granules=(Granules((108, 44, 130), 0.45, 0.5, (0.75, 1.0), patchiness=0.4, margin=0.6),),
            waviness=0.12,
            frill=0.2,
            corners=(0, 0),
            pieces=(5, 14),
        ),
        None,
    ),
)

CELL_TYPES: dict[str, CellType] = {row.slug: row for row in _ROWS}
