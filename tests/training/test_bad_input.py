"""Patients that no member can be trained on are refused before training, in one sentence that names the fix."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from tests.training.factories import (
    ORIGIN,
    PROCESSES,
    WIDTH,
    are_same,
    bags_of,
    patients_of_fold,
    read,
    save_features,
    tiny,
    weights_of,
    with_column,
    write_cohort,
)

from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.errors import CaltomorphError, DeviceMissing, FeaturesRefused, TrainingRefused
from napari_caltomorph.progress import Progress
from napari_caltomorph.training import TrainProgress, train
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import member_split
from napari_caltomorph.training.members import FoldCheckpoint, new_member, predict_bags

FOLD_TWO = 1


def refused(kind: type[CaltomorphError], match: str, call: Callable[[], object]) -> None:
    with pytest.raises(kind, match=match) as error:
        call()
    assert "\n" not in str(error.value)


def nothing_is_trained(progress: Progress) -> None:
    assert not isinstance(progress, TrainProgress)


# Classes


def test_a_class_with_fewer_patients_than_folds_is_trained_on_and_noted(tmp_path):
    folder = write_cohort(tmp_path / "c", {"aml": 12, "cll": 12, "mm": 2})
    ensemble = train(read(folder, folds=4), None, tiny())
    notes = ensemble.description.training.notes
    assert any("fewer training patients than folds are not in every fold: Plasma cell neoplasm (2)" in n for n in notes)
    assert len(ensemble.members) == 4
    assert ensemble.description.training.patients["plasma_cell_neoplasm"] == 2


def test_a_class_that_is_missing_from_a_members_training_data_is_noted(few):
    cohort = read(few)
    aml = cohort.table.loc[cohort.table["coarse"] == "acute_leukemia", "patient_id"]
    alone = with_column(cohort, "fold", dict.fromkeys(aml, FOLD_TWO))
    notes = train(alone, None, tiny()).description.training.notes
    assert "The member of fold 2 was trained on no patient of Acute leukemia." in notes
    assert not any("fold 1 was trained on no" in note for note in notes)


def test_one_class_only_is_refused(few):
    cohort = read(few)
    one = replace(cohort, table=cohort.table[cohort.table["coarse"] == "lymphoma"].reset_index(drop=True))
    refused(
        TrainingRefused,
        r"features has training patients of one class only \(lymphoma\).*--taxonomy",
        lambda: train(one, None, tiny()),
    )


def test_one_fold_only_is_refused(few):
    cohort = read(few)
    one = with_column(cohort, "fold", dict.fromkeys(cohort.table["patient_id"], 0))
    refused(TrainingRefused, "has no two folds to train on; it needs more", lambda: train(one, None, tiny()))


def test_classes_without_patients_are_not_in_the_model_and_are_noted(few):
    description = train(read(few), None, tiny()).description
    assert set(description.taxonomy.slugs) == {"acute_leukemia", "lymphoma", "healthy"}
    assert any(n.startswith("The model does not know MDS, ") for n in description.training.notes)


def test_patients_of_several_classes_are_not_trained_on_and_counted(few):
    cohort = with_column(read(few), "coarse", {"aml-000": None, "cll-000": None})
    ensemble = train(cohort, None, tiny())
    assert "2 training patients of no class, or of several, were not trained on." in ensemble.description.training.notes
    assert len(ensemble.patients.table) == 28


# Hemoglobin


def test_no_hemoglobin_is_refused_with_the_option_that_names_the_column(tmp_path):
    folder = write_cohort(tmp_path / "c", {"aml": 6, "cll": 6}, with_hemoglobin=False)
    refused(
        TrainingRefused,
        r"0 of 8 training patients of fold 1 have a hemoglobin value, .* name its column with --hemoglobin-column, or",
        lambda: train(read(folder), None, tiny(hemoglobin=True), progress=nothing_is_trained),
    )
    assert train(read(folder), None, tiny()).description.hemoglobin is None


def test_hemoglobin_in_one_fold_only_is_refused_because_its_own_member_has_none(few):
    cohort = read(few)
    others = [p for p in cohort.table["patient_id"] if p not in patients_of_fold(cohort, FOLD_TWO)]
    refused(
        TrainingRefused,
        "0 of 20 training patients of fold 2 have a hemoglobin value",
        lambda: train(
            with_column(cohort, "hemoglobin_g_dl", dict.fromkeys(others)),
            None,
            tiny(hemoglobin=True),
            progress=nothing_is_trained,
        ),
    )


def test_hemoglobin_of_validation_patients_only_is_refused(many_bags):
    """A member is not trained on its validation patients: others must have values."""
    bags = many_bags
    split = member_split(bags, 0, tiny())
    values = np.full(len(bags), np.nan)
    values[split.validation] = 12 + np.arange(len(split.validation)) / 10
    refused(
        TrainingRefused,
        "training patients of fold 1 have a hemoglobin value",
        lambda: member_split(replace(bags, hemoglobin=values), 0, tiny(hemoglobin=True)),
    )


def test_constant_hemoglobin_is_refused(few):
    cohort = read(few)
    same = with_column(cohort, "hemoglobin_g_dl", dict.fromkeys(cohort.table["patient_id"], 12.1))
    refused(
        TrainingRefused,
        r"Hemoglobin is 12\.1 for all training patients of fold 1.*--hemoglobin",
        lambda: train(same, None, tiny(hemoglobin=True), progress=nothing_is_trained),
    )


def test_missing_hemoglobin_is_masked(few):
    cohort = read(few)
    some = with_column(cohort, "hemoglobin_g_dl", dict.fromkeys(cohort.table["patient_id"][::2]))
    ensemble = train(some, None, tiny(hemoglobin=True))
    table = ensemble.patients.table
    assert table["out_of_fold_hemoglobin_g_dl"].notna().all()
    assert table["hemoglobin_g_dl"].notna().sum() == 15
    assert all(v.isfinite().all() for i in range(3) for v in weights_of(ensemble, i).values())


# Losses that are no numbers: provoked by rates beyond what the options allow, which `model_copy` does not check


def test_a_loss_that_is_no_number_in_the_first_epoch_is_refused(few, tmp_path):
    options = tiny(warmup_epochs=0, schedule="constant").model_copy(update={"learning_rate": 1e37})
    refused(
        TrainingRefused,
        "The loss of fold 1 is not a number in the first epoch; use a smaller --learning-rate",
        lambda: train(read(few), None, options, out=tmp_path / "model"),
    )
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_no_number_later_stops_the_member_and_its_last_good_weights_are_kept(few):
    """In the warm-up the rate rises until the product of two layers overflows."""
    options = tiny(
        aggregator="mean",
        warmup_epochs=20,
        epochs=40,
        batch_size=30,
        balance="none",
        weight_decay=0,
        dropout=0,
    ).model_copy(update={"learning_rate": 3e19})
    ensemble = train(read(few), None, options)
    training = ensemble.description.training
    for number, fold in enumerate(training.folds, start=1):
        assert fold.stopped_by == "not finite"
        assert 0 < fold.epochs == fold.best_epoch == len(fold.train_loss) < 40
        sentence = (
            f"The loss of fold {number} was not a number in epoch {fold.epochs + 1}; "
            f"its member has the weights of epoch {fold.epochs}."
        )
        assert sentence in training.notes
        assert sentence in model_card(ensemble.description)
    prediction = ensemble.predict(Features.load(few / "features" / "aml-000.h5"))
    assert np.isfinite(prediction.member_probabilities).all()


@pytest.mark.parametrize("batch_size", [30, 4])
def test_weights_that_turn_into_no_numbers_are_never_kept(few, tmp_path, batch_size):
    """The gradient overflows in the second epoch, while its loss is still a number."""
    bags = bags_of(few)
    options = tiny(epochs=6, batch_size=batch_size, warmup_epochs=0, schedule="constant")
    checkpoint = FoldCheckpoint(tmp_path / "work", 0)
    split = member_split(bags, 0, options)

    class Enough(Exception):
        pass

    def stop(history, step):
        if history.epochs == 2:
            raise Enough

    with pytest.raises(Enough):
        fit_member(bags, split, options, checkpoint, on_step=stop)
    before = checkpoint.best()
    overflowing = options.model_copy(update={"learning_rate": 3e37})
    history = fit_member(bags, split, overflowing, checkpoint)
    assert (history.stopped_by, history.epochs, history.best_epoch) == ("not finite", 2, 2)
    assert are_same(checkpoint.best(), before)


# Features


def test_missing_features_are_refused_with_their_number_and_patients(own):
    cohort = read(own)
    for patient in ("aml-003", "cll-001"):
        (own / "features" / f"{patient}.h5").unlink()
    refused(
        TrainingRefused,
        r"2 of 30 training patients have no features in .*own/features \(first: aml-003\); run `caltomorph encode`, or "
        "train without them with --skip-missing",
        lambda: train(cohort, own / "features", tiny(), progress=nothing_is_trained),
    )
    ensemble = train(cohort, own / "features", tiny(skip_missing=True))
    notes = ensemble.description.training.notes
    assert any(n.startswith("2 of 30 training patients have no features") and "not trained on" in n for n in notes)
    assert len(ensemble.patients.table) == 28
    assert "aml-003" not in set(ensemble.patients.table["patient_id"])


def test_too_few_left_without_the_missing_is_refused(own):
    cohort = read(own)
    for path in (own / "features").glob("[cs]*.h5"):
        path.unlink()
    refused(
        TrainingRefused,
        "20 of 30 training patients have no features .* and too few are left; run `caltomorph encode ",
        lambda: train(cohort, own / "features", tiny(skip_missing=True)),
    )


@pytest.mark.parametrize(
    ("origin", "width", "message"),
    [
        (ORIGIN, WIDTH + 2, r"aml-000\.h5 is 8 wide, .*cll-004\.h5 10: they are of two encoders; encode all patients"),
        (replace(ORIGIN, encoder="dinobloom-s"), WIDTH, r"cll-004\.h5 differ in their encoder \(dinobloom-b and din"),
        (replace(ORIGIN, weights_sha256="cd" * 32), WIDTH, r"cll-004\.h5 differ in their weights \(abab"),
        (replace(ORIGIN, preprocessing="96 px"), WIDTH, r"cll-004\.h5 differ in their preprocessing \(224 px and 96"),
        (FeatureOrigin(), WIDTH, r"cll-004\.h5 differ in their encoder \(dinobloom-b and None\)"),
        (
            replace(ORIGIN, weights_sha256="ABC"),
            WIDTH,
            r"cll-004\.h5: its weights_sha256 \(ABC\) is not a SHA-256; encode",
        ),
    ],
)
def test_features_of_two_encoders_are_refused_with_two_files(own, origin, width, message):
    cohort = read(own)
    save_features(own, "cll-004", np.ones((5, width)), origin)
    refused(FeaturesRefused, message, lambda: train(cohort, None, tiny(), progress=nothing_is_trained))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(own, value):
    cohort = read(own)
    with h5py.File(own / "features" / "cll-004.h5", "r+") as file:
        file["features"][1, 2] = value
    refused(
        FeaturesRefused,
        r"cll-004: 1 of \d features are not finite; encode again",
        lambda: train(cohort, None, tiny(), progress=nothing_is_trained),
    )


def test_features_so_large_that_their_squares_overflow_are_refused_with_the_file(own):
    cohort = read(own)
    save_features(own, "cll-004", np.full((5, WIDTH), 1e30))
    refused(
        FeaturesRefused,
        r"cll-004\.h5 has features as large as 1e\+30.*encode again",
        lambda: train(cohort, None, tiny(), progress=nothing_is_trained),
    )


def test_a_damaged_feature_file_is_named(own):
    cohort = read(own)
    path = own / "features" / "cll-004.h5"
    path.write_bytes(path.read_bytes()[:500])
    refused(FeaturesRefused, r"cll-004\.h5 holds no features that can be read", lambda: train(cohort, None, tiny()))


def test_a_feature_that_never_varies_harms_nothing(own):
    cohort = read(own)
    for path in (own / "features").glob("*.h5"):
        features = Features.load(path)
        values = features.values.copy()
        values[:, 3] = 1234.5
        replace(features, values=values).save(path)
    ensemble = train(cohort, None, tiny())
    assert all(float(member.feature_std[3]) == 1 for member in ensemble.members)
    assert all(fold.train_loss[-1] < 5 for fold in ensemble.description.training.folds)


# The machine


def test_a_device_that_is_not_there_is_refused(few):
    if torch.cuda.is_available():
        pytest.skip("it is there")
    refused(DeviceMissing, "There is no cuda", lambda: train(read(few), None, tiny(device="cuda")))


def train_in_little_memory(folder: Path, message: Path) -> None:
    """Bags of 6,000 cells through a wide network, whose first layer needs 0.25 GB, in 0.15 GB more than is in use."""
    import resource

    cohort, options = read(folder), tiny(width=512, mlp_width=2048, max_cells=6_000, batch_size=30)
    status = Path("/proc/self/statm").read_text(encoding="utf-8").split()
    limit = int(status[0]) * os.sysconf("SC_PAGE_SIZE") + 150_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        train(cohort, None, options)
    except TrainingRefused as error:
        message.write_text(str(error), encoding="utf-8")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no such limit there")
def test_memory_that_runs_out_is_one_sentence_with_the_options_that_need_less(own, tmp_path):
    for patient in ("aml-000", "aml-001", "cll-000", "cll-001"):
        save_features(own, patient, np.random.default_rng(0).normal(size=(6_000, WIDTH)))
    process = PROCESSES.Process(target=train_in_little_memory, args=(own, tmp_path / "message"))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert (tmp_path / "message").read_text() == (
        "Memory ran out with 30 patients of up to 6000 cells at once; use a smaller --patients-per-batch (with "
        "--accumulate for steps of the same size), or fewer --max-cells."
    )


def test_memory_that_numpy_cannot_get_is_the_same_sentence(few):
    """A patient whose cells, padded to a batch, would take 2 EB: refused by NumPy, not by torch."""
    bags = bags_of(few)
    endless = np.lib.stride_tricks.as_strided(bags.values[0][:1], (2**40, WIDTH), (0, 4))
    huge = replace(bags, values=(endless, *bags.values[1:]))
    member = new_member(bags, member_split(bags, 0, tiny()), tiny())
    refused(
        TrainingRefused,
        "Memory ran out with 8 patients .* use a smaller --patients-per-batch",
        lambda: predict_bags(member, huge, np.arange(30), tiny()),
    )
