"""Training patients that a smear resembles: who is nearest, in which members' eyes, and never the patient itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_caltomorph.diagnosis.model_folder import TrainingPatients
from napari_caltomorph.explanation.similar import similar_patients
from napari_caltomorph.taxonomy import caltomorph_taxonomy

TAXONOMY = caltomorph_taxonomy()
PATIENTS, MEMBERS, WIDTH = 30, 3, 4


def training(seed=0, sizes=(1.0, 1.0, 1.0), **columns):
    """Patients who stand alike in the spaces of all members, whatever the size of each space."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(PATIENTS, WIDTH))
    turns = [np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0] * size for size in sizes]
    table = pd.DataFrame(
        {
            "patient_id": pd.array([f"p{i}" for i in range(PATIENTS)], dtype="string"),
            "coarse": pd.array(["mds", "healthy", "lymphoma"] * (PATIENTS // 3), dtype="string"),
            "detailed": pd.array([None] * PATIENTS, dtype="string"),
            "hemoglobin_g_dl": [11.0, np.nan] * (PATIENTS // 2),
            "fingerprint": pd.array([f"{i:064d}" for i in range(PATIENTS)], dtype="string"),
        }
        | columns
    )
    embeddings = np.stack([places @ turn for turn in turns])
    return TrainingPatients(table, torch.tensor(embeddings, dtype=torch.float32))


def nearest(known, embeddings, fingerprint=None, patient_id="new", count=5):
    return similar_patients(
        known, embeddings, TAXONOMY, patient_id=patient_id, smear_fingerprint=fingerprint, count=count
    )


def seen(known, patient, moved=0.0):
    """What the members would make of a smear close to this patient."""
    return known.embeddings[:, patient].numpy() + np.float32(moved)


def test_the_nearest_comes_first_with_label_and_distance():
    known = training()
    result = nearest(known, seen(known, 4, moved=0.01))
    assert result.patients[0].patient_id == "p4"
    assert result.patients[0].label == "Healthy"
    assert result.patients[0].hemoglobin_g_dl == 11.0
    distances = [one.distance for one in result.patients]
    assert distances == sorted(distances)
    assert distances[0] < 0.1 < distances[1]
    assert not result.was_trained_on
    assert len(result.patients) == 5


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=3, max_size=3))
def test_the_size_of_a_members_space_does_not_matter(sizes):
    same, other = training(), training(sizes=tuple(sizes))
    expected = nearest(same, seen(same, 7))
    result = nearest(other, seen(other, 7))
    assert [one.patient_id for one in result.patients] == [one.patient_id for one in expected.patients]
    distances = [one.distance for one in expected.patients]
    assert [one.distance for one in result.patients] == pytest.approx(distances, rel=1e-3)


def test_distance_one_is_that_of_a_typical_nearest_training_patient():
    known = training()
    places = known.embeddings[0].numpy()
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(PATIENTS)
    result = nearest(known, seen(known, 3), fingerprint=f"{3:064d}")
    others = np.delete(np.delete(apart, 3, axis=0), 3, axis=1)
    assert result.patients[0].distance == pytest.approx(apart[3].min() / np.median(others.min(axis=1)), rel=1e-4)


def test_a_training_patient_is_found_by_the_smear_and_is_not_its_own_neighbour():
    known = training()
    result = nearest(known, seen(known, 9), fingerprint=f"{9:064d}", patient_id="renamed")
    assert result.was_trained_on
    assert "p9" not in {one.patient_id for one in result.patients}


def test_another_smear_under_the_same_id_is_another_patient():
    known = training()
    result = nearest(known, seen(known, 9), fingerprint="e" * 64, patient_id="p9")
    assert not result.was_trained_on
    assert result.patients[0].patient_id == "p9"


def test_another_slide_of_the_same_patient_is_no_neighbour():
    known = training()
    ids = known.table["patient_id"]
    slides = ids.map(dict.fromkeys(ids[:2], "somebody")).astype("string")
    known = replace(known, table=known.table.assign(slide_of=slides))
    found = similar_patients(
        known, seen(known, 0), TAXONOMY, patient_id=ids[0], smear_fingerprint=known.table["fingerprint"][0]
    )
    assert found.was_trained_on
    assert not {ids[0], ids[1]} & {one.patient_id for one in found.patients}


def test_where_fingerprints_are_missing_the_id_decides():
    unmarked = training(fingerprint=pd.array([None] * PATIENTS, dtype="string"))
    assert nearest(unmarked, seen(unmarked, 9), fingerprint="e" * 64, patient_id="p9").was_trained_on
    assert nearest(training(), seen(unmarked, 9), patient_id="p9").was_trained_on


def test_images_are_known_where_the_training_named_them_and_they_are_still_there(tmp_path):
    (tmp_path / "there").mkdir()
    paths = [str(tmp_path / "there"), str(tmp_path / "gone"), None] * (PATIENTS // 3)
    known = training(path=pd.array(paths, dtype="string"))
    by_id = {one.patient_id: one for one in nearest(known, seen(known, 0), count=PATIENTS).patients}
    assert by_id["p0"].has_images
    assert by_id["p1"].path is not None
    assert not by_id["p1"].has_images
    assert by_id["p2"].path is None


def test_models_that_kept_no_paths_have_similar_patients_without_images():
    known = training()
    assert all(one.path is None for one in nearest(known, seen(known, 0)).patients)


def test_a_model_of_one_patient_has_one_similar_patient():
    known = training()
    one = TrainingPatients(known.table.iloc[:1], known.embeddings[:, :1])
    assert len(nearest(one, seen(known, 5)).patients) == 1
