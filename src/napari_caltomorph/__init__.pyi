from .cohort import Cohort, CohortOptions, encode_cohort, read_cohort
from .diagnosis import Ensemble, Prediction, PredictOptions, Predictor, save_predictions
from .encoding import EncodeOptions, Features, encode
from .evaluation import EvaluateOptions, Evaluation, evaluate
from .smear import Smear, check_smear, read_smear
from .training import TrainOptions, train

__all__ = [
    "Cohort",
    "CohortOptions",
    "EncodeOptions",
    "Ensemble",
    "EvaluateOptions",
    "Evaluation",
    "Features",
    "PredictOptions",
    "Prediction",
    "Predictor",
    "Smear",
    "TrainOptions",
    "check_smear",
    "encode",
    "encode_cohort",
    "evaluate",
    "read_cohort",
    "read_smear",
    "save_predictions",
    "train",
]
