"""Predictions of patients whose truth is known -> numbers, each with its interval; and calibration fitted on them.

Only the names that need no torch are imported here; `evaluate` comes when first used.
"""

from typing import TYPE_CHECKING, Any

from napari_caltomorph.callable_room import make_callable
from napari_caltomorph.evaluate.calibrate import fit_calibration
from napari_caltomorph.evaluate.class_numbers import ClassNumbers
from napari_caltomorph.evaluate.embeddings import Embeddings
from napari_caltomorph.evaluate.evaluation import Evaluation
from napari_caltomorph.evaluate.hemoglobin_metrics import hemoglobin_metrics
from napari_caltomorph.evaluate.interval import Interval
from napari_caltomorph.evaluate.malignancy import OperatingPoint
from napari_caltomorph.evaluate.metric import Metric
from napari_caltomorph.evaluate.metrics import classification_metrics, confusion
from napari_caltomorph.evaluate.options import EvaluateOptions
from napari_caltomorph.evaluate.out_of_fold import out_of_fold_confusion
from napari_caltomorph.evaluate.provenance import Provenance

if TYPE_CHECKING:
    from napari_caltomorph.evaluate.run import evaluate

_LATE = {"evaluate": "napari_caltomorph.evaluate.run"}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        from importlib import import_module

        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


make_callable(__name__)

__all__ = [
    "ClassNumbers",
    "Embeddings",
    "EvaluateOptions",
    "Evaluation",
    "Interval",
    "Metric",
    "OperatingPoint",
    "Provenance",
    "classification_metrics",
    "confusion",
    "evaluate",
    "fit_calibration",
    "hemoglobin_metrics",
    "out_of_fold_confusion",
]
