"""Ways of training side by side: what is compared with what, and the differences fold by fold.

Members of one fold learn from the same patients and judge the same patients, whatever the way of training; so a
difference is taken within each fold, where what is easy or hard about the fold's patients falls out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.training.compare_options import CompareOptions, GroupName
from napari_caltomorph.training.options import AggregatorName, TrainOptions
from napari_caltomorph.training.progress import TrainProgress

COMPARED = ("balanced_accuracy", "weighted_f1", "malignant_auroc", "auroc")
"""Metrics compared. The first two are the paper's; the others are compared where a cohort defines them."""

WHOSE_NUMBERS = "All numbers are those of single members on their own folds, not of ensembles."
OPTIMISTIC = "The recipe paper stops each member on its own fold: its numbers are optimistic."


@dataclass(frozen=True)
class Variant:
    """One way of training, in one group of them.

    Attributes
    ----------
    group : str
        What is varied here, e.g. ``"depths"``.
    name : str
        Its value, e.g. ``"cls, depth 4"``.
    options : TrainOptions
    share : float
        Of each member's training patients.
    features : Path or None
        Feature folder; None where the cohort names feature files.
    encoder : str
        The name that was given to another feature folder; empty for the one that all groups share.
    is_reference : bool
        Whether the others of the group are compared with it.
    """

    group: GroupName
    name: str
    options: TrainOptions
    share: float = 1.0
    features: Path | None = None
    encoder: str = ""
    is_reference: bool = False

    @property
    def slug(self) -> str:
        """The same for what is trained the same, whatever group it stands in."""
        options, parts = self.options, []
        if options.aggregator == "transformer":
            parts = [options.pooling, str(options.depth)]
        if self.share < 1:
            parts += ["share", str(self.share)]
        if self.encoder:
            parts += ["features", self.encoder.casefold()]
        return "-".join([options.aggregator, *parts])


