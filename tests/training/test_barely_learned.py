"""A member whose training loss barely moved is named; one that learned is not."""

from __future__ import annotations

import numpy as np
import pytest
from tests.training.factories import bags_of, read, tiny

from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.training import FoldHistory, train
from napari_caltomorph.training.barely_learned import barely_learned
from napari_caltomorph.training.folds import member_split


@pytest.mark.parametrize(("changes", "is_named"), [({"learning_rate": 1e-6}, True), ({"epochs": 25}, False)])
def test_a_member_that_was_trained_too_little_is_named_in_the_card(few, changes, is_named):
    description = train(read(few), None, tiny(**changes)).description
    notes = [note for note in description.training.notes if "barely moved" in note]
    assert bool(notes) == is_named
    if is_named:
        assert all(word in notes[0] for word in ("folds 1, 2, 3", "--epochs", "--learning-rate"))
        assert notes[0] in model_card(description)


@pytest.mark.parametrize(
    ("options", "ignorant"),
    [
        ({"balance": "none"}, -(0.2 * np.log(0.2) + 0.8 * np.log(0.8))),
        ({"balance": "weights"}, np.log(2)),
        ({"balance": "sampling"}, np.log(2)),
        ({"balance": "weights", "hemoglobin": True, "hemoglobin_weight": 0.5}, np.log(2) + 0.5),
    ],
)
def test_the_loss_is_compared_with_that_of_knowing_the_shares_of_the_classes(few, options, ignorant):
    bags = bags_of(few)
    split = member_split(bags, 0, tiny(**options))
    bags.classes[split.train] = np.arange(len(split.train)) % 5 == 0
    for loss, expected in ((0.91, True), (0.89, False)):
        history = FoldHistory(train_loss=(9.0, loss * ignorant), best_epoch=2)
        assert barely_learned(bags, split, tiny(**options), history) == expected
