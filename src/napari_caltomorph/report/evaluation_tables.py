"""The tables of an evaluation's report: every cell as text, and what it is sorted by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.evaluation.covariates import CovariateAssociation
from napari_caltomorph.report.malignancy_figures import not_malignant
from napari_caltomorph.statistics import Metric
from napari_caltomorph.statistics.metric import CLASS_METRICS, HEMOGLOBIN_METRICS, METRICS

PREVALENCES = (0.01, 0.05, 0.1, 0.2, 0.5)

_AT_THRESHOLD = ("sensitivity", "specificity", "fdr", "fdr_without_healthy")


@dataclass(frozen=True)
class Cell:
    """What is shown, what stands small below it, and what it is sorted by where that is a number."""

    text: str
    below: str = ""
    key: float | None = None


@dataclass(frozen=True)
class ReportTable:
    """A table; with `is_sortable`, a click on a head sorts it."""

    heads: tuple[str, ...]
    rows: list[tuple[Cell, ...]] = field(default_factory=list)
    is_sortable: bool = True


def headline_table(evaluation: Evaluation, *, threshold: float | None = None) -> ReportTable:
    """Return each number about the model as a whole that is defined, with its interval and what it is of.

    Those of "malignant" are at a threshold: that of the evaluation where not given.
    """
    table = ReportTable(("", "value", "95 % interval", "interval by", "patients", "what it is of"), is_sortable=False)
    point = evaluation.at(threshold)
    for name, of_evaluation in evaluation.headline.items():
        metric: Metric = getattr(point, name) if name in _AT_THRESHOLD else of_evaluation
        if metric.value is None:
            continue
        shown = METRICS[name]
        table.rows.append(
            (
                Cell(shown.title),
                Cell(f"{metric.value:.3f}", key=metric.value),
                Cell(_interval(metric)),
                Cell("" if metric.method == "none" else metric.method),
                Cell(str(metric.patients), key=metric.patients),
                Cell(_of(name, shown.of, evaluation, point.threshold), metric.remark),
            )
        )
    return table


def class_table(evaluation: Evaluation) -> ReportTable:
    """Return the numbers of each class."""
    table = ReportTable(("class", "patients", "predicted", *(shown.name for shown in CLASS_METRICS.values())))
    for one in evaluation.by_class.values():
        counts = (Cell(str(n), key=n) for n in (one.patients, one.called))
        table.rows.append((Cell(one.name), *counts, *(_cell(one.numbers[name]) for name in CLASS_METRICS)))
    return table


def screening_table(evaluation: Evaluation, *, threshold: float | None = None) -> ReportTable:
    """Return each malignant class's sensitivity at a threshold: that of the evaluation where not given."""
    table = ReportTable(("malignant class", "patients", "called malignant"))
    point = evaluation.at(threshold)
    for one in evaluation.taxonomy.classes:
        if one.malignant and (sensitivity := point.sensitivity_of(one.slug)).is_defined:
            table.rows.append(
                (Cell(one.name), Cell(str(sensitivity.patients), key=sensitivity.patients), _cell(sensitivity))
            )
    return table


def prevalence_table(evaluation: Evaluation, *, threshold: float | None = None) -> ReportTable:
    """Return the false discovery rate where other shares of patients are malignant, at a threshold."""
    table = ReportTable(("malignant among the tested", "FDR, others as here", "FDR, without healthy donors"))
    point = evaluation.at(threshold)
    for prevalence in PREVALENCES:
        rates = (point.fdr_at(prevalence), point.fdr_at(prevalence, healthy=False))
        cells = (Cell("undefined" if rate is None else f"{rate:.3f}", key=rate) for rate in rates)
        table.rows.append((Cell(f"{prevalence:.0%}", key=prevalence), *cells))
    return table


def hemoglobin_table(evaluation: Evaluation) -> ReportTable:
    """Return the numbers of each group in which any is defined."""
    table = ReportTable(("patients", "n", *(shown.name for shown in HEMOGLOBIN_METRICS.values())))
    for group in evaluation.hemoglobin:
        if any(metric.is_defined for metric in group.numbers.values()):
            numbers = (_cell(group.numbers[name]) if name in group.numbers else Cell("") for name in HEMOGLOBIN_METRICS)
            table.rows.append((Cell(group.name), Cell(str(group.patients), key=group.patients), *numbers))
    return table


def against_table(found: CovariateAssociation) -> ReportTable:
    """Return the share of wrong predictions by quarters of the patients."""
    table = ReportTable((found.column, "patients", "predicted wrong"), is_sortable=False)
    for part in found.bins:
        count = part.error.patients
        table.rows.append((Cell(f"{part.low:.3g} to {part.high:.3g}"), Cell(str(count), key=count), _cell(part.error)))
    return table


