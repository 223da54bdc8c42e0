"""An evaluation as one HTML page: numbers, figures, wrong predictions with their cells, audit and provenance."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from napari_caltomorph.about import RESEARCH_USE, library_version
from napari_caltomorph.audit.result import Audit
from napari_caltomorph.diagnosis import Ensemble, ModelDescription
from napari_caltomorph.diagnosis.inference import run_with_cells
from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.diagnosis.prevalence import ASSUMPTION_OF_RATES
from napari_caltomorph.encoding import load_bag
from napari_caltomorph.errors import FeaturesRefused, SmearUnreadable, printable
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.report.drawing import one_by_one
from napari_caltomorph.report.evaluation_figures import EvaluationFigure, figures_of
from napari_caltomorph.report.evaluation_tables import (
    class_table,
    column_table,
    covariate_table,
    coverage_table,
    faithfulness_table,
    flow_table,
    headline_table,
    hemoglobin_table,
    policy_table,
    prevalence_table,
    screening_table,
    trait_table,
    undefined_table,
    wrong_table,
)
from napari_caltomorph.report.explanation_figures import faithfulness_figure
from napari_caltomorph.report.html import cell_images, figure_uri, render, thumbnail_uri
from napari_caltomorph.report.patient_map import patient_map
from napari_caltomorph.report.probability_figures import not_malignant
from napari_caltomorph.smear import open_place
from napari_caltomorph.statistics.metric import METRICS

if TYPE_CHECKING:
    from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness

_CARDS = ("accuracy", "balanced_accuracy", "malignant_auroc", "sensitivity", "specificity", "ece", "malignant_ece")

_MOST_WRONG = 30

# Sorts a table by the column whose head is clicked: by the key where there is one, undefined ones last.
_SCRIPT = """
for (const head of document.querySelectorAll("table.sortable th")) {
  const sort = () => {
    const body = head.closest("table").tBodies[0], at = head.cellIndex;
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = row => {
      const key = row.cells[at].dataset.key;
      return key === undefined ? row.cells[at].textContent : Number(key);
    };
    const compare = (a, b) => {
      const x = value(a), y = value(b), none = Number.isNaN(x) - Number.isNaN(y);
      if (none) return none;
      const order = typeof x === "number" && typeof y === "number" ? x - y
        : String(x).localeCompare(String(y), "en", { numeric: true });
      return up ? order : -order;
    };
    body.append(...[...body.rows].sort(compare));
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
  });
}
"""


def evaluation_report(
    evaluation: Evaluation,
    *,
    audit: Audit | None = None,
    model: ModelDescription | None = None,
    cells: Mapping[str, Sequence[NDArray[np.uint8]]] | None = None,
    faithfulness: CohortFaithfulness | None = None,
    command: str = "",
    progress: OnProgress = ignore,
) -> str:
    """Return the report: HTML that loads nothing from a network. `save_page` writes it.

    `audit` and `faithfulness` are of the same patients; without an audit the report states that there was none. `model`
    adds the model card. `cells` are (H, W, 3) uint8 images by patient, the thumbnails of wrong predictions. `command`
    is the command line that made the evaluation. `progress` is called before each figure.
    """
    wrong, images, headline = wrong_table(evaluation), cells or {}, evaluation.headline
    figures = figures_of(evaluation)
    values = {
        "provenance": evaluation.provenance,
        "counts": evaluation.counts,
        "statements": evaluation.statements,
        "is_labelled": evaluation.is_labelled,
        "cards": [(METRICS[key].title, headline[key]) for key in _CARDS if headline[key].is_defined],
        "headline": headline_table(evaluation),
        "flow": flow_table(evaluation),
        "classes": class_table(evaluation),
        "screening": screening_table(evaluation),
        "others": not_malignant(evaluation),
        "missed": evaluation.at().missed,
        "prevalence": prevalence_table(evaluation),
        "assumption": ASSUMPTION_OF_RATES,
        "hemoglobin": hemoglobin_table(evaluation),
        "figures": [_page_figure(evaluation, one) for one in one_by_one(figures, lambda one: one.title, progress)],
        "against": [(one, covariate_table(one)) for one in evaluation.covariate_associations],
        "coverage": coverage_table(evaluation),
        "withholding": evaluation.withholding,
        "withheld": policy_table(evaluation),
        "wrong": wrong,
        "has_one_class": bool(evaluation.has_one_class.any()),
        "has_right_answers": bool((evaluation.has_one_class | evaluation.has_several).any()),
        "cells": [(p, [thumbnail_uri(one) for one in images[p]]) for p in evaluation.wrong if p in images],
        "audit": audit,
        "traits": None if audit is None else trait_table(audit),
        "columns": None if audit is None else column_table(audit),
        "faithfulness": faithfulness,
        "gains": None if faithfulness is None else faithfulness_table(faithfulness),
        "gain_figure": None if faithfulness is None else figure_uri(faithfulness_figure(faithfulness)),
        "undefined": undefined_table(evaluation),
        "provenance_facts": _facts(evaluation, printable(command)),
        "card": "" if model is None else model_card(model),
        "research_use": RESEARCH_USE,
        "script": Markup(_SCRIPT),  # a constant: nothing of the evaluation is in it
        # Lets browsers run this script, and no other that a text might contain.
        "script_hash": "sha256-" + base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode("ascii"),
    }
    values["sections"] = _sections(evaluation, values)
    return render("evaluation.html.j2", values)


def top_cells(
    ensemble: Ensemble,
    evaluation: Evaluation,
    features: Mapping[str, tuple[Path, ...]],
    *,
    among: Sequence[str] | None = None,
    cells: int = 8,
    progress: OnProgress = ignore,
) -> dict[str, list[NDArray[np.uint8]]]:
    """Return images, (H, W, 3) uint8, of the cells with the highest attention, by patient; `cells` of each.

    Without `among`, they are of the patients with a wrong prediction, at most 30, the most certain errors first.
    Patients without images or features are left out, and all patients for a model without attention; patients that
    cannot be read have no images here. `features` is what `feature_files` returns. Out of fold, the attention is that
    of the member that predicted the patient.
    """
    images_of: dict[str, list[NDArray[np.uint8]]] = {}
    if ensemble.description.aggregator.attention_kind == "none":
        return images_of
    rows = {row["patient_id"]: row for row in evaluation.patients.to_dict("records")}
    chosen = evaluation.wrong[:_MOST_WRONG] if among is None else among
    for number, patient in enumerate(chosen):
        progress(Progress("Reading cells", number, len(chosen), "patients"))
        place, fold = rows[patient]["path"], rows[patient]["fold"]
        if pd.isna(place) or patient not in features:
            continue
        try:
            bag = load_bag(features[patient])
            smear = open_place(str(place))
        except (FeaturesRefused, SmearUnreadable):
            images_of[patient] = []  # the report says so
            continue
        members = ensemble.members if pd.isna(fold) else [ensemble.members[int(fold)]]
        attention = run_with_cells(members, bag, alone=False).attention
        images = cell_images(smear, [bag.cells[i] for i in np.argsort(-attention, kind="stable")], cells)
        images_of[patient] = list(images.values())
    return images_of


def _sections(evaluation: Evaluation, values: Mapping[str, object]) -> list[tuple[str, str]]:
    names = {
        "numbers": "Numbers",
        "cohort": "Evaluated patients",
        "classes": "Classes",
        "threshold": "Threshold",
        "hemoglobin": "Hemoglobin",
        "coverage": "Coverage",
        "figures": "Figures",
        "wrong": "Wrong",
        "faithfulness": "Faithfulness",
        "audit": "Audit",
        "undefined": "Undefined",
        "provenance": "Model and provenance",
    }
    absent = set() if evaluation.is_labelled else {"classes", "threshold", "hemoglobin", "wrong"}
    absent |= {name for name in ("hemoglobin", "coverage", "undefined") if not values[name].rows}  # type: ignore[attr-defined]
    absent |= set() if values["faithfulness"] else {"faithfulness"}
    return [(link, name) for link, name in names.items() if link not in absent]


def _facts(evaluation: Evaluation, command: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """The evaluated model, the cohort, the options and the versions."""
    known, options = evaluation.provenance, evaluation.options
    classes = ", ".join(f"{c.name}{' (malignant)' if c.malignant else ''}" for c in evaluation.taxonomy.classes)
    threshold = known.threshold
    of_cohort = f" ({threshold.cohort})" if threshold.cohort else ""
    calibration = "not calibrated" if known.calibration is None else f"calibrated: {known.calibration.in_words}"
    model = [
        ("name", known.model_name),
        ("fingerprint", known.model_fingerprint),
        ("members", str(known.members)),
        ("classes", classes),
        ("encoder", f"{known.encoder or 'not named'}, weights SHA-256 {known.encoder_weights_sha256 or 'unknown'}"),
        ("trained on", f"{known.training_cohort}, recipe {known.training_recipe}"),
        ("trained on synthetic cells", "yes: it has seen no real blood" if known.model_synthetic else "no"),
        ("probabilities", calibration),
        ("threshold", f"{threshold.value:.6g}: {threshold.rule}{of_cohort}"),
    ]
    cohort = [
        ("name", known.cohort_name),
        ("source", known.cohort_source),
        ("layout", known.cohort_layout),
        ("fingerprint", known.cohort_fingerprint),
        ("search for training patients", f"{known.training_check}; groups: {known.training_groups or 'not compared'}"),
        ("laboratory of the training", {"same": "yes", "other": "no"}.get(options.lab, "unknown")),
        ("seen by the encoder in its training", options.encoder_overlap),
    ]
    chosen = options.model_dump(mode="json")
    run = [
        ("made", f"{known.created}, {known.seconds:g} s on {known.device}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in known.library_versions.items())),
        ("options", "; ".join(f"{name} = {_plain(value)}" for name, value in chosen.items())),
        ("map", patient_map(evaluation).in_words),
        ("report by", f"napari-caltomorph {library_version()}"),
    ]
    if command:
        run.insert(0, ("command", command))
    return [("Model", model), ("Cohort", cohort), ("Evaluation", run)]


def _plain(value: object) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list | tuple) else str(value)


def _page_figure(evaluation: Evaluation, one: EvaluationFigure) -> dict[str, object]:
    figure = one.of(evaluation)
    caption = f"{patient_map(evaluation).in_words} {one.caption}" if one.name == "map" else one.caption
    width = round(float(figure.get_figwidth()), 2)
    return {"name": one.name, "title": one.title, "caption": caption, "image": figure_uri(figure), "width": width}
