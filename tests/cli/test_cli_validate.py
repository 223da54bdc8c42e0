"""`caltomorph validate`: the record that it writes, and the plan before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.report.factories import EVIL, Page
from tests.training.factories import write_demo_cohort

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.laboratory import Validation
from napari_caltomorph.report.validation_record import validation_record

CRITERIA = """
judged_by = "point"
auroc_at_least = 0.1
sensitivity_at_least = 0.0
choose_by = "sensitivity=0.9"
"""


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return write_demo_cohort(tmp_path_factory.mktemp("validate") / "cohort")


def test_a_record_and_its_data_are_written_and_a_change_of_criteria_is_told(run, features, tmp_path):
    criteria, out = tmp_path / "criteria.toml", tmp_path / "out"
    criteria.write_text(CRITERIA, "utf-8")
    words = ("validate", features / "features", "--table", features / "patients.csv", "--min-cells", "1")
    words += ("--model", "demo", "--device", "cpu", "--criteria", criteria, "--out", out)
    code, text, err = run(*words)
    assert (code, err) == (0, "")
    assert "Verdict: use" in text
    assert "Research use only" in text
    found = Validation.load(out)
    assert found.verdict.kind == "use"
    assert found.counts["evaluated"] == 24  # all patients, not a test split
    assert found.audit is not None
    assert {one.name for one in found.numbers if one.trained is not None} >= {"malignant_auroc", "balanced_accuracy"}
    page = (out / "validation.html").read_text("utf-8")
    for part in (found.stated.sha256, found.provenance.model_fingerprint, found.provenance.cohort_fingerprint):
        assert part in page
    assert "Approved by" in Page(page).text
    words += ("--overwrite",)
    criteria.write_text(CRITERIA.replace("0.1", "0.2") + "coverage_at_least = 0.9", "utf-8")
    policy = tmp_path / "policy.toml"
    leads = sorted(Evaluation.load(out).delta_probability)
    policy.write_text(f'name = "ours"\nversion = "1"\nmin_lead = {leads[6]}', "utf-8")
    assert run(*words, "--skip-audit", "--policy", policy)[0] == 0
    again = Validation.load(out)
    assert again.audit is None
    assert again.counts["evaluated"] == 18
    assert len(Evaluation.load(out)) == 24
    assert [check.metric.value for check in again.fixed if check.name == "coverage"] == [18 / 24]
    assert again.verdict.kind == "do not use"
    assert any("6 patients withheld" in note for note in again.notes)
    policy.write_text('name = "none"\nversion = "1"\nmin_cells = 1000', "utf-8")
    code, _, err = run(*words, "--policy", policy)
    assert (code, "withholds all 24 patients" in " ".join(err.split())) == (2, True)
    assert any(note.startswith("The criteria were changed after results were known") for note in again.notes)
    # Text of others is only text in the record.
    odd = replace(again, provenance=again.provenance.model_copy(update={"model_name": EVIL, "cohort_name": EVIL}))
    assert Page(validation_record(odd, Evaluation.load(out))).of("script") == []


def test_bad_criteria_are_refused_before_anything_is_written(run, features, tmp_path):
    criteria = tmp_path / "criteria.toml"
    criteria.write_text("sensitivity_at_least = 95", "utf-8")
    words = ("validate", features, "--model", "demo", "--out", tmp_path / "out", "--criteria", criteria)
    code, _, err = run(*words)
    assert code == 2
    assert "criteria.toml" in err
    assert not (tmp_path / "out" / "validation.json").exists()


def test_the_plan_has_the_cases_of_each_number(run):
    code, text, _ = run("validate", "plan", "--sensitivity", "0.95", "--half-width", "0.05", "--prevalence", "0.25")
    assert code == 0
    assert "83 malignant" in text
    assert "332" in text  # patients, of whom a quarter is malignant
    assert run("validate", "plan", "--prevalence", "20").code == 2
