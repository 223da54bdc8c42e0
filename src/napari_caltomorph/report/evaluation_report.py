"""An evaluation as one HTML file that can be handed on: numbers, figures and what must be said beside them.

It asks no network for anything, and no text in it is read as HTML: ids, labels and names may hold what they will.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from napari_caltomorph.about import RESEARCH_USE, library_version
from napari_caltomorph.audit.result import Audit
from napari_caltomorph.diagnosis import ModelDescription
from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.errors import printable
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.report.audit_tables import column_table, trait_table
from napari_caltomorph.report.evaluation_figures import EvaluationFigure, figures_of
from napari_caltomorph.report.evaluation_tables import (
    against_table,
    class_table,
    flow_table,
    headline_table,
    hemoglobin_table,
    prevalence_table,
    screening_table,
    undefined_table,
    wrong_table,
)
from napari_caltomorph.report.explain_figures import faithfulness_figure
from napari_caltomorph.report.explain_tables import faithfulness_table
from napari_caltomorph.report.html import figure_uri, render, thumbnail_uri
from napari_caltomorph.report.malignancy_figures import not_malignant
from napari_caltomorph.report.patient_map import patient_map
from napari_caltomorph.statistics.metric import METRICS
from napari_caltomorph.storage import replacing

if TYPE_CHECKING:
    from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness

FILE_NAME = "report.html"

_CARDS = ("accuracy", "balanced_accuracy", "malignant_auroc", "sensitivity", "specificity", "ece")

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


@dataclass(frozen=True)
class _Shown:
    """A figure inside the page."""

    name: str
    title: str
    caption: str
    image: str
    width: float


def save_report(
    evaluation: Evaluation,
    path: str | Path,
    *,
    audit: Audit | None = None,
    model: ModelDescription | None = None,
    cells: Mapping[str, Sequence[NDArray[np.uint8]]] | None = None,
    faithfulness: CohortFaithfulness | None = None,
    command: str = "",
) -> Path:
    """Write the report as one HTML file; return where it stands.

    Parameters
    ----------
    evaluation : Evaluation
    path : str or Path
        The file.
    audit : Audit, optional
        Of the same cohort; without one the report says that there was none.
    model : ModelDescription, optional
        Its card is shown in full; what the evaluation knows of the model is shown anyway.
    cells : mapping, optional
        Patient -> (H, W, 3) uint8 images, shown as thumbnails for patients whose prediction was wrong.
    faithfulness : CohortFaithfulness, optional
        Of the same patients.
    command : str
        Command line that made the evaluation.

    Raises
    ------
    OutputRefused
        It cannot be written.
    """
    html = report_html(evaluation, audit=audit, model=model, cells=cells, faithfulness=faithfulness, command=command)
    with replacing(path := Path(path)) as part:
        part.write_text(html, "utf-8")
    return path


def report_html(
    evaluation: Evaluation,
    *,
    audit: Audit | None = None,
    model: ModelDescription | None = None,
    cells: Mapping[str, Sequence[NDArray[np.uint8]]] | None = None,
    faithfulness: CohortFaithfulness | None = None,
    command: str = "",
) -> str:
    """Return the text of `save_report`."""
    wrong, shown = wrong_table(evaluation), cells or {}
    headline = evaluation.headline
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
        "hemoglobin": hemoglobin_table(evaluation),
        "figures": [_shown(evaluation, figure) for figure in figures_of(evaluation)],
        "against": [(one, against_table(one)) for one in evaluation.covariate_associations],
        "wrong": wrong,
        "has_right_answers": bool((evaluation.has_one_class | evaluation.has_several).any()),
        "cells": [(p, [thumbnail_uri(one) for one in shown[p]]) for p in evaluation.wrong if p in shown],
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
        "script": Markup(_SCRIPT),  # ours, and nothing of the evaluation is in it
        "script_hash": _script_hash(),
    }
    values["sections"] = _sections(evaluation, values)
    return render("evaluation.html.j2", values)


def _sections(evaluation: Evaluation, values: Mapping[str, object]) -> list[tuple[str, str]]:
    names = {
        "numbers": "Numbers",
        "cohort": "Who was judged",
        "classes": "Classes",
        "threshold": "Threshold",
        "hemoglobin": "Hemoglobin",
        "figures": "Figures",
        "wrong": "Wrong",
        "faithfulness": "Faithfulness",
        "audit": "Audit",
        "undefined": "Undefined",
        "provenance": "Model and provenance",
    }
    absent = set() if evaluation.is_labelled else {"classes", "threshold", "hemoglobin", "wrong"}
    absent |= {name for name in ("hemoglobin", "undefined") if not values[name].rows}  # type: ignore[attr-defined]
    absent |= set() if values["faithfulness"] else {"faithfulness"}
    return [(link, name) for link, name in names.items() if link not in absent]


def _facts(evaluation: Evaluation, command: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """What was judged, on whom, how and by which versions."""
    known, options = evaluation.provenance, evaluation.options
    classes = ", ".join(f"{c.name}{' (malignant)' if c.malignant else ''}" for c in evaluation.taxonomy.classes)
    threshold = known.threshold
    model = [
        ("name", known.model_name),
        ("fingerprint", known.model_fingerprint),
        ("members", str(known.members)),
        ("classes", classes),
        ("encoder", f"{known.encoder or 'not named'}, weights SHA-256 {known.encoder_weights_sha256 or 'unknown'}"),
        ("trained on", f"{known.training_cohort}, recipe {known.training_recipe}"),
        ("trained on drawn cells", "yes: it knows nothing about real blood" if known.model_synthetic else "no"),
        (
            "probabilities",
            "not calibrated" if known.calibration is None else f"calibrated: {known.calibration.in_words}",
        ),
        (
            "threshold",
            f"{threshold.value:.6g}: {threshold.rule}" + (f" ({threshold.cohort})" if threshold.cohort else ""),
        ),
    ]
    cohort = [
        ("name", known.cohort_name),
        ("source", known.cohort_source),
        ("layout", known.cohort_layout),
        ("fingerprint", known.cohort_fingerprint),
        ("training patients looked for", known.training_check),
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


def _shown(evaluation: Evaluation, one: EvaluationFigure) -> _Shown:
    figure = one.of(evaluation)
    caption = one.caption
    if one.name == "map":
        caption = f"{patient_map(evaluation).in_words} {caption}"
    return _Shown(one.name, one.title, caption, figure_uri(figure), round(float(figure.get_figwidth()), 2))


def _script_hash() -> str:
    """What lets browsers run this script in the page, and no other that a text might smuggle in."""
    return "sha256-" + base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode("ascii")
