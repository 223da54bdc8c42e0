from .background import RedCells
from .canvas import Stain
from .cells import CELL_TYPES, CellType, UnknownCellType, draw_cell
from .in_memory import synthetic_features, synthetic_smear
from .layouts import SYNTHETIC_COLUMN
from .patients import (
    AML_HEHR_COMPOSITIONS,
    COMPOSITIONS,
    Composition,
    SyntheticPatient,
    UnknownClass,
    synthesize_patient,
)
from .write import SynthOptions, synthesize_cohort, synthesize_patients, write_smear

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
    "synthesize_cohort",
    "synthesize_patient",
    "synthesize_patients",
    "synthetic_features",
    "synthetic_smear",
    "write_smear",
]
