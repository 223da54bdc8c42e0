"""A calibrated prediction as the terminal says it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_caltomorph.cli.predict import show_prediction
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.installed import find_model
from napari_caltomorph.encoding import FeatureOrigin, Features


@pytest.fixture
def prediction():
    demo = Ensemble.load(find_model("demo"))
    need = demo.description.encoder
    origin = FeatureOrigin(
        need.name, need.weights_sha256, need.preprocessing, "float32", "f" * 64, field_of_view_um=25.0
    )
    values = np.random.default_rng(0).normal(size=(60, need.width)).astype(np.float32)
    return demo.predict(Features("patient", values, tuple(f"{i}.tif" for i in range(60)), origin))


def test_raw_probabilities_are_marked_as_raw(prediction, capsys):
    show_prediction(prediction)
    output = " ".join(capsys.readouterr().out.split())
    assert "probabilities are the mean of the members, not calibrated" in output
    assert "Not excluded" not in output


def test_calibrated_ones_come_with_their_set_and_how_they_were_fitted(prediction, capsys):
    slugs = prediction.taxonomy.slugs
    calibration = Calibration(
        temperature=1.5, quantiles=dict.fromkeys(slugs, 0.999), patients=dict.fromkeys(slugs, 30), source="a split"
    )
    show_prediction(prediction.model_copy(update={"calibration": calibration, "domain": None}))
    output = " ".join(capsys.readouterr().out.split())
    assert "probabilities are calibrated: temperature 1.50, fitted on 240 patients (a split)" in output
    assert "not calibrated" not in output
    assert f"Not excluded {prediction.predicted_class}" in output or f", {prediction.predicted_class}" in output
    assert "at least 90 %" in output
    show_prediction(prediction.model_copy(update={"calibration": calibration}))
    output = " ".join(capsys.readouterr().out.split())
    assert "probabilities are the mean of the members: the smear is unlike the training cohort" in output
    assert "Not excluded" not in output
