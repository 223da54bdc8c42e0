"""The model folder that training writes: its description, its predictions and its private files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from tests.training.factories import (
    ORIGIN,
    WIDTH,
    are_same_members,
    bags_of,
    names,
    read,
    tiny,
    with_column,
    write_cohort,
)

from napari_caltomorph.diagnosis import Ensemble, PredictOptions, Prevalence
from napari_caltomorph.diagnosis.installed import export_model
from napari_caltomorph.diagnosis.model_folder import TrainingPatients
from napari_caltomorph.diagnosis.predict import Predictor
from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.errors import FeaturesRefused, ModelRefused
from napari_caltomorph.training import TrainOptions, train

OPTIONS = tiny(hemoglobin=True, epochs=5)


@pytest.fixture(scope="module")
def model(few, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    return folder, train(read(few), few / "features", OPTIONS, out=folder)


def test_the_model_that_is_loaded_is_the_one_that_was_trained(model):
    folder, ensemble = model
    loaded = Ensemble.load(folder)
    assert are_same_members(loaded, ensemble)
    assert loaded.description == ensemble.description
    assert json.loads((folder / "model.json").read_text())["training"]["recipe"] == "robust"
    assert names(folder) == [
        "README.md",
        "domain.safetensors",
        "fold_0.safetensors",
        "fold_1.safetensors",
        "fold_2.safetensors",
        "model.json",
        "private",
    ]


def test_the_description_records_the_training(model):
    description = model[1].description
    training = description.training
    assert TrainOptions(**training.options).model_dump() == OPTIONS.model_dump()
    assert training.patients == {"acute_leukemia": 10, "lymphoma": 10, "healthy": 10}
    assert training.cohort == "features, 30 training patients"
    assert [(f.patients, f.validation_patients, f.epochs, f.stopped_by) for f in training.folds] == [
        (20, 0, 5, "fixed number of epochs")
    ] * 3
    assert any(
        "too few patients to stop on (30, and 5 of each class, are needed) train all 5 epochs" in n
        for n in training.notes
    )
    assert description.encoder.model_dump() == {
        "name": "dinobloom-b",
        "weights_sha256": "ab" * 32,
        "preprocessing": "224 px",
        "width": WIDTH,
        "views": None,
    }
    assert description.threshold.value == 0.5
    assert description.threshold.rule == "more probably malignant than not"  # not the paper's: other classes, balanced
    assert description.prevalence == Prevalence(trained=2 / 3)
    assert description.calibration is None
    assert not description.synthetic
    assert "torch" in description.library_versions


def test_a_training_patient_is_predicted_as_the_mean_of_the_members(model, few):
    folder, ensemble = model
    features = Features.load(few / "features" / "cll-002.h5")
    prediction = Ensemble.load(folder).predict(features)
    with torch.no_grad():
        each = [member(torch.from_numpy(features.values)[None]) for member in ensemble.members]
    probabilities = np.stack([outputs.logits.double().softmax(-1)[0].numpy() for outputs in each])
    np.testing.assert_allclose(prediction.member_probabilities, probabilities, atol=1e-6)
    np.testing.assert_allclose(prediction.probabilities, probabilities.mean(axis=0), atol=1e-6)
    hemoglobin = [
        float(o.hemoglobin[0] * m.hemoglobin_std + m.hemoglobin_mean)
        for o, m in zip(each, ensemble.members, strict=True)
    ]
    np.testing.assert_allclose(prediction.member_hemoglobin, hemoglobin, rtol=1e-5)


def test_out_of_fold_numbers_are_those_of_the_member_that_was_not_trained_on_the_patient(model, few):
    folder, ensemble = model
    patients = TrainingPatients.load(folder, ensemble.description)
    slugs = ensemble.description.taxonomy.slugs
    predicted = patients.table[[f"out_of_fold_p_{slug}" for slug in slugs]].to_numpy(float)
    folds = read(few).table.set_index("patient_id")["fold"]
    for row, patient in enumerate(patients.table["patient_id"]):
        fold = int(patients.table["fold"].iloc[row])
        assert fold == folds[patient]
        features = Features.load(few / "features" / f"{patient}.h5")
        expected = ensemble.predict(features).member_probabilities[fold]
        np.testing.assert_allclose(predicted[row], expected, atol=1e-5)
        embedding = ensemble.members[fold](torch.from_numpy(features.values)[None]).embedding
        torch.testing.assert_close(patients.embeddings[fold, row], embedding[0], rtol=1e-4, atol=1e-5)
    true = [slugs.index(slug) for slug in patients.table["coarse"]]
    out_of_fold = ensemble.description.training.out_of_fold
    assert out_of_fold.pooled["balanced_accuracy"].value == pytest.approx(
        balanced_accuracy_score(true, predicted.argmax(axis=1))
    )
    malignancy = predicted[:, [slugs.index("acute_leukemia"), slugs.index("lymphoma")]].sum(axis=1)
    assert out_of_fold.pooled["malignancy_bias"].value == pytest.approx(malignancy.mean() - 2 / 3)
    of_first = patients.table["fold"] == 0
    assert out_of_fold.per_fold["accuracy"][0] == pytest.approx(
        np.mean(predicted.argmax(axis=1)[of_first] == np.array(true)[of_first])
    )
    errors = patients.table["hemoglobin_g_dl"] - patients.table["out_of_fold_hemoglobin_g_dl"]
    interval = ensemble.description.hemoglobin.error
    assert interval.low <= errors.median() <= interval.high
    assert sum(band.patients for band in interval.bands) == interval.patients
    assert all(band.covered is not None for band in interval.bands)
    assert ((errors >= interval.low - 0.01) & (errors <= interval.high + 0.01)).mean() >= 0.9


def test_what_could_identify_patients_is_in_private_and_is_not_exported(model, tmp_path):
    folder, _ = model
    assert names(folder / "private") == ["embeddings.safetensors", "patients.csv"]
    table = pd.read_csv(folder / "private" / "patients.csv")
    assert set(table["patient_id"]) >= {"aml-000", "cll-009"}
    exported = export_model(str(folder), tmp_path / "exported")
    assert not (exported / "private").exists()
    for public in exported.rglob("*"):
        content = public.read_bytes()
        assert not any(patient.encode() in content for patient in table["patient_id"])
    assert are_same_members(Ensemble.load(exported), Ensemble.load(folder))


def test_a_model_of_features_without_origin_predicts_features_and_refuses_images(tmp_path, make_export):
    cohort = write_cohort(tmp_path / "c", {"aml": 8, "cll": 8}, origin=FeatureOrigin())
    train(read(cohort), None, tiny(), out=tmp_path / "model")
    ensemble = Ensemble.load(tmp_path / "model")
    assert ensemble.description.encoder.name is None
    assert ensemble.description.field_of_view_um is None
    assert "The feature files do not name their encoder." in ensemble.description.training.notes
    prediction = ensemble.predict(Features.load(cohort / "features" / "aml-000.h5"))
    assert prediction.probabilities.sum() == pytest.approx(1)
    with pytest.raises(ModelRefused, match="encoder, so no cell can be encoded for it"):
        _ = Predictor(PredictOptions(model=str(tmp_path / "model"))).encoder


def test_features_of_another_encoder_are_refused_by_the_model(model):
    values = np.ones((3, WIDTH), dtype=np.float32)
    other = Features("p", values, ("a", "b", "c"), FeatureOrigin(encoder="dinobloom-s"))
    with pytest.raises(FeaturesRefused, match="encoder dinobloom-s made these features"):
        Ensemble.load(model[0]).predict(other)


@pytest.mark.parametrize(
    ("last", "expected"),
    [(26.0, 25.0), (250.0, 25.0), (None, None), (float("nan"), None), (-1.0, None), (float("inf"), None)],
)
def test_the_field_of_view_is_the_median_and_unknown_where_a_file_lacks_it(own, last, expected):
    cohort = read(own)
    with h5py.File(own / "features" / "cll-009.h5", "r+") as file:
        del file.attrs["field_of_view_um"]
        if last is not None:
            file.attrs["field_of_view_um"] = last
    assert train(cohort, None, tiny()).description.field_of_view_um == expected


@pytest.mark.parametrize("aggregator", ["abmil", "wbcmil", "concepts", "mean", "max"])
def test_every_aggregator_is_trained_saved_and_loaded(few, tmp_path, aggregator):
    ensemble = train(read(few), None, tiny(aggregator=aggregator), out=tmp_path / "model")
    loaded = Ensemble.load(tmp_path / "model")
    assert loaded.description.aggregator.kind == aggregator
    assert are_same_members(loaded, ensemble)


def test_without_out_nothing_is_written(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    ensemble = train(read(few), None, tiny())
    assert len(ensemble.members) == 3
    assert list(tmp_path.iterdir()) == []


def test_features_may_be_where_the_table_names_them_or_in_a_folder(own, tmp_path):
    cohort = read(own)
    expected = train(cohort, None, tiny())
    assert are_same_members(expected, train(cohort, own / "features", tiny()))
    elsewhere = tmp_path / "elsewhere"
    (own / "features").rename(elsewhere)
    assert are_same_members(expected, train(cohort, elsewhere, tiny()))


def test_a_patient_name_that_is_no_file_name_is_read(own):
    """Features of such a patient stand under an escaped name."""
    cohort = with_column(read(own), "patient_id", {"aml-000": "AML/0 ä"})
    ensemble = train(cohort, None, tiny())
    assert "AML/0 ä" in set(ensemble.patients.table["patient_id"])


def test_classes_that_differ_are_learned(tmp_path):
    """Drawn features of 3 classes, 20 patients each: out-of-fold far above chance."""
    sizes = {"aml": 20, "cll": 20, "stem_cell_donor": 20}
    folder = write_cohort(tmp_path / "c", sizes, cells=(20, 30), origin=ORIGIN)
    ensemble = train(read(folder), None, tiny(epochs=20))
    assert ensemble.description.training.out_of_fold.pooled["balanced_accuracy"].value > 0.7


def test_training_smears_are_recognised_in_a_cohort_that_was_read_by_names_only(few, tmp_path):
    folder = tmp_path / "marked"
    shutil.copytree(few, folder)
    for number, path in enumerate(sorted((folder / "features").glob("*.h5"))):
        bag = Features.load(path)
        replace(bag, origin=replace(bag.origin, smear_fingerprint=f"smear {number}")).save(path)
    table = bags_of(folder, names_only=True).table
    assert sorted(table["fingerprint"]) == sorted(f"smear {n}" for n in range(len(table)))
