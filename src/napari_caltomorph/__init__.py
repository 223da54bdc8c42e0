"""napari-caltomorph: from a blood smear's single-cell images to a diagnosis and the cells that made it.

Research use only. Not for diagnosis.

Names are imported when first used, so that ``import napari_caltomorph`` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_caltomorph.cohort import Cohort, CohortOptions, encode_cohort, read_cohort
    from napari_caltomorph.diagnose import Ensemble, Prediction, PredictOptions, Predictor, save_predictions
    from napari_caltomorph.encode import EncodeOptions, Features, encode
    from napari_caltomorph.evaluate import EvaluateOptions, Evaluation, evaluate
    from napari_caltomorph.smear import Smear, check_smear, read_smear
    from napari_caltomorph.train import TrainOptions, train

_HOMES = {
    "Cohort": "cohort",
    "CohortOptions": "cohort",
    "EncodeOptions": "encode",
    "Ensemble": "diagnose",
    "EvaluateOptions": "evaluate",
    "Evaluation": "evaluate",
    "Features": "encode",
    "PredictOptions": "diagnose",
    "Prediction": "diagnose",
    "Predictor": "diagnose",
    "Smear": "smear",
    "TrainOptions": "train",
    "check_smear": "smear",
    "encode": "encode",
    "encode_cohort": "cohort",
    "evaluate": "evaluate",
    "read_cohort": "cohort",
    "read_smear": "smear",
    "save_predictions": "diagnose",
    "train": "train",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
