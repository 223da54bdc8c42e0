"""Which order of a patient's cells shows what a model uses: attention, contribution, alone, or leave-one-out?

    python benchmarks/faithfulness.py [--patients 300] [--cells 120]
    python benchmarks/faithfulness.py --apl COHORT [--keep DIR]

Without --apl, the demo model and synthetic acute leukemias of seeds that were not used for training, with known blasts:
how each order ranks the blasts, and how removing or adding cells changes the probability of the predicted class. All
numbers are about synthetic images.

With --apl, the APL-AML cohort (Sidhom et al. 2021), EfficientNet-Lite0 features and the default training. Each patient
is predicted by the member that was not trained on it. How many of an APL patient's 20 first cells are promyelocytes or
blasts, by the cohort's own cell labels (cells without one are ignored), against their share in the bag; and deletion
and insertion over all patients, for the class that the member predicts. --keep keeps features and model for the next
run.

Intervals are 95 %, bootstrapped over patients. Prints Markdown; docs/explain.md has one run of each.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from demo_model import BLASTS, ENCODE, UNSEEN_SEED
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from speed import machine

from napari_caltomorph.cohort import (
    CohortOptions,
    EncodeCohortOptions,
    encode_cohort,
    feature_files,
    feature_path,
    read_cohort,
)
from napari_caltomorph.cohort.synthetic import SyntheticPatients
from napari_caltomorph.diagnosis import Ensemble, find_model
from napari_caltomorph.encoding import Features
from napari_caltomorph.evaluation import EvaluateOptions, evaluate
from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness, cohort_faithfulness
from napari_caltomorph.explanation.changed_bags import add_cells, leave_one_out
from napari_caltomorph.explanation.contribution import contributions
from napari_caltomorph.explanation.faithfulness import cell_scores
from napari_caltomorph.smear import read_smear
from napari_caltomorph.statistics import Metric
from napari_caltomorph.statistics.interval import mean
from napari_caltomorph.synthetic import SynthOptions
from napari_caltomorph.training import TrainOptions, train

TOP = 20
ACUTE = "acute_leukemia"
Scores = Mapping[str, NDArray[np.float64]]


def all_scores(ensemble: Ensemble, bag: Features, slug: str) -> Scores:
    """Return every order that there is; leaving a cell out that speaks for the class lowers its log-odds."""
    return cell_scores(ensemble, bag, slug) | {
        "contribution without the path": contributions(ensemble, bag, slug, along_path=False).values,
        "leave-one-out": -leave_one_out(ensemble, bag, slug).change,
    }


def averaged(values: list[float]) -> str:
    """Return a mean over patients with its interval, as it is printed."""
    found = mean(np.array(values), np.zeros(len(values), dtype=np.intp))
    return Metric.of(found, len(values), "Student").shown(2)


def ranking(patients: list[tuple[Scores, NDArray[np.bool_]]], what: str, *, top: bool) -> None:
    """Print how each order ranks the cells that are meant, over patients who have some and lack some."""
    several = [(scores, meant) for scores, meant in patients if 0 < meant.sum() < len(meant)]
    share = averaged([float(meant.mean()) for _, meant in several])
    print(f"\n{what}: {len(several)} patients, share of their cells {share}\n")
    print("| order | AUROC |" + (f" share of the first {TOP} |" if top else ""))
    print("|---|---|" + ("---|" if top else ""))
    for name in several[0][0]:
        areas = averaged([float(roc_auc_score(meant, scores[name])) for scores, meant in several])
        first = averaged(
            [float(meant[np.argsort(-scores[name], kind="stable")[:TOP]].mean()) for scores, meant in several]
        )
        print(f"| {name} | {areas} |" + (f" {first} |" if top else ""))


def curves(found: CohortFaithfulness, what: str) -> None:
    """Print areas and gains over random orders."""
    print(f"\n{what}: {len(found)} patients, {found.random_orders} random orders each; area between the curves\n")
    print("| order | deletion, below random | insertion, above random |\n|---|---|---|")
    for order in found.orders:
        print(f"| {order} | {found.gain('deletion', order).shown()} | {found.gain('insertion', order).shown()} |")
    for note in found.notes:
        print(f"\n{note}")


def synthetic(patients: int, cells: int) -> None:
    """Print the rows of the demo model."""
    demo = Ensemble.load(find_model("demo"))
    drawn = SyntheticPatients.synthesize(SynthOptions(patients=patients, cells=cells, seed=UNSEEN_SEED))
    donor = next(name for name, one in drawn.patients.items() if one.coarse == "healthy")
    healthy = SyntheticPatients({donor: drawn.patients[donor]})
    drawn = SyntheticPatients({name: one for name, one in drawn.patients.items() if one.coarse == ACUTE})
    cohort = drawn.cohort(CohortOptions(test_fraction=0))
    with tempfile.TemporaryDirectory() as scratch:
        for some in (drawn, healthy):
            everybody = some.cohort(CohortOptions(test_fraction=0))
            encode_cohort(everybody, Path(scratch), ENCODE, open_smear=some.open_smear)
        background = Features.load(feature_path(Path(scratch), donor))
        print(f"\nCells are added to all {len(background)} cells of healthy donor {donor} (synthetic).")

        def asked(patient: str) -> tuple[Scores, NDArray[np.bool_]]:
            bag = Features.load(feature_path(Path(scratch), patient))
            types = drawn.patients[patient].cell_types
            numbers = [int(cell.split(".")[0].removeprefix("Gal-")) - 1 for cell in bag.cells]
            added = {"added to a healthy donor": add_cells(demo, bag, ACUTE, background).change}
            return all_scores(demo, bag, ACUTE) | added, np.isin([types[i] for i in numbers], BLASTS)

        ranking([asked(patient) for patient in drawn.patients], "Planted blasts of synthetic acute leukemia", top=False)
        evaluation = evaluate(demo, cohort, scratch, EvaluateOptions(split="all"))
        found = cohort_faithfulness(demo, evaluation, feature_files(cohort, scratch), patients=len(drawn.patients))
        curves(found, "Demo model, synthetic acute leukemia, predicted class")


MEANT: dict[str, Callable[[str], bool]] = {
    "Promyelocytes": lambda label: "promyelocyte" in label,
    "Blasts": lambda label: "blast" in label and "erythroblast" not in label,
}


def apl(source: Path, place: Path) -> None:
    """Print the rows of real patients."""
    options = CohortOptions(taxonomy="apl-aml", min_cells=20, where=("Cohort=Discovery",), test_fraction=0)
    cohort = read_cohort(source, options)
    features, model = place / "features", place / "model"
    encode_cohort(cohort, features, EncodeCohortOptions(encoder="efficientnet-lite0"))
    if not model.is_dir():
        train(cohort, features, TrainOptions()).save(model)
    ensemble = Ensemble.load(model)
    evaluation = evaluate(ensemble, cohort, features, EvaluateOptions(split="all", out_of_fold=True))
    print(f"\nAPL against AML, AUROC out of fold: {evaluation.headline['macro_auroc'].shown(2)}")
    ill = evaluation.patients[evaluation.patients["truth"] == "apl"]
    found = [labelled(ensemble, features, row) for row in ill.to_dict("records")]
    meanings = MEANT | {"Promyelocytes or blasts": lambda label: any(meant(label) for meant in MEANT.values())}
    for name, meant in meanings.items():
        said = [(scores, np.array([meant(label) for label in labels])) for scores, labels in found]
        ranking(said, f"{name} of APL patients, explained for APL", top=True)
    curves(
        cohort_faithfulness(ensemble, evaluation, feature_files(cohort, features)),
        "APL-AML, out of fold, predicted class",
    )


def labelled(ensemble: Ensemble, features: Path, patient: Mapping[str, Any]) -> tuple[Scores, list[str]]:
    """Return the orders for APL by the member that judged a patient, and the labels, of the cells that have one."""
    bag = Features.load(feature_path(features, patient["patient_id"]))
    smear = read_smear(Path(patient["path"]))
    labels = dict(zip(smear.cells, smear.labels, strict=True))
    known = [i for i, cell in enumerate(bag.cells) if labels[cell]]
    judge = Ensemble(ensemble.description, (ensemble.members[int(patient["fold"])],))
    scores = {name: values[known] for name, values in all_scores(judge, bag, "apl").items()}
    return scores, [str(labels[bag.cells[i]]).lower() for i in known]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=300, help="synthetic; about one in six has acute leukemia")
    parser.add_argument("--cells", type=int, default=120)
    parser.add_argument("--apl", type=Path, help="the APL-AML cohort")
    parser.add_argument("--keep", type=Path, help="folder for features and model of --apl")
    chosen = parser.parse_args()
    print(machine())
    if chosen.apl is None:
        synthetic(chosen.patients, chosen.cells)
        return
    with tempfile.TemporaryDirectory() as scratch:
        apl(chosen.apl, chosen.keep or Path(scratch))


if __name__ == "__main__":
    main()
