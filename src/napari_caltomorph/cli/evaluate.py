"""``caltomorph evaluate``: a model and a labelled cohort -> numbers with intervals, and everything behind them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Table

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.cli.console import (
    CohortPath,
    FeatureFolder,
    Overwrite,
    answer,
    console,
    progress_bar,
    say,
    say_cohort,
    say_files,
    table,
)
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.diagnosis import Policy, read_policy
from napari_caltomorph.diagnosis.options import NOT_A_SHARE, SOME, is_share
from napari_caltomorph.diagnosis.prevalence import ASSUMPTION_OF_RATES
from napari_caltomorph.errors import EvaluationRefused, counted
from napari_caltomorph.jobs import (
    EvaluateModelOptions,
    EvaluateRequest,
    evaluate_model,
    evaluation_folder,
    examine,
    save_evaluation,
    shell_line,
)
from napari_caltomorph.statistics.interval import percent
from napari_caltomorph.statistics.metric import CLASS_METRICS, METRICS
from napari_caltomorph.storage import refuse_existing

if TYPE_CHECKING:
    from napari_caltomorph.evaluation import Evaluation
    from napari_caltomorph.evaluation.confusion import Confusion
    from napari_caltomorph.evaluation.covariates import CovariateAssociation
    from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness
    from napari_caltomorph.jobs import ModelEvaluation
    from napari_caltomorph.statistics import Metric

app = Verb(
    name="evaluate",
    usage="Usage: caltomorph evaluate COHORT --model MODEL --features DIR --out DIR [OPTIONS]",
    help_epilogue=f"""The test split of the cohort that a model was trained on:

    caltomorph evaluate cohort --model my_model --features features --out results

Another laboratory's patients, all of them:

    caltomorph evaluate clinic_b --model my_model --features features_b \\
        --out results_b --split all --lab other

The patients that the cohort leaves out (double diagnoses, rare ones, ...):

    caltomorph evaluate cohort --model my_model --features features \\
        --out extended --split extended --encode-missing

The training patients, each by the member that was not trained on them:

    caltomorph evaluate cohort --model my_model --features features \\
        --out out_of_fold --split train --out-of-fold

A malignancy threshold, chosen on these out-of-fold patients so that no acute
leukemia is missed, tested on the test split and stored in the model:

    caltomorph evaluate cohort --model my_model --features features \\
        --out results --choose-by none-missed=acute_leukemia \\
        --chosen-on out_of_fold --store-threshold

Other rules: sensitivity=0.99, fdr=0.1, fdr-without-healthy=0.1.

