"""A probe: its training, cross-validation, refusals and file."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from tests.differential.factories import TYPES, features, labelled, truth
from tests.stopping import Cancels

from napari_caltomorph.differential import (
    BLOOD_CELLS,
    OTHER,
    CellLabels,
    Probe,
    ProbeOptions,
    cell_type,
    load_probe,
    train_probe,
)
from napari_caltomorph.encoding import ENCODERS, find_weights
from napari_caltomorph.encoding.checkpoints import read_checkpoint, tensors_sha256
from napari_caltomorph.errors import FeaturesRefused, ProbeRefused, TrainingRefused
from napari_caltomorph.progress import Cancelled


@pytest.fixture(scope="module")
def three():
    """Smears of three patients, each with its own shift."""
    return [features(patient=f"p{i}", seed=i, shift=0.2) for i in range(3)]


@pytest.fixture(scope="module")
def probe(three) -> Probe:
    return train_probe(three, labelled(*three))


def test_cells_of_another_patient_are_called_by_their_types(probe):
    new = features(patient="new", seed=9)
    called = probe.probabilities(new).argmax(axis=1)
    right = [probe.description.types[k] == name for k, name in zip(called, truth().values(), strict=True)]
    assert np.mean(right) > 0.85


def test_probabilities_are_those_of_scikit_learn_on_standardised_features(probe, three):
    values = np.concatenate([one.values for one in three]).astype(float)
    names = [name for _ in three for name in truth().values()]
    scaler = StandardScaler().fit(values)
    model = LogisticRegression(C=10 / 6, max_iter=1000).fit(scaler.transform(values), names)
    new = features(seed=9)
    expected = model.predict_proba(scaler.transform(new.values.astype(float)))
    order = [list(model.classes_).index(name) for name in probe.description.types]
    np.testing.assert_allclose(probe.probabilities(new), expected[:, order], atol=1e-6)


def test_each_patient_is_held_out_from_the_probe_that_calls_their_cells(three):
    # One feature identifies the patient: a probe trained on the patient's own cells would call all by it.
    identified = []
    for number, one in enumerate(three):
        values = one.values.copy()
        values[:, -1] = 50.0 * number
        identified.append(replace(one, values=values))
    labels = CellLabels()
    for number, one in enumerate(identified):  # of patient i, all cells are of one type and some of the next
        names = dict.fromkeys(one.cells[:40], TYPES[number]) | dict.fromkeys(one.cells[40:], TYPES[(number + 1) % 3])
        labels = labels.labelled(one, names)
    described = train_probe(identified, labels).description
    assert described.validation == "patient"
    assert described.accuracy < 0.7


def test_every_labelled_cell_is_held_out_once(probe):
    described = probe.description
    assert described.validation == "patient"
    assert described.patients == 3
    counted = np.array(described.confusion).sum(axis=1) + described.other.false
    assert counted.tolist() == list(described.cells) == [60, 60, 60, 30]
    assert np.sum(described.other.left_out, axis=1).tolist() == [60, 60, 60, 30]
    assert not np.diagonal(described.other.left_out).any()
    assert described.correlation is not None
    assert described.warnings == ()


def test_with_one_patient_cells_are_held_out_with_a_warning(three):
    described = train_probe(three[:1], labelled(three[0])).description
    assert described.validation == "cell"
    assert described.correlation is None
    assert np.array(described.confusion).sum() + sum(described.other.false) == 70
    assert any("one patient" in warning for warning in described.warnings)


def test_cells_of_a_type_of_one_patient_are_held_out_one_by_one(three):
    labels = labelled(*three)
    for one in three[1:]:
        labels = labels.without(one, [cell for cell, name in truth().items() if name == "blast"])
    described = train_probe(three, labels).description
    assert described.validation == "patient"
    assert described.by_cell == ("blast",)
    assert described.recalls["blast"] > 0.5
    assert any("blast" in warning for warning in described.warnings)


def test_a_type_with_few_cells_is_left_out_and_named(three):
    labels = labelled(*three).labelled(three[0], {"cell_000": "basophil", "cell_001": "basophil"})
    described = train_probe(three, labels).description
    assert "basophil" not in described.types
    assert described.left_out == {"basophil": 2}
    assert any("basophil (2)" in warning for warning in described.warnings)


def test_one_type_only_is_refused(three):
    labels = CellLabels().labelled(three[0], dict.fromkeys(three[0].cells[:8], "blast"))
    with pytest.raises(TrainingRefused, match=r"only 8 blast are labelled: label at least 5 cells of each of two"):
        train_probe(three, labels)


def test_no_label_is_refused(three):
    with pytest.raises(TrainingRefused, match="label some cells of at least two types"):
        train_probe(three, CellLabels())


def test_smears_of_two_encoders_are_refused(three):
    other = features(patient="p9", encoder="dinobloom-b")
    with pytest.raises(FeaturesRefused, match="of one encoder, these are of demo-vit"):
        train_probe([three[0], other], labelled(three[0], other))


def test_features_of_another_encoder_are_refused(probe):
    with pytest.raises(FeaturesRefused, match="encoder dinobloom-b, the probe was trained on demo-vit"):
        probe.differential(features(encoder="dinobloom-b"))
    with pytest.raises(FeaturesRefused, match="width 4"):
        probe.differential(replace(features(), values=features().values[:, :4]))


def test_cells_unlike_every_type_are_called_other(probe, tmp_path):
    far = features(patient="new", seed=9)
    far = replace(far, values=far.values + 6 * (np.arange(70) % 2)[:, None].astype(np.float32))
    probe.save(tmp_path / "p.safetensors")
    for one in (probe, Probe.load(tmp_path / "p.safetensors")):
        counted = one.differential(far)
        is_other = np.array(counted.called) == OTHER
        assert is_other[1::2].all()
        assert is_other[0::2].mean() < 0.15
        np.testing.assert_array_equal(is_other, np.array(counted.distance) > 1)
        np.testing.assert_array_equal(is_other, np.isnan(counted.certainty))
    # A twentieth of the cells of its own types, each held out, are that far too
    assert probe.description.false_other == pytest.approx(0.05, abs=0.01)


def test_errors_are_told_with_what_they_were_counted_on(probe, three):
    assert "cells of 3 held-out patients, 4 % are called other" in probe.description.errors_in_words
    one = train_probe(three[:1], labelled(three[0])).description
    assert "held-out cells of one patient" in one.errors_in_words
    assert "made-up laboratories" in load_probe(BLOOD_CELLS).description.errors_in_words


def test_few_cells_do_not_tell_what_is_unlike_them(three):
    few = labelled(three[0]).without(three[0], three[0].cells[8:-8])
    probe = train_probe(three[:1], few)
    assert probe.description.other is None
    assert OTHER not in probe.differential(features(seed=3)).types


def test_cells_labelled_other_are_no_type_to_learn(three):
    labels = labelled(*three).labelled(three[0], dict.fromkeys(three[0].cells[:10], "Other"))
    described = train_probe(three, labels).description
    assert OTHER not in described.types
    assert described.left_out == {OTHER: 10}


def test_a_probe_of_before_calls_nothing_other(probe, tmp_path):
    old = probe.description.model_dump(exclude={"other", "note"})
    header = {"probe": json.dumps(old)}
    save_file({"weights": probe.weights, "bias": probe.bias}, tmp_path / "old.safetensors", metadata=header)
    loaded = Probe.load(tmp_path / "old.safetensors")
    np.testing.assert_array_equal(loaded.probabilities(features()), probe.probabilities(features()))
    counted = loaded.differential(features())
    assert counted.types == probe.description.types
    assert counted.false_other is None
    assert OTHER not in counted.cell_types


def test_errors_can_be_counted_on_smears_that_are_not_trained_on(probe, three):
    judged = [features((9, 9, 9, 9), patient=f"judge {seed}", seed=seed) for seed in (7, 8)]
    labels = labelled(*three).merged(labelled(*judged, counts=(9, 9, 9, 9)))
    apart = train_probe(three, labels, held_out=judged)
    np.testing.assert_array_equal(apart.weights, probe.weights)
    described = apart.description
    assert described.cells == probe.description.cells
    assert (np.array(described.confusion).sum(axis=1) + described.other.false).tolist() == [18] * 4
    assert described.validation == "patient"
    with pytest.raises(TrainingRefused, match="to judge the probe on, no cell is labelled"):
        train_probe(three, labelled(*three), held_out=judged)


def test_training_can_be_cancelled(three):
    with pytest.raises(Cancelled):
        train_probe(three, labelled(*three), progress=Cancels())


def test_the_same_labels_give_the_same_probe(probe, three):
    again = train_probe(three, labelled(*three), ProbeOptions())
    np.testing.assert_array_equal(again.weights, probe.weights)
    assert again.description.confusion == probe.description.confusion


def test_a_saved_probe_comes_back(probe, tmp_path):
    probe.save(tmp_path / "probe.safetensors")
    loaded = Probe.load(tmp_path / "probe.safetensors")
    assert loaded.description == probe.description
    assert loaded.fingerprint == probe.fingerprint
    np.testing.assert_array_equal(loaded.probabilities(features()), probe.probabilities(features()))


def test_the_probe_in_the_package_knows_the_cells_of_normal_blood_and_fits_its_encoder(probe, tmp_path):
    described = load_probe(BLOOD_CELLS).description
    assert described.encoder == "blood-lite"
    assert {"segmented neutrophil", "lymphocyte", "erythroblast", "platelet"} <= set(described.types)
    assert not any(cell_type(name).is_blast for name in described.types)
    weights = read_checkpoint(find_weights(ENCODERS["blood-lite"]))
    assert described.encoder_weights_sha256 == tensors_sha256(weights)
    probe.save(tmp_path / "own.safetensors")
    assert load_probe(tmp_path / "own.safetensors").fingerprint == probe.fingerprint


@pytest.mark.parametrize("content", [b"", b"\x08" * 64, b"PK\x03\x04 a pickle in a zip"])
def test_what_is_no_probe_is_refused(tmp_path, content):
    (tmp_path / "no.safetensors").write_bytes(content)
    with pytest.raises(ProbeRefused, match=r"no\.safetensors is (not a|an empty file)"):
        Probe.load(tmp_path / "no.safetensors")


def test_weights_of_something_else_are_refused(tmp_path):
    save_file({"weights": np.zeros((2, 2))}, tmp_path / "w.safetensors")
    with pytest.raises(ProbeRefused, match="not those of a probe"):
        Probe.load(tmp_path / "w.safetensors")


def test_a_newer_or_a_changed_probe_is_refused(probe, tmp_path):
    path = tmp_path / "p.safetensors"
    described = probe.description.model_dump_json()
    for header, complaint in (
        (described.replace('"schema_version":1', '"schema_version":2'), "pip install --upgrade"),
        (described.replace('"types":["segmented neutrophil",', '"types":['), "counts of cells"),
    ):
        save_file({"weights": probe.weights, "bias": probe.bias}, path, metadata={"probe": header})
        with pytest.raises(ProbeRefused, match=complaint):
            Probe.load(path)
    save_file({"weights": probe.weights[:, :3].copy(), "bias": probe.bias}, path, metadata={"probe": described})
    with pytest.raises(ProbeRefused, match="weights is float64"):
        Probe.load(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"cells":[', '"cells":[1' + "0" * 400 + ","),
        ('"patients":', '"patients":1' + "0" * 400 + ',"was":'),
        ('"types":[', '"types":' + "[" * 5000 + '"'),
        ('"correlation":', '"correlation":1e400,"was":'),
        ('"encoder":', '"encoder":"a","encoder":'),
    ],
)
def test_a_description_that_does_harm_is_refused_in_a_short_sentence(probe, tmp_path, old, new):
    path, described = tmp_path / "p.safetensors", probe.description.model_dump_json()
    assert old in described
    save_file({"weights": probe.weights, "bias": probe.bias}, path, metadata={"probe": described.replace(old, new, 1)})
    with pytest.raises(ProbeRefused, match=r"p\.safetensors") as error:
        Probe.load(path)
    assert len(str(error.value)) - len(str(path)) < 300
