"""``caltomorph evaluate``: a model and a labelled cohort -> numbers with intervals, and everything behind them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.cli.console import console, progress_bar, say, say_files, table
from napari_caltomorph.cli.evaluate_numbers import show_evaluation
from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.errors import EvaluationRefused
from napari_caltomorph.jobs import (
    EvaluateModelOptions,
    EvaluateRequest,
    evaluate_model,
    examine,
    save_evaluation,
    shell_line,
)
from napari_caltomorph.storage import refuse_unwritable

if TYPE_CHECKING:
    from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness
    from napari_caltomorph.jobs import ModelEvaluation

app = App(
    name="evaluate",
    usage="Usage: caltomorph evaluate COHORT --model MODEL --features DIR --out DIR [OPTIONS]",
    help_epilogue=f"""The test split of the cohort that a model was trained on:

    caltomorph evaluate cohort --model my_model --features features --out results

Another laboratory's patients, all of them:

    caltomorph evaluate clinic_b --model my_model --features features_b \\
        --out results_b --split all --lab other

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
    cohort: Path,
    /,
    *,
    model: str,
    features: Path | None = None,
    out: Path,
    prevalence: float | None = None,
    numbers_only: bool = False,
    options: Annotated[EvaluateModelOptions, Parameter(name="*")] = EvaluateModelOptions(),  # noqa: B008 (frozen)
    patients: Annotated[CohortOptions, Parameter(name="*")] = CohortOptions(),  # noqa: B008 (frozen)
) -> None:
    """Evaluate a model on patients with known diagnosis: every number with its interval.

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
    prevalence
        Share of malignant patients for which to report the false discovery rate.
    numbers_only
        Draw no figures and write no report.
    """
    options.rule()  # refused before the cohort is read
    if prevalence is not None and not 0 <= prevalence <= 1:
        raise EvaluationRefused(f"--prevalence {prevalence:g}: a share is between 0 and 1.")
    refuse_unwritable(out)
    request = EvaluateRequest(model, cohort, patients, features, options)
    with progress_bar() as progress:
        result = evaluate_model(request, progress=progress)
    _show_decision(result)
    show_evaluation(result.evaluation, prevalence, is_chosen=result.decision is not None)
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
    say_files(files)
    say(RESEARCH_USE)


def _show_faithfulness(found: CohortFaithfulness) -> None:
    say(f"\nFaithfulness: area better than random orders, {len(found)} patients", style="bold")
    rows = table("order of cells", "deletion", "insertion")
    for order in found.orders:
        rows.add_row(order, found.gain("deletion", order).shown(), found.gain("insertion", order).shown())
    console.print(rows)
    for note in found.notes:
        say(f"- {note}.")


def _show_decision(result: ModelEvaluation) -> None:
    """Say which threshold was chosen, and on what it is based."""
    decision, applied = result.decision, result.applied
    if decision is None:
        return
    say(f"Threshold {decision.threshold:.4f}, chosen on {decision.chosen_on.provenance.cohort_name}:", style="bold")
    say(f"- {decision.in_words}.")
    say(
        "- Numbers at it below are of the patients that chose it: optimistic."
        if applied is None
        else f"- {applied.in_words}."
    )
    if result.request.options.store_threshold:
        say(f"- Stored in {result.ensemble.folder}.")
    say()
