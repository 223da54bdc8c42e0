"""Real smears, where available, through the demo model: only that it runs, as it knows synthetic cells only."""

from __future__ import annotations

import sys

import pytest

from napari_caltomorph.diagnosis import PredictOptions, Predictor, save_predictions
from napari_caltomorph.smear import read_smear


@pytest.fixture(scope="module")
def predictor():
    return Predictor(PredictOptions(device="cpu", precision="float32"))


@pytest.fixture
def tell(capsys):
    def write(smear, prediction):
        with capsys.disabled():
            sys.stdout.write(
                f"\n{prediction.patient_id}: {len(smear)} images, {len(prediction.cells)} cells, left out "
                f"{smear.left_out_counts()}, passed over {prediction.passed_over}; {prediction.predicted_class} "
                f"(synthetic demo); warnings: {prediction.warnings}\n"
            )

    return write


def test_metafer_smear_is_predicted_and_its_scale_compared(shared_data, tell, predictor, tmp_path):
    smear, prediction = predictor.predict(read_smear(shared_data / "metafer" / "smear_a"))
    tell(smear, prediction)
    assert len(prediction.cells) == len(smear.usable)
    assert prediction.attention.mean() == pytest.approx(1)
    trained, result = predictor.description.field_of_view_um, prediction.field_of_view_um
    is_far = result is None or abs(result / trained - 1) > 0.1
    assert any("scale" in w or "µm" in w for w in prediction.warnings) == is_far
    save_predictions([prediction], tmp_path)


def test_apl_aml_patient_is_predicted_with_a_warning_about_its_scale(shared_data, tell, predictor):
    smear, prediction = predictor.predict(read_smear(shared_data / "apl-aml" / "All" / "Patient_00"))
    tell(smear, prediction)
    assert len(prediction.cells) == len(smear.usable)
    assert any("no scale" in w or "µm wide here" in w for w in prediction.warnings)
    assert any(label is not None for label in prediction.labels)
