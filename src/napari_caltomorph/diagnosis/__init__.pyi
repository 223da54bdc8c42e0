from .ensemble import Ensemble
from .installed import add_model, download_model, export_model, find_model, installed_models
from .model_file import ModelDescription, read_description
from .options import (
    AGGREGATOR_OPTIONS,
    AbmilOptions,
    AggregatorOptions,
    ConceptsOptions,
    MaxOptions,
    MeanOptions,
    PredictOptions,
    SmearOptions,
    TransformerOptions,
    WbcmilOptions,
)
from .predict import Predictor
from .prediction import NO_ATTENTION, NO_CLASS, Prediction
from .prediction_files import save_predictions
from .prevalence import Prevalence
from .training_record import FoldRecord, TrainingRecord

__all__ = [
    "AGGREGATOR_OPTIONS",
    "NO_ATTENTION",
    "NO_CLASS",
    "AbmilOptions",
    "AggregatorOptions",
    "ConceptsOptions",
    "Ensemble",
    "FoldRecord",
    "MaxOptions",
    "MeanOptions",
    "ModelDescription",
    "PredictOptions",
    "Prediction",
    "Predictor",
    "Prevalence",
    "SmearOptions",
    "TrainingRecord",
    "TransformerOptions",
    "WbcmilOptions",
    "add_model",
    "download_model",
    "export_model",
    "find_model",
    "installed_models",
    "read_description",
    "save_predictions",
]
