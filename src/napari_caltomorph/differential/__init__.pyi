from .cell_types import CELL_TYPES, OTHER, CellType, cell_type
from .count import Differential, Share
from .import_labels import ImportedLabels, ImportedName, import_labels
from .labels import FOLDER, CellLabel, CellLabels, SmearId, read_labels, save_labels
from .probe import BLOOD_CELLS, Probe, ProbeDescription, ProbeOptions, load_probe
from .training import train_probe

__all__ = [
    "BLOOD_CELLS",
    "CELL_TYPES",
    "FOLDER",
    "OTHER",
    "CellLabel",
    "CellLabels",
    "CellType",
    "Differential",
    "ImportedLabels",
    "ImportedName",
    "Probe",
    "ProbeDescription",
    "ProbeOptions",
    "Share",
    "SmearId",
    "cell_type",
    "import_labels",
    "load_probe",
    "read_labels",
    "save_labels",
    "train_probe",
]
