from .cell_types import CELL_TYPES, CellType, cell_type
from .count import Differential, Share
from .labels import FOLDER, CellLabel, CellLabels, SmearId, read_labels, save_labels
from .probe import Probe, ProbeDescription, ProbeOptions
from .training import train_probe

__all__ = [
    "CELL_TYPES",
    "FOLDER",
    "CellLabel",
    "CellLabels",
    "CellType",
    "Differential",
    "Probe",
    "ProbeDescription",
    "ProbeOptions",
    "Share",
    "SmearId",
    "cell_type",
    "read_labels",
    "save_labels",
    "train_probe",
]
