"""``caltomorph validate``: a model and a laboratory's own cases -> a verdict, and a record to file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

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
from napari_caltomorph.diagnosis.options import NOT_A_SHARE, SOME, is_share
from napari_caltomorph.errors import EvaluationRefused
from napari_caltomorph.jobs import (
    ValidateOptions,
    ValidateRequest,
    evaluation_folder,
    save_validation,
    shell_line,
    validate_model,
)
from napari_caltomorph.statistics.interval import percent
from napari_caltomorph.statistics.metric import METRICS
from napari_caltomorph.storage import refuse_existing

if TYPE_CHECKING:
    from napari_caltomorph.laboratory import Validation

app = Verb(
    name="validate",
    usage="Usage: caltomorph validate COHORT --model MODEL --features DIR --out DIR [OPTIONS]",
    help_epilogue=f"""Before: how many cases an interval of the wanted width needs:

    caltomorph validate plan --sensitivity 0.95 --half-width 0.05

Then the laboratory writes its criteria into a file, e.g. criteria.toml:

    judged_by = "bound"
    sensitivity_at_least = 0.9
    specificity_at_least = 0.6
    auroc_at_least = 0.85
    missed_at_most = {{ acute_leukemia = 0.1 }}
    share_outside_domain_at_most = 0.2
    cases_at_least = {{ malignant = 50, not_malignant = 50 }}
    choose_by = "sensitivity=0.97"

After: the verdict, and a record of two pages to sign:

    caltomorph validate our_cases --model my_model --features features \\
        --criteria criteria.toml --out validation

{RESEARCH_USE}""",
)


@app.default
def validate(
    cohort: CohortPath,
    /,
    *,
    model: str,
    features: FeatureFolder = None,
    out: Path,
    overwrite: Overwrite = False,
    options: Annotated[ValidateOptions, Parameter(name="*")] = ValidateOptions(),  # noqa: B008 (frozen)
    patients: Annotated[CohortOptions, Parameter(name="*")] = CohortOptions(),  # noqa: B008 (frozen)
) -> None:
    """Check a model on a laboratory's own cases against criteria set beforehand, and write a record.

    Parameters
    ----------
    model
        Name of an installed model, or a model folder.
    out
        Folder for validation.html, validation.json and the evaluation.
    """
    refuse_existing(out / "validation.json", overwrite=overwrite)
    request = ValidateRequest(model, cohort, patients, features, options)
    with evaluation_folder(out):
        with progress_bar() as progress:
            result = validate_model(request, progress=progress)
            command = shell_line(["caltomorph", *sys.argv[1:]])
            files = save_validation(result, out, command=command, progress=progress)
        say_cohort(result.evaluated.cohort)
        say()
        _show(result.validation)
    say_files(files)
    say(RESEARCH_USE)


@app.command
def plan(
    *,
    half_width: float = 0.05,
    sensitivity: float = 0.95,
    specificity: float = 0.9,
    auroc: float = 0.95,
    prevalence: float = 0.5,
) -> None:
    """Tell how many cases the 95 % intervals need to be so narrow, at the numbers that are expected.

    Parameters
    ----------
    half_width
        Half the width of each interval.
    sensitivity
        Expected of the malignant cases.
    specificity
        Expected of the others.
    auroc
        Expected of both.
    prevalence
        Share of malignant patients among those that are collected.
    """
    from napari_caltomorph.statistics.sample_size import cases_for_area, cases_for_share

    given = {
        "half-width": half_width,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "auroc": auroc,
        "prevalence": prevalence,
    }
    for name, value in given.items():
        if not is_share(value):
            raise EvaluationRefused(f"--{name} {value:g}: {NOT_A_SHARE.format(SOME)}.")
    malignant, others = cases_for_share(sensitivity, half_width), cases_for_share(specificity, half_width)
    together = cases_for_area(auroc, half_width, prevalence)
    answer(cases={"sensitivity": malignant, "specificity": others, "auroc": together})
    rows = table("number", "expected", "cases needed", "collected in all")
    for name, value, cases, of, share in (
        ("sensitivity", sensitivity, malignant, "malignant", prevalence),
        ("specificity", specificity, others, "not malignant", 1 - prevalence),
        ("AUROC", auroc, together, "patients", 1.0),
    ):
        found = "more than 100,000" if cases is None else f"{cases:,} {of}"
        rows.add_row(name, f"{value:g} ± {half_width:g}", found, "-" if cases is None else f"{-(-cases // share):,.0f}")
    console.print(rows)
    say(f"Collected with {percent(prevalence, 0)} malignant patients. Intervals by Wilson, and by Hanley and McNeil.")


def _show(validation: Validation) -> None:
    """Print the verdict, the criteria, and the numbers next to those of the model card."""
    answer(validation=validation)
    say(f"Verdict: {validation.verdict.kind}", style="bold")
    for reason in validation.verdict.reasons:
        say(f"- {reason}")
    rows = table("criterion", "limit", "here (95 %)", "result", *(["changed"] if validation.at_changed else []))
    changed = {check.name: check for check in validation.at_changed or ()}
    for check in (*validation.at_model, *validation.fixed):
        other = changed.get(check.name)
        last = [f"{other.shown}, {other.outcome}" if other else ""] if changed else []
        rows.add_row(check.name, check.limit_in_words, check.shown, check.outcome, *last)
    say()
    console.print(rows)
    say(f"Criteria: {validation.stated.source}.")
    say()
    numbers = table("number", "here (95 %)", "model card (95 %)")
    for one in validation.numbers:
        numbers.add_row(METRICS[one.name].title, one.here.shown(2), "-" if one.trained is None else str(one.trained))
    console.print(numbers)
    say()
    for sentence in (*validation.notes, *(() if validation.audit is None else validation.audit.findings)):
        say(f"- {sentence}")
