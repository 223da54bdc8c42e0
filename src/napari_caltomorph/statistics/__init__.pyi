from .classification import classification_metrics, confusion
from .interval import Interval
from .metric import Metric
from .regression import hemoglobin_metrics

__all__ = ["Interval", "Metric", "classification_metrics", "confusion", "hemoglobin_metrics"]
