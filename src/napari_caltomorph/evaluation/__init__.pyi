from .calibrate import fit_calibration
from .class_numbers import ClassNumbers
from .embeddings import Embeddings
from .evaluation import Evaluation
from .malignancy import OperatingPoint
from .options import EvaluateOptions
from .out_of_fold import out_of_fold_confusion
from .provenance import Provenance
from .run import evaluate

__all__ = [
    "ClassNumbers",
    "Embeddings",
    "EvaluateOptions",
    "Evaluation",
    "OperatingPoint",
    "Provenance",
    "evaluate",
    "fit_calibration",
    "out_of_fold_confusion",
]