def wrong_table(evaluation: Evaluation) -> ReportTable:
    """Return the patients with a right answer that was not given, the surest mistake first."""
    heads = ("patient", "true", "predicted", "probability", "second", "malignancy", "cells", "warnings")
    table = ReportTable(heads)
    shown = evaluation.table().to_dict("records")
    places = {patient: i for i, patient in enumerate(evaluation.patients["patient_id"])}
    for patient in evaluation.wrong:
        place = places[patient]
        row = shown[place]
        probability, malignancy = float(evaluation.probabilities[place].max()), float(evaluation.malignancy[place])
        cells = row["n_cells"]
        table.rows.append(
            (
                Cell(str(patient), "" if pd.isna(row["judged_by_member"]) else f"member {row['judged_by_member'] + 1}"),
                Cell(_truth(evaluation, place), _text(row["raw_label"])),
                Cell(str(row["predicted_class"])),
                Cell(f"{probability:.2f}", key=probability),
                Cell(str(row["second_class"]), f"{probability - float(row['delta_probability']):.2f}"),
                Cell(f"{malignancy:.2f}", key=malignancy),
                Cell(_text(cells), key=None if pd.isna(cells) else float(cells)),
                Cell(_text(row["warnings"])),
            )
        )
    return table


def undefined_table(evaluation: Evaluation) -> ReportTable:
    """Return what is undefined, those of one reason together."""
    reasons: dict[str, list[str]] = {}
    named: list[tuple[str, Metric]] = [(METRICS[name].title, metric) for name, metric in evaluation.headline.items()]
    for one in evaluation.by_class.values():
        named += [(f"{one.name}: {CLASS_METRICS[name].name}", metric) for name, metric in one.numbers.items()]
    for group in evaluation.hemoglobin:
        named += [
            (f"Hemoglobin, {group.name}: {HEMOGLOBIN_METRICS[n].name}", metric) for n, metric in group.numbers.items()
        ]
    for name, metric in named:
        if not metric.is_defined:
            reasons.setdefault(metric.remark, []).append(name)
    rows: list[tuple[Cell, ...]] = [(Cell(reason), Cell("; ".join(names))) for reason, names in reasons.items()]
    return ReportTable(("reason", "undefined"), rows, is_sortable=False)


def flow_table(evaluation: Evaluation) -> ReportTable:
    """Return who was left out of the cohort and why, who was to be judged, and what the judged are."""
    counts = evaluation.counts
    table = ReportTable(("step", "patients"), is_sortable=False)

    def add(text: str, count: int, kind: Literal["", "reason"] = "") -> None:
        table.rows.append((Cell(f"- {text}" if kind else text), Cell(str(count), key=count)))

    left_out = evaluation.provenance.cohort_left_out
    if left_out:
        add("left out of the cohort", sum(left_out.values()))
        for rule, count in left_out.items():
            add(rule, count, "reason")
    split = evaluation.options.split
    add("to be judged" + ("" if split == "all" else f" ({split} split, where the cohort has one)"), _to_judge(counts))
    if counts["not evaluated"]:
        add("not judged", counts["not evaluated"])
        for reason, count in evaluation.not_evaluated["reason"].value_counts().items():
            add(str(reason), int(count), "reason")
    add("judged", counts["evaluated"])
    for kind in ("one class", "several right answers", "other classes", "no label"):
        if counts[kind]:
            add({"other classes": "a class that the model does not know"}.get(kind, kind), counts[kind], "reason")
    return table


def _to_judge(counts: dict[str, int]) -> int:
    return counts["evaluated"] + counts["not evaluated"]


def _of(name: str, of: str, evaluation: Evaluation, threshold: float) -> str:
    if name in _AT_THRESHOLD:
        of += f"; threshold {threshold:.4g}"
    if name in {"malignant_auroc", "specificity", "fdr"}:
        of += f"; others: {not_malignant(evaluation)}"
    if name == "fdr_without_healthy":
        of += f"; others: {not_malignant(evaluation, healthy=False)}"
    if name == "ece":
        of += f", in {evaluation.options.bins} bins"
    return of


def _interval(metric: Metric) -> str:
    return "" if metric.low is None or metric.high is None else f"{metric.low:.3f} to {metric.high:.3f}"


def _cell(metric: Metric) -> Cell:
    """A number with its interval below it; undefined ones sort last."""
    if metric.value is None:
        return Cell("-", key=math.nan)
    interval = "" if metric.low is None or metric.high is None else f"{metric.low:.2f} to {metric.high:.2f}"
    return Cell(f"{metric.value:.2f}", interval, metric.value)


def _truth(evaluation: Evaluation, place: int) -> str:
    patient = evaluation.patients.iloc[place]
    slugs = [patient["truth"]] if isinstance(patient["truth"], str) else str(patient["coarse_set"]).split("|")
    return " or ".join(evaluation.taxonomy.coarse(slug).name for slug in slugs)


def _text(value: object) -> str:
    return "" if value is None or value is pd.NA or value != value else str(value)
