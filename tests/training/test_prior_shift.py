"""Probabilities of a balanced training are at the classes' shares among the training patients, as without balance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from tests.training.factories import ORIGIN, tiny

from napari_caltomorph.diagnosis.inference import softmax
from napari_caltomorph.taxonomy import Taxonomy, caltomorph_taxonomy
from napari_caltomorph.training.assemble import default_threshold
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.members import FoldCheckpoint, new_member, predict_bags, trained_member

KNOWN = caltomorph_taxonomy()
TWO = Taxonomy(name="two", classes=tuple(c for c in KNOWN.classes if c.slug in ("acute_leukemia", "healthy")))
MALIGNANT = TWO.slugs.index("acute_leukemia")
NONE = np.array([], dtype=np.intp)


def overlapping_bags(patients: int, malignant: int) -> LabelledBags:
    """Patients of two classes that a perfect model confuses often: one feature differs by one standard deviation."""
    rng = np.random.default_rng(0)
    is_malignant = rng.permutation(np.arange(patients) < malignant)
    centers = rng.normal(size=(patients, 3)) + np.outer(is_malignant, [1.0, 0, 0])
    return LabelledBags(
        taxonomy=TWO,
        values=tuple((center + rng.normal(0, 0.1, (4, 3))).astype(np.float32) for center in centers),
        classes=np.where(is_malignant, MALIGNANT, 1 - MALIGNANT).astype(np.intp),
        hemoglobin=np.full(patients, np.nan),
        folds=np.zeros(patients, dtype=np.intp),
        table=pd.DataFrame(),
        origin=ORIGIN,
    )


@pytest.mark.parametrize("balance", ["weights", "sampling", "none"])
def test_the_mean_malignancy_is_the_share_of_malignant_patients_however_training_is_balanced(tmp_path, balance):
    bags = overlapping_bags(800, 120)
    split = MemberSplit(0, np.arange(400), NONE, np.arange(400, 800))
    options = tiny(aggregator="mean", epochs=12, learning_rate=1e-2, dropout=0, label_smoothing=0, balance=balance)
    fit_member(bags, split, options, FoldCheckpoint(tmp_path, 0))
    member = trained_member(bags, split, options, FoldCheckpoint(tmp_path, 0)).member
    malignancy = softmax(predict_bags(member, bags, split.own, options).logits)[:, MALIGNANT]
    truth = bags.classes[split.own] == MALIGNANT
    assert malignancy.mean() == pytest.approx(truth.mean(), abs=0.04)
    top = malignancy >= np.quantile(malignancy, 0.9)  # where a model of equal classes promises three times as many
    assert malignancy[top].mean() == pytest.approx(truth[top].mean(), abs=0.15)


@pytest.mark.parametrize(
    ("taxonomy", "options", "is_the_papers"),
    [
        (KNOWN, {"recipe": "paper"}, True),
        (KNOWN, {"recipe": "paper", "balance": "weights"}, False),
        (TWO, {"recipe": "paper"}, False),
        (KNOWN, {}, False),
    ],
)
def test_the_papers_operating_point_is_of_the_papers_classes_trained_as_published(taxonomy, options, is_the_papers):
    threshold = default_threshold(taxonomy, tiny(**options))
    assert threshold.value == 0.5
    assert ("paper" in threshold.rule) == is_the_papers


def test_the_shift_is_of_the_members_own_patients_and_a_class_without_any_counts_as_half_a_patient():
    bags = overlapping_bags(40, 10)
    malignant, others = np.flatnonzero(bags.classes == MALIGNANT), np.flatnonzero(bags.classes != MALIGNANT)
    shifts = {
        train: new_member(bags, MemberSplit(0, np.array(train), NONE, NONE), tiny(balance="weights")).log_prior_shift
        for train in (tuple(np.r_[malignant[:3], others[:9]]), tuple(others[:9]))
    }
    few, none = (shift.numpy() for shift in shifts.values())
    assert few[MALIGNANT] == pytest.approx(np.log(3 / 12 * 2))
    assert few[1 - MALIGNANT] == pytest.approx(np.log(9 / 12 * 2))
    assert none[MALIGNANT] == pytest.approx(np.log(0.5 / 9))
    assert none[1 - MALIGNANT] == 0
    natural = new_member(bags, MemberSplit(0, np.arange(40), NONE, NONE), tiny(balance="none"))
    assert not natural.log_prior_shift.any()


def test_the_shift_is_not_in_the_logits_that_training_sees():
    bags = overlapping_bags(40, 10)
    options = tiny(balance="weights", dropout=0)
    member = new_member(bags, MemberSplit(0, np.arange(40), NONE, NONE), options)
    bag = torch.from_numpy(bags.values[0])[None]
    with torch.inference_mode():
        difference = member.eval()(bag).logits - member.train()(bag).logits
    assert difference[0].tolist() == pytest.approx(np.log([2 * 10 / 40, 2 * 30 / 40][:: 1 if MALIGNANT == 0 else -1]))
