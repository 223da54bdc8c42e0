"""The extended test set: patients that the cohort leaves out, in rows of their own, and nobody else's split changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.evaluation.factories import FAST
from tests.training.factories import read, save_features

from napari_caltomorph.cli import main
from napari_caltomorph.cohort import Cohort, extended_test_set
from napari_caltomorph.errors import CohortUnreadable, EvaluationRefused, TrainingPatientsFound
from napari_caltomorph.evaluation import Evaluation, evaluate
from napari_caltomorph.evaluation.confusion import MOST_ROWS

EXTENDED = FAST.model_copy(update={"split": "extended"})
# Patient of the cohort's table that training leaves out -> label, cells, row of the matrix, right answers
LEFT_OUT = {
    "both": ("AML / CLL", 6, "double: Acute leukemia or Lymphoma", "acute_leukemia|lymphoma"),
    "mgus": ("MGUS", 6, "rare: MGUS", None),
    "unsure": ("suspected AML", 6, "unclear: suspected AML", None),
    "treated": ("AML, in remission", 6, "follow-up: AML, in remission", None),
    "mystery": ("mystery", 6, "no class: mystery", None),
    "sparse": ("CLL", 2, "few cells: Lymphoma", "lymphoma"),
    "blank": ("", 6, None, None),
}


@pytest.fixture(scope="module")
def data(trained, tmp_path_factory) -> Path:
    """The cohort of the training, with patients whom its options leave out."""
    folder = shutil.copytree(trained.features.parent, tmp_path_factory.mktemp("extended") / "cohort")
    rng = np.random.default_rng(3)
    for patient, (_, cells, _, _) in LEFT_OUT.items():
        save_features(folder, patient, rng.normal(size=(cells, 8)))
    table = pd.read_csv(folder / "patients.csv", dtype=str)
    added = pd.DataFrame({"patient_id": list(LEFT_OUT), "diagnosis": [label for label, *_ in LEFT_OUT.values()]})
    pd.concat([table, added.assign(hemoglobin_g_dl="9.5", group="ann")]).to_csv(folder / "patients.csv", index=False)
    return folder


def cohort_of(data: Path, **options: object) -> Cohort:
    return read(data, **({"test_fraction": 0.25, "min_cells": 3} | options))


def test_every_patient_who_is_left_out_is_in_a_row_or_has_a_reason_and_no_split_changes(ensemble, trained, data):
    cohort = cohort_of(data)
    splits = cohort.table.set_index("patient_id")["split"]
    assert splits.to_dict() == trained.cohort.table.set_index("patient_id")["split"].to_dict()
    found = evaluate(ensemble, cohort, data / "features", EXTENDED)
    rows = {patient: row.name for i, row in enumerate(found.confusion.rows) for patient in found.confusion.patients(i)}
    assert rows == {patient: row for patient, (_, _, row, _) in LEFT_OUT.items() if row}
    answers = found.patients.set_index("patient_id")["coarse_set"]
    assert answers.dropna().to_dict() == {p: right for p, (_, _, _, right) in LEFT_OUT.items() if right}
    assert found.not_evaluated.to_numpy().tolist() == [["blank", "no label"]]
    assert not found.has_one_class.any()
    assert found.headline["several_right"].patients == 2
    assert found.hemoglobin[0].patients == 6
    said = " ".join(found.statements)
    for rule, count in found.provenance.cohort_left_out.items():
        assert f"Left out as {rule}: {count} patient" in said or rule == "no label"


def test_the_terminal_evaluates_it_and_reads_it_back(trained, data, tmp_path, capsys):
    words = ("evaluate", data / "features", "--table", data / "patients.csv", "--features", data / "features")
    options = ("--folds", "3", "--test-fraction", "0.25", "--min-cells", "3", "--resamples", "0", "--device", "cpu")
    out = ("--model", trained.model, "--out", tmp_path / "out", "--split", "extended")
    assert main([*map(str, (*words, *options, *out))]) == 0
    shown = capsys.readouterr().out
    assert "rare: MGUS" in shown
    assert "1 patients" not in shown
    saved = Evaluation.load(tmp_path / "out")
    assert {row.name for row in saved.confusion.rows} >= {row for _, _, row, _ in LEFT_OUT.values() if row}
    assert "extended test set" in (tmp_path / "out" / "report.html").read_text("utf-8")
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert dict(zip(table["patient_id"], table["left_out_by"], strict=True))["mgus"] == "other or rare diagnosis"


def test_with_the_options_that_include_them_the_refusal_names_the_extended_test_set(ensemble, data):
    with pytest.raises(TrainingPatientsFound, match="--split extended, without --keep-double"):
        evaluate(ensemble, cohort_of(data, keep_double=True, split_seed=5), data / "features", FAST)


def test_a_person_of_whom_the_model_knows_another_smear_is_refused_there_too(ensemble, trained, data):
    table = pd.read_csv(data / "patients.csv", dtype=str)
    someone = ensemble.training_patients().table["patient_id"][0]
    other = data / "grouped.csv"
    table.assign(group=table["group"].mask(table["patient_id"] == someone, "ann")).to_csv(other, index=False)
    cohort = cohort_of(data, table=str(other), group_column="group")
    with pytest.raises(TrainingPatientsFound, match=r"trained on 6 of the 6 patients .*by group ann"):
        evaluate(ensemble, cohort, data / "features", EXTENDED)


def test_a_saved_cohort_keeps_them_and_one_of_an_earlier_version_says_what_to_do(ensemble, data, tmp_path):
    cohort_of(data).save(tmp_path / "cohort.json")
    again = Cohort.load(tmp_path / "cohort.json")
    assert len(evaluate(ensemble, again, data / "features", EXTENDED)) == 6
    content = json.loads((tmp_path / "cohort.json").read_text("utf-8"))
    rows = [row[:4] for row in content["left_out"]["data"]]
    content["left_out"] = {"columns": ["patient_id", "raw_label", "rule", "reason"], "data": rows}
    (tmp_path / "cohort.json").write_text(json.dumps(content), "utf-8")
    old = Cohort.load(tmp_path / "cohort.json")
    assert old.left_out_counts() == again.left_out_counts()
    with pytest.raises(CohortUnreadable, match=r"earlier version.*inspect the data again"):
        evaluate(ensemble, old, data / "features", EXTENDED)


def test_a_cohort_that_leaves_nobody_out_has_none(ensemble, trained):
    with pytest.raises((CohortUnreadable, EvaluationRefused), match=f"{trained.cohort.source}.*no extended test set"):
        evaluate(ensemble, trained.cohort, trained.features, EXTENDED)


def test_rows_stay_few_and_each_reason_has_one(ensemble, data):
    table = pd.read_csv(data / "patients.csv", dtype=str)
    many = pd.DataFrame({"patient_id": [f"m{i}" for i in range(2 * MOST_ROWS)]}).assign(
        diagnosis=[f"mystery {i}" for i in range(2 * MOST_ROWS)]
    )
    for patient in many["patient_id"]:
        shutil.copy(data / "features" / "mystery.h5", data / "features" / f"{patient}.h5")
    pd.concat([many, table]).to_csv(data / "many.csv", index=False)
    found = evaluate(ensemble, cohort_of(data, table=str(data / "many.csv")), data / "features", EXTENDED)
    others = [row.name for row in found.confusion.rows if row.kind == "other"]
    assert len(others) <= MOST_ROWS + 3
    for reason in ("rare", "unclear", "follow-up", "no class"):
        assert any(name.startswith(f"{reason}: ") for name in others)
    assert found.confusion.counts.sum() == len(found)


def test_they_are_a_cohort_of_their_own_for_every_other_use(data):
    extended = extended_test_set(cohort_of(data))
    assert sorted(extended.table["patient_id"]) == sorted(set(LEFT_OUT) - {"blank"})
    assert extended.table["split"].isna().all()
