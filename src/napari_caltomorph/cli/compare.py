"""``caltomorph compare``: the paper's ablations on a cohort -> a table and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from napari_caltomorph.cli.console import (
    CohortPath,
    ConfigFile,
    FeatureFolder,
    console,
    fail,
    progress_bar,
    say,
    say_files,
    table,
)
from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.jobs import read_patients
from napari_caltomorph.progress import Cancelled
from napari_caltomorph.statistics.metric import METRICS, signed
from napari_caltomorph.storage import refuse_unwritable
from napari_caltomorph.training import TrainOptions, options_from
from napari_caltomorph.training.variants import CompareOptions

if TYPE_CHECKING:
    from napari_caltomorph.training.comparison import Comparison, Difference, Spread
    from napari_caltomorph.training.variants import GroupName, Variant

app = App(
    name="compare",
    usage="Usage: caltomorph compare COHORT --features DIR --out DIR [OPTIONS]",
    help_epilogue="""Aggregators, pooling by depth, and training-set size, as in the paper:

    caltomorph compare cohort --features features --out comparison

Aggregators only, with smaller transformers than the paper's:

    caltomorph compare cohort --features features --out comparison \\
        --what aggregators --depth 2 --epochs 60

Two encoders in addition to the one of --features:

    caltomorph compare cohort --features features/dinobloom-b --out encoders \\
        --what encoders --encoders dinobloom-s=features/dinobloom-s \\
        --encoders lite=features/efficientnet-lite0

Training options define the reference; each variant differs from it in one
thing. After a stop, run the same again: finished variants are not trained again.""",
)


@app.default
def compare(
    cohort: CohortPath,
    /,
    *,
    features: FeatureFolder = None,
    out: Path,
    config: ConfigFile = None,
    comparison: Annotated[CompareOptions, Parameter(name="*")] = CompareOptions(),  # noqa: B008 (frozen)
    options: Annotated[TrainOptions, Parameter(name="*")] = TrainOptions(),  # noqa: B008 (frozen)
    patients: Annotated[CohortOptions, Parameter(name="*")] = CohortOptions(),  # noqa: B008 (frozen)
) -> int:
    """Compare ways of training on the same folds: aggregators, depths, numbers of patients, encoders.

    Parameters
    ----------
    out
        Folder for comparison.csv, folds.csv, comparison.png and what a resumed run needs.
    """
    if config is not None:
        options = options_from(config, options)
    refuse_unwritable(out)
    with progress_bar() as progress:
        found = read_patients(cohort, patients, progress=progress)
    from napari_caltomorph.report.training_figures import save_comparison_figure
    from napari_caltomorph.training.compare import compare as run  # torch comes when the cheap checks have passed

    try:
        with progress_bar() as progress:
            done = run(found, features, out, comparison, options, progress=progress)
    except (KeyboardInterrupt, Cancelled):
        fail(f"what is done is kept in {out}; run the same again to resume.", code=130)
        raise
    if done.results:
        _show(done)
        figure = save_comparison_figure(done, out / "comparison.png")
        say_files([out / "comparison.csv", out / "folds.csv", *([figure] if figure else [])])
    for slug, reason in done.failed.items():
        fail(f"{slug}: {reason}", code=1)
    if done.failed:
        count, total = len(done.failed), len(done.failed) + len(done.results)
        return fail(f"{count} of {total} variants failed.", code=1 if count < total else 2)
    return 0


def _show(comparison: Comparison) -> None:
    for group in comparison.groups:
        if comparison.of_group(group):
            console.print(_table(comparison, group))
            say()
    say("First line: mean over folds (standard deviation between folds).")
    say(
        "Second line: difference to the reference, taken fold by fold: mean (standard deviation), and in how many "
        "folds it was better."
    )
    for note in comparison.notes:
        say(f"- {note}")
    say()


def _table(comparison: Comparison, group: GroupName) -> object:
    rows = table(group, *(METRICS[metric].name for metric in comparison.metrics))
    for variant in comparison.of_group(group):
        cells = [
            f"{_mean(comparison.spread(variant, metric))}\n{_difference(comparison, variant, metric)}"
            for metric in comparison.metrics
        ]
        rows.add_row(_name(comparison, variant), *cells)
    return rows


def _name(comparison: Comparison, variant: Variant) -> str:
    if variant.group != "sizes":
        return variant.name
    patients = comparison.results[variant.slug].patients
    return f"{variant.name}, {sum(patients) / len(patients):.0f} patients"


def _mean(spread: Spread | None) -> str:
    return "-" if spread is None else f"{spread.mean:.3f}{_in_brackets(spread)}"


def _difference(comparison: Comparison, variant: Variant, metric: str) -> str:
    if variant.is_reference:
        return "reference"
    found: Difference | None = comparison.difference(variant, metric)
    if found is None:
        return "-"
    reference = next(one for one in comparison.of_group(variant.group) if one.is_reference)
    before, after = comparison.spread(reference, metric), comparison.spread(variant, metric)
    assert before is not None
    assert after is not None
    # A reader subtracts the means that are shown; where a fold has no number, they are of other folds.
    is_of_all = found.folds == len(comparison.results[variant.slug].values(metric))
    shown = signed(before.mean, after.mean, 3) if is_of_all else f"{found.spread.mean:+.3f}"
    return f"{shown}{_in_brackets(found.spread)} {found.better}/{found.folds}"


def _in_brackets(spread: Spread) -> str:
    return "" if spread.sd is None else f" ({spread.sd:.3f})"
