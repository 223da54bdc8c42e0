"""Predictions of patients whose truth is known -> numbers, each with its interval; and calibration fitted on them."""

from napari_caltomorph.evaluate.calibrate import fit_calibration
from napari_caltomorph.evaluate.metrics import Interval, classification_metrics, confusion, hemoglobin_metrics
from napari_caltomorph.evaluate.out_of_fold import out_of_fold_confusion

__all__ = [
    "Interval",
    "classification_metrics",
    "confusion",
    "fit_calibration",
    "hemoglobin_metrics",
    "out_of_fold_confusion",
]
