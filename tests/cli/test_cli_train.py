"""`caltomorph train`: what it writes and says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from tests.training.factories import write_cohort

TINY = (
    *("--depth", "1", "--width", "16", "--heads", "2", "--mlp-width", "16", "--classifier-width", "8"),
    *("--epochs", "3", "--device", "cpu", "--precision", "float32"),
)


@pytest.fixture(scope="module")
def cohort_folder(tmp_path_factory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("made") / "cohort", {"aml": 9, "cll": 9, "stem_cell_donor": 9})


@pytest.fixture
def words(cohort_folder, tmp_path):
    """The words of a tiny training without the options."""
    table = ("--table", str(cohort_folder / "patients.csv"), "--min-cells", "1", "--folds", "3")
    return (
        "train",
        cohort_folder / "features",
        "--features",
        cohort_folder / "features",
        "--out",
        tmp_path / "model",
        *table,
    )


def options_of(model: Path) -> dict[str, object]:
    return dict(json.loads((model / "model.json").read_text())["training"]["options"])


def test_a_cohort_becomes_a_model_with_card_curves_and_honest_numbers(run, words, tmp_path):
    code, out, err = run(*words, *TINY)
    assert (code, err) == (0, "")
    model = tmp_path / "model"
    assert {p.name for p in model.iterdir()} == {
        "model.json", "README.md", "training_curves.png", "private", "domain.safetensors",
        *(f"fold_{k}.safetensors" for k in range(3)),
    }  # fmt: skip
    assert "Out-of-fold: single members, not the ensemble." in out
    assert "balanced accuracy" in out
    assert "optimistic" not in out
    assert out.count("patients.csv: id = ") == 1, "said before the training, and not again after it"
    assert not (tmp_path / "model.training").exists()
    assert run("models", "show", model).code == 0


def test_what_the_paper_stops_on_makes_its_numbers_optimistic(run, words):
    code, out, _ = run(*words, *TINY, "--recipe", "paper")
    assert code == 0
    assert "single members, not the ensemble; optimistic: stopped on the fold itself." in " ".join(out.split())


def test_a_dry_run_describes_the_training_and_writes_nothing(run, words, tmp_path):
    code, out, err = run(*words, *TINY, "--dry-run")
    assert (code, err) == (0, "")
    assert "Acute leukemia" in out
    assert "Nothing was written." in out
    assert "million parameters" in out
    assert list(tmp_path.iterdir()) == []


def test_lost_patients_are_named_before_anything_else(run, words, cohort_folder, tmp_path):
    table = pd.read_csv(cohort_folder / "patients.csv")
    table["patient_id"] = [f"{patient}_{n}" if n % 2 else patient for n, patient in enumerate(table["patient_id"])]
    table.to_csv(tmp_path / "t.csv", index=False)
    changed = [str(tmp_path / "t.csv") if str(word).endswith("patients.csv") else word for word in words]
    code, out, _ = run(*changed, *TINY, "--dry-run")
    assert code == 0
    first = " ".join(out.split("\n- ")[0].split())
    assert "40 patients found, 14 in; left out: 13 missing files" in first
    assert "13 no row" in first
    assert "not on disk" in first


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.yaml", "depth: 2\npatients-per-batch: 4\n"),
        ("train.toml", "[train]\ndepth = 2\npatients_per_batch = 4\n"),
    ],
)
def test_options_come_from_a_file_and_flags_win(run, words, tmp_path, name, text):
    config = tmp_path / name
    config.write_text(text)
    assert run(*words, *TINY[2:], "--config", config, "--patients-per-batch", "5").code == 0
    options = options_of(tmp_path / "model")
    assert (options["depth"], options["batch_size"], options["width"]) == (2, 5, 16)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("dept: 2", "'dept'"),
        ("depth: deep", "depth deep"),
        ("- depth", "no options"),
        ("depth: [", "YAML"),
        ("recipe: mine", "recipe mine"),
    ],
)
def test_an_invalid_file_of_options_is_refused_in_one_line(run, words, tmp_path, text, why):
    (tmp_path / "train.yaml").write_text(text)
    code, out, err = run(*words, "--config", tmp_path / "train.yaml")
    assert (code, out) == (2, "")
    assert why in err
    assert "train.yaml" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("flag", ["--encoder", "--weights"])
def test_an_encoder_that_would_encode_nothing_is_refused(run, words, flag):
    code, _, err = run(*words, flag, "dinobloom-s")
    assert code == 2
    assert "--encode-missing" in err


def test_options_that_do_not_fit_together_are_refused_in_one_line(run, words):
    code, _, err = run(*words, "--width", "100", "--heads", "8")
    assert (code, err) == (2, "caltomorph: 8 heads do not divide a width of 100. See `caltomorph train --help`.\n")
    code, _, err = run(*words, "--learning-rate", "1e38")
    assert code == 2
    assert err.startswith("caltomorph: --learning-rate 1e")


def test_a_model_that_is_there_is_not_overwritten(run, words, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "precious").touch()
    code, _, err = run(*words, *TINY)
    assert code == 2
    assert "exists already" in err
    assert (tmp_path / "model" / "precious").exists()


def test_missing_features_are_counted_and_the_fix_is_named(run, cohort_folder, tmp_path):
    some = tmp_path / "some"
    shutil.copytree(cohort_folder / "features", some)
    (some / "aml-003.h5").unlink()
    whole = tmp_path / "cohort.json"
    table = ("--table", str(cohort_folder / "patients.csv"), "--min-cells", "1", "--folds", "3")
    assert run("cohort", "show", cohort_folder / "features", *table, "--test-fraction", "0", "--save", whole).code == 0
    (cohort_folder / "features" / "aml-003.h5").rename(tmp_path / "aside.h5")
    try:
        refused = run("train", whole, "--features", some, "--out", tmp_path / "model", *TINY)
        trained = run("train", whole, "--features", some, "--out", tmp_path / "model", *TINY, "--skip-missing")
    finally:
        (tmp_path / "aside.h5").rename(cohort_folder / "features" / "aml-003.h5")
    assert refused.code == 2
    assert "1 of 27 training patients have no features" in refused.err
    assert "caltomorph encode" in refused.err
    assert trained.code == 0
    assert "1 of 27 training patients have no features" in " ".join(trained.out.split())
