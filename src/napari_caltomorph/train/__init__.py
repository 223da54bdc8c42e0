"""A cohort and its features -> an ensemble, and how the ways of training compare.

Only the names that need no torch are imported here; `train` comes when first used.
"""

from typing import TYPE_CHECKING, Any

from napari_caltomorph.callable_room import make_callable
from napari_caltomorph.train.config import options_from
from napari_caltomorph.train.options import RECIPES, TrainOptions
from napari_caltomorph.train.progress import KeepSoFar, TrainProgress

if TYPE_CHECKING:
    from napari_caltomorph.train.bags import features_ready
    from napari_caltomorph.train.journal import training_folder
    from napari_caltomorph.train.plan import TrainPlan, plan_training
    from napari_caltomorph.train.run import train

_LATE = {
    "TrainPlan": "napari_caltomorph.train.plan",
    "features_ready": "napari_caltomorph.train.bags",
    "plan_training": "napari_caltomorph.train.plan",
    "train": "napari_caltomorph.train.run",
    "training_folder": "napari_caltomorph.train.journal",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        from importlib import import_module

        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


make_callable(__name__)

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
