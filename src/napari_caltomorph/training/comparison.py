"""The results of a comparison: the numbers of each variant, and differences fold by fold.

In all variants, the members of one fold are trained and evaluated on the same patients. So a difference is computed
within each fold, where the difficulty of the fold's patients cancels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, Field, JsonValue, model_validator

from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.reading import read_as
from napari_caltomorph.storage import StrPath, replacing
from napari_caltomorph.training.progress import TrainProgress
from napari_caltomorph.training.variants import GroupName, Variant

COMPARED = ("balanced_accuracy", "weighted_f1", "malignant_auroc", "auroc")
"""Metrics compared. The first two are the paper's; the others are compared where a cohort defines them."""

COMPARISON_FILE = "comparison.json"

SINGLE_MEMBERS = "All numbers are those of single members on their own folds, not of ensembles."
EQUAL_STEPS = "Smaller shares train more epochs: all have as many steps of the optimizer, unless a member stops early."
OPTIMISTIC = "The recipe paper stops each member on its own fold: its numbers are optimistic."


class VariantResult(BaseModel, frozen=True, extra="forbid"):
    """The metrics of the members of a variant, each on its own fold; one item per fold."""

    folds: tuple[int, ...] = Field(min_length=1)
    patients: tuple[int, ...]  # Training patients of each member
    own_patients: tuple[int, ...]  # Patients in its fold
    epochs: tuple[int, ...]
    metrics: dict[str, tuple[float | None, ...]]  # None where the fold's patients do not define it
    seconds: float
    # All options that it was trained with; empty in files of earlier versions
    options: dict[str, JsonValue] = Field(default_factory=dict)
    barely_learned: tuple[int, ...] = ()  # The folds of members whose training loss barely moved

    @model_validator(mode="after")
    def _one_item_per_fold(self) -> VariantResult:
        items = (self.patients, self.own_patients, self.epochs, *self.metrics.values())
        if any(len(one) != len(self.folds) for one in items):
            raise ValueError(f"not all items have {len(self.folds)} folds")
        return self

    def values(self, metric: str) -> NDArray[np.float64]:
        """(K,) of the folds, NaN where undefined."""
        return np.array(self.metrics.get(metric, (None,) * len(self.folds)), dtype=float)


@dataclass(frozen=True)
class Spread:
    """A mean over folds and the standard deviation between folds; None with fewer than two.

    The standard deviation is that of single folds. It is not the standard error of the mean, and divided by the root
    of the number of folds it does not become one: any two members of a five-fold cross-validation share three quarters
    of their training patients, so the folds' numbers are not independent, and no estimate of their mean's variance
    from one cross-validation is unbiased (Bengio and Grandvalet, JMLR 5, 2004).
    """

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Spread | None:
        """Return it for the folds that have a number, None without any."""
        known = values[np.isfinite(values)]
        if not len(known):
            return None
        return cls(float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else None)