class VariantResult(BaseModel):
    """What the members of a variant reached, each on its own fold.

    Attributes
    ----------
    folds : tuple of int
    patients, own_patients : tuple of int
        How many each member learnt from, and how many its fold has.
    epochs : tuple of int
    metrics : dict of str to tuple
        One number a fold, None where the fold's patients do not define it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folds: tuple[int, ...]
    patients: tuple[int, ...]
    own_patients: tuple[int, ...]
    epochs: tuple[int, ...]
    metrics: dict[str, tuple[float | None, ...]]
    seconds: float

    def values(self, metric: str) -> NDArray[np.float64]:
        """(K,) of the folds, NaN where undefined."""
        return np.array(self.metrics.get(metric, (None,) * len(self.folds)), dtype=float)


@dataclass(frozen=True)
class CompareProgress(TrainProgress):
    """One report of a comparison.

    `done` and `total` count steps of average cost over all variants, as a step of depth 12 takes longer than one of
    depth 2; the cost is a guess, and `total` an upper bound. All else is that of the training in hand.

    Attributes
    ----------
    variant, variants : int
        Which variant is trained, from 0, of how many.
    name : str
        Its slug.
    """

    variant: int = 0
    variants: int = 1
    name: str = ""

    @property
    def in_words(self) -> str:
        """E.g. ``"3/17 transformer-cls-4: fold 2/5, epoch 37/150, loss 0.31"``."""
        text = f"{self.variant + 1}/{self.variants} {self.name}: "
        text += f"fold {self.fold + 1}/{self.folds}, epoch {self.epoch}/{self.epochs}"
        return text if self.train_loss is None else f"{text}, loss {self.train_loss:.2f}"


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
        """Return it for the folds that have a number, None where none has."""
        known = values[np.isfinite(values)]
        if not len(known):
            return None
        return cls(float(known.mean()), float(known.std(ddof=1)) if len(known) > 1 else None)


@dataclass(frozen=True)
class Difference:
    """A variant minus its reference, fold by fold.

    Attributes
    ----------
    spread : Spread
    better, folds : int
        In how many folds the variant was better, of how many.
    """

    spread: Spread
    better: int
    folds: int


@dataclass(frozen=True)
class Comparison:
    """What came of a comparison. All numbers are those of single members on their own folds, not of ensembles.

    Attributes
    ----------
    variants : tuple of Variant
        Group by group.
    results : mapping of str to VariantResult
        By slug; those that failed, or were not reached, are not in it.
    failed : mapping of str to str
        Slug -> reason.
    notes : tuple of str
        What holds for all numbers, each a sentence.
    """

    variants: tuple[Variant, ...]
    results: Mapping[str, VariantResult]
    failed: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> list[GroupName]:
        """Those compared, in order."""
        return list(dict.fromkeys(variant.group for variant in self.variants))

    @property
    def metrics(self) -> list[str]:
        """Those that some fold defines; of two classes, one malignant, both AUROCs are the same number."""
        known = [m for m in COMPARED if any(np.isfinite(r.values(m)).any() for r in self.results.values())]
        return [m for m in known if m != "auroc" or "malignant_auroc" not in known]

    def of_group(self, group: GroupName) -> list[Variant]:
        """Return the variants of a group that have a result."""
        return [v for v in self.variants if v.group == group and v.slug in self.results]

    def result(self, variant: Variant) -> VariantResult:
        """Return what a variant reached."""
        return self.results[variant.slug]

    def spread(self, variant: Variant, metric: str) -> Spread | None:
        """Return a metric's mean over folds and the spread between them."""
        return Spread.of(self.result(variant).values(metric))

    def difference(self, variant: Variant, metric: str) -> Difference | None:
        """Return how a variant differs from its group's reference; None of the reference, or where it has no result."""
        reference = next((v for v in self.of_group(variant.group) if v.is_reference), None)
        if reference is None or variant.is_reference:
            return None
        differences = self.result(variant).values(metric) - self.result(reference).values(metric)
        spread = Spread.of(differences)
        if spread is None:
            return None
        return Difference(spread, int((differences > 0).sum()), int(np.isfinite(differences).sum()))

    def table(self) -> pd.DataFrame:
        """Return one row a variant and group: comparison.csv."""
        table = pd.DataFrame([self._row(v) for group in self.groups for v in self.of_group(group)])
        whole = [name for name in table.columns if name == "depth" or name.endswith(("_better", "_compared"))]
        return table.astype(dict.fromkeys(whole, "Int64"))

    def fold_table(self) -> pd.DataFrame:
        """Return one row a variant, group and fold: folds.csv."""
        rows = []
        for variant in (v for group in self.groups for v in self.of_group(group)):
            result = self.result(variant)
            for position, fold in enumerate(result.folds):
                row: dict[str, Any] = {"group": variant.group, "variant": variant.name, "fold": fold}
                row |= {"training_patients": result.patients[position], "fold_patients": result.own_patients[position]}
                rows.append(row | {m: result.values(m)[position] for m in self.metrics})
        return pd.DataFrame(rows)

    def _row(self, variant: Variant) -> dict[str, Any]:
        result, options = self.result(variant), variant.options
        is_transformer = options.aggregator == "transformer"
        row: dict[str, Any] = {
            "group": variant.group,
            "variant": variant.name,
            "is_reference": variant.is_reference,
            "aggregator": options.aggregator,
            "pooling": options.pooling if is_transformer else None,
            "depth": options.depth if is_transformer else None,
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


def variants(features: Path | None, options: CompareOptions, train_options: TrainOptions) -> list[Variant]:
    """Return what is to be compared, group by group; each group holds its reference, what was chosen to train.

    The depths' reference is the transformer of the chosen depth and pooling, also where another aggregator was chosen.

    Raises
    ------
    TrainingRefused
        The chosen options give no transformer.
    """
    made = {"aggregators": _aggregators, "depths": _depths, "sizes": _sizes, "encoders": _encoders}
    return [variant for group in options.groups for variant in made[group](features, options, train_options)]


def _aggregators(features: Path | None, options: CompareOptions, chosen: TrainOptions) -> list[Variant]:
    rows = []
    for name in get_args(AggregatorName):
        label = f"{name}, {chosen.pooling}, depth {chosen.depth}" if name == "transformer" else name
        changed = _changed(chosen, aggregator=name)
        rows.append(Variant("aggregators", label, changed, 1.0, features, is_reference=name == chosen.aggregator))
    return rows


def _depths(features: Path | None, options: CompareOptions, chosen: TrainOptions) -> list[Variant]:
    rows = []
    for pooling in ("cls", "mean"):
        own = {chosen.depth} if pooling == chosen.pooling else set()
        for depth in sorted({*options.depths, *own}):
            changed = _changed(chosen, aggregator="transformer", pooling=pooling, depth=depth)
            is_reference = (pooling, depth) == (chosen.pooling, chosen.depth)
            rows.append(
                Variant("depths", f"{pooling}, depth {depth}", changed, 1.0, features, is_reference=is_reference)
            )
    return rows


def _sizes(features: Path | None, options: CompareOptions, chosen: TrainOptions) -> list[Variant]:
    return [
        Variant("sizes", f"{100 * share:g} %", chosen, share, features, is_reference=share == 1)
        for share in sorted({*options.shares, 1.0})
    ]


def _encoders(features: Path | None, options: CompareOptions, chosen: TrainOptions) -> list[Variant]:
    others = options.encoder_folders
    # What the folder is called under --encoders is its name, where it stands there as well.
    own = next((name for name, folder in others.items() if _same(folder, features)), None)
    name = own or (features.absolute().name if features is not None else "the cohort's features")
    name = name if own or name not in others else f"{name} (--features)"
    rows = [Variant("encoders", name, chosen, 1.0, features, is_reference=True)]
    return rows + [
        Variant("encoders", name, chosen, 1.0, folder, encoder=name) for name, folder in others.items() if name != own
    ]


def _same(folder: Path, features: Path | None) -> bool:
    return features is not None and folder.absolute() == features.absolute()


def _changed(options: TrainOptions, **changes: Any) -> TrainOptions:
    try:
        return TrainOptions.model_validate(options.model_dump() | changes)
    except ValidationError as error:  # the transformer's width and heads, where another aggregator was chosen
        raise TrainingRefused(f"{error.errors()[0]['msg']}; change --width or --heads.") from error
