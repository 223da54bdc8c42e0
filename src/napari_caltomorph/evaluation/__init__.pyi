from .calibrate import fit_calibration
from .confusion import out_of_fold_confusion
from .evaluation import Evaluation
from .malignancy import OperatingPoint
from .metrics import ClassNumbers
from .options import EvaluateOptions
from .patients import Embeddings, EvaluatedPatients, Provenance
from .run import chosen_patients, evaluate

__all__ = [
    "ClassNumbers",
    "Embeddings",
    "EvaluateOptions",
    "EvaluatedPatients",
    "Evaluation",
    "OperatingPoint",
    "Provenance",
    "chosen_patients",
    "evaluate",
    "fit_calibration",
    "out_of_fold_confusion",
]
