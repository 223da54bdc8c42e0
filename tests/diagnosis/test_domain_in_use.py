"""A model that knows its training domain: kept in its folder, asked by `predict`, and what is then withdrawn."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from napari_caltomorph.diagnosis import Ensemble, Prediction, export_model, find_model
from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.domain import DOMAIN_FILE
from napari_caltomorph.diagnosis.domain_fit import fit_domain
from napari_caltomorph.diagnosis.model_file import ModelDescription
from napari_caltomorph.diagnosis.prediction_files import patient_row
from napari_caltomorph.errors import ModelRefused
from napari_caltomorph.explanation.changed_bags import what_if


@pytest.fixture(scope="module")
def ensemble(make_ensemble, make_features):
    """Three members that know 60 patients, and a calibration that changes every probability."""
    created = make_ensemble()
    slugs = created.description.taxonomy.slugs
    calibration = Calibration(
        temperature=2.0, quantiles=dict.fromkeys(slugs, 0.9), patients=dict.fromkeys(slugs, 30), source="others"
    )
    patients = [make_features(40, seed=seed) for seed in range(60)]
    embeddings = np.stack([created.member_outputs(one).embeddings for one in patients], axis=1)
    domain = fit_domain([one.values for one in patients], embeddings, np.arange(60) % 3)
    return replace(
        created, description=created.description.model_copy(update={"calibration": calibration}), domain=domain
    )


@pytest.fixture(scope="module")
def inside(ensemble, make_features):
    return ensemble.predict(make_features(60, seed=901))


@pytest.fixture(scope="module")
def outside(ensemble, make_features):
    return ensemble.predict(make_features(values=make_features(60, seed=902).values + 3))


def test_a_smear_of_the_domain_keeps_its_calibration_and_no_warning(inside):
    assert inside.domain is not None
    assert not inside.is_outside_domain
    assert inside.calibrated
    assert inside.prediction_set is not None
    assert inside.hemoglobin_range is not None
    assert inside.warnings == ()


def test_outside_the_domain_calibration_and_intervals_are_withdrawn(outside):
    assert outside.is_outside_domain
    assert not outside.calibrated
    assert outside.prediction_set is None
    assert outside.prediction_set_in_words is None
    assert outside.hemoglobin_range is None
    assert outside.hemoglobin is not None
    assert np.array_equal(outside.probabilities, outside.member_probabilities.mean(axis=0))
    assert np.array_equal(outside.shown_member_probabilities, outside.member_probabilities)
    (warning,) = outside.warnings
    assert warning.startswith("Unlike the training cohort")
    assert "withdrawn" in warning
    assert "withdrawn" in outside.calibration_in_words
    row = patient_row(outside)
    assert row["calibrated"] is False
    assert "Unlike the training cohort" in row["warnings"]
    assert "prediction_set" not in row


def test_without_a_calibration_nothing_is_called_withdrawn(ensemble, make_features):
    raw = replace(ensemble, description=ensemble.description.model_copy(update={"calibration": None}))
    prediction = raw.predict(make_features(values=make_features(60, seed=902).values + 3))
    assert "withdrawn" not in prediction.warnings[0]
    assert "not calibrated" in prediction.calibration_in_words


def test_prediction_comes_back_with_its_domain(outside, tmp_path):
    outside.save(tmp_path / "prediction.json")
    loaded = Prediction.load(tmp_path / "prediction.json")
    assert len(outside.domain.unusual) == 60  # what is derived has no part in being equal
    assert loaded == outside
    assert loaded.domain == outside.domain
    assert loaded.is_outside_domain


def test_prediction_saved_before_there_was_a_domain_is_read(inside, tmp_path):
    path = tmp_path / "prediction.json"
    content = json.loads(inside.model_dump_json())
    del content["domain"]
    path.write_text(json.dumps(content))
    loaded = Prediction.load(path)
    assert loaded.domain is None
    assert loaded.calibrated
    assert not loaded.is_outside_domain


def test_domain_of_other_cells_is_refused(inside):
    with pytest.raises(ValueError, match="domain: 60 cells, the prediction has 10"):
        inside.model_copy(
            update={
                "cells": inside.cells[:10],
                "labels": inside.labels[:10],
                "attention": inside.attention[:10],
                "alone": inside.alone[:10],
            }
        )


def test_saved_model_brings_its_domain_and_so_does_its_export(ensemble, make_features, tmp_path):
    ensemble.save(tmp_path / "model")
    export_model(str(tmp_path / "model"), tmp_path / "exported")
    features = make_features(60, seed=903)
    for folder in ("model", "exported"):
        loaded = Ensemble.load(tmp_path / folder)
        assert loaded.predict(features).domain is not None
        assert loaded.predict(features).domain.p_value == pytest.approx(
            ensemble.predict(features).domain.p_value, abs=0.04
        )


def test_domain_changes_the_models_fingerprint_and_not_its_seal(ensemble, tmp_path):
    with_it = ensemble.save(tmp_path / "with").description
    without = replace(ensemble, domain=None).save(tmp_path / "without").description
    assert with_it.domain is not None
    assert without.domain is None
    assert with_it.seal == without.seal
    assert with_it.fingerprint != without.fingerprint


def test_model_without_a_domain_is_loaded_and_compares_nothing(ensemble, make_features, tmp_path):
    replace(ensemble, domain=None).save(tmp_path / "m")
    content = json.loads((tmp_path / "m" / "model.json").read_text())
    del content["domain"]
    (tmp_path / "m" / "model.json").write_text(json.dumps(content))
    prediction = Ensemble.load(tmp_path / "m").predict(make_features(60))
    assert prediction.domain is None
    assert prediction.warnings == ()
    assert prediction.calibrated


def test_missing_changed_or_foreign_domain_is_refused(ensemble, tmp_path, make_ensemble):
    folder = tmp_path / "m"
    ensemble.save(folder)
    path = folder / DOMAIN_FILE
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelRefused, match=r"domain\.safetensors .*SHA-256"):
        Ensemble.load(folder)
    path.unlink()
    with pytest.raises(ModelRefused, match=f"lacks {DOMAIN_FILE}"):
        Ensemble.load(folder)
    with pytest.raises(ModelRefused, match=f"lacks {DOMAIN_FILE}"):
        export_model(str(folder), tmp_path / "exported")


def test_description_keeps_the_sum_of_the_domain(ensemble, tmp_path):
    folder = tmp_path / "m"
    ensemble.save(folder)
    described = ModelDescription.model_validate_json((folder / "model.json").read_text())
    assert described.domain is not None
    assert described.domain.patients == 60
    assert "It warns of smears unlike those that it was trained on, scaled on 60" in (folder / "README.md").read_text()
    assert described == Ensemble.load(folder).description


def test_the_shipped_demo_has_a_small_domain():
    demo = find_model("demo")
    assert Ensemble.load(demo).domain.patients == 480
    shipped = [*demo.iterdir(), *demo.parents[1].glob("encoding/demo_*.safetensors")]
    assert sum(path.stat().st_size for path in shipped) < 8_000_000


def test_images_of_another_laboratory_are_still_noticed_when_cells_are_left_out(ensemble, make_features):
    patients = [make_features(40, seed=seed) for seed in range(60)]
    embeddings = np.stack([ensemble.member_outputs(one).embeddings for one in patients], axis=1)
    usual = [{"height": 144.0, "width": 144.0, "grain": 1 + seed % 7 / 50} for seed in range(60)]
    domain = fit_domain([one.values for one in patients], embeddings, np.arange(60) % 3, pd.DataFrame(usual))
    features = make_features(60, seed=901)
    prediction = replace(ensemble, domain=domain).predict(features, traits=usual[0] | {"height": 99.0})
    without = what_if(replace(ensemble, domain=domain), prediction, features, [3])
    for one in (prediction, without):
        assert one.is_outside_domain
        assert any("background" in warning for warning in one.warnings)
    assert Prediction.model_validate_json(prediction.model_dump_json()).image_traits == prediction.image_traits
