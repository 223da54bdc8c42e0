"""A cohort and its features -> an ensemble, and how the ways of training compare.

Only the names that need no torch are imported here; `train` comes when first used.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

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


class _Room(ModuleType):
    """What makes ``napari_caltomorph.train(cohort, features)`` work: this room hides its function's name there."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.train(*args, **kwargs)


sys.modules[__name__].__class__ = _Room

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
