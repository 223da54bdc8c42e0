"""Smears that are drawn when looked at hold what the written ones hold."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_caltomorph.encoding import EncodeOptions, encode
from napari_caltomorph.smear import check_smear, read_smear
from napari_caltomorph.synthetic import (
    SyntheticPatient,
    SynthOptions,
    in_memory,
    synthesize_cohort,
    synthesize_patient,
    synthesize_patients,
    synthetic_features,
    synthetic_smear,
)


def test_a_synthetic_smear_in_memory_has_the_cells_that_would_be_written(tmp_path: Path) -> None:
    options = SynthOptions(patients=3, cells=4, seed=5)
    synthesize_cohort(tmp_path / "cohort", options)
    for patient in synthesize_patients(options):
        smear = check_smear(synthetic_smear(patient))
        written = check_smear(read_smear(tmp_path / "cohort" / patient.coarse / patient.patient_id))
        assert smear.cells == written.cells
        assert len(smear.usable) == len(written.usable) == 4
        assert abs(smear.pixel_size_um / written.pixel_size_um - 1) < 1e-4
        assert all(np.array_equal(smear.image(i), written.image(i)) for i in range(4))


def test_patients_come_one_at_a_time() -> None:
    stream = synthesize_patients(SynthOptions(patients=1_000_000, cells=3))
    assert [next(stream).patient_id for _ in range(2)] == ["synthetic_0000001", "synthetic_0000002"]


def test_a_limited_number_of_cells_is_cached_and_the_others_are_synthesized_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_memory, "_CACHED", 2)
    times_drawn = [0, 0, 0]
    draw = SyntheticPatient.image

    def counting(self: SyntheticPatient, index: int, size: int = 144) -> np.ndarray:
        times_drawn[index] += 1
        return draw(self, index, size)

    patient = synthesize_patient("aml", cells=3, seed=4)
    images = list(patient.images())
    monkeypatch.setattr(SyntheticPatient, "image", counting)
    smear = synthetic_smear(patient)
    for times in (1, 2):
        encode(smear, EncodeOptions(encoder="demo-vit", device="cpu"))
        assert sorted(times_drawn) == [1, 1, times]  # threads decide which cells come first
    smear.image(0)[:] = 0  # what a caller does to an image is the caller's own
    assert all(np.array_equal(smear.image(i), images[i]) for i in range(3))


def test_features_are_the_same_for_the_same_patient_width_and_seed() -> None:
    patient = synthesize_patient("aml", cells=30, seed=4)
    features = synthetic_features(patient)
    assert (features.shape, features.dtype) == ((30, 768), np.float32)
    assert synthetic_features(pickle.loads(pickle.dumps(patient))).tobytes() == features.tobytes()  # noqa: S301
    assert not np.array_equal(synthetic_features(patient, seed=1), features)
    assert not np.array_equal(synthetic_features(replace(patient, seed=5)), features)
    assert synthetic_features(patient, width=8).shape == (30, 8)


def test_features_of_one_cell_type_lie_together_whoever_the_patient_is() -> None:
    train, test = (synthesize_patient(slug, cells=300, seed=seed) for slug, seed in (("aml", 1), ("cml", 2)))
    of_train, of_test = synthetic_features(train), synthetic_features(test)
    shared = sorted(set(train.cell_types) & set(test.cell_types))
    assert len(shared) >= 5
    centres = np.stack([of_train[np.array(train.cell_types) == slug].mean(axis=0) for slug in shared])
    known = np.isin(test.cell_types, shared)
    distances = ((of_test[known][:, None] - centres) ** 2).sum(axis=2)
    assert [shared[i] for i in distances.argmin(axis=1)] == list(np.array(test.cell_types)[known])
    # and no two cells are alike
    assert len(np.unique(of_test, axis=0)) == 300
