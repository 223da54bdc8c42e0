from .hemoglobin_metrics import hemoglobin_metrics
from .interval import Interval
from .metric import Metric
from .metrics import classification_metrics, confusion

__all__ = [
    "Interval",
    "Metric",
    "classification_metrics",
    "confusion",
    "hemoglobin_metrics",
]
