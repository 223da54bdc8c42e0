"""The tables of an evaluation's report, its faithfulness and its audit: every cell as text, with its sort key."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import pandas as pd

from napari_caltomorph.audit.result import Audit
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.evaluation.covariates import CovariateAssociation
from napari_caltomorph.report.probability_figures import not_malignant
from napari_caltomorph.statistics import Metric
from napari_caltomorph.statistics.interval import Interval, percent
from napari_caltomorph.statistics.metric import CLASS_METRICS, HEMOGLOBIN_METRICS, METRICS, signed

if TYPE_CHECKING:
    from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness

PREVALENCES = (0.01, 0.05, 0.1, 0.2, 0.5)

_ORDER_NAMES = {
    "attention": "attention",
    "contribution": "contribution (gradient x input)",
    "alone": "response to the cell alone",
}
_AT_THRESHOLD = ("sensitivity", "specificity", "fdr", "fdr_without_healthy")


@dataclass(frozen=True)
class Cell:
    """The text, a small text below it, and the number by which it is sorted, where it is one."""

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
                _count(metric.patients),
                Cell(_of(name, shown.of, evaluation, point.threshold), metric.remark),
            )
        )
    return table


def class_table(evaluation: Evaluation) -> ReportTable:
    """Return the numbers of each class."""
    classes = list(evaluation.by_class.values())
    table = ReportTable(("class", "patients", "predicted", *(CLASS_METRICS[name].name for name in classes[0].numbers)))
    for one in classes:
        table.rows.append((Cell(one.name), _count(one.patients), _count(one.called), *map(_cell, one.numbers.values())))
    return table


def screening_table(evaluation: Evaluation, *, threshold: float | None = None) -> ReportTable:
    """Return each malignant class's sensitivity at a threshold: that of the evaluation where not given."""
    table = ReportTable(("malignant class", "patients", "called malignant"))
    point = evaluation.at(threshold)
    for one in evaluation.taxonomy.classes:
        if one.malignant and (sensitivity := point.sensitivity_of(one.slug)).is_defined:
            table.rows.append((Cell(one.name), _count(sensitivity.patients), _cell(sensitivity)))
    return table


def prevalence_table(evaluation: Evaluation, *, threshold: float | None = None) -> ReportTable:
    """Return the false discovery rate where other shares of patients are malignant, at a threshold.

    Next to it is that if all of them were punctured. The last rows are the shares of this cohort.
    """
    heads = ("malignant among the tested", "FDR, others as here", "FDR, without healthy donors")
    table = ReportTable((*heads, "FDR if all were punctured"))
    point, everyone = evaluation.at(threshold), evaluation.screened.everyone
    shares = [(share, "") for share in PREVALENCES]
    here = {"this cohort": everyone.fdr, "this cohort without healthy donors": everyone.fdr_without_healthy}
    shares += [(1 - fdr.value, name) for name, fdr in here.items() if fdr.value is not None]
    for share, name in shares:
        rates = (point.fdr_at(share), point.fdr_at(share, healthy=False), Metric(1 - share))
        table.rows.append((Cell(f"{percent(share, 0)}", name, share), *(_cell(rate, digits=3) for rate in rates)))
    return table


def hemoglobin_table(evaluation: Evaluation) -> ReportTable:
    """Return the numbers of each group in which any is defined."""
    table = ReportTable(("patients", "n", *(shown.name for shown in HEMOGLOBIN_METRICS.values())))
    for group in evaluation.hemoglobin:
        if any(metric.is_defined for metric in group.numbers.values()):
            cells = {name: _cell(metric) for name, metric in group.numbers.items()}
            mae, baseline = (group.numbers.get(name) for name in ("mae", "baseline_mae"))
            if mae is not None and mae.value is not None and baseline is not None and baseline.value is not None:
                shown = signed(baseline.value, mae.value)
                cells["mae_difference"] = replace(cells["mae_difference"], text=shown)
            numbers = (cells.get(name, Cell("")) for name in HEMOGLOBIN_METRICS)
            table.rows.append((Cell(group.name), _count(group.patients), *numbers))
    return table


def covariate_table(association: CovariateAssociation) -> ReportTable:
    """Return the share of wrong predictions by quarters of the patients."""
    table = ReportTable((association.column, "patients", "predicted wrong"), is_sortable=False)
    for part in association.bins:
        count = part.error.patients
        table.rows.append((Cell(f"{part.low:.3g} to {part.high:.3g}"), _count(count), _cell(part.error)))
    return table


def coverage_table(evaluation: Evaluation) -> ReportTable:
    """Return how many patients are predicted, and how often wrong, where small leads are withheld."""
    heads = ("smallest lead of the first class", "patients", "share predicted", "wrong class among them")
    table = ReportTable(heads, is_sortable=False)
    for one in evaluation.coverage:
        name = f"{one.min_lead:g}" if one.min_lead else "any"
        table.rows.append((Cell(name), _count(one.wrong.patients), _cell(one.predicted), _cell(one.wrong)))
    return table


def policy_table(evaluation: Evaluation) -> ReportTable:
    """Return how often the class of patients is wrong whom the policy withholds, and of the others."""
    errors = {} if evaluation.withholding is None else evaluation.withholding.error
    rows: list[tuple[Cell, ...]] = [(Cell(name), _count(one.patients), _cell(one)) for name, one in errors.items()]
    return ReportTable(("patients", "with known diagnosis", "wrong class"), rows, is_sortable=False)


