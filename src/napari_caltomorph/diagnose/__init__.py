"""Features -> diagnosis: aggregators, the ensemble, attention, and the prediction that everything shown derives from.

Only the names that need no torch are imported here; `Ensemble` and `Predictor` come when first used.
"""

from typing import TYPE_CHECKING, Any

from napari_caltomorph.diagnose.aggregator_options import (
    AGGREGATOR_OPTIONS,
    AbmilOptions,
    AggregatorOptions,
    MaxOptions,
    MeanOptions,
    TransformerOptions,
    WbcmilOptions,
)
from napari_caltomorph.diagnose.installed import add_model, export_model, find_model, installed_models
from napari_caltomorph.diagnose.model_file import ModelDescription, read_description
from napari_caltomorph.diagnose.options import PredictOptions
from napari_caltomorph.diagnose.patient_result import PatientProgress, PatientResult
from napari_caltomorph.diagnose.prediction import NO_ATTENTION, Prediction
from napari_caltomorph.diagnose.tables import save_predictions
from napari_caltomorph.diagnose.training_record import FoldRecord, TrainingRecord

if TYPE_CHECKING:
    from napari_caltomorph.diagnose.ensemble import Ensemble
    from napari_caltomorph.diagnose.many import predict_each
    from napari_caltomorph.diagnose.predict import Predictor

_LATE = {
    "Ensemble": "napari_caltomorph.diagnose.ensemble",
    "Predictor": "napari_caltomorph.diagnose.predict",
    "predict_each": "napari_caltomorph.diagnose.many",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        from importlib import import_module

        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AGGREGATOR_OPTIONS",
    "NO_ATTENTION",
    "AbmilOptions",
    "AggregatorOptions",
    "Ensemble",
    "FoldRecord",
    "MaxOptions",
    "MeanOptions",
    "ModelDescription",
    "PatientProgress",
    "PatientResult",
    "PredictOptions",
    "Prediction",
    "Predictor",
    "TrainingRecord",
    "TransformerOptions",
    "WbcmilOptions",
    "add_model",
    "export_model",
    "find_model",
    "installed_models",
    "predict_each",
    "read_description",
    "save_predictions",
]
