"""The report has every number and note, loads nothing from a network and interprets no text as HTML."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.evaluation.factories import PROVENANCE, TAXONOMY, evaluation_of, simulated
from tests.report.factories import EVIL, Page

from napari_caltomorph.audit.result import Audit, ColumnRow, ColumnValue, TraitRow
from napari_caltomorph.diagnosis import Ensemble, Policy, find_model
from napari_caltomorph.diagnosis.prevalence import ASSUMPTION_OF_RATES
from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.report.evaluation_figures import FIGURES
from napari_caltomorph.report.evaluation_report import evaluation_report, top_cells
from napari_caltomorph.smear import read_smear
from napari_caltomorph.statistics.interval import Interval
from napari_caltomorph.statistics.permutation import Chance
from napari_caltomorph.synthetic import synthesize_patient, synthetic_features
from napari_caltomorph.synthetic.write import write_smear


@pytest.fixture(scope="module")
def evaluation():
    truth, probabilities = simulated((9, 8, 7, 12), separation=1.5)
    probabilities = np.concatenate([probabilities, np.full((2, 4), 0.25)])
    base = evaluation_of(
        [*truth, None, None],
        probabilities,
        coarse_set=[None] * 36 + ["acute|mds", None],
        row=[None] * 37 + ["MGUS"],
        measured=list(np.linspace(8, 15, 38)),
        hemoglobin=list(np.linspace(9, 14, 38) + np.sin(np.arange(38))),
    )
    provenance = base.provenance.model_copy(
        update={"cohort_left_out": {"follow-up": 3, "few cells": 2}, "cohort_notes": ("Two tables were joined.",)}
    )
    not_evaluated = pd.DataFrame([("P900", "no features")], columns=["patient_id", "reason"])
    return replace(base, provenance=provenance, not_evaluated=not_evaluated)


@pytest.fixture(scope="module")
def html(evaluation):
    return evaluation_report(evaluation, command="caltomorph evaluate clinic_b --model tiny --out results")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_every_headline_number_has_its_interval_and_method(evaluation, page):
    for metric in evaluation.headline.values():
        if metric.value is None:
            assert metric.remark in page.text
            continue
        row = f"{metric.value:.3f}"
        if metric.low is not None:
            row += f" {metric.low:.3f} to {metric.high:.3f} {metric.method}"
        assert row in page.text
        assert metric.remark in page.text


def test_every_class_number_is_in_the_report(evaluation, page):
    for one in evaluation.by_class.values():
        for metric in one.numbers.values():
            assert metric.value is None or f"{metric.value:.2f}" in page.text
        assert f"{one.name} {one.patients} {one.called}" in page.text


def test_hemoglobin_screening_and_prevalence_are_in_the_report(evaluation, page):
    overall = evaluation.hemoglobin[0].numbers
    r, mae = overall["pearson_r"], overall["mae"]
    assert f"all 38 {r.value:.2f} {r.low:.2f} to {r.high:.2f} {mae.value:.2f}" in page.text
    sensitivity = evaluation.at().sensitivity_of("mds")
    assert f"MDS 8 {sensitivity.value:.2f}" in page.text
    point = evaluation.at()
    rates = (point.fdr_at(0.1), point.fdr_at(0.1, healthy=False))
    assert " ".join(["10 %", *(f"{r.value:.3f} {r.low:.3f} to {r.high:.3f}" for r in rates), "0.900"]) in page.text
    assert ASSUMPTION_OF_RATES in page.text
    here = evaluation.screened.everyone
    assert f"{100 * (1 - here.fdr.value):.0f} % this cohort {point.fdr.value:.3f}" in page.text
    without = here.fdr_without_healthy
    assert f"if all were punctured: {without.shown()}" in page.text
    rate = point.fdr_at(1 - without.value, healthy=False)
    assert rate.value == pytest.approx(point.fdr_without_healthy.value)
    assert f"{rate.value:.3f} {rate.low:.3f} to {rate.high:.3f} {without.value:.3f}" in page.text
    assert f"Missed: {', '.join(point.missed)}." in page.text


def test_required_warnings_are_in_the_report(evaluation, page):
    for sentence in evaluation.statements:
        assert sentence in page.text
    assert page.text.count("Research use only. Not for diagnosis.") == 2
    at = next(one for one in evaluation.coverage if one.min_lead == 0.4)
    assert f"0.4 {at.wrong.patients} {at.predicted.value:.2f}" in page.text
    assert "The policy" not in page.text
    assert "the paper's" in page.text


def test_out_of_fold_optimism_and_synthetic_cells_are_noted(evaluation):
    provenance = evaluation.provenance.model_copy(update={"model_synthetic": True, "training_recipe": "paper"})
    options = evaluation.options.model_copy(update={"out_of_fold": True, "lab": "same"})
    patients = evaluation.patients.assign(fold=pd.array([1] * 38, dtype="Int64"))
    changed = replace(evaluation, provenance=provenance, options=options, patients=patients)
    policy = Policy(name="Clinic A", version="2", min_lead=0.4, must_stand_out=True)
    withholding = changed.under(policy).withholding
    text = Page(evaluation_report(changed.under(policy))).text
    kept = withholding.error["predicted"]
    for words in (
        f"withholds {sum(map(bool, withholding.reasons))} of 38 patients",
        f"predicted {kept.patients} {kept.value:.2f}",
        "does not know it: must_stand_out",
        "has seen no real blood",
        "single members",
        "They are optimistic",
        "laboratory of the training",
    ):
        assert words in text
    assert f"{evaluation.wrong[0]} member 2" in text


def test_flow_counts_patients_that_were_left_out_or_not_evaluated(page):
    for words in (
        "left out of the cohort 5 - follow-up 3 - few cells 2",
        "to be evaluated (test split, where the cohort has one) 39",
        "not evaluated 1 - no features 1",
        "evaluated 38 - one class 36 - several right answers 1 - a class that the model does not have 1",
        "Two tables were joined.",
    ):
        assert words in page.text


def test_wrong_patients_are_those_of_the_evaluation_in_its_order(evaluation, page):
    places = [page.text.index(f" {patient} ", page.text.index("Patients with a wrong")) for patient in evaluation.wrong]
    assert len(places) > 3
    assert places == sorted(places)


def test_provenance_is_in_the_report(page):
    for words in (
        PROVENANCE.model_fingerprint,
        PROVENANCE.cohort_fingerprint,
        PROVENANCE.encoder_weights_sha256,
        "torch 2",
        "caltomorph evaluate clinic_b --model tiny --out results",
        "seed = 0",
    ):
        assert words in page.text


def test_figures_are_inside_and_nothing_is_fetched(html, page):
    images = page.of("img")
    assert len(images) == len(FIGURES)
    for image in images:
        kind, content = image["src"].split(",")
        assert kind == "data:image/svg+xml;base64"
        assert b"<svg" in base64.b64decode(content)
        assert image["alt"]
    assert "http:" not in html
    assert "https:" not in html
    assert not page.of("link")
    assert {attributes["href"][0] for attributes in page.of("a")} == {"#"}


def test_links_lead_to_sections(page):
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {attributes["href"][1:] for attributes in page.of("a")} <= ids


def test_only_our_script_may_run(html, page):
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(one["content"] for one in page.of("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert f"script-src 'sha256-{allowed}'" in policy
    assert "default-src 'none'" in policy


def test_no_text_is_taken_for_html(evaluation):
    patients = evaluation.patients.assign(
        patient_id=[f"{EVIL}{i}" for i in range(len(evaluation))], warnings=EVIL, raw_label=EVIL
    )
    patients["row"] = patients["row"].where(patients["row"].isna(), EVIL)
    classes = tuple(one.model_copy(update={"name": f"{one.name} {EVIL}"}) for one in TAXONOMY.classes)
    provenance = evaluation.provenance.model_copy(
        update={"model_name": EVIL, "cohort_name": EVIL, "cohort_source": EVIL, "cohort_notes": (EVIL,)}
    )
    not_evaluated = pd.DataFrame([(EVIL, EVIL)], columns=["patient_id", "reason"])
    evil = replace(
        evaluation,
        patients=patients,
        taxonomy=TAXONOMY.model_copy(update={"classes": classes}),
        provenance=provenance,
        not_evaluated=not_evaluated,
        notes=(EVIL,),
    )
    page = Page(evaluation_report(evil, audit=audit_of(EVIL), command=EVIL))
    assert len(page.of("script")) == 1
    assert all(one["src"].startswith("data:image/svg+xml;base64,") for one in page.of("img"))
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert f"{EVIL}0" in page.text or f"{EVIL}1" in page.text


def test_an_evaluation_without_labels_gives_reasons_instead_of_numbers():
    unlabelled = evaluation_of([None, None], np.full((2, 4), 0.25))
    text = Page(evaluation_report(unlabelled)).text
    assert "No number is defined" in text
    assert "the cohort has no labels" in text
    assert "Patients with a wrong prediction" not in text


def test_a_cohort_without_errors_is_noted():
    right = evaluation_of(list(TAXONOMY.slugs), 0.9 * np.eye(4) + 0.025)
    text = Page(evaluation_report(right)).text
    assert "Patients with a wrong prediction None." in text
    assert "No malignant patient is missed." in text


def audit_of(name="borders"):
    interval, chance = Interval(0.72, 0.6, 0.83), Chance(0.37, 0.5, 0.63, 200)
    row = TraitRow(
        "borders", "image borders", 70, 24, "auroc",
        {"auroc": interval, "balanced_accuracy": interval}, {"auroc": chance, "balanced_accuracy": chance}, 0.007, 0.02,
    )  # fmt: skip
    column = ColumnRow(
        name, True, (ColumnValue(name, 40, {name: 20}, Interval(0.8, 0.7, 0.9)),), 0.03, 0.02, 0.03, 0.04, name
    )
    return Audit(name, {"AML": 30, "Healthy": 40}, "5 folds", (row,), (column,), notes=(name,))


AUDIT = audit_of("site")


@pytest.fixture(scope="module")
def with_covariate(evaluation):
    options = evaluation.options.model_copy(update={"against": ("blasts",)})
    ratio = np.linspace(0, 1, len(evaluation)).round(2)
    return replace(evaluation, options=options, covariates=pd.DataFrame({"blasts": ratio}))


@pytest.fixture(scope="module")
def full_page(with_covariate):
    """A report with audit, covariate, cells, and a command with bytes that are no text."""
    right = next(p for p in with_covariate.patients["patient_id"] if p not in with_covariate.wrong)
    cells = {p: [np.zeros((20, 30, 3), np.uint8)] * 2 for p in (with_covariate.wrong[0], right)}
    return Page(evaluation_report(with_covariate, audit=AUDIT, cells=cells, command="caltomorph evaluate clinic\udcff"))


def test_audit_is_a_section_of_its_own(page, full_page):
    assert "Not audited" in page.text
    assert "Not audited" not in full_page.text
    for sentence in (*AUDIT.findings, *AUDIT.notes):
        assert sentence in full_page.text
    assert "image borders 70 24 AUROC 0.72 0.60 to 0.83 0.50 0.37 to 0.63 0.007 0.02" in full_page.text


def test_cells_of_wrong_patients_are_thumbnails(with_covariate, full_page):
    first = with_covariate.wrong[0]
    shown = [one for one in full_page.of("img") if "jpeg" in one["src"]]
    assert [one["alt"] for one in shown] == [f"cell 1 of {first}", f"cell 2 of {first}"]


def test_a_covariate_has_a_table_and_a_figure(with_covariate, full_page):
    (outcome,) = with_covariate.covariate_associations
    assert "Errors by blasts" in full_page.text
    for part in outcome.bins:
        error = part.error
        shown = f"{error.patients} {error.value:.2f} {error.low:.2f} to {error.high:.2f}"
        assert f"{part.low:.3g} to {part.high:.3g} {shown}" in full_page.text
    assert "figure-against_1" in [one.get("id") for one in full_page.of("figure")]


def test_a_command_may_have_bytes_that_are_no_text(full_page):
    assert "clinic%FF" in full_page.text


@pytest.fixture(scope="module")
def ensemble():
    return Ensemble.load(find_model("demo"))


@pytest.fixture(scope="module")
def evaluated(ensemble, tmp_path_factory):
    """P000 and P001 are wrong, P002 is right; each has images and features."""
    folder = tmp_path_factory.mktemp("top_cells")
    (folder / "features").mkdir()
    for number in range(3):
        patient = synthesize_patient("aml", cells=6, seed=number, patient_id=f"P{number:03d}")
        write_smear(patient, folder / patient.patient_id)
        names = read_smear(folder / patient.patient_id).cells
        values = synthetic_features(patient, ensemble.description.encoder.width)
        features = Features(patient.patient_id, values, names, FeatureOrigin())
        features.save(folder / "features" / f"{patient.patient_id}.h5")
    certain = np.array([[0.0, 0.9, 0.1, 0.0], [0.2, 0.8, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    base = evaluation_of(["acute"] * 3, certain)
    paths = pd.array([str(folder / f"P{i:03d}") for i in range(3)], dtype="string")
    return replace(base, patients=base.patients.assign(path=paths)), folder


@pytest.fixture(scope="module")
def files(evaluated):
    _, folder = evaluated
    return {path.stem: (path,) for path in (folder / "features").glob("*.h5")}


def test_cells_are_those_that_the_prediction_ranks_first(ensemble, evaluated, files):
    evaluation, folder = evaluated
    outcome = top_cells(ensemble, evaluation, files, cells=4)
    assert list(outcome) == ["P000", "P001"]
    for patient, images in outcome.items():
        bag = Features.load(folder / "features" / f"{patient}.h5")
        first = np.argsort(-ensemble.predict(bag).attention)[:4]
        smear = read_smear(folder / patient)
        for image, cell in zip(images, first, strict=True):
            assert np.array_equal(image, smear.image(smear.cells.index(bag.cells[cell])))


def test_out_of_fold_report_uses_the_member_that_evaluated_the_patient(ensemble, evaluated, files):
    evaluation, folder = evaluated
    alone = evaluation.patients.assign(fold=pd.array([2, 2, 2], dtype="Int64"))
    outcome = top_cells(ensemble, replace(evaluation, patients=alone), files, cells=1)
    member = Ensemble(ensemble.description, ensemble.members[2:3])
    for patient, (image,) in outcome.items():
        bag = Features.load(folder / "features" / f"{patient}.h5")
        smear = read_smear(folder / patient)
        best = bag.cells[int(np.argmax(member.predict(bag).attention))]
        assert np.array_equal(image, smear.image(smear.cells.index(best)))


def test_patients_without_images_or_features_are_left_out_and_others_named(ensemble, evaluated, files, tmp_path):
    evaluation, _ = evaluated
    gone = evaluation.patients["path"].copy()
    gone.iloc[0] = str(tmp_path / "gone")
    outcome = top_cells(ensemble, replace(evaluation, patients=evaluation.patients.assign(path=gone)), files)
    assert (outcome["P000"], len(outcome["P001"])) == ([], 6)
    assert "P000</span>no image" in evaluation_report(evaluation, cells=outcome)
    assert top_cells(ensemble, evaluation, {}) == {}


def test_cells_of_chosen_patients_are_read_whether_right_or_wrong(ensemble, evaluated, files):
    evaluation, _ = evaluated
    right = next(p for p in files if p not in evaluation.wrong)
    assert list(top_cells(ensemble, evaluation, files, among=[right])) == [right]
