"""Many patients: each is predicted, failed with a reason, or kept as it was done before."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from napari_caltomorph.cohort import FoundPatient, find_patients, named_patients
from napari_caltomorph.csv_files import read_csv
from napari_caltomorph.diagnosis import Prediction, PredictOptions, Predictor, find_model
from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.errors import DiskFull, FeaturesRefused, ModelRefused, OutputRefused, PolicyUnreadable
from napari_caltomorph.jobs import PatientProgress, predict_patients
from napari_caltomorph.progress import Cancelled
from napari_caltomorph.smear import check_smear, read_smear, smear_fingerprint
from napari_caltomorph.synthetic import synthesize_patient, write_smear


@pytest.fixture(scope="module")
def predictor():
    return Predictor(PredictOptions(model="demo", device="cpu"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patients")
    for seed, name in enumerate(("p1", "p2", "p3")):
        write_smear(synthesize_patient("cll", cells=4, seed=seed), folder / name)
    return folder


@pytest.fixture
def patients(drawn, tmp_path):
    shutil.copytree(drawn, tmp_path / "patients")
    return {name: FoundPatient(tmp_path / "patients" / name) for name in ("p1", "p2", "p3")}


def outcomes(results):
    return ["failed" if one.prediction is None else "kept" if one.is_cached else "done" for one in results]


def test_a_patient_that_fails_has_its_reason_and_the_others_go_on(predictor, patients, tmp_path):
    for cell in patients["p2"].path.glob("*.TIF"):
        cell.write_bytes(b"")
    reports = []
    results = predict_patients(patients, tmp_path / "out", predictor, progress=reports.append)
    assert outcomes(results) == ["done", "failed", "done"]
    assert "none usable" in results[1].problem
    assert [r.result for r in reports if r.result is not None] == results
    assert all(isinstance(report, PatientProgress) and report.patients == 3 for report in reports)
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert list(table["patient_id"]) == ["p1", "p3"]
    assert set(pd.read_csv(tmp_path / "out" / "cells.csv")["patient_id"]) == {"p1", "p3"}
    assert results[0].prediction == Prediction.load(tmp_path / "out" / "p1")


def test_what_is_done_is_not_computed_again(predictor, patients, tmp_path):
    first = predict_patients(patients, tmp_path / "out", predictor)
    table = (tmp_path / "out" / "predictions.csv").read_bytes()
    again = predict_patients(patients, tmp_path / "out", predictor)
    assert outcomes(again) == ["kept"] * 3
    assert [one.prediction for one in again] == [one.prediction for one in first]
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == table


def test_another_prevalence_moves_what_is_done_without_computing_it_again(predictor, patients, tmp_path):
    before = predict_patients(patients, tmp_path / "out", predictor)
    stated = Predictor(predictor.options.model_copy(update={"prevalence": 0.01}))
    after = predict_patients(patients, tmp_path / "out", stated)
    assert outcomes(after) == ["kept"] * 3
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    for was, now, malignancy in zip(before, after, table["malignancy"], strict=True):
        assert now.prediction == was.prediction.at_prevalence(0.01)
        assert Prediction.load(now.file) == now.prediction
        assert malignancy == pytest.approx(now.prediction.malignancy)
    assert list(table["prevalence"]) == [0.01] * 3
    assert list(table["training_prevalence"]) == [predictor.description.prevalence.trained] * 3
    assert stated.predict(patients["p1"].read())[1].malignancy == after[0].prediction.malignancy


def test_another_policy_withholds_what_is_done_without_computing_it_again(predictor, patients, tmp_path):
    file, out = tmp_path / "policy.toml", tmp_path / "out"
    before = predict_patients(patients, out, predictor)
    rules = Predictor(predictor.options.model_copy(update={"policy": file}))
    with pytest.raises(PolicyUnreadable, match="cannot be read"):
        predict_patients(patients, tmp_path / "other", rules)
    assert not (tmp_path / "other").exists()
    file.write_text('name = "Clinic A"\nversion = "1"\nmin_cells = 1000\n')
    after = predict_patients(patients, out, rules, report=True)
    assert outcomes(after) == ["kept"] * 3
    table = pd.read_csv(out / "predictions.csv")
    assert table[["predicted_class", "malignancy", "p_mds"]].isna().all(axis=None)
    assert table["withheld"].str.contains("fewer than 1000").all()
    for was, now in zip(before, after, strict=True):
        assert now.prediction == was.prediction.under(rules.policy) == Prediction.load(now.file)
        assert "No prediction" in now.report.read_text()
    assert rules.predict(patients["p1"].read())[1].withheld == after[0].prediction.withheld
    assert predict_patients(patients, out, predictor)[0].prediction == before[0].prediction


def test_a_prevalence_that_a_model_cannot_be_moved_to_is_refused_before_the_first_patient(
    patients, tmp_path, predictor
):
    folder = shutil.copytree(find_model("demo"), tmp_path / "model")
    description = json.loads((folder / "model.json").read_text())
    description["training"]["patients"] = {}
    (folder / "model.json").write_text(json.dumps(description))
    stated = Predictor(PredictOptions(model=str(folder), device="cpu", prevalence=0.1))
    with pytest.raises(ModelRefused, match="without a prevalence"):
        predict_patients(patients, tmp_path / "out", stated)


def test_another_image_another_model_or_a_damaged_file_is_computed_again(predictor, patients, tmp_path):
    predict_patients(patients, tmp_path / "out", predictor)
    next(patients["p1"].path.glob("*.TIF")).unlink()
    (tmp_path / "out" / "p2" / "prediction.json").write_text("{")
    other = Prediction.load(tmp_path / "out" / "p3").model_copy(update={"model_fingerprint": "0" * 64})
    other.save(tmp_path / "out" / "p3" / "prediction.json")
    assert outcomes(predict_patients(patients, tmp_path / "out", predictor)) == ["done"] * 3
    assert len(Prediction.load(tmp_path / "out" / "p1").cells) == 3


def test_a_prediction_of_images_that_were_read_by_other_rules_is_computed_again(predictor, patients, tmp_path):
    one = {"p1": patients["p1"]}
    predict_patients(one, tmp_path / "out", predictor)
    file = tmp_path / "out" / "prediction.json"
    written = json.loads(file.read_text())
    del written["quality_rules"]  # as before the version was recorded
    file.write_text(json.dumps(written))
    assert outcomes(predict_patients(one, tmp_path / "out", predictor)) == ["done"]
    assert outcomes(predict_patients(one, tmp_path / "out", predictor)) == ["kept"]


def test_moved_images_are_found_at_their_new_place(predictor, patients, tmp_path):
    predict_patients(patients, tmp_path / "out", predictor)
    moved = {
        name: FoundPatient(Path(shutil.move(one.path, tmp_path / f"moved_{name}"))) for name, one in patients.items()
    }
    results = predict_patients(moved, tmp_path / "out", predictor)
    assert outcomes(results) == ["kept"] * 3
    assert Prediction.load(tmp_path / "out" / "p1").smear_path == str(tmp_path / "moved_p1")


def test_a_persons_choice_of_cells_is_kept(predictor, patients, tmp_path):
    predict_patients(patients, tmp_path / "out", predictor)
    smear = check_smear(read_smear(patients["p1"].path))
    _, chosen = predictor.predict(smear.choosing(set_aside=smear.cells[:1]))
    chosen.save(tmp_path / "out" / "p1" / "prediction.json")
    result, *_ = predict_patients(patients, tmp_path / "out", predictor)
    assert result.prediction == chosen
    assert result.prediction.left_out[0].by == "user"
    of_another_model = chosen.model_copy(update={"model_fingerprint": "0" * 64})
    of_another_model.save(tmp_path / "out" / "p1" / "prediction.json")
    results = predict_patients(patients, tmp_path / "out", predictor)
    assert outcomes(results) == ["failed", "kept", "kept"]
    assert re.search(r"p1/prediction\.json .*left out by hand.*another", results[0].problem)
    assert Prediction.load(tmp_path / "out" / "p1") == of_another_model


@pytest.mark.parametrize("stop", [Cancelled, KeyboardInterrupt, RuntimeError])
def test_a_run_that_ends_early_keeps_finished_patients_and_resumes(predictor, patients, tmp_path, stop):
    def stop_at_the_second(progress):
        if progress.number == 2 and progress.stage == "Encoding":
            raise stop

    with pytest.raises(stop):
        predict_patients(patients, tmp_path / "out", predictor, progress=stop_at_the_second)
    assert list(pd.read_csv(tmp_path / "out" / "predictions.csv")["patient_id"]) == ["p1"]
    assert outcomes(predict_patients(patients, tmp_path / "out", predictor)) == ["kept", "done", "done"]
    assert list(pd.read_csv(tmp_path / "out" / "predictions.csv")["patient_id"]) == ["p1", "p2", "p3"]


def test_a_prediction_that_is_deleted_during_the_run_has_failed(predictor, patients, tmp_path):
    def delete_the_first(progress):
        if progress.number == 2:
            shutil.rmtree(tmp_path / "out" / "p1", ignore_errors=True)

    results = predict_patients(patients, tmp_path / "out", predictor, progress=delete_the_first)
    assert outcomes(results) == ["failed", "done", "done"]
    assert "deleted during the run" in results[0].problem
    assert list(pd.read_csv(tmp_path / "out" / "predictions.csv")["patient_id"]) == ["p2", "p3"]


def test_a_run_that_ends_while_a_report_is_made_keeps_that_patient(predictor, patients, tmp_path):
    class Interrupting:
        description = SimpleNamespace(encoder=None)

        def differential(self, *_):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_patients(patients, tmp_path / "out", predictor, report=True, probe=Interrupting())
    assert list(pd.read_csv(tmp_path / "out" / "predictions.csv")["patient_id"]) == ["p1"]


def test_names_are_those_that_were_given(predictor, patients, tmp_path):
    (result,) = predict_patients({"patient 7": patients["p1"]}, tmp_path / "out", predictor)
    assert result.prediction.patient_id == "patient 7"
    assert result.file == tmp_path / "out" / "prediction.json"


def test_two_patients_of_one_folder_are_refused_before_computing(predictor, patients, tmp_path):
    with pytest.raises(OutputRefused, match="'a/b' and 'a%2Fb'"):
        predict_patients({"a/b": patients["p1"], "a%2Fb": patients["p2"]}, tmp_path / "out", predictor)


def test_the_fingerprint_of_a_smear_is_the_same_whether_it_is_graded_or_not(patients):
    (patients["p1"].path / "broken.tif").write_bytes(b"no image")
    (patients["p1"].path / "empty.tif").write_bytes(b"")
    smear = read_smear(patients["p1"].path)
    assert smear_fingerprint(smear) == check_smear(smear).fingerprint


def test_features_that_were_kept_are_found_again_under_the_patients_name(predictor, patients, tmp_path):
    (result,) = predict_patients({"patient 7": patients["p1"]}, tmp_path / "out", predictor)
    features = predictor.features_of(result.prediction)
    assert (features.patient_id, features.cells) == ("patient 7", result.prediction.cells)
    assert predictor.ensemble.predict(features).patient_id == "patient 7"


@pytest.fixture(scope="module")
def encoded(predictor, drawn, tmp_path_factory):
    """The prediction of p1 from its images, and the folder of its features."""
    smear, prediction = predictor.predict(read_smear(drawn / "p1"))
    folder = tmp_path_factory.mktemp("features")
    predictor.features_of(prediction, smear).save(folder / "p1.h5")
    return prediction, folder


def test_features_give_the_prediction_of_their_images(encoded, tmp_path):
    expected, folder = encoded
    predictor = Predictor(PredictOptions(model="demo", device="cpu"))
    results = predict_patients(find_patients(folder), tmp_path, predictor, report=True)
    found = results[0].prediction
    same = ("smear_fingerprint", "cells", "probabilities", "hemoglobin", "attention", "alone", "prevalence")
    assert all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in same)
    assert "encoder" not in vars(predictor)
    assert found.feature_files == (folder / "p1.h5",)
    assert "No thumbnails. p1 was predicted from features (p1.h5)" in results[0].report.read_text()
    assert outcomes(predict_patients(find_patients(folder), tmp_path, predictor)) == ["kept"]
    features = predictor.features_of(found)
    assert np.array_equal(features.values, Features.load(folder / "p1.h5").values)


def test_features_without_a_record_are_known_by_their_content(encoded, predictor, tmp_path):
    features = Features.load(encoded[1] / "p1.h5")
    bag, out = tmp_path / "features" / "p1.h5", tmp_path / "out"
    anonymous = replace(features, origin=FeatureOrigin())
    for scale, outcome in ((1, "done"), (1, "kept"), (2, "done")):
        replace(anonymous, values=scale * features.values).save(bag)
        [result] = predict_patients(named_patients([bag]), out, predictor)
        assert outcomes([result]) == [outcome]
    anonymous.save(bag)
    with pytest.raises(FeaturesRefused, match=r"p1\.h5 has changed"):
        predictor.features_of(result.prediction)


def test_features_of_another_encoder_are_refused_also_where_its_smear_was_predicted(encoded, predictor, tmp_path):
    features = Features.load(encoded[1] / "p1.h5")
    [result] = predict_patients(find_patients(encoded[1]), tmp_path / "out", predictor)
    narrow = replace(features, values=features.values[:, 1:])
    others = {
        "encoder weights": replace(features, origin=replace(features.origin, weights_sha256="0" * 64)),
        "127 wide": replace(narrow, origin=FeatureOrigin()),
    }
    for words, other in others.items():
        other.save(tmp_path / "p1.h5")
        [result] = predict_patients(named_patients([tmp_path / "p1.h5"]), tmp_path / "out", predictor)
        assert words in result.problem


def test_no_id_ends_a_run_and_each_is_found_again(predictor, patients, tmp_path):
    ids = ["A" * 300, ":" * 90, "a/b", "..", "CON", "P1.", "\x1b[2J\n", "🩸" * 80, "P\u202e1", "=1+1", "NA", "ok"]
    found = {name: patients["p1"] for name in ids}
    results = predict_patients(found, tmp_path / "out", predictor)
    assert outcomes(results) == ["done"] * len(ids)
    assert {one.file.parent.parent for one in results} == {tmp_path / "out"}
    assert outcomes(predict_patients(found, tmp_path / "out", predictor)) == ["kept"] * len(ids)
    assert list(read_csv(tmp_path / "out" / "predictions.csv", dtype={"patient_id": str})["patient_id"]) == ids


def test_patient_whose_result_cannot_be_written_has_a_reason_and_the_others_go_on(predictor, patients, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "p2").write_text("in the way")
    results = predict_patients(patients, tmp_path / "out", predictor)
    assert outcomes(results) == ["done", "failed", "done"]
    assert str(tmp_path / "out" / "p2") in results[1].problem
    assert list(pd.read_csv(tmp_path / "out" / "predictions.csv")["patient_id"]) == ["p1", "p3"]


def test_full_disk_ends_the_run_at_once(predictor, patients, tmp_path, monkeypatch):
    rename = Path.replace

    def on_a_full_disk(self, target):
        if target == tmp_path / "out" / "p2" / "prediction.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", on_a_full_disk)
    shown = []
    with pytest.raises(DiskFull, match="p2"):
        predict_patients(patients, tmp_path / "out", predictor, progress=shown.append)
    assert {report.patient_id for report in shown} == {"p1", "p2"}
    assert list(pd.read_csv(tmp_path / "out" / "predictions.csv")["patient_id"]) == ["p1"]


def test_second_run_into_a_folder_is_refused_and_a_killed_one_leaves_nothing(predictor, patients, tmp_path):
    out = tmp_path / "out"
    left = [out / ".caltomorph-0123456789abcdef.part", out / "p1" / ".caltomorph-0123456789abcdef.part"]
    for part in left:
        part.parent.mkdir(exist_ok=True, parents=True)
        part.write_text("half")
    reports = []

    def start_another(progress):
        if not reports:
            reports.append(progress)
            with pytest.raises(OutputRefused, match=rf"process {os.getpid()} "):
                predict_patients(patients, out, predictor)

    assert outcomes(predict_patients(patients, out, predictor, progress=start_another)) == ["done"] * 3
    assert sorted(path.name for path in out.iterdir()) == ["cells.csv", "p1", "p2", "p3", "predictions.csv"]
    assert [path.name for path in (out / "p1").iterdir()] == ["prediction.json"]
