"""From a smear on disk to its diagnosis by the shipped demo model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from napari_caltomorph.diagnosis import Ensemble, Prediction, PredictOptions, Predictor, find_model
from napari_caltomorph.encoding import EncodeOptions, encode, load_encoder
from napari_caltomorph.encoding.options import Preparation
from napari_caltomorph.encoding.perturbation import STAIN_VIEWS
from napari_caltomorph.errors import FeaturesRefused, ModelRefused, WeightsRefused
from napari_caltomorph.progress import Cancelled
from napari_caltomorph.smear import check_smear, read_smear
from napari_caltomorph.storage import file_sha256, home
from napari_caltomorph.synthetic import CELL_TYPES, synthesize_patient, synthetic_smear, write_smear

CPU = PredictOptions(device="cpu", precision="float32")


@pytest.fixture(scope="session")
def aml(tmp_path_factory):
    """Sixty cells of a synthetic AML, one of them truncated, one twice, and a table beside them."""
    folder = tmp_path_factory.mktemp("smears") / "aml"
    write_smear(synthesize_patient("aml", cells=60, seed=0), folder)
    shutil.copyfile(folder / "Gal-000007.RGB.TIF", folder / "Gal-000061.RGB.TIF")
    content = (folder / "Gal-000002.RGB.TIF").read_bytes()
    (folder / "Gal-000002.RGB.TIF").write_bytes(content[: len(content) // 2])
    return folder


@pytest.fixture(scope="session")
def predictor():
    return Predictor(CPU)


@pytest.fixture(scope="session")
def predicted(aml, predictor):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CALTOMORPH_HOME", str(aml.parent / "home"))
        return predictor.predict(read_smear(aml))


def auroc(scores, is_positive):
    positive, negative = scores[is_positive], scores[~is_positive]
    return mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative))


def test_demo_diagnoses_a_synthetic_acute_leukemia(predicted):
    _, prediction = predicted
    assert prediction.predicted_class == "Acute leukemia"
    assert prediction.is_malignant
    assert prediction.synthetic
    # Of smears like the training cohort, one in twenty is called unlike it.
    assert all(text.startswith("Unlike the training cohort") for text in prediction.warnings)
    assert 4 < prediction.hemoglobin < 20


def test_demo_takes_blasts_for_acute_leukemia(aml, predicted):
    _, prediction = predicted
    truth = pd.read_csv(aml / "truth.csv", index_col="cell")["type"]
    types = truth[list(prediction.cells)].to_numpy()
    is_blast = np.char.find(types.astype(str), "blast") >= 0
    assert {str(t) for t in types[is_blast]} <= set(CELL_TYPES)
    assert 5 < is_blast.sum() < len(is_blast) - 5
    assert auroc(prediction.alone[:, 0], is_blast) > 0.8


def test_demo_attends_to_blasts_where_they_are_few(predictor):
    result = []
    for seed in (4, 5, 6, 8):  # at most a third of their cells are blasts; where most are, attention tells no longer
        patient = synthesize_patient("aml", cells=60, seed=seed)
        _, prediction = predictor.predict(synthetic_smear(patient))
        types = [patient.cell_types[int(cell.split(".")[0].removeprefix("Gal-")) - 1] for cell in prediction.cells]
        is_blast = np.char.find(np.array(types), "blast") >= 0
        assert 0 < is_blast.mean() < 0.4
        result.append(auroc(prediction.attention, is_blast))
    assert np.mean(result) > 0.75


def test_what_is_left_out_is_in_the_prediction_with_its_reason(predicted):
    smear, prediction = predicted
    assert {(c.cell, c.reason, c.by) for c in prediction.left_out} == {
        ("Gal-000002.RGB.TIF", "unreadable", "rule"),
        ("Gal-000061.RGB.TIF", "repeat of another cell", "rule"),
    }
    assert (
        next(c.note for c in prediction.left_out if c.by == "rule" and "61" in c.cell) == "same as Gal-000007.RGB.TIF"
    )
    assert prediction.passed_over == 1  # truth.csv
    assert prediction.cells == tuple(smear.cells[i] for i in smear.usable)
    assert len(prediction.cells) == 59


def test_prediction_records_its_origin(aml, predicted, predictor):
    smear, prediction = predicted
    assert prediction.patient_id == "aml"
    assert prediction.smear_path == str(aml)
    assert prediction.smear_fingerprint == smear.fingerprint
    assert prediction.model_fingerprint == predictor.description.fingerprint
    assert (prediction.encoder, prediction.encoder_weights_sha256) == (
        "demo-vit",
        predictor.description.encoder.weights_sha256,
    )
    assert prediction.field_of_view_um == pytest.approx(25.0, rel=1e-4)
    assert prediction.labels == (None,) * 59


def test_prediction_of_a_smear_comes_back_from_its_file(tmp_path, predicted):
    predicted[1].save(tmp_path / "prediction.json")
    assert Prediction.load(tmp_path) == predicted[1]


def test_predicting_again_encodes_nothing_and_gives_the_same(aml, predictor, predicted):
    smear = read_smear(aml)
    stages = []
    _, first = predictor.predict(smear, progress=lambda p: stages.append(p.stage))
    assert "Encoding" in stages
    (file,) = (home("cache") / "features").rglob("*.h5")
    before = file.stat().st_mtime_ns, file_sha256(file)
    stages.clear()
    _, second = predictor.predict(smear, progress=lambda p: stages.append(p.stage))
    assert "Encoding" not in stages
    assert (file.stat().st_mtime_ns, file_sha256(file)) == before
    same = {"created": predicted[1].created}
    assert first.model_copy(update=same) == second.model_copy(update=same) == predicted[1]


def test_the_users_choice_of_cells_is_kept_and_recorded(predicted, predictor):
    smear, before = predicted
    chosen = smear.choosing(take_back=["Gal-000061.RGB.TIF"], set_aside=["Gal-000005.RGB.TIF"])
    returned, prediction = predictor.predict(chosen)
    assert returned == chosen
    assert "Gal-000061.RGB.TIF" in prediction.cells
    assert "Gal-000005.RGB.TIF" not in prediction.cells
    assert {(c.cell, c.reason, c.by) for c in prediction.left_out} == {
        ("Gal-000002.RGB.TIF", "unreadable", "rule"),
        ("Gal-000005.RGB.TIF", "left out by hand", "user"),
    }
    assert prediction.smear_fingerprint == before.smear_fingerprint
    assert not np.array_equal(prediction.probabilities, before.probabilities)


def test_cancelling_at_any_moment_stops_and_the_next_prediction_is_whole(aml, predictor, predicted):
    calls = []
    predictor.predict(read_smear(aml), progress=calls.append)
    shutil.rmtree(home("cache"))
    for stop in range(1, len(calls), 3):
        seen = []

        def cancel(progress, seen=seen, stop=stop):
            seen.append(progress)
            if len(seen) == stop:
                raise Cancelled

        with pytest.raises(Cancelled):
            predictor.predict(read_smear(aml), progress=cancel)
        shutil.rmtree(home("cache"), ignore_errors=True)
    _, prediction = predictor.predict(read_smear(aml))
    assert prediction.model_copy(update={"created": predicted[1].created}) == predicted[1]


def test_cell_types_named_by_folders_are_in_the_prediction(tmp_path, predictor):
    patient = synthesize_patient("aml", cells=4, seed=3)
    write_smear(patient, tmp_path / "flat")
    for number, cell_type in enumerate(("Monocyte", "Lymphocyte", "Monocyte", "Lymphocyte"), start=1):
        target = tmp_path / "patient" / "Signed slides" / cell_type
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tmp_path / "flat" / f"Gal-{number:06d}.RGB.TIF", target / f"{number}.tif")
    smear, prediction = predictor.predict(check_smear(read_smear(tmp_path / "patient")))
    assert sorted(set(prediction.labels)) == sorted(set(smear.labels))
    assert len(set(prediction.labels)) == 2
    assert all(
        label.casefold() in cell.casefold() for label, cell in zip(prediction.labels, prediction.cells, strict=True)
    )


def test_patient_with_awkward_name_is_predicted(tmp_path, predictor):
    folder = tmp_path / "Müller, Ünal (2)"
    write_smear(synthesize_patient("cml", cells=5, seed=1), folder)
    _, prediction = predictor.predict(read_smear(folder))
    assert prediction.patient_id == "Müller, Ünal (2)"
    prediction.save(tmp_path / "out" / "prediction.json")
    assert Prediction.load(tmp_path / "out").patient_id == "Müller, Ünal (2)"


def test_model_on_other_weights_of_its_encoder_is_refused_with_both_sums(tmp_path):
    demo = Ensemble.load(find_model("demo"))
    encoder = demo.description.encoder.model_copy(update={"weights_sha256": "d" * 64})
    Ensemble(demo.description.model_copy(update={"encoder": encoder}), demo.members).save(tmp_path / "m")
    with pytest.raises(WeightsRefused, match=r"that demo \(synthetic\) was trained with .*, not dddddddddddd"):
        _ = Predictor(CPU.model_copy(update={"model": str(tmp_path / "m")})).encoder


def test_model_on_other_preprocessing_is_refused_before_anything_is_encoded(tmp_path):
    demo = Ensemble.load(find_model("demo"))
    encoder = demo.description.encoder.model_copy(update={"preprocessing": "center crop"})
    Ensemble(demo.description.model_copy(update={"encoder": encoder}), demo.members).save(tmp_path / "m")
    with pytest.raises(ModelRefused, match="trained on cells prepared by center crop"):
        _ = Predictor(CPU.model_copy(update={"model": str(tmp_path / "m")})).encoder


def test_a_model_trained_on_views_averages_them_and_records_it(tmp_path, monkeypatch):
    demo = Ensemble.load(find_model("demo"))
    for name, views in {"plain": None, "viewed": f"2 of {STAIN_VIEWS}", "older": "2 of others"}.items():
        encoder = demo.description.encoder.model_copy(update={"views": views})
        Ensemble(demo.description.model_copy(update={"encoder": encoder}), demo.members).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    smear = check_smear(synthetic_smear(synthesize_patient("cml", cells=6, seed=1)))
    as_it_is = Predictor(CPU.model_copy(update={"model": "viewed"}))
    averaging = Predictor(as_it_is.options.model_copy(update={"average_views": True}))
    _, plain = as_it_is.predict(smear)
    _, averaged = averaging.predict(smear)
    assert plain.averaged_views is None
    assert averaged.averaged_views == f"2 of {STAIN_VIEWS}"
    assert (plain.member_probabilities != averaged.member_probabilities).any()
    assert (plain.attention == averaged.attention).all()
    features = Predictor.of(averaged, as_it_is.options).features_of(averaged)
    assert (averaging.ensemble.predict(features).member_probabilities == averaged.member_probabilities).all()
    assert as_it_is.features_of(plain).views is None
    for name, reason in {"plain": r"--average-views \(in napari: Preferences\)", "older": "2 of others"}.items():
        with pytest.raises(ModelRefused, match=reason):
            _ = Predictor(averaging.options.model_copy(update={"model": name})).encoder


def test_a_damaged_model_is_named_where_that_of_a_prediction_is_not_found(predicted):
    (home("models") / "mine").mkdir(parents=True)
    (home("models") / "mine" / "model.json").write_text("{}")
    other = predicted[1].model_copy(update={"model_fingerprint": "0" * 64})
    with pytest.raises(ModelRefused, match=r"not on this machine in that version.*cannot be read: .*mine"):
        Predictor.of(other, CPU)


def test_a_crop_is_sealed_into_the_model(tmp_path):
    demo = Ensemble.load(find_model("demo"))
    options = EncodeOptions(encoder="demo-vit", device="cpu", precision="float32")
    cropped = load_encoder(options, Preparation(crop_um=20))
    encoder = demo.description.encoder.model_copy(update={"preprocessing": str(cropped.preprocessing)})
    Ensemble(demo.description.model_copy(update={"encoder": encoder}), demo.members).save(tmp_path / "m")
    predictor = Predictor(CPU.model_copy(update={"model": str(tmp_path / "m")}))
    assert predictor.encoder.preprocessing == cropped.preprocessing
    smear = check_smear(synthetic_smear(synthesize_patient("cml", cells=6, seed=1)))
    _, prediction = predictor.predict(smear)
    expected = encode(smear, encoder=cropped).values
    np.testing.assert_array_equal(predictor.features_of(prediction).values, expected)
    with pytest.raises(FeaturesRefused, match="preprocessing"):
        demo.predict(predictor.features_of(prediction))


def test_unknown_model_is_refused_at_once():
    with pytest.raises(ModelRefused, match="installed are demo"):
        Predictor(PredictOptions(model="nowhere"))


@pytest.mark.parametrize("module", ["napari_caltomorph.diagnosis", "napari_caltomorph.report"])
def test_importing_the_room_loads_no_torch(module):
    program = (
        f"import sys, {module} as room\n"
        "import json; print(json.dumps([n for n in ('torch', 'timm', 'napari', 'qtpy') if n in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
