"""The numbers of an evaluation in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from napari_caltomorph.cli.console import console, say, table
from napari_caltomorph.statistics.metric import CLASS_METRICS, METRICS

if TYPE_CHECKING:
    from napari_caltomorph.evaluation import Evaluation
    from napari_caltomorph.evaluation.confusion import Confusion
    from napari_caltomorph.evaluation.covariates import CovariateAssociation
    from napari_caltomorph.statistics import Metric


def show_evaluation(evaluation: Evaluation, prevalence: float | None, *, is_chosen: bool) -> None:
    """Print the numbers, each with its interval, and the statements that belong to them."""
    provenance, counts = evaluation.provenance, evaluation.counts
    how = " out of fold, by single members" if evaluation.options.out_of_fold else ""
    say(
        f"{provenance.model_name} on {provenance.cohort_name}: {counts['evaluated']} patients judged{how}", style="bold"
    )
    if evaluation.is_labelled:
        console.print(_headline(evaluation))
        said = "as chosen above" if is_chosen else provenance.threshold.rule
        say(f"Malignant: from {provenance.threshold.value:.4g} ({said}); {evaluation.at().others_in_words}.")
        if prevalence is not None:
            _show_prevalence(evaluation, prevalence)
        say()
        console.print(_by_class(evaluation))
        say()
        console.print(_confusion(evaluation.confusion, evaluation.taxonomy.names))
        say()
        _show_hemoglobin(evaluation)
        for one in evaluation.covariate_associations:
            console.print(_errors(one))
            say()
        _show_undefined(evaluation)
    for sentence in evaluation.statements:
        say(f"- {sentence}")


def _headline(evaluation: Evaluation) -> Table:
    rows = table("", "95 % interval", "by", "patients")
    for name, metric in evaluation.headline.items():
        if metric.is_defined:
            rows.add_row(
                METRICS[name].name,
                metric.shown(),
                "-" if metric.method == "none" else metric.method,
                str(metric.patients),
            )
    return rows


def _by_class(evaluation: Evaluation) -> Table:
    rows = table("class", "n", "sensitivity", "precision", "F1", "AUROC", "top-2")
    for one in evaluation.by_class.values():
        numbers = (one.sensitivity, one.precision, one.f1, one.auroc, one.top2)
        rows.add_row(one.name, str(one.patients), *(_short(number) for number in numbers))
    return rows


def _confusion(confusion: Confusion, names: list[str]) -> Table:
    """Rows are true, columns predicted; columns bear numbers, since names have no room."""
    rows = table("true, then predicted as", *(str(i) for i in range(1, len(names) + 1)))
    for number, (row, counts) in enumerate(zip(confusion.rows, confusion.counts, strict=True), start=1):
        label = f"{number} {row.name}" if row.kind == "class" else row.name
        rows.add_row(label, *("." if count == 0 else str(count) for count in counts))
    return rows


def _show_hemoglobin(evaluation: Evaluation) -> None:
    groups = [g for g in evaluation.hemoglobin if any(metric.is_defined for metric in g.numbers.values())]
    if not groups:
        return
    rows = table("hemoglobin, g/dl", "n", "r", "mean error", "bias")
    for group in groups:
        keys = ("baseline_mae",) if group.name == "class means" else ("mae",)
        numbers = [group.numbers.get(key) for key in ("pearson_r", *keys, "bias")]
        label = "guessing the class's mean" if group.name == "class means" else group.name
        rows.add_row(label, str(group.patients), *("" if n is None else _short(n, " to ") for n in numbers))
    console.print(rows)
    say()


def _errors(found: CovariateAssociation) -> Table:
    rows = table(found.column, "n", "predicted wrong")
    for part in found.bins:
        rows.add_row(f"{part.low:.3g} to {part.high:.3g}", str(part.error.patients), part.error.shown(2))
    return rows


def _show_prevalence(evaluation: Evaluation, prevalence: float) -> None:
    point = evaluation.at()
    shown = [
        f"{'undefined' if fdr is None else f'{fdr:.3f}'} {words}"
        for words, fdr in (
            ("with all others as here", point.fdr_at(prevalence)),
            ("without healthy donors", point.fdr_at(prevalence, healthy=False)),
        )
    ]
    say(f"FDR where {prevalence:.1%} are malignant: {', '.join(shown)}.")


def _show_undefined(evaluation: Evaluation) -> None:
    """Say which numbers do not exist, those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for name, metric in evaluation.headline.items():
        if not metric.is_defined:
            reasons.setdefault(metric.remark, []).append(METRICS[name].name)
    for one in evaluation.by_class.values():
        for name, metric in one.numbers.items():
            if not metric.is_defined:
                reasons.setdefault(metric.remark, []).append(f"{one.name} {CLASS_METRICS[name].name}")
    overall = evaluation.hemoglobin[0].numbers["mae"]
    if not overall.is_defined:
        reasons.setdefault(overall.remark, []).append("hemoglobin")
    for reason, names in reasons.items():
        say(f"- Undefined, {reason}: {', '.join(names)}.")
    if not evaluation.headline["ece"].is_defined:
        return
    say(f"- ECE: {evaluation.headline['ece'].remark}.")


def _short(metric: Metric, between: str = "-") -> str:
    """The interval is below the number: eighty columns have no more space."""
    if metric.value is None:
        return "-"
    if metric.low is None or metric.high is None:
        return f"{metric.value:.2f}"
    return f"{metric.value:.2f}\n{metric.low:.2f}{between}{metric.high:.2f}"
