"""The small real models and bags of `factories.py` as fixtures."""

from tests.diagnosis.factories import make_ensemble, make_features, make_member

__all__ = ["make_ensemble", "make_features", "make_member"]