{RESEARCH_USE}""",
)


@app.default
def evaluate(
    cohort: CohortPath,
    /,
    *,
    model: str,
    features: FeatureFolder = None,
    out: Path,
    prevalence: float | None = None,
    policy: Path | None = None,
    numbers_only: bool = False,
    overwrite: Overwrite = False,
    options: Annotated[EvaluateModelOptions, Parameter(name="*")] = EvaluateModelOptions(),  # noqa: B008 (frozen)
    patients: Annotated[CohortOptions, Parameter(name="*")] = CohortOptions(),  # noqa: B008 (frozen)
) -> None:
    """Evaluate a model on patients with known diagnosis: every number with its interval.

    Parameters
    ----------
    model
        Name of an installed model, or a model folder.
    out
        Folder for evaluation.json, predictions.csv, figures and report.html.
    prevalence
        Share of malignant patients for which to report the false discovery rate.
    policy
        A policy for which to report how many patients it withholds, and the errors of the others.
    numbers_only
        Draw no figures and write no report.
    """
    refuse_existing(out / "evaluation.json", overwrite=overwrite)
    options.rule()  # refused before the cohort is read
    if prevalence is not None and not is_share(prevalence):
        raise EvaluationRefused(f"--prevalence {prevalence:g}: {NOT_A_SHARE.format(SOME)}.")
    rules = None if policy is None else read_policy(policy)
    request = EvaluateRequest(model, cohort, patients, features, options)
    with evaluation_folder(out):
        files = _evaluate(request, out, prevalence, rules, numbers_only=numbers_only)
    say_files(files)
    say(RESEARCH_USE)


def _evaluate(
    request: EvaluateRequest, out: Path, prevalence: float | None, policy: Policy | None, *, numbers_only: bool
) -> list[Path]:
    """Evaluate, show and save; return the files that a person opens first."""
    with progress_bar() as progress:
        result = evaluate_model(request, progress=progress).under(policy)
    say_cohort(result.cohort)
    say()
    _show_decision(result)
    _show_evaluation(result.evaluation, prevalence, is_chosen=result.decision is not None)
    _show_withholding(result.evaluation)
    save_evaluation(result, out, numbers_only=True)  # before the audit, which takes long
    with progress_bar() as progress:
        result = examine(result, progress=progress)
    if result.audit is not None:
        say("\nShortcut audit", style="bold")
        for sentence in result.audit.findings:
            say(f"- {sentence}")
    if result.faithfulness is not None:
        _show_faithfulness(result.faithfulness)
    command = shell_line(["caltomorph", *sys.argv[1:]])
    with progress_bar() as progress:
        files = save_evaluation(result, out, command=command, numbers_only=numbers_only, progress=progress)
    return files


def _show_withholding(evaluation: Evaluation) -> None:
    """Print how many patients a policy withholds, and how often the class of the others and of these is wrong."""
    if (found := evaluation.withholding) is None:
        return
    count = sum(map(bool, found.reasons))
    say(f"\nPolicy {found.policy}: {count} of {counted(len(evaluation), 'patient')} withheld", style="bold")
    rows = table("patients", "with known diagnosis", "wrong class")
    for name, error in found.error.items():
        rows.add_row(name, str(error.patients), error.shown())
    console.print(rows)
    if found.not_checked:
        rules = ", ".join(found.not_checked)
        say(f"- Not checked, since an evaluation does not know it: {rules}. In use, more may be withheld.")


def _show_faithfulness(found: CohortFaithfulness) -> None:
    say(f"\nFaithfulness: area better than random orders, {counted(len(found), 'patient')}", style="bold")
    rows = table("order of cells", "deletion", "insertion")
    for order in found.orders:
        rows.add_row(order, found.gain("deletion", order).shown(), found.gain("insertion", order).shown())
    console.print(rows)
    for note in found.notes:
        say(f"- {note}.")


def _show_decision(result: ModelEvaluation) -> None:
    """Report which threshold was chosen, and on what it is based."""
    decision, applied = result.decision, result.applied
    if decision is None:
        return
    say(f"Threshold {decision.threshold:.4f}, chosen on {decision.chosen_on.provenance.cohort_name}:", style="bold")
    say(f"- {decision.in_words}.")
    is_optimistic = "Numbers at it below are of the patients that chose it: optimistic"
    say(f"- {is_optimistic if applied is None else applied.in_words}.")
    if result.request.options.store_threshold:
        say(f"- Stored in {result.ensemble.folder}.")
    say()


def _show_evaluation(evaluation: Evaluation, prevalence: float | None, *, is_chosen: bool) -> None:
    """Print the numbers, each with its interval, and the statements that belong to them."""
    answer(evaluation=evaluation.as_plain_data())
    provenance, counts = evaluation.provenance, evaluation.counts
    how = " out of fold, by single members" if evaluation.options.out_of_fold else ""
    of_model = f"{provenance.model_name} on {provenance.cohort_name}"
    say(f"{of_model}: {counted(counts['evaluated'], 'patient')} evaluated{how}", style="bold")
    if evaluation.is_labelled:
        console.print(_headline(evaluation))
        rule = "as chosen above" if is_chosen else provenance.threshold.rule
        say(f"Malignant: from {provenance.threshold.value:.4g} ({rule}); {evaluation.at().others_in_words}.")
        if prevalence is not None:
            _show_prevalence(evaluation, prevalence)
        say()
        if evaluation.has_one_class.any():
            console.print(_by_class(evaluation))
            say()
        console.print(_confusion(evaluation.confusion, evaluation.taxonomy.names))
        say()
        _show_hemoglobin(evaluation)
        for one in evaluation.covariate_associations:
            console.print(_errors_by_bin(one))
            say()
        _show_undefined(evaluation)
    for sentence in evaluation.statements:
        say(f"- {sentence}")


def _headline(evaluation: Evaluation) -> Table:
    rows = table("", "95 % interval", "by", "patients")
    for name, metric in evaluation.headline.items():
        if metric.is_defined:
            method = "-" if metric.method == "none" else metric.method
            rows.add_row(METRICS[name].name, metric.shown(), method, str(metric.patients))
    return rows


def _by_class(evaluation: Evaluation) -> Table:
    in_set = ["in its set"] if evaluation.provenance.calibration is not None else []
    sensitivity = "sensi-\ntivity" if in_set else "sensitivity"
    rows = table("class", "n", sensitivity, "precision", "F1", "AUROC", "top-2", *in_set)
    for one in evaluation.by_class.values():
        numbers = [number for name, number in one.numbers.items() if name != "fdr"]
        rows.add_row(one.name, str(one.patients), *(_short(number) for number in numbers))
    return rows


def _confusion(confusion: Confusion, names: list[str]) -> Table:
    """Rows are true, columns predicted; columns have numbers, since there is no space for names."""
    rows = table("true, then predicted as", *(str(i) for i in range(1, len(names) + 1)))
    for number, (row, counts) in enumerate(zip(confusion.rows, confusion.counts, strict=True), start=1):
        label = f"{number} {row.name}" if row.kind == "class" else row.name
        rows.add_row(label, *("." if count == 0 else str(count) for count in counts))
    return rows


def _show_hemoglobin(evaluation: Evaluation) -> None:
    groups = [g for g in evaluation.hemoglobin if any(metric.is_defined for metric in g.numbers.values())]
    if not groups:
        return
    rows = table("hemoglobin, g/dl", "n", "r", "mean error", "bias", "in interval")
    for group in groups:
        keys = ("baseline_mae",) if group.name == "class means" else ("mae",)
        numbers = [group.numbers.get(key) for key in ("pearson_r", *keys, "bias", "in_interval")]
        label = "guessing the class's mean" if group.name == "class means" else group.name
        rows.add_row(label, str(group.patients), *("" if n is None else _short(n, " to ") for n in numbers))
    console.print(rows)
    say()


def _errors_by_bin(found: CovariateAssociation) -> Table:
    rows = table(found.column, "n", "predicted wrong")
    for one_bin in found.bins:
        rows.add_row(f"{one_bin.low:.3g} to {one_bin.high:.3g}", str(one_bin.error.patients), one_bin.error.shown(2))
    return rows


def _show_prevalence(evaluation: Evaluation, prevalence: float) -> None:
    point = evaluation.at()
    rates = (point.fdr_at(prevalence), point.fdr_at(prevalence, healthy=False))
    if not rates[0].is_defined:
        say(f"FDR where {percent(prevalence)} are malignant: undefined, {rates[0].remark}.")
        return
    of_all, without_healthy = (rate.shown() if rate.is_defined else f"undefined ({rate.remark})" for rate in rates)
    say(
        f"FDR where {percent(prevalence)} are malignant: {of_all} with all others as here, {without_healthy} without "
        f"healthy donors; {1 - prevalence:.3g} if all were punctured. {ASSUMPTION_OF_RATES}"
    )


def _show_undefined(evaluation: Evaluation) -> None:
    """Show which numbers do not exist, those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for name, metric in evaluation.headline.items():
        if not metric.is_defined:
            reasons.setdefault(metric.remark, []).append(METRICS[name].name)
    for one in evaluation.by_class.values() if evaluation.has_one_class.any() else ():
        for name, metric in one.numbers.items():
            if not metric.is_defined:
                reasons.setdefault(metric.remark, []).append(f"{one.name} {CLASS_METRICS[name].name}")
    overall = evaluation.hemoglobin[0].numbers
    for name, shown in (("mae", "hemoglobin"), ("in_interval", "hemoglobin in its interval")):
        if not overall[name].is_defined:
            reasons.setdefault(overall[name].remark, []).append(shown)
    for reason, names in reasons.items():
        say(f"- Undefined, {reason}: {', '.join(names)}.")
    for name in ("ece", "malignant_ece"):
        if evaluation.headline[name].is_defined:
            say(f"- {METRICS[name].title}: {evaluation.headline[name].remark}.")


def _short(metric: Metric, between: str = "-") -> str:
    """The interval is below the number: eighty columns have no more space."""
    if metric.value is None:
        return "-"
    if metric.low is None or metric.high is None:
        return f"{metric.value:.2f}"
    return f"{metric.value:.2f}\n{metric.low:.2f}{between}{metric.high:.2f}"
