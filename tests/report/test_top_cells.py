"""Thumbnails are the cells to which a prediction gives most attention, of patients who were judged wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.evaluation.factories import evaluation_of

from napari_caltomorph.diagnosis import Ensemble, find_model
from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.report.evaluation_report import top_cells
from napari_caltomorph.smear import read_smear
from napari_caltomorph.synthetic import synthesize_patient, synthetic_features
from napari_caltomorph.synthetic.write import write_smear


@pytest.fixture(scope="module")
def ensemble():
    return Ensemble.load(find_model("demo"))


@pytest.fixture(scope="module")
def judged(ensemble, tmp_path_factory):
    """P000 and P001 are wrong, P002 is right; each has images and features."""
    folder = tmp_path_factory.mktemp("top_cells")
    (folder / "features").mkdir()
    for number in range(3):
        patient = synthesize_patient("aml", cells=6, seed=number, patient_id=f"P{number:03d}")
        write_smear(patient, folder / patient.patient_id)
        names = read_smear(folder / patient.patient_id).cells
        values = synthetic_features(patient, ensemble.description.encoder.width)
        features = Features(patient.patient_id, values, names, FeatureOrigin())
        features.save(folder / "features" / f"{patient.patient_id}.h5")
    certain = np.array([[0.0, 0.9, 0.1, 0.0], [0.2, 0.8, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    made = evaluation_of(["acute"] * 3, certain)
    paths = pd.array([str(folder / f"P{i:03d}") for i in range(3)], dtype="string")
    return replace(made, patients=made.patients.assign(path=paths)), folder


@pytest.fixture(scope="module")
def files(judged):
    _, folder = judged
    return {path.stem: path for path in (folder / "features").glob("*.h5")}


def test_cells_are_those_that_the_prediction_ranks_first(ensemble, judged, files):
    evaluation, folder = judged
    found = top_cells(ensemble, evaluation, files, cells=4)
    assert list(found) == ["P000", "P001"]
    for patient, images in found.items():
        bag = Features.load(folder / "features" / f"{patient}.h5")
        first = np.argsort(-ensemble.predict(bag).attention)[:4]
        smear = read_smear(folder / patient)
        for image, cell in zip(images, first, strict=True):
            assert np.array_equal(image, smear.image(smear.cells.index(bag.cells[cell])))


def test_out_of_fold_the_member_that_judged_is_asked(ensemble, judged, files):
    evaluation, folder = judged
    alone = evaluation.patients.assign(fold=pd.array([2, 2, 2], dtype="Int64"))
    found = top_cells(ensemble, replace(evaluation, patients=alone), files, cells=1)
    member = Ensemble(ensemble.description, ensemble.members[2:3])
    for patient, (image,) in found.items():
        bag = Features.load(folder / "features" / f"{patient}.h5")
        smear = read_smear(folder / patient)
        best = bag.cells[int(np.argmax(member.predict(bag).attention))]
        assert np.array_equal(image, smear.image(smear.cells.index(best)))


def test_patients_without_images_or_features_are_left_out(ensemble, judged, files, tmp_path):
    evaluation, _ = judged
    gone = evaluation.patients["path"].copy()
    gone.iloc[0] = str(tmp_path / "gone")
    found = top_cells(ensemble, replace(evaluation, patients=evaluation.patients.assign(path=gone)), files)
    assert list(found) == ["P001"]
    assert top_cells(ensemble, evaluation, {}) == {}


def test_no_more_patients_than_asked_for(ensemble, judged, files):
    evaluation, _ = judged
    assert list(top_cells(ensemble, evaluation, files, patients=1)) == ["P000"]
