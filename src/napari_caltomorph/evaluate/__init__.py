"""Predictions of patients whose truth is known -> numbers, each with its interval; and calibration fitted on them.

Only the names that need no torch are imported here; `evaluate` comes when first used.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from napari_caltomorph.evaluate.calibrate import fit_calibration
from napari_caltomorph.evaluate.evaluation import ClassNumbers, Embeddings, Evaluation, Provenance
from napari_caltomorph.evaluate.malignancy import OperatingPoint
from napari_caltomorph.evaluate.metric import Metric
from napari_caltomorph.evaluate.metrics import Interval, classification_metrics, confusion, hemoglobin_metrics
from napari_caltomorph.evaluate.options import EvaluateOptions
from napari_caltomorph.evaluate.out_of_fold import out_of_fold_confusion

if TYPE_CHECKING:
    from napari_caltomorph.evaluate.run import evaluate

_LATE = {"evaluate": "napari_caltomorph.evaluate.run"}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        from importlib import import_module

        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Room(ModuleType):
    """What makes ``napari_caltomorph.evaluate(ensemble, cohort)`` work: this room hides its function's name there."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.evaluate(*args, **kwargs)


sys.modules[__name__].__class__ = _Room

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
