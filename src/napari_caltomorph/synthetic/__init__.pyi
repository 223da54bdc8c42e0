from .anatomy import CellType
from .background import RedCells
from .cell_types import CELL_TYPES
from .cells import UnknownCellType, draw_cell
from .compositions import COMPOSITIONS, Composition
from .drawn import drawn_features, drawn_smear
from .gene_compositions import AML_HEHR_COMPOSITIONS
from .layouts import SYNTHETIC_COLUMN
from .options import SynthOptions
from .patients import SyntheticPatient, UnknownClass, synthesize_patient
from .stain import Stain
from .write import invent_patients, synthesize_cohort, write_smear

__all__ = [
    "AML_HEHR_COMPOSITIONS",
    "CELL_TYPES",
    "COMPOSITIONS",
    "SYNTHETIC_COLUMN",
    "CellType",
    "Composition",
    "RedCells",
    "Stain",
    "SynthOptions",
    "SyntheticPatient",
    "UnknownCellType",
    "UnknownClass",
    "draw_cell",
    "drawn_features",
    "drawn_smear",
    "invent_patients",
    "synthesize_cohort",
    "synthesize_patient",
    "write_smear",
]
