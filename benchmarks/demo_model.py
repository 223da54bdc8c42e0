"""The shipped demo model on synthetic patients of seeds that were not used for training.

    python benchmarks/demo_model.py [--patients 200] [--cells 200] [--depth-10]

Patients are synthesized, encoded and evaluated; then again with their backgrounds exchanged: each keeps its cells, and
gets red cells and stain of another patient of any disease. With --depth-10, an ensemble of ten layers, trained on the
patients of the demo, is evaluated as well. All numbers are about synthetic images only. Prints Markdown;
docs/synthetic.md has one run.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score
from speed import machine

from napari_caltomorph.cohort import Cohort, CohortOptions, EncodeCohortOptions, encode_cohort, feature_path
from napari_caltomorph.cohort.synthetic import SyntheticPatients
from napari_caltomorph.diagnosis import Ensemble, find_model
from napari_caltomorph.encoding import DEMO_ENCODER, Features
from napari_caltomorph.evaluation import EvaluateOptions, Evaluation, evaluate
from napari_caltomorph.synthetic import SynthOptions
from napari_caltomorph.training import TrainOptions, train

UNSEEN_SEED, TRAINING_SEED, TRAINING_PATIENTS = 900_000, 10_000, 480
BLASTS = ("myeloblast", "lymphoblast", "promyelocyte")
ENCODE = EncodeCohortOptions(encoder=DEMO_ENCODER, device="cpu", precision="float32")
HEADLINE = ("accuracy", "balanced_accuracy", "top2_accuracy", "malignant_auroc", "sensitivity", "specificity")


def exchanged(drawn: SyntheticPatients) -> SyntheticPatients:
    """Give each patient the stain and the red cells of another, so that only the cells depend on the disease."""
    patients = list(drawn.patients.values())
    order = np.random.default_rng(0).permutation(len(patients))
    return SyntheticPatients(
        {
            one.patient_id: replace(
                one,
                stain=patients[other].stain,
                hemoglobin_g_dl=patients[other].hemoglobin_g_dl,
                rouleaux=patients[other].rouleaux,
                teardrops=patients[other].teardrops,
            )
            for one, other in zip(patients, order, strict=True)
        }
    )


def show_numbers(name: str, ensemble: Ensemble, cohort: Cohort, folder: Path) -> Evaluation:
    """Print what the model does on a cohort."""
    evaluation = evaluate(ensemble, cohort, folder, EvaluateOptions(split="all"))
    print(f"\n**{name}**: {len(evaluation)} patients\n\n| | |\n|---|---|")
    rows = {key: evaluation.headline[key] for key in HEADLINE}
    rows |= {f"sensitivity, {c.name}": evaluation.by_class[c.slug].sensitivity for c in evaluation.taxonomy.classes}
    for group in evaluation.hemoglobin:
        if group.name in ("all", "within classes"):
            rows[f"hemoglobin r, {group.name}"] = group.numbers["pearson_r"]
    for key, metric in rows.items():
        print(f"| {key.replace('_', ' ')} | {metric.shown(2)} |")
    reliability = evaluation.reliability
    assert reliability is not None
    assert reliability.chance is not None
    low, high = reliability.chance.low, reliability.chance.high
    print(f"| expected calibration error | {reliability.ece:.3f} (perfectly calibrated: {low:.3f} to {high:.3f}) |")
    return evaluation


def planted(ensemble: Ensemble, drawn: SyntheticPatients, folder: Path) -> None:
    """Print how attention, and the response to each cell alone, rank the blasts of acute leukemias."""
    acute = ensemble.description.taxonomy.slugs.index("acute_leukemia")
    scores: dict[str, list[float]] = {"attention": [], "response to the cell alone": []}
    for patient in drawn.patients.values():
        if patient.coarse != "acute_leukemia":
            continue
        prediction = ensemble.predict(Features.load(feature_path(folder, patient.patient_id)))
        # Cells may have been left out; the names say which are there.
        types = [patient.cell_types[int(cell.split(".")[0].removeprefix("Gal-")) - 1] for cell in prediction.cells]
        is_blast: NDArray[np.bool_] = np.isin(types, BLASTS)
        if 0 < is_blast.sum() < len(is_blast):
            scores["attention"].append(float(roc_auc_score(is_blast, prediction.attention)))
            scores["response to the cell alone"].append(float(roc_auc_score(is_blast, prediction.alone[:, acute])))
    for name, values in scores.items():
        interval = bootstrap((values,), np.mean, rng=np.random.default_rng(0)).confidence_interval
        shown = f"{np.mean(values):.2f} ({interval.low:.2f} to {interval.high:.2f})"
        print(f"| blasts ranked by {name}, AUROC, mean of {len(values)} acute leukemias | {shown} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--depth-10", action="store_true", help="train and evaluate an ensemble of ten layers as well")
    args = parser.parse_args()
    demo = Ensemble.load(find_model("demo"))
    whole = CohortOptions(test_fraction=0)
    unseen = SyntheticPatients.synthesize(SynthOptions(patients=args.patients, cells=args.cells, seed=UNSEEN_SEED))
    other = exchanged(unseen)
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        place = {name: Path(scratch) / name for name in ("unseen", "exchanged", "training")}
        cohort = unseen.cohort(whole)
        encode_cohort(cohort, place["unseen"], ENCODE, open_smear=unseen.open_smear)
        show_numbers("The demo", demo, cohort, place["unseen"])
        planted(demo, unseen, place["unseen"])
        encode_cohort(cohort, place["exchanged"], ENCODE, open_smear=other.open_smear)
        show_numbers("The demo, backgrounds exchanged between patients", demo, other.cohort(whole), place["exchanged"])
        if args.depth_10:
            training = SyntheticPatients.synthesize(
                SynthOptions(patients=TRAINING_PATIENTS, cells=args.cells, seed=TRAINING_SEED)
            )
            learnt = training.cohort(whole)
            encode_cohort(learnt, place["training"], ENCODE, open_smear=training.open_smear)
            options = demo.description.training.options | {"depth": 10}
            deep = train(learnt, place["training"], TrainOptions(**options))
            show_numbers("Ten layers, otherwise trained as the demo", deep, cohort, place["unseen"])
            planted(deep, unseen, place["unseen"])


if __name__ == "__main__":
    main()
