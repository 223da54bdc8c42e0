from .commands import compare_command, evaluate_command, flags, shell_line, train_command, validate_command
from .compare import CompareRequest, ModelComparison, compare_models
from .cut import CutPatient, cut_patients
from .encode import encode_missing, read_patients
from .evaluate import (
    EvaluateModelOptions,
    EvaluateRequest,
    ModelEvaluation,
    evaluate_model,
    evaluation_folder,
    examine,
    save_evaluation,
)
from .export import Exported, export_results, form_of
from .labels import LabelledSmears, import_label_folder, open_labelled, read_type_map
from .predict import PatientProgress, PatientResult, predict_patients
from .train import EarlierEpochs, TrainedModel, TrainRequest, train_model
from .validate import ModelValidation, ValidateOptions, ValidateRequest, save_validation, validate_model
from .watch import watch_folder

__all__ = [
    "CompareRequest",
    "CutPatient",
    "EarlierEpochs",
    "EvaluateModelOptions",
    "EvaluateRequest",
    "Exported",
    "LabelledSmears",
    "ModelComparison",
    "ModelEvaluation",
    "ModelValidation",
    "PatientProgress",
    "PatientResult",
    "TrainRequest",
    "TrainedModel",
    "ValidateOptions",
    "ValidateRequest",
    "compare_command",
    "compare_models",
    "cut_patients",
    "encode_missing",
    "evaluate_command",
    "evaluate_model",
    "evaluation_folder",
    "examine",
    "export_results",
    "flags",
    "form_of",
    "import_label_folder",
    "open_labelled",
    "predict_patients",
    "read_patients",
    "read_type_map",
    "save_evaluation",
    "save_validation",
    "shell_line",
    "train_command",
    "train_model",
    "validate_command",
    "validate_model",
    "watch_folder",
]
