"""Patients set aside to calibrate on: as many as asked for, seen by no member, and enough of them or none."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from tests.training.factories import are_same, bags_of, read, save_features, tiny, weights_of, with_column

from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.encoding import Features
from napari_caltomorph.errors import CalibrationRefused
from napari_caltomorph.progress import Progress
from napari_caltomorph.training import TrainProgress, train
from napari_caltomorph.training.bags import with_calibration_split

OPTIONS = tiny(calibration_split=0.4, batch_size=64, epochs=2, hemoglobin=True)


def nothing_is_trained(progress: Progress) -> None:
    assert not isinstance(progress, TrainProgress)


@pytest.mark.parametrize(("share", "count"), [(0.2, 104), (0.3, 156)])
def test_fewer_than_200_patients_are_refused(many_bags, share, count):
    with pytest.raises(
        CalibrationRefused, match=rf"{100 * share:.0f} % has {count} of 520 .*200 .*--calibration-split"
    ):
        with_calibration_split(many_bags, tiny(calibration_split=share))


def test_a_refused_split_leaves_nothing_and_trains_nothing(few, tmp_path):
    with pytest.raises(CalibrationRefused, match="200"):
        train(read(few), None, OPTIONS, out=tmp_path / "model", progress=nothing_is_trained)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.39, 0.4, 0.45, 0.49])
def test_the_given_share_is_removed_from_every_fold_and_every_class(many_bags, share):
    bags = with_calibration_split(many_bags, tiny(calibration_split=share))
    aside = bags.folds < 0
    assert aside.mean() == pytest.approx(share, abs=0.02)
    sizes, set_aside = (np.bincount(bags.classes[rows]) for rows in (np.ones(520, dtype=bool), aside))
    np.testing.assert_allclose(set_aside / sizes, share, atol=0.03)
    assert bags.fold_numbers == [0, 1, 2]


def test_no_member_has_seen_them(many, tmp_path):
    """Whatever their labels, hemoglobin and features are: the members stay the same to the last bit."""
    folder = shutil.copytree(many, tmp_path / "own")
    cohort = read(folder)
    before = train(cohort, None, OPTIONS)
    bags = bags_of(folder, OPTIONS)
    aside = list(bags.table.loc[bags.folds < 0, "patient_id"])
    coarse = dict(zip(cohort.table["patient_id"], cohort.table["coarse"], strict=True))
    # The detailed class decides who is set aside, and stays: who is in which part is held fixed here.
    other = with_column(cohort, "coarse", {p: coarse[q] for p, q in zip(aside, reversed(aside), strict=True)})
    other = with_column(other, "hemoglobin_g_dl", dict.fromkeys(aside, 3.0))
    for patient in aside:
        save_features(folder, patient, 1 - Features.load(folder / "features" / f"{patient}.h5").values)
    after = train(other, None, OPTIONS)
    assert list(after.patients.table.loc[after.patients.table["fold"] < 0, "patient_id"]) == aside
    assert all(are_same(weights_of(before, i), weights_of(after, i)) for i in range(3))
    assert before.description.calibration != after.description.calibration
    assert before.description.training.out_of_fold == after.description.training.out_of_fold


def test_model_and_prediction_record_the_calibration_and_its_patients(many, tmp_path):
    train(read(many), None, OPTIONS, out=tmp_path / "model")
    ensemble = Ensemble.load(tmp_path / "model")
    calibration = ensemble.description.calibration
    assert sum(calibration.patients.values()) == 208
    assert "208 patients of features that no member has seen" in calibration.source
    assert "calibrated: " in (tmp_path / "model" / "README.md").read_text()
    assert json.loads((tmp_path / "model" / "model.json").read_text())["calibration"]["temperature"] > 0
    prediction = ensemble.predict(Features.load(many / "features" / "aml-000.h5"))
    assert prediction.calibration == calibration
    np.testing.assert_allclose(
        prediction.probabilities, calibration.apply(prediction.member_probabilities.mean(axis=0)[None])[0]
    )
    assert not np.allclose(prediction.probabilities, prediction.member_probabilities.mean(axis=0))


def test_without_a_split_the_model_is_not_calibrated(few):
    ensemble = train(read(few), None, tiny())
    assert ensemble.description.calibration is None
    assert ensemble.predict(Features.load(few / "features" / "aml-000.h5")).calibration is None
