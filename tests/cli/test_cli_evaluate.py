"""`caltomorph evaluate`: what it writes and says."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from tests.cli.test_cli_train import TINY
from tests.training.factories import write_cohort

from napari_caltomorph.cli import main
from napari_caltomorph.diagnosis.prevalence import ASSUMPTION_OF_RATES
from napari_caltomorph.jobs import evaluation_folder
from napari_caltomorph.smear.trees import folders_in


@pytest.fixture(scope="module")
def created(tmp_path_factory) -> Path:
    """A cohort, and a model trained on three quarters of it."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_cohort(folder / "cohort", {"aml": 12, "cll": 12, "stem_cell_donor": 12})
    assert main([*map(str, ("train", *cohort_of(folder), "--out", folder / "model", "--hemoglobin", *TINY))]) == 0
    return folder


def cohort_of(folder: Path) -> tuple[object, ...]:
    data = folder / "cohort"
    table = ("--table", data / "patients.csv", "--min-cells", "1", "--folds", "3", "--test-fraction", "0.25")
    return (data / "features", "--features", data / "features", *table)


@pytest.fixture
def words(created):
    return (
        "evaluate",
        *cohort_of(created),
        "--model",
        created / "model",
        "--device",
        "cpu",
        "--resamples",
        "50",
        "--numbers-only",
    )


def test_the_test_split_becomes_numbers_with_intervals_and_files(run, words, tmp_path):
    code, out, err = run(*words, "--out", tmp_path / "out", "--prevalence", "0.1")
    assert (code, err) == (0, "")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "evaluation.json",
        "predictions.csv",
        "embeddings.safetensors",
    }
    numbers = json.loads((tmp_path / "out" / "evaluation.json").read_text())["numbers"]["headline"]
    accuracy = numbers["accuracy"]
    assert f"{accuracy['value']:.3f} ({accuracy['low']:.3f} to {accuracy['high']:.3f})" in out
    text = " ".join(out.split())
    assert "9 patients evaluated" in text
    assert text.index("36 patients found, 36 in") < text.index("9 patients evaluated")
    assert "true, then predicted as 1 2 3" in text
    assert "Undefined, all patients that are not malignant are healthy donors: malignant FDR, no donors." in text
    assert "FDR where 10 % are malignant" in text
    assert ASSUMPTION_OF_RATES in text
    assert "0.9 if all were punctured" in text
    assert "the same training, done again" in text
    assert "hemoglobin, g/dl" in text
    assert "Research use only" in text
    assert all(len(line) <= 80 for line in out.splitlines() if str(tmp_path) not in line)


def test_figures_and_a_report_are_next_to_the_numbers(run, words, tmp_path):
    code, out, err = run(*words[:-1], "--out", tmp_path / "out", "--audit")
    assert (code, err) == (0, "")
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {"report.html", "figures", "audit.json"}
    assert {"confusion.png", "confusion.pdf"} <= {p.name for p in (tmp_path / "out" / "figures").iterdir()}
    assert folders_in(tmp_path) == folders_in(tmp_path / "out") == []  # no patients of a later run
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Research use only" in text
    assert "Shortcut audit" in out
    assert "report.html" in out


def test_training_patients_are_refused_in_one_line_and_out_of_fold_is_marked(run, words, tmp_path):
    code, _, err = run(*words, "--out", tmp_path / "out", "--split", "train")
    assert code == 2
    assert "was trained on 27 of the 27 patients" in " ".join(err.split())
    assert not (tmp_path / "out").exists()
    code, out, _ = run(*words, "--out", tmp_path / "out", "--split", "train", "--out-of-fold")
    assert code == 0
    assert "27 patients evaluated out of fold, by single members" in out
    assert "Out of fold: patients that the model was trained on" in " ".join(out.split())
    assert set(pd.read_csv(tmp_path / "out" / "predictions.csv")["judged_by_member"]) == {0, 1, 2}


def test_a_threshold_is_chosen_tried_elsewhere_and_stored(run, words, created, tmp_path):
    model = shutil.copytree(created / "model", tmp_path / "model")
    words = (
        *words[: words.index("--model")],
        "--model",
        model,
        "--device",
        "cpu",
        "--resamples",
        "0",
        "--numbers-only",
    )
    assert run(*words, "--out", tmp_path / "chosen", "--split", "train", "--out-of-fold").code == 0
    rule = ("--choose-by", "none-missed=acute_leukemia")
    code, out, err = run(
        *words, "--out", tmp_path / "out", *rule, "--chosen-on", tmp_path / "chosen", "--store-threshold"
    )
    assert (code, err) == (0, "")
    text = " ".join(out.split())
    assert "0 of 9 were missed, by single members out of fold" in text
    assert "which did not choose it: sensitivity" in text
    stored = json.loads((model / "model.json").read_text())["threshold"]
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())["provenance"]["threshold"]
    assert stored == written
    assert stored["rule"].startswith("no Acute leukemia missed; 0 of 9")
    code, out, _ = run(*words, "--out", tmp_path / "again", *rule)
    assert "of the patients that chose it: optimistic" in " ".join(out.split())


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--choose-by", "youden"), "is no rule"),
        (("--store-threshold",), "add --choose-by"),
        (("--prevalence", "20"), "20 % is 0.2"),
        (("--threshold", "2"), "--threshold 2"),
        (("--against", "blasts"), "no such column or labelled cell type"),
        (("--split", "all"), "trained on 27 of the 36 patients"),
        (("--classes-map", "nowhere.json"), "nowhere.json cannot be read"),
        (("--weights", "w.pth"), "--encode-missing"),
    ],
)
def test_bad_usage_is_one_line(run, words, tmp_path, flags, why):
    code, out, err = run(*words, "--out", tmp_path / "out", *flags)
    assert (code, out) == (2, "")
    assert why in " ".join(err.split())
    assert not (tmp_path / "out").exists()


def test_faithfulness_is_printed_saved_and_reported(run, words, tmp_path):
    code, out, err = run(*words[:-1], "--out", tmp_path / "out", "--faithfulness")
    assert (code, err) == (0, "")
    text = " ".join(out.split())
    assert "Faithfulness: area better than random orders, 9 patients" in text
    assert all(order in text for order in ("attention", "contribution", "alone"))
    saved = json.loads((tmp_path / "out" / "faithfulness.json").read_text())
    assert f"{saved['gain_over_random']['deletion_alone']['value']:.3f} (" in text
    assert len(pd.read_csv(tmp_path / "out" / "faithfulness.csv")) == 9
    assert 'id="faithfulness"' in (tmp_path / "out" / "report.html").read_text()
    assert all(len(line) <= 80 for line in out.splitlines() if str(tmp_path) not in line)


def test_second_evaluation_into_a_folder_is_refused_before_the_cohort_is_read(run, tmp_path):
    with evaluation_folder(tmp_path / "out"):
        code, out, err = run("evaluate", tmp_path / "cohort", "--model", "demo", "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{tmp_path / 'out'} (process {os.getpid()} " in err
    assert not (tmp_path / "out").exists()
