"""With few patients: does any aggregator, or a choice among them inside the training folds, beat a logistic regression?

    python benchmarks/few_patients.py COHORT --features FOLDER [--min-cells 20] [--taxonomy apl-aml] [--seeds 3]

COHORT is the APL-AML cohort (Sidhom et al. 2021), or any other of two classes, and FOLDER its features. Every way of
training predicts each fold from the others, with as many ways of splitting into folds as there are seeds. In
the nested rows the way is chosen for each fold: each pair of folds is left out once, so that
the patients of the other folds are predicted without the fold that the choice is for. Differences to the logistic
regression have 95 % intervals over patients (bootstrap, the same patients for both). Prints Markdown; docs/training.md
has one run.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from speed import machine

from napari_caltomorph.cohort import CohortOptions, read_cohort
from napari_caltomorph.diagnosis.inference import softmax
from napari_caltomorph.diagnosis.member import Member
from napari_caltomorph.statistics.interval import TAILS
from napari_caltomorph.training import TrainOptions
from napari_caltomorph.training.bags import LabelledBags, load_bags
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.members import FoldCheckpoint, predict_bags, trained_member
from napari_caltomorph.training.options import AggregatorName

PENALTIES = (1e-4, 1e-3, 1e-2, 0.1, 1.0)  # scikit-learn's C
BASELINE, RESAMPLES = "mean and logistic regression", 1000
Rows = NDArray[np.intp]
Splits = list[NDArray[np.float64]]  # (P,) probabilities of the second class, for each split into folds
# Bags, the patients to learn from, those to predict -> probability (P,) of the second class
Way = Callable[[LabelledBags, Rows, Rows], NDArray[np.float64]]


def logistic(bags: LabelledBags, learn: Rows, own: Rows) -> NDArray[np.float64]:
    """Learn from the mean of each patient's features; the penalty is chosen by the patients that are learned from."""
    means = np.stack([values.mean(axis=0) for values in bags.values])
    search = GridSearchCV(LogisticRegression(max_iter=5000), {"C": PENALTIES}, scoring="neg_log_loss")
    model = make_pipeline(StandardScaler(), search)
    return np.asarray(model.fit(means[learn], bags.classes[learn]).predict_proba(means[own])[:, 1])


def trained(options: TrainOptions, bags: LabelledBags, learn: Rows, own: Rows) -> Member:
    """Train a member as `train` does where patients are too few to stop on."""
    split = MemberSplit(0, learn, np.array([], dtype=np.intp), own)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = FoldCheckpoint(Path(scratch), split.fold)
        fit_member(bags, split, options, checkpoint)
        return trained_member(bags, split, options, checkpoint).member


def member(options: TrainOptions, bags: LabelledBags, learn: Rows, own: Rows) -> NDArray[np.float64]:
    outputs = predict_bags(trained(options, bags, learn, own), bags, own, options)
    return np.asarray(softmax(outputs.logits)[:, 1])


@dataclass(frozen=True)
class Predicted:
    """What a way predicts of each patient without the patient's fold, and without another fold as well."""

    classes: NDArray[np.intp]  # (P,) 0 or 1
    folds: NDArray[np.intp]  # (P,)
    by_left_out: dict[tuple[int, ...], NDArray[np.float64]]

    @property
    def out_of_fold(self) -> NDArray[np.float64]:
        """(P,) by what was learned from all other folds."""
        return np.array([self.by_left_out[fold,][patient] for patient, fold in enumerate(self.folds)])

    def loss_without(self, fold: int) -> float:
        """Return the log loss on all other folds, each predicted by what was learned without it and without `fold`."""
        others = [patient for patient, own in enumerate(self.folds) if own != fold]
        pairs = [self.by_left_out[tuple(sorted((fold, self.folds[patient])))][patient] for patient in others]
        return loss(self.classes[others], np.array(pairs))


def predicted(way: Way, bags: LabelledBags) -> Predicted:
    """Learn without each fold, and without each pair of folds."""
    folds = bags.fold_numbers
    found = {}
    for left_out in [*((fold,) for fold in folds), *itertools.combinations(folds, 2)]:
        is_own = np.isin(bags.folds, left_out)
        probabilities = np.full(len(bags), np.nan)
        probabilities[is_own] = way(bags, np.flatnonzero(~is_own), np.flatnonzero(is_own))
        found[left_out] = probabilities
    return Predicted(bags.classes, bags.folds, found)


