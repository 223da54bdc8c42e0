"""Compare ways of training: what ``caltomorph compare`` runs, and how its numbers are written next to each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.jobs.encode import read_patients
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.statistics.metric import signed
from napari_caltomorph.storage import refuse_unwritable
from napari_caltomorph.training import TrainOptions
from napari_caltomorph.training.variants import CompareOptions, Variant

if TYPE_CHECKING:
    from napari_caltomorph.training.comparison import Comparison, Spread


@dataclass(frozen=True)
class CompareRequest:
    """What a comparison starts with."""

    cohort: Path  # Directory, table or cohort.json
    patients: CohortOptions
    features: Path | None  # Feature folder; None where the cohort names its feature files
    out: Path  # Folder of the results; what is finished there is not trained again
    comparison: CompareOptions
    options: TrainOptions  # The reference, from which each variant differs in one thing


@dataclass(frozen=True)
class ModelComparison:
    """A comparison, and the files that it is saved in; none where no variant was trained."""

    comparison: Comparison
    files: tuple[Path, ...]

    def name(self, variant: Variant) -> str:
        """Return the name of a variant; of a share of the patients, with how many these are."""
        if variant.group != "sizes":
            return variant.name
        patients = self.comparison.results[variant.slug].patients
        return f"{variant.name}, {sum(patients) / len(patients):.0f} patients"

    def mean(self, variant: Variant, metric: str) -> str:
        """Return the mean over folds of a metric, with its standard deviation between folds."""
        spread = self.comparison.spread(variant, metric)
        return "-" if spread is None else f"{spread.mean:.3f}{_in_brackets(spread)}"

    def difference(self, variant: Variant, metric: str) -> str:
        """Return the difference to the reference of the group, fold by fold, and in how many folds it is better."""
        comparison = self.comparison
        if variant.is_reference:
            return "reference"
        found = comparison.difference(variant, metric)
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


def compare_models(request: CompareRequest, *, progress: OnProgress = ignore) -> ModelComparison:
    """Read the patients, train the members of each variant on the same folds, and save tables and figure.

    Raises as `training.compare`. After `Cancelled`, the same request resumes.
    """
    from napari_caltomorph.report.training_figures import save_comparison_figure
    from napari_caltomorph.training.compare import compare  # torch comes when the cheap checks have passed

    out = request.out
    refuse_unwritable(out)
    cohort = read_patients(request.cohort, request.patients, progress=progress)
    done = compare(cohort, request.features, out, request.comparison, request.options, progress=progress)
    if not done.results:
        return ModelComparison(done, ())
    figure = save_comparison_figure(done, out / "comparison.png")
    return ModelComparison(done, (out / "comparison.csv", out / "folds.csv", *([figure] if figure else [])))


def _in_brackets(spread: Spread) -> str:
    return "" if spread.sd is None else f" ({spread.sd:.3f})"
