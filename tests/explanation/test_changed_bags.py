"""What-if, leave-one-out and added cells: each number is that of plain predictions, with the cells and without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.diagnosis.factories import MakeEnsemble, MakeFeatures
from tests.stopping import Cancels

from napari_caltomorph.diagnosis import Ensemble, Prediction, inference
from napari_caltomorph.encoding import Features
from napari_caltomorph.errors import ExplanationRefused, FeaturesRefused
from napari_caltomorph.explanation.changed_bags import add_cells, leave_one_out, what_if
from napari_caltomorph.progress import Cancelled

ARTEFACTS = (4, 17)


@pytest.fixture(scope="session")
def spoiled(make_features: MakeFeatures):
    """60 cells, two of which are outliers."""
    values = make_features(60).values.copy()
    values[list(ARTEFACTS)] += 8
    return make_features(values=values)


def test_what_if_is_the_prediction_without_the_cells(every_kind: Ensemble, spoiled) -> None:
    before = every_kind.predict(spoiled)
    without = what_if(every_kind, before, spoiled, ARTEFACTS)
    clean = [cell for i, cell in enumerate(spoiled.cells) if i not in ARTEFACTS]
    direct = every_kind.predict(spoiled.of_cells(clean))
    assert without.cells == direct.cells
    assert np.abs(before.probabilities - direct.probabilities).max() > 1e-3
    for name in ("probabilities", "member_probabilities", "member_hemoglobin", "attention", "alone"):
        np.testing.assert_allclose(getattr(without, name), getattr(direct, name), rtol=0, atol=1e-6, err_msg=name)
    assert without.malignancy == pytest.approx(direct.malignancy, abs=1e-6)
    assert without.warnings == direct.warnings


def test_both_predictions_and_what_was_left_out_are_saved(make_ensemble, spoiled, tmp_path: Path) -> None:
    ensemble = make_ensemble()
    labels = tuple("blast" if i % 2 else None for i in range(60))
    before = ensemble.predict(spoiled).model_copy(
        update={"labels": labels, "smear_path": "/exports/p", "passed_over": 3}
    )
    without = what_if(ensemble, before, spoiled, ARTEFACTS)
    without.save(tmp_path / "prediction.json")
    loaded = Prediction.load(tmp_path)
    assert loaded == without
    assert loaded.original == before
    assert [(one.cell, one.by) for one in loaded.left_out] == [(spoiled.cells[i], "user") for i in ARTEFACTS]
    assert (loaded.smear_path, loaded.passed_over) == ("/exports/p", 3)
    assert loaded.labels == tuple(label for i, label in enumerate(labels) if i not in ARTEFACTS)
    assert loaded.original_in_words.startswith(f"2 cells were left out by hand; before: {before.predicted_class}")
    assert before.original_in_words is None


def test_leaving_nothing_out_changes_nothing(make_ensemble: MakeEnsemble, spoiled) -> None:
    ensemble = make_ensemble()
    before = ensemble.predict(spoiled)
    assert what_if(ensemble, before, spoiled, ()) is before


@settings(max_examples=20, deadline=None)
@given(kept=st.sets(st.integers(0, 59), min_size=1, max_size=3))
def test_a_few_cells_are_enough(kept: set[int], make_ensemble: MakeEnsemble, spoiled) -> None:
    ensemble = make_ensemble()
    answer = what_if(ensemble, ensemble.predict(spoiled), spoiled, set(range(60)) - kept)
    assert answer.cells == tuple(spoiled.cells[i] for i in sorted(kept))
    assert answer.attention.mean() == pytest.approx(1)


def test_leaving_all_out_is_refused_in_one_sentence(make_ensemble: MakeEnsemble, spoiled) -> None:
    ensemble = make_ensemble()
    with pytest.raises(ExplanationRefused, match="at least one cell"):
        what_if(ensemble, ensemble.predict(spoiled), spoiled, range(60))


def test_features_of_other_cells_are_refused(make_ensemble: MakeEnsemble, spoiled) -> None:
    ensemble = make_ensemble()
    before = ensemble.predict(spoiled)
    with pytest.raises(FeaturesRefused, match="not those of the cells"):
        what_if(ensemble, before, replace(spoiled, cells=spoiled.cells[::-1]), [0])


def test_what_if_can_be_cancelled(make_ensemble: MakeEnsemble, spoiled) -> None:
    ensemble = make_ensemble()
    before = ensemble.predict(spoiled)
    with pytest.raises(Cancelled):
        what_if(ensemble, before, spoiled, [0], progress=Cancels())


def test_an_original_of_another_model_or_of_other_cells_is_no_original(make_ensemble: MakeEnsemble, spoiled) -> None:
    ensemble = make_ensemble()
    before = ensemble.predict(spoiled)
    without = what_if(ensemble, before, spoiled, [0])
    for wrong in (
        without,
        before.model_copy(update={"model_fingerprint": "0" * 64}),
        ensemble.predict(spoiled.of_cells(spoiled.cells[1:])),
    ):
        with pytest.raises(ValueError, match="original"):
            without.model_copy(update={"original": wrong})


SLUG = "mds"


def log_odds(ensemble, values):
    """By the way of `Ensemble.member_outputs`: the averaged softmax, and its log-odds."""
    features = Features("other", values, tuple(map(str, range(len(values)))))
    p = ensemble.member_outputs(features).probabilities.mean(axis=0)[ensemble.description.taxonomy.slugs.index(SLUG)]
    return np.log(p) - np.log1p(-p)


def test_change_is_that_of_predicting_without_the_cell(every_kind, make_features):
    features = make_features(cells=11)
    result = leave_one_out(every_kind, features, SLUG, [4, 0, 10])
    assert result.cells == tuple(features.cells[i] for i in (4, 0, 10))
    whole = log_odds(every_kind, features.values)
    assert result.log_odds == pytest.approx(whole, abs=1e-5)
    assert result.probability == pytest.approx(1 / (1 + np.exp(-whole)), abs=1e-6)
    for row, change in zip(result.rows, result.change, strict=True):
        without = log_odds(every_kind, np.delete(features.values, row, axis=0))
        assert change == pytest.approx(without - whole, abs=2e-5)


def test_how_many_go_through_at_once_does_not_matter(make_ensemble, make_features, monkeypatch):
    ensemble, features = make_ensemble(), make_features(cells=30)
    expected = leave_one_out(ensemble, features, SLUG)
    monkeypatch.setattr(inference, "_CELLS_AT_ONCE", 1)
    one_by_one = leave_one_out(ensemble, features, SLUG)
    assert list(one_by_one.rows) == list(range(30))
    assert one_by_one.change == pytest.approx(expected.change, abs=2e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 12), st.integers(0, 5))
def test_leaving_out_either_of_two_equal_cells_changes_the_same(make_ensemble, make_features, cells, seed):
    features = make_features(cells=cells, seed=seed)
    values = np.concatenate([features.values, features.values[:1]])
    result = leave_one_out(make_ensemble(), make_features(values=values), SLUG, [0, cells])
    assert result.change[0] == pytest.approx(result.change[1], abs=2e-5)


def test_the_only_cell_cannot_be_left_out(make_ensemble, make_features):
    with pytest.raises(ExplanationRefused, match="one cell only"):
        leave_one_out(make_ensemble(), make_features(cells=1), SLUG)


def test_nothing_selected_is_nothing_changed(make_ensemble, make_features):
    result = leave_one_out(make_ensemble(), make_features(), SLUG, [])
    assert len(result.change) == len(result.cells) == 0
    assert 0 < result.probability < 1


def test_change_where_the_model_is_all_but_certain_is_still_a_number(make_ensemble, make_features):
    ensemble = make_ensemble()
    for member in ensemble.members:
        member.classifier[-1].weight.data.mul_(500)
    result = leave_one_out(ensemble, make_features(), SLUG)
    assert np.isfinite(result.change).all()
    assert abs(result.log_odds) > 40  # beyond what a probability in double precision tells from 1


def test_added_cells_are_compared_with_the_background_alone(every_kind, make_features):
    features, donor = make_features(cells=8), make_features(cells=5, seed=9, patient_id="donor")
    result = add_cells(every_kind, features, SLUG, donor, [7, 2])
    before = log_odds(every_kind, donor.values)
    assert result.log_odds == pytest.approx(before, abs=1e-5)
    for row, change in zip(result.rows, result.change, strict=True):
        both = np.concatenate([donor.values, features.values[row : row + 1]])
        assert change == pytest.approx(log_odds(every_kind, both) - before, abs=2e-5)


def test_a_background_of_another_encoder_is_refused(make_ensemble, make_features):
    other = make_features(weights_sha256="b" * 64)
    with pytest.raises(FeaturesRefused):
        add_cells(make_ensemble(), make_features(), SLUG, other)


def test_features_without_finite_outputs_are_one_sentence(make_ensemble, make_features):
    huge = make_features(values=np.full_like(make_features().values, 1e38))
    with pytest.raises(FeaturesRefused, match=r"^A member's output .* not a finite number; encode the smear again"):
        leave_one_out(make_ensemble(), huge, SLUG)


def test_cancelling_stops_between_passes(make_ensemble, make_features, monkeypatch):
    monkeypatch.setattr(inference, "_CELLS_AT_ONCE", 1)
    stop = Cancels(lambda now: now.done == 3)
    with pytest.raises(Cancelled):
        leave_one_out(make_ensemble(), make_features(), SLUG, progress=stop)
    assert max(now.done for now in stop.seen) == 3
