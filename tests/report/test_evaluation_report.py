"""The report holds every number, says what must be said, asks no network and takes no text for HTML."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from tests.evaluation.factories import PROVENANCE, TAXONOMY, evaluation_of, simulated

from napari_caltomorph.audit.result import Audit, ColumnRow, ColumnValue, TraitRow
from napari_caltomorph.report.evaluation_figures import FIGURES
from napari_caltomorph.report.evaluation_report import evaluation_report
from napari_caltomorph.report.html import save_page
from napari_caltomorph.statistics.interval import Interval
from napari_caltomorph.statistics.permutation import Chance

EVIL = "<script>alert('x')</script><img src=\"http://evil.example/x.png\" onerror=alert(1)>"


class Page(HTMLParser):
    """Tags with their attributes, and the text that a reader sees."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self._in = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in {"script", "style"}:
            self._in.append(tag)

    def handle_endtag(self, tag):
        if self._in and self._in[-1] == tag:
            self._in.pop()

    def handle_data(self, data):
        if not self._in:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def evaluation():
    truth, probabilities = simulated((9, 8, 7, 12), separation=1.5)
    probabilities = np.concatenate([probabilities, np.full((2, 4), 0.25)])
    made = evaluation_of(
        [*truth, None, None],
        probabilities,
        coarse_set=[None] * 36 + ["acute|mds", None],
        row=[None] * 37 + ["MGUS"],
        measured=list(np.linspace(8, 15, 38)),
        hemoglobin=list(np.linspace(9, 14, 38) + np.sin(np.arange(38))),
    )
    provenance = made.provenance.model_copy(
        update={"cohort_left_out": {"follow-up": 3, "few cells": 2}, "cohort_notes": ("Two tables were joined.",)}
    )
    not_evaluated = pd.DataFrame([("P900", "no features")], columns=["patient_id", "reason"])
    return replace(made, provenance=provenance, not_evaluated=not_evaluated)


@pytest.fixture(scope="module")
def html(evaluation):
    return evaluation_report(evaluation, command="caltomorph evaluate clinic_b --model tiny --out results")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_every_headline_number_stands_there_with_its_interval_and_method(evaluation, page):
    for metric in evaluation.headline.values():
        if metric.value is None:
            assert metric.remark in page.text
            continue
        row = f"{metric.value:.3f}"
        if metric.low is not None:
            row += f" {metric.low:.3f} to {metric.high:.3f} {metric.method}"
        assert row in page.text
        assert metric.remark in page.text


def test_every_class_number_stands_there(evaluation, page):
    for one in evaluation.by_class.values():
        for metric in one.numbers.values():
            assert metric.value is None or f"{metric.value:.2f}" in page.text
        assert f"{one.name} {one.patients} {one.called}" in page.text


def test_hemoglobin_screening_and_prevalence_stand_there(evaluation, page):
    overall = evaluation.hemoglobin[0].numbers
    r, mae = overall["pearson_r"], overall["mae"]
    assert f"all 38 {r.value:.2f} {r.low:.2f} to {r.high:.2f} {mae.value:.2f}" in page.text
    sensitivity = evaluation.at().sensitivity_of("mds")
    assert f"MDS 8 {sensitivity.value:.2f}" in page.text
    point = evaluation.at()
    assert f"10% {point.fdr_at(0.1):.3f} {point.fdr_at(0.1, healthy=False):.3f}" in page.text
    assert f"Missed: {', '.join(point.missed)}." in page.text


def test_what_must_be_said_is_said(evaluation, page):
    for sentence in evaluation.statements:
        assert sentence in page.text
    assert page.text.count("Research use only. Not for diagnosis.") == 2
    assert "the paper's" in page.text


def test_out_of_fold_optimism_and_drawn_cells_are_said(evaluation):
    provenance = evaluation.provenance.model_copy(update={"model_synthetic": True, "training_recipe": "paper"})
    options = evaluation.options.model_copy(update={"out_of_fold": True, "lab": "same"})
    patients = evaluation.patients.assign(fold=pd.array([1] * 38, dtype="Int64"))
    text = Page(evaluation_report(replace(evaluation, provenance=provenance, options=options, patients=patients))).text
    for words in (
        "has seen no real blood",
        "single members",
        "They are optimistic",
        "laboratory of the training",
    ):
        assert words in text
    assert f"{evaluation.wrong[0]} member 2" in text


def test_flow_says_who_was_left_out_and_who_was_not_judged(page):
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


def test_provenance_stands_there(page):
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
    nobody = evaluation_of([None, None], np.full((2, 4), 0.25))
    text = Page(evaluation_report(nobody)).text
    assert "No number is defined" in text
    assert "the cohort has no labels" in text
    assert "Patients with a wrong prediction" not in text


def test_when_nobody_is_wrong_it_is_said():
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


def test_audit_is_a_section_of_its_own(evaluation, page):
    assert "Not audited" in page.text
    audit = audit_of("site")
    text = Page(evaluation_report(evaluation, audit=audit)).text
    assert "Not audited" not in text
    for sentence in (*audit.findings, *audit.notes):
        assert sentence in text
    assert "image borders 70 24 AUROC 0.72 0.60 to 0.83 0.50 0.37 to 0.63 0.007 0.02" in text


def test_cells_of_wrong_patients_are_thumbnails(evaluation):
    first = evaluation.wrong[0]
    right = next(p for p in evaluation.patients["patient_id"] if p not in evaluation.wrong)
    cells = {first: [np.zeros((20, 30, 3), np.uint8)] * 2, right: [np.zeros((20, 30, 3), np.uint8)]}
    shown = [one for one in Page(evaluation_report(evaluation, cells=cells)).of("img") if "jpeg" in one["src"]]
    assert [one["alt"] for one in shown] == [f"cell 1 of {first}", f"cell 2 of {first}"]


def test_what_predictions_were_set_against_has_a_table_and_a_figure(evaluation):
    ratio = np.linspace(0, 1, len(evaluation)).round(2)
    options = evaluation.options.model_copy(update={"against": ("blasts",)})
    beside = replace(evaluation, options=options, covariates=pd.DataFrame({"blasts": ratio}))
    page = Page(evaluation_report(beside))
    (found,) = beside.covariate_associations
    assert "Errors by blasts" in page.text
    for part in found.bins:
        error = part.error
        shown = f"{error.patients} {error.value:.2f} {error.low:.2f} to {error.high:.2f}"
        assert f"{part.low:.3g} to {part.high:.3g} {shown}" in page.text
    assert "figure-against_1" in [one.get("id") for one in page.of("figure")]
    assert "caltomorph compare" in page.text


def test_it_is_one_file_also_where_the_command_holds_bytes_that_are_no_text(evaluation, tmp_path):
    path = save_page(
        evaluation_report(evaluation, command="caltomorph evaluate clinic\udcff"), tmp_path / "out" / "report.html"
    )
    assert "clinic%FF" in path.read_text("utf-8")
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]
