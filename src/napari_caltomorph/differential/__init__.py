"""From cells to a differential count: labels given by hand, a linear probe on features, and counts with their error.

Only `train_probe` needs scikit-learn; it comes when first used.
"""

from typing import TYPE_CHECKING, Any

from napari_caltomorph.differential.cell_types import CELL_TYPES, CellType, cell_type
from napari_caltomorph.differential.count import Differential, Share
from napari_caltomorph.differential.labels import FOLDER, CellLabel, CellLabels, SmearId
from napari_caltomorph.differential.labels_file import read_labels, save_labels
from napari_caltomorph.differential.options import ProbeOptions
from napari_caltomorph.differential.probe import Probe, ProbeDescription

if TYPE_CHECKING:
    from napari_caltomorph.differential.training import train_probe


def __getattr__(name: str) -> Any:
    if name == "train_probe":
        from napari_caltomorph.differential.training import train_probe

        return train_probe
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
