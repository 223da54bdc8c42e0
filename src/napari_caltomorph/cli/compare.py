"""``caltomorph compare``: the paper's ablations on a cohort -> a table and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from napari_caltomorph.cli.console import (
    CohortPath,
    FeatureFolder,
    answer,
    console,
    fail,
    progress_bar,
    say,
    say_files,
    table,
)
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.jobs import CompareRequest, ModelComparison, compare_models
from napari_caltomorph.progress import Cancelled
from napari_caltomorph.statistics.metric import METRICS
from napari_caltomorph.training import TrainOptions
from napari_caltomorph.training.variants import CompareOptions

if TYPE_CHECKING:
    from napari_caltomorph.training.variants import GroupName

app = Verb(
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
    request = CompareRequest(cohort, patients, features, out, comparison, options)
    try:
        with progress_bar() as progress:
            done = compare_models(request, progress=progress)
    except (KeyboardInterrupt, Cancelled):
        fail(f"what is done is kept in {out}; run the same again to resume.", code=130)
        raise
    results, failed = done.comparison.results, done.comparison.failed
    answer(failed=failed)
    if results:
        _show(done)
        say_files(done.files)
    for slug, reason in failed.items():
        fail(f"{slug}: {reason}", code=1)
    if failed:
        count, total = len(failed), len(failed) + len(results)
        return fail(f"{count} of {total} variants failed.", code=1 if count < total else 2)
    return 0


def _show(done: ModelComparison) -> None:
    for group in done.comparison.groups:
        if done.comparison.of_group(group):
            console.print(_table(done, group))
            say()
    say("First line: mean over folds (standard deviation between folds).")
    say(
        "Second line: difference to the reference, taken fold by fold: mean (standard deviation), and in how many "
        "folds it was better."
    )
    for note in done.comparison.notes:
        say(f"- {note}")
    say()


def _table(done: ModelComparison, group: GroupName) -> object:
    metrics = done.comparison.metrics
    rows = table(group, *(METRICS[metric].name for metric in metrics))
    for variant in done.comparison.of_group(group):
        cells = [f"{done.mean(variant, metric)}\n{done.difference(variant, metric)}" for metric in metrics]
        rows.add_row(done.name(variant), *cells)
    return rows