def nested(ways: dict[str, Predicted]) -> tuple[NDArray[np.float64], list[str]]:
    """Choose a way for each fold by the log loss on the others; return its out-of-fold probabilities, and the names."""
    any_way = next(iter(ways.values()))
    chosen = {fold: min(ways, key=lambda name: ways[name].loss_without(fold)) for fold in np.unique(any_way.folds)}
    out_of_fold = {name: one.out_of_fold for name, one in ways.items()}
    found = [out_of_fold[chosen[fold]][patient] for patient, fold in enumerate(any_way.folds)]
    return np.array(found), [*chosen.values()]


def loss(classes: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
    return float(log_loss(classes, np.clip(probabilities, 1e-6, 1 - 1e-6)))


def difference(classes: NDArray[np.intp], ours: Splits, theirs: Splits) -> str:
    """Return how much higher our AUROC is, over splits; the interval is over patients, the same in all splits."""
    rng, groups = np.random.default_rng(0), [np.flatnonzero(classes == one) for one in (0, 1)]
    samples = [np.concatenate([rng.choice(rows, len(rows)) for rows in groups]) for _ in range(RESAMPLES)]
    low, high = np.quantile([_gain(classes, ours, theirs, rows) for rows in samples], TAILS)
    return f"{_gain(classes, ours, theirs, np.arange(len(classes))):+.3f} ({low:+.3f} to {high:+.3f})"


def _gain(classes: NDArray[np.intp], ours: Splits, theirs: Splits, rows: Rows) -> float:
    areas = [[roc_auc_score(classes[rows], one[rows]) for one in splits] for splits in (ours, theirs)]
    return float(np.mean(areas[0]) - np.mean(areas[1]))


def table(classes: NDArray[np.intp], found: dict[str, Splits], remarks: dict[str, str]) -> None:
    """Print a row for each way, and for the nested choices."""
    print("\n| | AUROC, by split into folds | minus logistic regression (95 %) | log loss | |\n|---|---|---|---|---|")
    for name, splits in found.items():
        areas = " ".join(f"{roc_auc_score(classes, one):.3f}" for one in splits)
        gain = "" if name == BASELINE else difference(classes, splits, found[BASELINE])
        losses = np.mean([loss(classes, one) for one in splits])
        print(f"| {name} | {areas} | {gain} | {losses:.3f} | {remarks[name]} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--features", type=Path, required=True)
    parser.add_argument("--taxonomy", default="apl-aml")
    parser.add_argument("--min-cells", type=int, default=20)
    parser.add_argument("--where", action="append", default=[])
    parser.add_argument("--aggregators", nargs="+", default=get_args(AggregatorName))
    parser.add_argument("--seeds", type=int, default=2, help="splits into folds, and trainings")
    args = parser.parse_args()
    print(machine(), flush=True)
    found: dict[str, Splits] = defaultdict(list)
    times, choices = Counter[str](), defaultdict[str, Counter[str]](Counter)
    for seed in range(args.seeds):
        options = CohortOptions(
            taxonomy=args.taxonomy, min_cells=args.min_cells, where=tuple(args.where), test_fraction=0, split_seed=seed
        )
        bags = load_bags(read_cohort(args.cohort, options), args.features, TrainOptions())
        predictions = {}
        for name in (BASELINE, *args.aggregators):
            chosen = TrainOptions(aggregator=name, seed=seed) if name != BASELINE else None
            start = time.process_time()
            predictions[name] = predicted(logistic if chosen is None else partial(member, chosen), bags)
            times[name] += time.process_time() - start
            found[name].append(predictions[name].out_of_fold)
            print(f"seed {seed}, {name}: {times[name]:.0f} s in all", flush=True)
        for name, ways in {
            "chosen inside the training folds": predictions,
            "chosen among aggregators": {key: one for key, one in predictions.items() if key != BASELINE},
        }.items():
            probabilities, names = nested(ways)
            found[name].append(probabilities)
            choices[name].update(names)
    remarks = {name: f"{seconds:.0f} s" for name, seconds in times.items()}
    remarks |= {name: ", ".join(f"{one} {n}x" for one, n in c.most_common()) for name, c in choices.items()}
    table(bags.classes, found, remarks)


if __name__ == "__main__":
    main()
