"""Predictions of patients whose truth is known -> numbers, each with its interval."""

from napari_caltomorph.evaluate.metrics import Interval, classification_metrics, confusion, hemoglobin_metrics

__all__ = ["Interval", "classification_metrics", "confusion", "hemoglobin_metrics"]
