from .classification import classification_metrics, confusion
from .hemoglobin import hemoglobin_metrics
from .interval import Interval
from .metric import Metric

__all__ = [
    "Interval",
    "Metric",
    "classification_metrics",
    "confusion",
    "hemoglobin_metrics",
]
