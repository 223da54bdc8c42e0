"""The small real ensembles and bags of the room below, one ensemble for each kind of aggregator."""

from __future__ import annotations

import pytest
from tests.diagnosis.factories import SMALL, MakeEnsemble, make_ensemble, make_features, make_member

from napari_caltomorph.diagnosis import AGGREGATOR_OPTIONS, Ensemble

__all__ = ["SMALL", "every_kind", "make_ensemble", "make_features", "make_member"]

KINDS = {
    **{kind: AGGREGATOR_OPTIONS[kind](**SMALL[kind]) for kind in SMALL},
    "transformer, mean": AGGREGATOR_OPTIONS["transformer"](**SMALL["transformer"], pooling="mean"),
}


@pytest.fixture(scope="session", params=KINDS)
def every_kind(request: pytest.FixtureRequest, make_ensemble: MakeEnsemble) -> Ensemble:
    """Three members of each kind, with attention and without."""
    return make_ensemble(aggregator=KINDS[request.param])
