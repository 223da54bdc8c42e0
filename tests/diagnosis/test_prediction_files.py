"""predictions.csv, cells.csv and prediction.json: the contract's columns, and folders that stay inside their parent."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_caltomorph.diagnosis import Prediction, save_predictions
from napari_caltomorph.diagnosis.prediction_files import folder_name
from napari_caltomorph.errors import OutputRefused

SLUGS = ["acute_leukemia", "lymphoma", "mds", "mds_mpn", "mpn", "plasma_cell_neoplasm", "reactive_changes", "healthy"]


@pytest.fixture(scope="session")
def prediction(make_ensemble, make_features):
    return make_ensemble().predict(make_features(60))


def called(prediction, patient_id):
    return prediction.model_copy(update={"patient_id": patient_id})


def everything_below(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_tables_have_the_contracts_columns(tmp_path, prediction):
    save_predictions([prediction], tmp_path)
    assert list(pd.read_csv(tmp_path / "predictions.csv").columns) == [
        "patient_id",
        "predicted_class",
        *(f"p_{slug}" for slug in SLUGS),
        "malignancy",
        "hemoglobin_g_dl",
        "second_class",
        "delta_probability",
        "stands_out",
        "n_cells",
        "calibrated",
        "warnings",
    ]
    assert list(pd.read_csv(tmp_path / "cells.csv").columns) == [
        "patient_id",
        "cell",
        "rank",
        "attention",
        "alone_class",
        *(f"alone_p_{slug}" for slug in SLUGS),
    ]


def test_tables_hold_the_numbers_of_the_prediction_and_names_of_classes(tmp_path, prediction):
    save_predictions([prediction], tmp_path)
    (row,) = pd.read_csv(tmp_path / "predictions.csv", float_precision="round_trip").to_dict("records")
    names = prediction.taxonomy.names
    assert [row[f"p_{slug}"] for slug in SLUGS] == prediction.probabilities.tolist()
    assert (row["predicted_class"], row["second_class"]) == tuple(name for name, _ in prediction.top(2))
    assert {row["predicted_class"], row["second_class"]} < set(names)
    assert (row["malignancy"], row["hemoglobin_g_dl"]) == (prediction.malignancy, prediction.hemoglobin)
    assert (row["delta_probability"], row["n_cells"]) == (prediction.delta_probability, 60)
    assert row["calibrated"] is False
    cells = pd.read_csv(tmp_path / "cells.csv", float_precision="round_trip")
    assert cells["rank"].tolist() == list(range(1, 61))
    assert cells["cell"].tolist() == [prediction.cells[i] for i in prediction.order]
    assert cells["attention"].tolist() == sorted(prediction.attention, reverse=True)
    alone = cells[[f"alone_p_{slug}" for slug in SLUGS]].to_numpy()
    assert (alone == prediction.alone[prediction.order]).all()
    assert cells["alone_class"].tolist() == [names[i] for i in alone.argmax(axis=1)]


def test_patient_without_hemoglobin_has_an_empty_field(tmp_path, prediction):
    save_predictions([prediction.model_copy(update={"member_hemoglobin": None})], tmp_path)
    assert np.isnan(pd.read_csv(tmp_path / "predictions.csv")["hemoglobin_g_dl"][0])


def test_cells_of_a_model_without_attention_have_an_empty_field(tmp_path, prediction):
    assert pd.read_csv(save_predictions([prediction], tmp_path)[-1])["attention"].mean() == pytest.approx(1, abs=1e-3)
    none = prediction.model_copy(update={"attention_kind": "none", "attention": np.ones(60)})
    cells = pd.read_csv(save_predictions([none], tmp_path)[-1])
    assert cells["attention"].isna().all()
    assert cells["rank"].tolist() == list(range(1, 61))


def test_one_patients_prediction_is_next_to_the_tables(tmp_path, prediction):
    written = save_predictions([prediction], tmp_path / "new" / "folder")
    assert everything_below(tmp_path / "new" / "folder") == {"prediction.json", "predictions.csv", "cells.csv"}
    assert set(written) == set((tmp_path / "new" / "folder").iterdir())
    assert Prediction.load(tmp_path / "new" / "folder") == prediction


def test_predictions_of_several_patients_have_a_folder_each(tmp_path, prediction):
    patients = [called(prediction, name) for name in ("P2", "P10", "Frau Müller (2)")]
    written = save_predictions(patients, tmp_path)
    assert everything_below(tmp_path) == {
        "P2/prediction.json",
        "P10/prediction.json",
        "Frau Müller (2)/prediction.json",
        "predictions.csv",
        "cells.csv",
    }
    assert len(written) == 5
    assert all(path.is_file() for path in written)
    assert pd.read_csv(tmp_path / "predictions.csv")["patient_id"].tolist() == ["P2", "P10", "Frau Müller (2)"]
    cells = pd.read_csv(tmp_path / "cells.csv")
    assert cells["patient_id"].tolist() == [p.patient_id for p in patients for _ in range(60)]
    for patient in patients:
        assert Prediction.load(tmp_path / patient.patient_id) == patient


def test_awkward_names_come_back_from_the_tables(tmp_path, prediction):
    update = {"patient_id": 'a,b "c"\nd', "cells": tuple(f"Zelle, {i}\n" for i in range(60)), "warnings": ("a;b", "c")}
    save_predictions([prediction.model_copy(update=update)], tmp_path)
    assert pd.read_csv(tmp_path / "predictions.csv")["patient_id"].tolist() == ['a,b "c"\nd']
    assert set(pd.read_csv(tmp_path / "cells.csv")["cell"]) == set(update["cells"])


def test_predicting_again_replaces_the_files_and_no_others(tmp_path, prediction):
    (tmp_path / "notes.txt").write_text("mine")
    save_predictions([called(prediction, "old")], tmp_path)
    save_predictions([called(prediction, "new")], tmp_path)
    assert pd.read_csv(tmp_path / "predictions.csv")["patient_id"].tolist() == ["new"]
    assert everything_below(tmp_path) == {"prediction.json", "predictions.csv", "cells.csv", "notes.txt"}


def test_patients_of_one_id_are_refused_before_anything_is_written(tmp_path, prediction):
    with pytest.raises(OutputRefused, match="Two smears are called smear_a"):
        save_predictions([called(prediction, n) for n in ("smear_a", "b", "smear_a")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "patient_id",
    [
        "..",
        ".",
        "../../escaped",
        f"..{os.sep}escaped",
        "/tmp/escaped",
        "a/b",
        "a\\b",
        "C:\\escaped",
        "predictions.csv",
        "cells.csv",
        "prediction.json",
        "with\0null",
        "",
        " ",
        "Gräfin Öz",
        ".hidden",
    ],
)
def test_no_patient_id_leads_out_of_the_folder(tmp_path, prediction, patient_id):
    out = tmp_path / "a" / "b" / "out"
    written = save_predictions([called(prediction, patient_id), called(prediction, "other")], out)
    assert all(path.resolve().is_relative_to(out.resolve()) for path in written)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        "prediction.json",
        "predictions.csv",
        "cells.csv",
    }
    (own,) = [p for p in written if p.name == "prediction.json" and p.parent.name != "other"]
    assert own.parent.parent == out
    assert Prediction.load(own).patient_id == patient_id


ODD = st.text() | st.text(alphabet="aA.: /\\0\x1b血\ud800", min_size=60, max_size=400)


@settings(deadline=None)
@given(ODD)
def test_folder_of_any_id_is_one_component_of_a_path(patient_id):
    name = folder_name(patient_id)
    assert name not in {"", ".", ".."}
    assert not set(name) & set('/\\:\0*?"<>|')
    assert len(f"{name}.h5".encode()) <= 255
    assert name[-1] not in ". "
    assert name.split(".")[0].casefold() not in {"con", "prn", "aux", "nul", "com1", "lpt1"}


@pytest.mark.parametrize(("one", "other"), [("A" * 300, "A" * 301), ("A" * 300, "a" * 300), (":" * 90, ":" * 91)])
def test_long_ids_have_different_folders(one, other):
    assert folder_name(one).casefold() != folder_name(other).casefold()


@pytest.mark.parametrize("ids", [("P1", "p1"), ("Mu\u0308ller", "Müller"), ("a/b", "a%2Fb")])
def test_ids_that_some_disks_take_for_one_are_refused(tmp_path, prediction, ids):
    with pytest.raises(OutputRefused) as refused:
        save_predictions([called(prediction, patient) for patient in ids], tmp_path / "out")
    assert all(repr(patient) in str(refused.value) for patient in ids)
    assert not (tmp_path / "out").exists()


def test_ordinary_id_is_its_own_folder():
    for name in ("Patient_00", "smear a", "Müller", "P%C3", "2024.11.05", "患者", "CON1", "P..1", "x" * 252):
        assert folder_name(name) == name
