"""Shortcuts in a real cohort, and in synthetic ones with known truth: how well a label is predicted without the cells.

    python benchmarks/shortcut_audit.py COHORT [--min-cells 20] [--where Cohort=Discovery] [--shufflings 300]
                                        [--predictions predictions.csv]
    python benchmarks/shortcut_audit.py --synthetic 96 [--cells 30] [--cohorts 3] [--shufflings 300]
    python benchmarks/shortcut_audit.py --synthetic 120 --elsewhere [--cells 16] [--cohorts 2] [--aggregator mean]

COHORT is the APL-AML cohort (Sidhom et al. 2021), whole or in part. All patients are assigned to folds; only the
audit's own logistic regressions are trained. --synthetic audits synthetic patients of eight classes three times:
unchanged; with the red cells of a healthy person, so that anemia does not show; and with stains that depend on the
class (`caltomorph synth --shortcut`). The patients are the same. --elsewhere trains on synthetic patients of one and of
two laboratories, prints the estimate for other laboratories, and measures the members on new patients of another one.
Prints Markdown; docs/audit.md has one run of each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score
from speed import machine

from napari_caltomorph.audit import AuditOptions, audit
from napari_caltomorph.audit.image_traits import image_traits
from napari_caltomorph.cohort import CohortOptions, EncodeCohortOptions, encode_cohort, read_cohort
from napari_caltomorph.cohort.synthetic import SyntheticPatients
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.diagnosis.elsewhere import Elsewhere
from napari_caltomorph.diagnosis.member import Member
from napari_caltomorph.encoding import DEMO_ENCODER
from napari_caltomorph.statistics.metric import METRICS
from napari_caltomorph.synthetic import Stain, SyntheticPatient, SynthOptions
from napari_caltomorph.training import TrainOptions, train
from napari_caltomorph.training.bags import LabelledBags, load_bags
from napari_caltomorph.training.elsewhere import measured_elsewhere, plan_of_traits
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import MemberSplit, member_splits
from napari_caltomorph.training.members import FoldCheckpoint, TrainedMember, predict_bags, trained_member
from napari_caltomorph.training.progress import FoldHistory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path, nargs="?")
    parser.add_argument("--synthetic", type=int, help="patients of each synthetic cohort")
    parser.add_argument("--cells", type=int, default=30, help="of each of them")
    parser.add_argument("--cohorts", type=int, default=3, help="how many, of seeds 0, 1, ...")
    parser.add_argument("--elsewhere", action="store_true", help="the estimate for other laboratories")
    parser.add_argument("--aggregator", default="mean", help="of the members, for --elsewhere")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the same")
    parser.add_argument("--taxonomy", default="apl-aml")
    parser.add_argument("--min-cells", type=int, default=20)
    parser.add_argument("--where", action="append", default=[])
    parser.add_argument("--shufflings", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of folds, cells and shufflings")
    parser.add_argument("--predictions", type=Path, help="out-of-fold ones: patient_id and p_<class slug>")
    args = parser.parse_args()
    if args.elsewhere:
        in_other_laboratories(args)
    elif args.synthetic is not None:
        of_synthetic_cohorts(args)
    elif args.cohort is None:
        parser.error("name a cohort, or --synthetic PATIENTS")
    else:
        of_a_real_cohort(args)


def of_synthetic_cohorts(args: argparse.Namespace) -> None:
    """Audit the same patients with and without a shortcut: a row for each set of traits."""
    start = time.perf_counter()
    print("\n| patients | seed | traits | macro AUROC | shuffled labels | corrected p | |")
    print("|---|---|---|---|---|---|---|")
    for kind in ("unchanged", "all with healthy red cells", "stain depends on the class"):
        for seed in range(args.cohorts):
            shortcut = kind == "stain depends on the class"
            options = SynthOptions(patients=args.synthetic, cells=args.cells, seed=seed, shortcut=shortcut)
            drawn = SyntheticPatients.synthesize(options)
            if kind == "all with healthy red cells":
                same = {"hemoglobin_g_dl": 14.0, "rouleaux": 0.0, "teardrops": 0.0}
                drawn = SyntheticPatients({name: replace(one, **same) for name, one in drawn.patients.items()})
            found = audit(
                drawn.cohort(CohortOptions(test_fraction=0)),
                AuditOptions(shufflings=args.shufflings, cells=args.cells),
                open_smear=drawn.open_smear,
            )
            for row in found.rows:
                value, chance = row.estimates[row.metric], row.chance[row.metric]
                verdict = "found" if row.is_found else "a hint" if row.is_hint else ""
                print(
                    f"| {kind} | {seed} | {row.name} | {value.value:.2f} ({value.low:.2f} to "
                    f"{value.high:.2f}) | {chance.low:.2f} to {chance.high:.2f} | {row.p_corrected:.3f} | {verdict} |",
                    flush=True,
                )
    print(f"\n{machine()}; {time.perf_counter() - start:.0f} s")


# Share of the classes of even and of odd number that comes from the second laboratory; None: there is only one.
LABORATORIES: dict[str, tuple[float, float] | None] = {
    "one laboratory": None,
    "two, each with all classes": (0.5, 0.5),
    "two, 85 % of a class from one": (0.15, 0.85),
}


def in_other_laboratories(args: argparse.Namespace) -> None:
    """Print the estimate of synthetic cohorts, next to the balanced accuracy on new patients of another laboratory."""
    options = TrainOptions(
        aggregator=args.aggregator,
        learning_rate=args.learning_rate,
        epochs=60,
        device="cpu",
        elsewhere=False,
    )
    print(f"\n{machine()}; {args.aggregator}, {args.synthetic} patients, {args.cells} cells each\n")
    print(
        "| training patients from | seed | out of fold | fall, images held out | fall, patients weighted "
        "| expected elsewhere | another laboratory | warning |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for kind in (*LABORATORIES, "a laboratory for each class"):
        for seed in range(args.cohorts):
            asked = SynthOptions(patients=args.synthetic, cells=args.cells, seed=seed)
            drawn = SyntheticPatients.synthesize(asked.model_copy(update={"shortcut": kind not in LABORATORIES}))
            if (shares := LABORATORIES.get(kind)) is not None:
                drawn = from_two_laboratories(drawn, shares, seed)
            new = SyntheticPatients.synthesize(asked.model_copy(update={"seed": seed + 10_000}))
            new = SyntheticPatients({name: of_laboratory(one, 100 + seed) for name, one in new.patients.items()})
            with tempfile.TemporaryDirectory() as scratch:
                bags, there = (bags_of(one, Path(scratch) / str(i), options) for i, one in enumerate((drawn, new)))
                ensemble, elsewhere = estimated(drawn, bags, Path(scratch) / "0", options)
            training = ensemble.description.training
            training = training.model_copy(update={"elsewhere": elsewhere})
            accuracies = [
                balanced_accuracy_score(there.classes, called(member, bags, split, there, options))
                for member, split in zip(ensemble.members, member_splits(bags, options), strict=True)
            ]
            expected = elsewhere.expected or f"none: {elsewhere.why_not[:60]}..."
            print(
                f"| {kind} | {seed} | {elsewhere.out_of_fold} | {elsewhere.fall} "
                f"| {elsewhere.weighted_fall}, {elsewhere.weighted[1]:.0f} of {elsewhere.weighted[0]} | {expected} "
                f"| {np.mean(accuracies):.3f} | {'yes' if training.shortcut else 'no'} |",
                flush=True,
            )


def called(
    member: Member, bags: LabelledBags, split: MemberSplit, there: LabelledBags, options: TrainOptions
) -> NDArray[np.intp]:
    """Return the classes that a member predicts for other patients, were all classes equally frequent."""
    logits = predict_bags(member, there, np.arange(len(there)), options).logits.numpy()
    return (logits - np.log(np.bincount(bags.classes[split.train]))).argmax(axis=1)


def of_laboratory(patient: SyntheticPatient, laboratory: int) -> SyntheticPatient:
    """Return a patient with four fifths of the stain and the scanner of a laboratory, and a fifth of the own."""
    theirs, own = Stain.sample(np.random.default_rng(laboratory)), patient.stain
    mixed = {
        one.name: 0.8 * np.array(getattr(theirs, one.name)) + 0.2 * np.array(getattr(own, one.name))
        for one in fields(Stain)
    }
    return replace(
        patient, stain=Stain(**{name: tuple(v.tolist()) if v.ndim else float(v) for name, v in mixed.items()})
    )


def from_two_laboratories(drawn: SyntheticPatients, shares: tuple[float, float], seed: int) -> SyntheticPatients:
    """Return the patients with the stains of two laboratories, by these shares of even and odd classes."""
    rng, classes = np.random.default_rng(seed), sorted({one.coarse for one in drawn.patients.values()})
    return SyntheticPatients(
        {
            name: of_laboratory(one, 2 * seed + int(rng.random() < shares[classes.index(one.coarse) % 2]))
            for name, one in drawn.patients.items()
        }
    )


def bags_of(drawn: SyntheticPatients, folder: Path, options: TrainOptions) -> LabelledBags:
    """Encode patients with the bundled encoder, and load them."""
    cohort = drawn.cohort(CohortOptions(test_fraction=0, min_cells=1))
    encode_cohort(cohort, folder, EncodeCohortOptions(encoder=DEMO_ENCODER, device="cpu"), open_smear=drawn.open_smear)
    return load_bags(cohort, folder, options)


def estimated(
    drawn: SyntheticPatients, bags: LabelledBags, folder: Path, options: TrainOptions
) -> tuple[Ensemble, Elsewhere]:
    """Train an ensemble, and what `train` would train besides if the images were on disk."""
    cohort = drawn.cohort(CohortOptions(test_fraction=0, min_cells=1))
    ensemble = train(cohort, folder, options)
    plan = plan_of_traits(cohort, bags, image_traits(bags.table, cells=16, open_smear=drawn.open_smear), options)
    trained = []
    for split in plan.splits(bags, options):
        checkpoint = FoldCheckpoint(folder, split.fold)
        fit_member(bags, split, options, checkpoint)
        trained.append(trained_member(bags, split, options, checkpoint))
    splits = member_splits(bags, options)
    members = [TrainedMember(*one, FoldHistory()) for one in zip(ensemble.members, splits, strict=True)]
    return ensemble, measured_elsewhere(plan, bags, members, trained, options)


def of_a_real_cohort(args: argparse.Namespace) -> None:
    """Audit a cohort on disk."""
    cohort = read_cohort(
        args.cohort,
        CohortOptions(
            taxonomy=args.taxonomy,
            min_cells=args.min_cells,
            where=tuple(args.where),
            test_fraction=0,
            split_seed=args.seed,
        ),
    )
    predictions = None if args.predictions is None else pd.read_csv(args.predictions, dtype={"patient_id": str})
    start = time.perf_counter()
    found = audit(cohort, AuditOptions(shufflings=args.shufflings, seed=args.seed), predictions=predictions)
    seconds = time.perf_counter() - start
    classes = ", ".join(f"{count} {name}" for name, count in found.classes.items())
    print(f"\n{classes}; {found.folds}; {seconds:.0f} s\n")
    print("| traits | patients | metric | value | shuffled labels | p | corrected |\n|---|---|---|---|---|---|---|")
    for row in found.rows:
        for metric, value in row.estimates.items():
            chance = row.chance[metric]
            bounds = "" if value.low is None else f" ({value.low:.2f} to {value.high:.2f})"
            ps = f"{row.p:.3f} | {row.p_corrected:.3f}" if metric == row.metric else " | "
            print(
                f"| {row.name} | {row.patients} | {METRICS[metric].name} | {value.value:.2f}{bounds} "
                f"| {chance.low:.2f} to {chance.high:.2f} | {ps} |"
            )
    print()
    for column in found.columns:
        values = ", ".join(f"{one.value}: {one.classes}" for one in column.values)
        print(f"- {column.column}: {values}; p of the classes {column.p_classes}, of accuracy {column.p_accuracy}")
    print()
    for sentence in (*found.findings, *found.notes):
        print(f"- {sentence}")


if __name__ == "__main__":
    main()
