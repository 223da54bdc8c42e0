"""The learning rate and the steps of each aggregator, judged on patients that no member has seen.

    python benchmarks/training_defaults.py CELLS [--aggregators mean abmil] [--rates 3e-5 3e-4] [--steps 150]

CELLS has a folder of single cells for each cell type, e.g. of Acevedo et al. (2020). Patients are made of them: the
class shifts a patient's share of lymphocytes, which overlaps between the classes (rule *shift*) or hardly (*clear*). A
third of the cells of each type is for the test patients only. One member, no ensemble, is trained a fixed number of
steps. The first row is the mean of the features and a logistic regression. Cells are encoded with EfficientNet-Lite0
(ImageNet weights). No other number of the docs is of these patients. Prints Markdown; docs/training.md has one run.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from domain import real_smears
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from speed import machine

from napari_caltomorph.diagnosis.inference import softmax
from napari_caltomorph.encoding import EncodeOptions, FeatureOrigin, load_encoder
from napari_caltomorph.taxonomy import Taxonomy, caltomorph_taxonomy
from napari_caltomorph.training import TrainOptions
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.members import FoldCheckpoint, predict_bags, trained_member
from napari_caltomorph.training.options import AggregatorName

CELLS_OF_A_PATIENT, TEST_PATIENTS = 60, 200
SHIFTED = "lymphocyte"
# Rule -> the share of lymphocytes of a patient of class 0 and 1, as a beta distribution.
RULES = {"shift": ((4, 10), (6, 8)), "clear": ((4, 12), (10, 8))}
OTHERS = {"segmented_neutrophil": 0.72, "band_neutrophil": 0.08, "monocyte": 0.12, "eosinophil": 0.05, "basophil": 0.03}
Cells = dict[str, NDArray[np.float32]]


def bag(rng: np.random.Generator, cells: Cells, rule: str, label: int) -> NDArray[np.float32]:
    """Compose a patient of real cells."""
    share = rng.beta(*RULES[rule][label])
    mixture = (1 - share) * rng.dirichlet([25 * weight for weight in OTHERS.values()])
    counts = rng.multinomial(CELLS_OF_A_PATIENT, [share, *mixture])
    pools = [cells[name] for name in (SHIFTED, *OTHERS)]
    return np.concatenate([pool[rng.integers(len(pool), size=n)] for pool, n in zip(pools, counts, strict=True)])


def cohort(cells: Cells, rule: str, patients: int, seed: int) -> LabelledBags:
    """Return training patients, followed by test patients of other cells."""
    rng = np.random.default_rng(seed)
    train = {name: values[: len(values) * 2 // 3] for name, values in cells.items()}
    test = {name: values[len(values) * 2 // 3 :] for name, values in cells.items()}
    labels = np.concatenate([np.arange(patients) % 2, np.arange(TEST_PATIENTS) % 2])
    pools = [train] * patients + [test] * TEST_PATIENTS
    return LabelledBags(
        taxonomy=Taxonomy(name="two", classes=caltomorph_taxonomy().classes[:2]),
        values=tuple(bag(rng, pool, rule, int(label)) for pool, label in zip(pools, labels, strict=True)),
        classes=labels,
        hemoglobin=np.full(len(labels), np.nan),
        folds=np.zeros(len(labels), dtype=np.intp),
        table=pd.DataFrame({"patient_id": [str(number) for number in range(len(labels))]}),
        origin=FeatureOrigin(),
    )


def trained(bags: LabelledBags, patients: int, options: TrainOptions) -> tuple[NDArray[np.float64], str]:
    """Return the probabilities of class 1 of the test patients, and the training loss at the begin and at the end."""
    chosen = np.arange(patients)
    split = MemberSplit(0, chosen, chosen[:0], np.arange(patients, len(bags)))
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = FoldCheckpoint(Path(scratch), 0)
        history = fit_member(bags, split, options, checkpoint)
        member = trained_member(bags, split, options, checkpoint).member
    outputs = predict_bags(member, bags, split.own, options)
    return softmax(outputs.logits)[:, 1], f"{history.train_loss[0]:.2f}, {history.train_loss[-1]:.2f}"


def numbers(labels: NDArray[np.intp], predicted: NDArray[np.float64]) -> str:
    """Return log loss, AUROC and the mean distance of ten bins of the probability from the share in them."""
    bins = np.minimum((10 * predicted).astype(int), 9)
    ece = sum(abs((predicted - labels)[bins == one].sum()) for one in range(10)) / len(labels)
    return f"{log_loss(labels, predicted):.3f} | {roc_auc_score(labels, predicted):.3f} | {ece:.3f}"


def rows(cells: Cells, args: argparse.Namespace) -> Iterator[str]:
    for rule, patients, seed in product(RULES, args.patients, range(args.seeds)):
        bags = cohort(cells, rule, patients, seed)
        means, labels = np.stack([values.mean(axis=0) for values in bags.values]), bags.classes
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
        model.fit(means[:patients], labels[:patients])
        shown = numbers(labels[patients:], model.predict_proba(means[patients:])[:, 1])
        yield f"{rule} | {patients} | {seed} | mean and logistic regression | | | {shown} | |"
        for name, rate, steps in product(args.aggregators, args.rates, args.steps):
            options = TrainOptions(
                aggregator=name, learning_rate=rate, epochs=-(-steps // -(-patients // 8)), seed=seed, balance="none"
            )
            predicted, losses = trained(bags, patients, options)
            shown = numbers(labels[patients:], predicted)
            yield f"{rule} | {patients} | {seed} | {name} | {rate:g} | {steps} | {shown} | {losses} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path)
    parser.add_argument("--aggregators", nargs="+", default=get_args(AggregatorName), choices=get_args(AggregatorName))
    parser.add_argument("--rates", nargs="+", type=float, default=[3e-5, 1e-4, 3e-4, 1e-3])
    parser.add_argument("--steps", nargs="+", type=int, default=[150])
    parser.add_argument("--patients", nargs="+", type=int, default=[60])
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    encoder = load_encoder(EncodeOptions(encoder="efficientnet-lite0"))
    cells = {name: features.values for name, features in real_smears(args.cells, encoder)}
    heads = ("rule", "patients", "seed", "aggregator", "rate", "steps", "log loss", "AUROC", "ECE", "training loss")
    print(f"\n{machine()}\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows(cells, args):
        print(f"| {row}", flush=True)


if __name__ == "__main__":
    main()
