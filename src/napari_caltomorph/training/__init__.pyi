from .bags import features_ready
from .config import options_from
from .journal import training_folder
from .options import RECIPES, TrainOptions
from .plan import TrainPlan, plan_training
from .progress import KeepSoFar, TrainProgress
from .run import train

__all__ = [
    "RECIPES",
    "KeepSoFar",
    "TrainOptions",
    "TrainPlan",
    "TrainProgress",
    "features_ready",
    "options_from",
    "plan_training",
    "train",
    "training_folder",
]