def wrong_table(evaluation: Evaluation) -> ReportTable:
    """Return the patients with a wrong prediction, the most certain error first."""
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
    """Return the undefined metrics, grouped by reason."""
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
    """Return the patients left out of the cohort, by reason, those to be evaluated, and the evaluated by kind."""
    counts = evaluation.counts
    table = ReportTable(("step", "patients"), is_sortable=False)

    def add(text: str, count: int, kind: Literal["", "reason"] = "") -> None:
        table.rows.append((Cell(f"- {text}" if kind else text), _count(count)))

    left_out = evaluation.provenance.cohort_left_out
    if left_out:
        add("left out of the cohort", sum(left_out.values()))
        for rule, count in left_out.items():
            add(rule, count, "reason")
    split = evaluation.options.split
    of_split = "" if split == "all" else f" ({split} split, where the cohort has one)"
    if split == "extended":
        of_split = " (extended test set: those left out)"
    add(f"to be evaluated{of_split}", counts["evaluated"] + counts["not evaluated"])
    if counts["not evaluated"]:
        add("not evaluated", counts["not evaluated"])
        for reason, count in evaluation.not_evaluated["reason"].value_counts().items():
            add(str(reason), int(count), "reason")
    add("evaluated", counts["evaluated"])
    for kind in ("one class", "several right answers", "other classes", "no label"):
        if counts[kind]:
            add({"other classes": "a class that the model does not have"}.get(kind, kind), counts[kind], "reason")
    return table


def faithfulness_table(faithfulness: CohortFaithfulness) -> ReportTable:
    """Return the mean area better than random of each order, with its interval over the patients."""
    heads = ("order of the cells", "deletion: below random", "insertion: above random", "patients")
    table = ReportTable(heads, is_sortable=False)
    count = _count(len(faithfulness))
    for order in faithfulness.orders:
        gains = (_gain_cell(faithfulness.gain(kind, order)) for kind in ("deletion", "insertion"))
        table.rows.append((Cell(_ORDER_NAMES.get(order, order)), *gains, count))
    return table


def trait_table(audit: Audit) -> ReportTable:
    """Return how well each set of traits predicts the label, and how well it predicts shuffled labels."""
    heads = ("input of the classifier", "patients", "traits", "metric", "result", "shuffled labels", "p", "corrected p")
    table = ReportTable(heads)
    for row in audit.rows:
        chance = row.chance[row.metric]
        table.rows.append(
            (
                Cell(row.sees.rstrip(",")),
                _count(row.patients),
                _count(row.traits),
                Cell(METRICS[row.metric].name),
                _cell(row.estimates[row.metric]),
                Cell(f"{chance.median:.2f}", f"{chance.low:.2f} to {chance.high:.2f}", chance.median),
                _p(row.p),
                _p(row.p_corrected),
            )
        )
    return table


def column_table(audit: Audit) -> ReportTable:
    """Return each value of the audited columns, with its classes and its accuracy."""
    heads = ("column", "value", "patients", "classes", "accuracy", "p, classes uneven", "p, accuracy differs", "note")
    table = ReportTable(heads)
    for column in audit.columns:
        for one in column.values:
            table.rows.append(
                (
                    Cell(column.column, "found by its name" if column.is_guessed else ""),
                    Cell(one.value),
                    _count(one.patients),
                    Cell(", ".join(f"{count} {name}" for name, count in one.classes.items())),
                    Cell("") if one.accuracy is None else _cell(one.accuracy),
                    _p(column.p_classes),
                    _p(column.p_accuracy_corrected),
                    Cell(column.note),
                )
            )
    return table


def _of(name: str, of: str, evaluation: Evaluation, threshold: float) -> str:
    if name in _AT_THRESHOLD:
        of += f"; threshold {threshold:.4g}"
    if name in {"malignant_auroc", "specificity", "fdr"}:
        of += f"; others: {not_malignant(evaluation)}"
    if name == "fdr_without_healthy":
        of += f"; others: {not_malignant(evaluation, healthy=False)}"
    if name.startswith("fdr"):
        everyone: Metric = getattr(evaluation.screened.everyone, name)
        of += f"; if all were punctured: {everyone.shown()}"
    if name in {"ece", "malignant_ece"}:
        of += f", in {evaluation.options.bins} bins"
    return of


def _interval(metric: Metric) -> str:
    return "" if metric.low is None or metric.high is None else f"{metric.low:.3f} to {metric.high:.3f}"


def _cell(metric: Metric | Interval, *, digits: int = 2) -> Cell:
    """A number with its interval below it; undefined ones sort last."""
    if metric.value is None:
        return Cell("-", key=math.nan)
    has_interval = metric.low is not None and metric.high is not None
    interval = f"{metric.low:.{digits}f} to {metric.high:.{digits}f}" if has_interval else ""
    return Cell(f"{metric.value:.{digits}f}", interval, metric.value)


def _gain_cell(gain: Metric) -> Cell:
    below = gain.remark if gain.low is None else f"{gain.low:+.3f} to {gain.high:+.3f}"
    return Cell(f"{gain.value:+.3f}", below, gain.value)


def _truth(evaluation: Evaluation, place: int) -> str:
    patient = evaluation.patients.iloc[place]
    slugs = [patient["truth"]] if isinstance(patient["truth"], str) else str(patient["coarse_set"]).split("|")
    return " or ".join(evaluation.taxonomy.coarse(slug).name for slug in slugs)


def _text(value: object) -> str:
    return "" if value is None or value is pd.NA or value != value else str(value)


def _count(number: int) -> Cell:
    return Cell(str(number), key=number)


def _p(value: float | None) -> Cell:
    return Cell("") if value is None else Cell(f"{value:.2g}", key=value)
