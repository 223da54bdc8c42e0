"""Members are recalibrated by what the other members predict for their own folds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.training.factories import read, tiny

from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.diagnosis.member import Recalibration
from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.training import TrainOptions, train
from napari_caltomorph.training.bags import load_bags
from napari_caltomorph.training.folds import member_splits
from napari_caltomorph.training.members import TrainedMember
from napari_caltomorph.training.recalibrate import fit, recalibrate

# Three malignant classes and two others
MALIGNANT = np.array([True, False, True, True, False])


def recalibration(values: tuple[float, float, float], malignant: np.ndarray = MALIGNANT) -> Recalibration:
    made = Recalibration(len(malignant))
    made.values.copy_(torch.tensor(values))
    made.is_malignant.copy_(torch.from_numpy(malignant))
    return made


def sampled(logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A class for each patient, by the softmax of its logits."""
    return np.array([rng.choice(len(row), p=row) for row in torch.from_numpy(logits).softmax(-1).numpy()])


def wrong_logits(truth: tuple[float, float, float], patients: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits that hold after this recalibration, and the classes of the patients."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, (patients, len(MALIGNANT)))
    return logits, sampled(recalibration(truth)(torch.from_numpy(logits)).detach().numpy(), rng)


@pytest.mark.parametrize("truth", [(0.5, 0.8, 0.3), (1.0, 0.0, 1.0), (2.0, -1.0, 0.7)])
def test_it_finds_the_scales_and_the_shift_that_make_probabilities_hold(truth):
    found = fit(*wrong_logits(truth, 6000), MALIGNANT)
    np.testing.assert_allclose(found, truth, rtol=0.15, atol=0.15)


def test_afterwards_malignancy_is_the_share_of_the_malignant():
    logits, classes = wrong_logits((0.4, 1.5, 0.5), 2000)
    values = fit(logits, classes, MALIGNANT)
    malignancy = recalibration(values)(torch.from_numpy(logits)).exp().numpy()[:, MALIGNANT].sum(axis=1)
    assert malignancy.mean() == pytest.approx(MALIGNANT[classes].mean(), abs=0.01)


def test_few_patients_change_little_and_one_side_alone_leaves_the_odds():
    logits, classes = wrong_logits((0.3, 2.0, 0.3), 4)
    scale, shift, within = fit(logits, classes, MALIGNANT)
    assert 0.4 < scale < 2.5
    assert abs(shift) < 1.5
    assert 0.3 < within < 2.5
    malignant = np.flatnonzero(MALIGNANT[classes])
    assert fit(logits[malignant], classes[malignant], MALIGNANT)[:2] == (1.0, 0.0)


@given(
    st.lists(st.floats(-30, 30), min_size=10, max_size=10),
    st.tuples(st.floats(0.05, 4), st.floats(-3, 3), st.floats(0.05, 4)),
)
def test_it_returns_log_probabilities_and_keeps_the_order_by_malignancy(values, numbers):
    logits = torch.tensor(values).double().reshape(2, 5)
    found = recalibration(numbers)(logits)
    np.testing.assert_allclose(found.exp().sum(-1), 1, atol=1e-5)
    before, after = (x.softmax(-1)[:, torch.from_numpy(MALIGNANT)].sum(-1) for x in (logits, found))
    if abs(float(before[0] - before[1])) > 1e-3:
        assert (before[0] - before[1]) * (after[0] - after[1]) >= 0


def test_without_both_sides_only_the_logits_are_scaled():
    logits = torch.randn(4, 3)
    found = recalibration((3.0, 5.0, 0.5), np.array([True, True, True]))(logits)
    torch.testing.assert_close(found, (0.5 * logits).log_softmax(-1))


def test_nothing_changes_with_the_numbers_of_no_recalibration():
    logits = torch.randn(4, 5)
    torch.testing.assert_close(recalibration((1.0, 0.0, 1.0))(logits), logits.log_softmax(-1))


def trained_twice(cohort, options: TrainOptions) -> tuple[list[TrainedMember], object]:
    bags, ensemble = load_bags(cohort, None, options), train(cohort, None, options)
    splits = member_splits(bags, options)
    for member in ensemble.members:
        member.recalibration = None
    history = None
    return [TrainedMember(m, s, history) for m, s in zip(ensemble.members, splits, strict=True)], bags


def test_the_labels_of_its_own_fold_do_not_recalibrate_a_member(few):
    trained, bags = trained_twice(read(few), tiny())

    def numbers() -> list[torch.Tensor]:
        for one in trained:
            one.member.recalibration = None
        recalibrate(trained, bags, tiny())
        return [one.member.recalibration.values for one in trained]

    before, own = numbers(), trained[1].split.own
    bags.classes[own] = np.roll(bags.classes[own], 1)
    after = numbers()
    same = [torch.equal(one, other) for one, other in zip(before, after, strict=True)]
    assert same == [number == 1 for number in range(len(trained))]


def test_a_trained_model_keeps_it_says_so_and_the_papers_recipe_has_none(few, tmp_path):
    cohort = read(few)
    ensemble = train(cohort, None, tiny(), out=tmp_path / "model")
    loaded = Ensemble.load(tmp_path / "model")
    for member, again, record in zip(ensemble.members, loaded.members, loaded.description.training.folds, strict=True):
        assert torch.equal(member.recalibration.values, again.recalibration.values)
        assert record.recalibration == tuple(again.recalibration.values.tolist())
        assert again.recalibration.is_malignant.sum() == loaded.description.taxonomy.is_malignant.sum()
    assert "recalibrated by what the other members" in model_card(loaded.description)
    papers = train(cohort, None, TrainOptions(**tiny().model_dump() | {"recipe": "paper"}))
    assert all(member.recalibration is None for member in papers.members)
    assert "recalibrated" not in model_card(papers.description)