@dataclass(frozen=True)
class Difference:
    """A variant minus its reference, fold by fold."""

    spread: Spread
    better: int  # In how many folds the variant was better
    folds: int  # Of how many


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison. All numbers are those of single members on their own folds, not of ensembles."""

    variants: tuple[Variant, ...]  # Group by group
    results: Mapping[str, VariantResult]  # By slug, without those that failed or were not trained yet
    failed: Mapping[str, str]  # Slug -> reason
    notes: tuple[str, ...] = ()  # About all numbers; each is a sentence

    @classmethod
    def load(cls, folder: StrPath) -> Comparison:
        """Read the comparison that was saved last in a folder; `TrainingRefused` where it cannot be read."""
        path = Path(folder) / COMPARISON_FILE
        saved = read_as(_Saved, path, "a saved comparison", TrainingRefused, "choose the folder of a comparison")
        return cls(saved.variants, saved.results, saved.failed, saved.notes)

    def save(self, folder: StrPath) -> None:
        """Write comparison.json into a folder; `OutputRefused` where that is not possible."""
        with replacing(Path(folder) / COMPARISON_FILE) as part:
            part.write_text(_Saved(**vars(self)).model_dump_json(indent=1), "utf-8")

    @property
    def groups(self) -> list[GroupName]:
        """The groups that are compared, in order."""
        return list(dict.fromkeys(variant.group for variant in self.variants))

    @property
    def metrics(self) -> list[str]:
        """The metrics that some fold defines. With two classes, one malignant, both AUROCs are equal: one is shown."""
        known = [m for m in COMPARED if any(np.isfinite(r.values(m)).any() for r in self.results.values())]
        return [m for m in known if m != "auroc" or "malignant_auroc" not in known]

    def of_group(self, group: GroupName) -> list[Variant]:
        """Return the variants of a group that have a result."""
        return [v for v in self.variants if v.group == group and v.slug in self.results]

    def spread(self, variant: Variant, metric: str) -> Spread | None:
        """Return a metric's mean over folds and its standard deviation between them."""
        return Spread.of(self.results[variant.slug].values(metric))

    def difference(self, variant: Variant, metric: str) -> Difference | None:
        """Return a variant minus its group's reference; None for the reference, or without its result."""
        reference = next((v for v in self.of_group(variant.group) if v.is_reference), None)
        if reference is None or variant.is_reference:
            return None
        differences = self.results[variant.slug].values(metric) - self.results[reference.slug].values(metric)
        spread = Spread.of(differences)
        if spread is None:
            return None
        return Difference(spread, int((differences > 0).sum()), int(np.isfinite(differences).sum()))

    def table(self) -> pd.DataFrame:
        """Return comparison.csv: one row per variant and group."""
        table = pd.DataFrame([self._row(v) for group in self.groups for v in self.of_group(group)])
        whole = [name for name in table.columns if name == "depth" or name.endswith(("_better", "_compared"))]
        return table.astype(dict.fromkeys(whole, "Int64"))

    def fold_table(self) -> pd.DataFrame:
        """Return folds.csv: one row per variant, group and fold."""
        rows = []
        for variant in (v for group in self.groups for v in self.of_group(group)):
            result = self.results[variant.slug]
            for position, fold in enumerate(result.folds):
                row: dict[str, Any] = {"group": variant.group, "variant": variant.name, "fold": fold}
                row |= {"training_patients": result.patients[position], "fold_patients": result.own_patients[position]}
                rows.append(row | {m: result.values(m)[position] for m in self.metrics})
        return pd.DataFrame(rows)

    def _row(self, variant: Variant) -> dict[str, Any]:
        result, options = self.results[variant.slug], variant.options
        is_transformer = options.aggregator == "transformer"
        row: dict[str, Any] = {
            "group": variant.group,
            "variant": variant.name,
            "is_reference": variant.is_reference,
            "aggregator": options.aggregator,
            "pooling": options.pooling if is_transformer else None,
            "depth": options.depth if is_transformer else None,
            "learning_rate": options.learning_rate,
            "share": variant.share,
            "training_patients": float(np.mean(result.patients)),
            "features": None if variant.features is None else str(variant.features),
            "folds": len(result.folds),
        }
        for metric in self.metrics:
            spread, difference = self.spread(variant, metric), self.difference(variant, metric)
            row[f"{metric}_mean"] = spread and spread.mean
            row[f"{metric}_sd_over_folds"] = spread and spread.sd
            row[f"{metric}_difference_mean"] = difference and difference.spread.mean
            row[f"{metric}_difference_sd_over_folds"] = difference and difference.spread.sd
            row[f"{metric}_folds_better"] = difference and difference.better
            row[f"{metric}_folds_compared"] = difference and difference.folds
        return row


@dataclass(frozen=True)
class CompareProgress(TrainProgress):
    """One report of a comparison.

    `done` and `total` count steps of average cost over all variants, as a step of depth 12 takes longer than one of
    depth 2; the cost is a guess, and `total` an upper bound. All else is that of the variant in training.
    """

    variant: int = 0  # Which is trained, from 0
    variants: int = 1  # Of how many
    name: str = ""  # Its slug
    so_far: Comparison | None = None  # The variants that are finished

    @property
    def member_in_words(self) -> str:
        """E.g. ``"3/17 transformer-cls-4: fold 2/5"``."""
        return f"{self.variant + 1}/{self.variants} {self.name}: fold {self.fold + 1}/{self.folds}"


class _Saved(BaseModel, frozen=True, extra="forbid"):
    """comparison.json."""

    schema_version: Literal[1] = 1
    variants: tuple[Variant, ...]
    results: dict[str, VariantResult]
    failed: dict[str, str]
    notes: tuple[str, ...]

    @model_validator(mode="after")
    def _the_same_folds(self) -> _Saved:
        if len({result.folds for result in self.results.values()}) > 1:
            raise ValueError("not all variants have the same folds")
        return self
