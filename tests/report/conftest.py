"""Small models and features, as the tests of diagnosis make them."""

from __future__ import annotations

from tests.diagnosis.factories import make_ensemble, make_features

__all__ = ["make_ensemble", "make_features"]
