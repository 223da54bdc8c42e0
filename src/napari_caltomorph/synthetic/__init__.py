"""Smears that never were, with known truth: for the demo, the tests and load."""

from napari_caltomorph.synthetic.anatomy import CellType
from napari_caltomorph.synthetic.background import RedCells
from napari_caltomorph.synthetic.cell_types import CELL_TYPES
from napari_caltomorph.synthetic.cells import UnknownCellType, draw_cell
from napari_caltomorph.synthetic.compositions import COMPOSITIONS, Composition
from napari_caltomorph.synthetic.drawn import drawn_features, drawn_smear
from napari_caltomorph.synthetic.gene_compositions import AML_HEHR_COMPOSITIONS
from napari_caltomorph.synthetic.layouts import SYNTHETIC_COLUMN
from napari_caltomorph.synthetic.options import SynthOptions
from napari_caltomorph.synthetic.patients import SyntheticPatient, UnknownClass, synthesize_patient
from napari_caltomorph.synthetic.stain import Stain
from napari_caltomorph.synthetic.write import invent_patients, synthesize_cohort, write_smear

GENERATOR_VERSION = "2"
"""Goes up whenever the same seed draws another picture, or another patient."""

__all__ = [
    "AML_HEHR_COMPOSITIONS",
    "CELL_TYPES",
    "COMPOSITIONS",
    "GENERATOR_VERSION",
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
