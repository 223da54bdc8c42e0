"""What may influence the weights of a member: its own training patients and the seed, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.factories import (
    FOLDS,
    are_same,
    are_same_members,
    patients_of_fold,
    read,
    save_features,
    tiny,
    weights_of,
    with_column,
)

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.encoding import Features
from napari_caltomorph.training import TrainOptions, train

FOLD = 1


def other_labels(cohort: Cohort, folder: Path) -> Cohort:
    """Every patient of the fold gets the class of the next one in it, so that the same classes occur."""
    table = cohort.table.set_index("patient_id")
    patients = patients_of_fold(cohort, FOLD)
    turned = patients[len(patients) // 2 :] + patients[: len(patients) // 2]
    for column in ("coarse", "detailed"):
        values = dict(zip(patients, table.loc[turned, column], strict=True))
        cohort = with_column(cohort, column, values)
    assert (cohort.table["coarse"].to_numpy() != table["coarse"].to_numpy()).sum() > len(patients) / 2
    return cohort


def other_hemoglobin(cohort: Cohort, folder: Path) -> Cohort:
    return with_column(cohort, "hemoglobin_g_dl", dict.fromkeys(patients_of_fold(cohort, FOLD), 99.0))


def other_features(cohort: Cohort, folder: Path) -> Cohort:
    for patient in patients_of_fold(cohort, FOLD):
        values = Features.load(folder / "features" / f"{patient}.h5").values
        save_features(folder, patient, 5 - 3 * np.repeat(values, 2, axis=0))
    return cohort


@pytest.mark.parametrize(
    ("change", "options"),
    [
        *((change, {"dropout": 0.3}) for change in (other_labels, other_hemoglobin, other_features)),
        (other_labels, {"balance": "sampling"}),
    ],
)
def test_a_members_own_fold_has_no_influence_on_its_weights(own, change, options):
    cohort, options = read(own), tiny(hemoglobin=True, **options)
    before = train(cohort, None, options)
    after = train(change(cohort, own), None, options)
    assert are_same(weights_of(before, FOLD), weights_of(after, FOLD))
    others = [fold for fold in range(FOLDS) if fold != FOLD]
    assert not any(are_same(weights_of(before, fold), weights_of(after, fold)) for fold in others)


def test_a_members_own_fold_has_no_influence_where_other_patients_stop_it(many):
    cohort, options = read(many), tiny(batch_size=64, epochs=4, patience=2, learning_rate=3e-2)
    before = train(cohort, None, options)
    after = train(other_labels(cohort, many), None, options)
    assert before.description.training.folds[FOLD].validation_patients >= 30
    mine, theirs = (ensemble.description.training.folds[FOLD] for ensemble in (before, after))
    assert mine.model_copy(update={"recalibration": theirs.recalibration}) == theirs
    assert are_same(weights_of(before, FOLD), weights_of(after, FOLD))
    assert not are_same(weights_of(before, 0), weights_of(after, 0))


def test_the_papers_recipe_stops_on_the_own_fold_and_is_recorded_as_optimistic(few):
    cohort = read(few)
    options = TrainOptions(**tiny(epochs=12, learning_rate=3e-2).model_dump() | {"recipe": "paper"})
    before = train(cohort, None, options)
    after = train(other_labels(cohort, few), None, options)
    mine, theirs = (ensemble.description.training.folds[FOLD] for ensemble in (before, after))
    assert mine.train_loss[:3] == theirs.train_loss[:3]
    assert mine.validation_loss != theirs.validation_loss
    assert mine.validation_patients == len(patients_of_fold(cohort, FOLD))
    assert "optimistic" in before.description.training.out_of_fold_title
    assert "single members, not the ensemble; optimistic" in model_card(before.description)
    robust = train(cohort, None, tiny())
    assert "optimistic" not in model_card(robust.description)
    assert "single members, not the ensemble" in model_card(robust.description)


@pytest.mark.parametrize(("aggregator", "recipe"), [("transformer", "robust"), ("wbcmil", "paper")])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(few, recipe, aggregator):
    chosen = {"recipe": recipe, "dropout": 0.2, "balance": "sampling", "aggregator": aggregator}
    options = TrainOptions(**tiny().model_dump() | chosen)
    one = train(read(few), None, options)
    torch.manual_seed(5)  # whatever the caller draws
    np.random.default_rng().random()
    assert are_same_members(one, train(read(few), None, options))
    other = train(read(few), None, options.model_copy(update={"seed": 1}))
    assert not any(are_same(weights_of(one, i), weights_of(other, i)) for i in range(FOLDS))


def test_members_differ_and_the_callers_random_numbers_are_not_touched(few):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    ensemble = train(read(few), None, tiny(dropout=0.5))
    assert torch.equal(torch.rand(3), expected)
    assert not are_same(weights_of(ensemble, 0), weights_of(ensemble, 1))


def test_the_test_split_is_not_used(own):
    cohort = read(own, test_fraction=0.3)
    held_out = cohort.table.loc[cohort.table["split"] == "test", "patient_id"]
    assert len(held_out) >= 6
    before = train(cohort, None, tiny())
    for patient in held_out:
        (own / "features" / f"{patient}.h5").write_bytes(b"nothing to see here")
    assert are_same_members(before, train(cohort, None, tiny()))
    smaller = replace(cohort, table=cohort.table[cohort.table["split"] == "train"].reset_index(drop=True))
    assert are_same_members(before, train(smaller, None, tiny()))


def test_scales_are_those_of_the_members_own_training_patients(few):
    cohort = read(few)
    ensemble = train(cohort, None, tiny(hemoglobin=True))
    table = cohort.table
    training_patients = table[table["fold"] != FOLD]
    cells = np.concatenate([Features.load(Path(p)).values for p in training_patients["features"]]).astype(float)
    member = ensemble.members[FOLD]
    np.testing.assert_allclose(member.feature_mean, cells.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(member.feature_std, cells.std(axis=0), rtol=1e-5)
    values = training_patients["hemoglobin_g_dl"].to_numpy(float)
    assert float(member.hemoglobin_mean) == pytest.approx(values.mean(), rel=1e-5)
    assert float(member.hemoglobin_std) == pytest.approx(values.std(), rel=1e-5)
    plain = train(cohort, None, tiny(scaling="none")).members[FOLD]
    np.testing.assert_allclose(member.average_cell, cells.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(plain.average_cell, cells.mean(axis=0), atol=1e-5)
    assert not plain.feature_mean.any()
    assert (plain.feature_std == 1).all()
