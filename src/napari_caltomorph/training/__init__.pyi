from .bags import features_ready
from .folder import training_folder
from .options import DECIDING, TrainOptions
from .progress import FinishEarly, FoldHistory, TrainProgress
from .run import TrainPlan, plan_training, train

__all__ = [
    "DECIDING",
    "FinishEarly",
    "FoldHistory",
    "TrainOptions",
    "TrainPlan",
    "TrainProgress",
    "features_ready",
    "plan_training",
    "train",
    "training_folder",
]
