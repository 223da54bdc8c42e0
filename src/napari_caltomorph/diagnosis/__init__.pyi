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
from .policy import Policy, Quantities, read_policy
from .predict import Predictor
from .prediction import NO_ATTENTION, NO_CLASS, NO_PREDICTION, Prediction
from .prediction_files import save_predictions
from .prevalence import Prevalence
from .training_record import FoldRecord, TrainingRecord

__all__ = [
    "AGGREGATOR_OPTIONS",
    "NO_ATTENTION",
    "NO_CLASS",
    "NO_PREDICTION",
    "AbmilOptions",
    "AggregatorOptions",
    "ConceptsOptions",
    "Ensemble",
    "FoldRecord",
    "MaxOptions",
    "MeanOptions",
    "ModelDescription",
    "Policy",
    "PredictOptions",
    "Prediction",
    "Predictor",
    "Prevalence",
    "Quantities",
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
    "read_policy",
    "save_predictions",
]
