"""``caltomorph evaluate``: a model and a labelled cohort -> numbers with intervals, and everything behind them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from napari_caltomorph.cli.console import RESEARCH_USE, console, progress_bar, say, say_files, table
from napari_caltomorph.cli.evaluate_numbers import show_evaluation
from napari_caltomorph.cohort import Cohort, CohortOptions, read_cohort
from napari_caltomorph.command_line import shell_line
from napari_caltomorph.diagnosis import find_model, read_description
from napari_caltomorph.errors import EvaluationRefused
from napari_caltomorph.evaluation.options import EvaluateOptions
from napari_caltomorph.storage import refuse_unwritable

if TYPE_CHECKING:
    from napari_caltomorph.audit.result import Audit
    from napari_caltomorph.diagnosis import Ensemble
    from napari_caltomorph.evaluation import Evaluation
    from napari_caltomorph.evaluation.decisions import Rule
    from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness


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
    faithfulness: bool = False,
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
    faithfulness
        Ask as well whether attention and contributions show what the model goes by.
    numbers_only
        Draw no figures and write no report.
    """
    rule = _rule(choose_by, chosen_on, store_threshold)
    if prevalence is not None and not 0 <= prevalence <= 1:
        raise EvaluationRefused(f"--prevalence {prevalence:g}: a share lies between 0 and 1.")
    if faithfulness and features is None:
        raise EvaluationRefused("--faithfulness needs the feature folder; name it with --features.")
    refuse_unwritable(out)
    folder = find_model(model)
    read_description(folder)
    with progress_bar() as progress:
        # As training reads it: so the splits are the same.
        found = read_cohort(cohort, patients.model_copy(update={"names_only": True}), progress=progress)
    from napari_caltomorph.diagnosis import Ensemble  # torch comes when the cheap checks have passed
    from napari_caltomorph.encoding.device import find_device
    from napari_caltomorph.evaluation import evaluate as run

    ensemble = Ensemble.load(folder, find_device(options.device))
    with progress_bar() as progress:
        evaluation = run(ensemble, found, features, options, progress=progress)
    if rule is not None:
        evaluation = _decide(evaluation, rule, chosen_on, folder if store_threshold else None)
    show_evaluation(evaluation, prevalence, is_chosen=rule is not None)
    files = evaluation.save(out)  # before the audit, which takes long
    audited = _audit(found, evaluation) if audit else None
    faithful = _faithfulness(ensemble, evaluation, features) if faithfulness and features is not None else None
    from napari_caltomorph.report.evaluation_folder import save_audit, save_evaluation_folder

    if audited is not None:
        files.append(save_audit(audited, out))
    if faithful is not None:
        files += faithful.save(out)
    if not numbers_only:
        with progress_bar() as progress:
            files = save_evaluation_folder(
                evaluation,
                out,
                ensemble,
                features=features,
                audit=audited,
                faithfulness=faithful,
                command=shell_line(["caltomorph", *sys.argv[1:]]),
                progress=progress,
            )
    say_files(files)
    say(RESEARCH_USE)


def _audit(cohort: Cohort, evaluation: Evaluation) -> Audit:
    """Audit the cohort, and say what was found."""
    from napari_caltomorph.audit.run import audit

    # What a model says of those it learnt from tells nothing; out of fold or of others it does.
    with progress_bar() as progress:
        found = audit(cohort, predictions=evaluation.patients, progress=progress)
    say("\nShortcut audit", style="bold")
    for sentence in found.findings:
        say(f"- {sentence}")
    return found


def _faithfulness(ensemble: Ensemble, evaluation: Evaluation, features: Path) -> CohortFaithfulness:
    """Take cells out of the patients, put them in, and say which order of cells shows what the model goes by."""
    from napari_caltomorph.evaluation.faithfulness import cohort_faithfulness

    with progress_bar() as progress:
        found = cohort_faithfulness(ensemble, evaluation, features, progress=progress)
    say(f"\nFaithfulness: area better than random orders, {len(found)} patients", style="bold")
    rows = table("order of cells", "deletion", "insertion")
    for order in found.orders:
        rows.add_row(order, found.gain("deletion", order).shown(), found.gain("insertion", order).shown())
    console.print(rows)
    for note in found.notes:
        say(f"- {note}.")
    return found


def _rule(choose_by: str | None, chosen_on: Path | None, store: bool) -> Rule | None:
    if choose_by is None:
        if chosen_on is not None or store:
            raise EvaluationRefused("--chosen-on and --store-threshold need a rule to choose by; add --choose-by.")
        return None
    from napari_caltomorph.evaluation.decisions import rule_from

    return rule_from(choose_by)


def _decide(evaluation: Evaluation, rule: Rule, chosen_on: Path | None, model: Path | None) -> Evaluation:
    """Choose a threshold, apply it, store it where a model is given, and say what it rests on."""
    from napari_caltomorph.evaluation import Evaluation
    from napari_caltomorph.evaluation.decisions import choose_threshold, store_threshold

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
