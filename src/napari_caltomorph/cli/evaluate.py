"""``caltomorph evaluate``: a model and a labelled cohort -> numbers with intervals, and everything behind them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.table import Table

from napari_caltomorph.cli.console import RESEARCH_USE, console, progress_bar, say, say_files, table
from napari_caltomorph.cohort import Cohort, CohortOptions, read_cohort
from napari_caltomorph.command_line import shell_line
from napari_caltomorph.diagnose import find_model, read_description
from napari_caltomorph.errors import EvaluationRefused
from napari_caltomorph.evaluate.options import EvaluateOptions
from napari_caltomorph.storage import refuse_unwritable

if TYPE_CHECKING:
    from napari_caltomorph.evaluate import Evaluation, Metric
    from napari_caltomorph.evaluate.audit_result import Audit
    from napari_caltomorph.evaluate.confusion_matrix import Confusion
    from napari_caltomorph.evaluate.decisions import Rule

_NAMES = {
    "top2_accuracy": "top-2 accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "macro_auroc": "macro AUROC",
    "malignant_auroc": "malignant AUROC",
    "fdr": "malignant FDR",
    "fdr_without_healthy": "malignant FDR, no donors",
    "sensitivity": "malignant sensitivity",
    "specificity": "malignant specificity",
    "several_right": "borderline: right",
    "set_coverage": "true class in its set",
    "ece": "calibration error (ECE)",
    "brier": "Brier score",
    "malignant_brier": "Brier score, malignant",
}

app = App(
    name="evaluate",
    usage="Usage: caltomorph evaluate COHORT --model MODEL --features DIR --out DIR [OPTIONS]",
    help_epilogue=f"""The test split of the cohort that a model was trained on:

    caltomorph evaluate cohort --model my_model --features features --out results

Another laboratory's patients, all of them:

    caltomorph evaluate clinic_b --model my_model --features features_b \\
        --out results_b --split all --lab other

The training patients, each by the member that did not learn from them:

    caltomorph evaluate cohort --model my_model --features features \\
        --out out_of_fold --split train --out-of-fold

A malignancy threshold, chosen on these out-of-fold patients so that no acute
leukemia is missed, tried on the test split and stored in the model:

    caltomorph evaluate cohort --model my_model --features features \\
        --out results --choose-by none-missed=acute_leukemia \\
        --chosen-on out_of_fold --store-threshold

Other rules: sensitivity=0.99, fdr=0.1, fdr-without-healthy=0.1.

