"""Deletion and insertion curves: each point is a plain prediction, and an order that matters beats a random one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.stopping import Cancels

from napari_caltomorph.encoding import Features
from napari_caltomorph.errors import ExplanationRefused
from napari_caltomorph.explanation.changed_bags import leave_one_out
from napari_caltomorph.explanation.faithfulness import cell_scores, faithfulness
from napari_caltomorph.progress import Cancelled

SLUG = "lymphoma"


def probability(ensemble, values):
    features = Features("other", values, tuple(map(str, range(len(values)))))
    return ensemble.member_outputs(features).probabilities.mean(axis=0)[ensemble.description.taxonomy.slugs.index(SLUG)]


def test_points_are_predictions_of_the_cells_that_are_left(every_kind, make_features):
    features = make_features(cells=13)
    score = np.random.default_rng(1).normal(size=13)
    result = faithfulness(every_kind, features, SLUG, {"some": score}, random_orders=2)
    order = np.argsort(-score)
    for gone, value in zip(result.removed, result.orders["some"].deletion, strict=True):
        assert value == pytest.approx(probability(every_kind, features.values[order[gone:]]), abs=1e-5)
    for kept, value in zip(result.added, result.orders["some"].insertion, strict=True):
        assert value == pytest.approx(probability(every_kind, features.values[order[:kept]]), abs=1e-5)


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 130), st.integers(0, 3))
def test_curves_run_between_all_cells_and_one(make_ensemble, make_features, cells, seed):
    ensemble, features = make_ensemble(members=1), make_features(cells=cells, seed=seed)
    result = faithfulness(ensemble, features, SLUG, {"first": -np.arange(cells)}, random_orders=3)
    assert (result.removed[0], result.removed[-1]) == (0, cells - 1)
    assert (result.added[0], result.added[-1]) == (1, cells)
    whole = probability(ensemble, features.values)
    for curves in (*result.orders.values(), *result.random):
        assert curves.deletion[0] == pytest.approx(whole, abs=1e-5)
        assert curves.insertion[-1] == pytest.approx(whole, abs=1e-5)
        for kind in ("deletion", "insertion"):
            assert getattr(curves, kind).shape == result.shares(kind).shape
    assert 0 <= result.area("deletion", "first") <= 1


def test_taking_out_in_an_order_is_putting_in_in_the_reverse(make_ensemble, make_features):
    features = make_features(cells=20)
    score = np.random.default_rng(0).normal(size=20)
    result = faithfulness(make_ensemble(), features, SLUG, {"a": score, "b": -score}, random_orders=1)
    left = dict(zip(20 - result.removed, result.orders["a"].deletion, strict=True))
    added = dict(zip(result.added, result.orders["b"].insertion, strict=True))
    both = left.keys() & added.keys()
    assert {1, 20} < both
    assert [left[n] for n in both] == pytest.approx([added[n] for n in both], abs=1e-5)


def test_what_matters_by_leave_one_out_beats_random_orders_in_mean_pooling(make_ensemble, make_features):
    """Without interactions of cells, an order by their single effects must be better than nearly all others."""
    from napari_caltomorph.diagnosis import MeanOptions

    ensemble, features = make_ensemble(aggregator=MeanOptions()), make_features(cells=40)
    effect = -leave_one_out(ensemble, features, SLUG).change
    result = faithfulness(ensemble, features, SLUG, {"effect": effect, "reverse": -effect})
    for kind in ("deletion", "insertion"):
        assert result.gain(kind, "effect").low > 0
        assert result.gain(kind, "reverse").high < 0


def test_gain_is_against_the_mean_random_order(make_ensemble, make_features):
    result = faithfulness(make_ensemble(), make_features(), SLUG, {"x": np.arange(60.0)}, random_orders=7)
    gain = result.gain("deletion", "x")
    assert gain.value == pytest.approx(result.random_areas("deletion").mean() - result.area("deletion", "x"))
    assert gain.low <= gain.value <= gain.high
    assert len(result.random_areas("insertion")) == 7


def test_seeds_decide_the_random_orders(make_ensemble, make_features):
    ensemble, features = make_ensemble(members=1), make_features()

    def areas(seed):
        return faithfulness(ensemble, features, SLUG, {}, random_orders=3, seed=seed).random_areas("insertion")

    np.testing.assert_array_equal(areas(1), areas(1))
    assert (areas(1) != areas(2)).any()


def test_scores_have_attention_only_where_the_model_has(every_kind, make_features):
    scores = cell_scores(every_kind, make_features(cells=5), SLUG)
    expected = ["contribution", "alone"]
    if every_kind.description.aggregator.attention_kind != "none":
        expected.insert(0, "attention")
    assert list(scores) == expected
    assert all(score.shape == (5,) for score in scores.values())


def test_one_cell_has_no_order(make_ensemble, make_features):
    with pytest.raises(ExplanationRefused, match="one cell only"):
        faithfulness(make_ensemble(), make_features(cells=1), SLUG, {})


def test_progress_reaches_its_end_and_cancelling_stops(make_ensemble, make_features):
    ensemble, features, seen = make_ensemble(members=1), make_features(cells=10), []
    faithfulness(ensemble, features, SLUG, {}, random_orders=2, progress=seen.append)
    assert seen[-1].done == seen[-1].total
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    with pytest.raises(Cancelled):
        faithfulness(ensemble, features, SLUG, {}, random_orders=2, progress=Cancels(lambda now: now.done > 5))
