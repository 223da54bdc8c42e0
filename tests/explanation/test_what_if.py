"""Leaving cells out gives what the model says of the others, beside what it said before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.diagnosis.conftest import MakeEnsemble, MakeFeatures

from napari_caltomorph.diagnosis import Ensemble, Prediction
from napari_caltomorph.errors import ExplanationRefused, FeaturesRefused
from napari_caltomorph.explanation.changed_bags import what_if
from napari_caltomorph.progress import Cancelled, Progress

ARTEFACTS = (4, 17)


@pytest.fixture(scope="session")
def spoiled(make_features: MakeFeatures):
    """60 cells, two of which look like nothing else."""
    values = make_features(60).values.copy()
    values[list(ARTEFACTS)] += 8
    return make_features(values=values)


def test_a_planted_artefact_left_out_gives_what_is_said_without_it(every_kind: Ensemble, spoiled) -> None:
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


def test_both_answers_and_who_left_what_out_are_saved(make_ensemble: MakeEnsemble, spoiled, tmp_path: Path) -> None:
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


def test_it_can_be_cancelled(make_ensemble: MakeEnsemble, spoiled) -> None:
    ensemble = make_ensemble()
    before = ensemble.predict(spoiled)

    def stop(progress: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        what_if(ensemble, before, spoiled, [0], progress=stop)


def test_an_original_of_another_model_or_of_other_cells_is_no_original(make_ensemble: MakeEnsemble, spoiled) -> None:
    ensemble = make_ensemble()
    before = ensemble.predict(spoiled)
    without = what_if(ensemble, before, spoiled, [0])
    for wrong in (
        without,
        before.model_copy(update={"model_fingerprint": "0" * 64}),
        ensemble.predict(spoiled.of_cells(spoiled.cells[1:])),
    ):
        with pytest.raises(ValueError, match="original is"):
            without.model_copy(update={"original": wrong})