{RESEARCH_USE}""",
)


@app.default
def evaluate(
    cohort: Path,
    /,
    *,
    model: str,
    features: Path | None = None,
    out: Path,
    choose_by: str | None = None,
    chosen_on: Path | None = None,
    store_threshold: bool = False,
    prevalence: float | None = None,
    audit: bool = False,
    numbers_only: bool = False,
    options: Annotated[EvaluateOptions, Parameter(name="*")] = EvaluateOptions(),  # noqa: B008 (frozen)
    patients: Annotated[CohortOptions, Parameter(name="*")] = CohortOptions(),  # noqa: B008 (frozen)
) -> None:
    """Judge a model on patients whose diagnosis is known: every number with its interval.

    Parameters
    ----------
    cohort
        A directory, a table, or a saved cohort.json.
    model
        Name of an installed model, or a model folder.
    features
        Feature folder of `caltomorph encode`; not needed where the cohort is one.
    out
        Folder for evaluation.json, predictions.csv, figures and report.html.
    choose_by
        Rule that chooses the malignancy threshold; see below.
    chosen_on
        Saved evaluation whose patients choose it; without one, these patients do.
    store_threshold
        Write the chosen threshold into the model.
    prevalence
        Share of malignant patients for which to say the false discovery rate.
    audit
        Ask as well how much stain, image size and routine data alone tell.
    numbers_only
        Draw no figures and write no report.
    """
    rule = _rule(choose_by, chosen_on, store_threshold)
    if prevalence is not None and not 0 <= prevalence <= 1:
        raise EvaluationRefused(f"--prevalence {prevalence:g}: a share lies between 0 and 1.")
    refuse_unwritable(out)
    folder = find_model(model)
    read_description(folder)
    with progress_bar() as progress:
        # As training reads it: so the splits are the same.
        found = read_cohort(cohort, patients.model_copy(update={"names_only": True}), progress=progress)
    from napari_caltomorph.diagnose import Ensemble  # torch comes when the cheap checks have passed
    from napari_caltomorph.evaluate import evaluate as run

    ensemble = Ensemble.load(folder)
    with progress_bar() as progress:
        evaluation = run(ensemble, found, features, options, progress=progress)
    if rule is not None:
        evaluation = _decide(evaluation, rule, chosen_on, folder if store_threshold else None)
    _show(evaluation, prevalence, is_chosen=rule is not None)
    files = evaluation.save(out)  # before the audit, which takes long
    audited = _audit(found, evaluation) if audit else None
    from napari_caltomorph.report.evaluation_folder import save_audit, save_evaluation_folder

    if audited is not None:
        files.append(save_audit(audited, out))
    if not numbers_only:
        with progress_bar() as progress:
            files = save_evaluation_folder(
                evaluation,
                out,
                ensemble,
                features=features,
                audit=audited,
                command=shell_line(["caltomorph", *sys.argv[1:]]),
                progress=progress,
            )
    say_files(files)
    say(RESEARCH_USE)


def _audit(cohort: Cohort, evaluation: Evaluation) -> Audit:
    """Audit the cohort, and say what was found."""
    from napari_caltomorph.evaluate.audit import audit

    # What a model says of those it learnt from tells nothing; out of fold or of others it does.
    with progress_bar() as progress:
        found = audit(cohort, predictions=evaluation.patients, progress=progress)
    say("\nShortcut audit", style="bold")
    for sentence in found.findings:
        say(f"- {sentence}")
    return found


def _rule(choose_by: str | None, chosen_on: Path | None, store: bool) -> Rule | None:
    if choose_by is None:
        if chosen_on is not None or store:
            raise EvaluationRefused("--chosen-on and --store-threshold need a rule to choose by; add --choose-by.")
        return None
    from napari_caltomorph.evaluate.decisions import rule_from

    return rule_from(choose_by)


def _decide(evaluation: Evaluation, rule: Rule, chosen_on: Path | None, model: Path | None) -> Evaluation:
    """Choose a threshold, apply it, store it where a model is given, and say what it rests on."""
    from napari_caltomorph.evaluate import Evaluation
    from napari_caltomorph.evaluate.decisions import choose_threshold, store_threshold

    decision = choose_threshold(evaluation if chosen_on is None else Evaluation.load(chosen_on), rule)
    applied = None if chosen_on is None else decision.apply(evaluation)
    say(f"Threshold {decision.threshold:.4f}, chosen on {decision.chosen_on.provenance.cohort_name}:", style="bold")
    say(f"- {decision.in_words}.")
    say(
        "- Numbers at it below are of the patients that chose it: optimistic."
        if applied is None
        else f"- {applied.in_words}."
    )
    if model is not None:
        store_threshold(model, decision, applied)
        say(f"- Stored in {model}.")
    say()
    return evaluation.with_threshold(decision.as_threshold(applied))


def _show(evaluation: Evaluation, prevalence: float | None, *, is_chosen: bool) -> None:
    provenance, counts = evaluation.provenance, evaluation.counts
    how = " out of fold, by single members" if evaluation.options.out_of_fold else ""
    say(f"{provenance.model_name} on {provenance.cohort_name}: {counts['judged']} patients judged{how}", style="bold")
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
        _show_undefined(evaluation)
    for sentence in evaluation.statements:
        say(f"- {sentence}")


def _headline(evaluation: Evaluation) -> Table:
    rows = table("", "95 % interval", "by", "patients")
    for name, metric in evaluation.headline.items():
        if metric.is_defined:
            rows.add_row(
                _name(name), metric.shown(), "-" if metric.method == "none" else metric.method, str(metric.patients)
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
            reasons.setdefault(metric.remark, []).append(_name(name))
    for one in evaluation.by_class.values():
        for name, metric in one.numbers.items():
            if not metric.is_defined:
                reasons.setdefault(metric.remark, []).append(f"{one.name} {name}")
    overall = evaluation.hemoglobin[0].numbers["mae"]
    if not overall.is_defined:
        reasons.setdefault(overall.remark, []).append("hemoglobin")
    for reason, names in reasons.items():
        say(f"- Undefined, {reason}: {', '.join(names)}.")
    if not evaluation.headline["ece"].is_defined:
        return
    say(f"- ECE: {evaluation.headline['ece'].remark}.")


def _short(metric: Metric, between: str = "-") -> str:
    """The interval stands below the number: eighty columns hold no more."""
    if metric.value is None:
        return "-"
    if metric.low is None or metric.high is None:
        return f"{metric.value:.2f}"
    return f"{metric.value:.2f}\n{metric.low:.2f}{between}{metric.high:.2f}"


def _name(name: str) -> str:
    return _NAMES.get(name, name.replace("_", " "))
