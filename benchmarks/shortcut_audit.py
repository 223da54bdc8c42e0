"""Shortcuts in a real cohort, and in synthetic ones with known truth: how well a label is predicted without the cells.

    python benchmarks/shortcut_audit.py COHORT [--min-cells 20] [--where Cohort=Discovery] [--shufflings 300]
                                        [--predictions predictions.csv]
    python benchmarks/shortcut_audit.py --synthetic 96 [--cells 30] [--cohorts 3] [--shufflings 300]
    python benchmarks/shortcut_audit.py --elsewhere [--cells 10] [--cohorts 6] [--aggregator mean]

COHORT is the APL-AML cohort (Sidhom et al. 2021), whole or in part. All patients are assigned to folds; only the
audit's own logistic regressions are trained. --synthetic audits synthetic patients of eight classes three times:
unchanged; with the red cells of a healthy person, so that anemia does not show; and with stains that depend on the
class (`caltomorph synth --shortcut`). The patients are the same. --elsewhere trains on synthetic patients of
some laboratories, prints the estimate for other laboratories, and what is lost when members predict the same held-out
patients, stained by each of these laboratories or by a new one.
Prints Markdown; docs/audit.md has one run of each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax
from speed import machine

from napari_caltomorph.audit import AuditOptions, audit
from napari_caltomorph.audit.image_traits import ImageTraits
from napari_caltomorph.cohort import Cohort, CohortOptions, read_cohort, with_types
from napari_caltomorph.cohort.synthetic import SyntheticPatients
from napari_caltomorph.diagnosis.elsewhere import Estimate
from napari_caltomorph.encoding import DEMO_ENCODER, EncodeOptions, FeatureOrigin, LoadedEncoder, load_encoder
from napari_caltomorph.smear.image_traits import border_traits, colour_traits
from napari_caltomorph.statistics.metric import METRICS
from napari_caltomorph.statistics.roc import macro_auroc
from napari_caltomorph.synthetic import Stain, SyntheticPatient, SynthOptions, synthesize_patient
from napari_caltomorph.synthetic.patients import class_of
from napari_caltomorph.taxonomy import caltomorph_taxonomy
from napari_caltomorph.training import TrainOptions
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.elsewhere import measured_elsewhere
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import member_splits
from napari_caltomorph.training.members import FoldCheckpoint, predict_bags, trained_member
from napari_caltomorph.training.recalibrate import recalibrate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path, nargs="?")
    parser.add_argument("--synthetic", type=int, help="patients of each synthetic cohort")
    parser.add_argument("--cells", type=int, default=30, help="of each of them")
    parser.add_argument("--cohorts", type=int, default=3, help="how many, of seeds 0, 1, ...")
    parser.add_argument("--elsewhere", action="store_true", help="the estimate for other laboratories")
    parser.add_argument("--aggregator", default="mean", help="of the members, for --elsewhere")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="the same")
    parser.add_argument("--epochs", type=int, default=12, help="the same")
    parser.add_argument("--taxonomy", default="apl-aml")
    parser.add_argument("--min-cells", type=int, default=20)
    parser.add_argument("--where", action="append", default=[])
    parser.add_argument("--shufflings", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of folds, cells, shufflings; of --elsewhere, patients")
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


CLASSES = ("aml", "cll", "mds", "cmml", "cml", "mm", "reactive_changes", "stem_cell_donor")
OWN = 4  # Laboratories are 0 to 3; every patient has also been drawn with the own stain

# Laboratories of a cohort, and the share of a class that comes from the one that the class has; None: chance alone.
LABORATORIES: dict[str, tuple[int, float | None]] = {
    "a stain for each patient": (0, None),
    "two, each with all classes": (2, None),
    "three, 85 % of a class from one": (3, 0.85),
    "two, 85 % of a class from one": (2, 0.85),
    "two, all of a class from one": (2, 1.0),
}
SIZES = ((2, 40), (4, 30), (8, 15))  # Classes, and patients of each

Measured = tuple[NDArray[np.float32], dict[str, float], dict[str, float]]  # Features, borders, colours
Drawn = dict[tuple[int, int, int], Measured]


def in_other_laboratories(args: argparse.Namespace) -> None:
    """Print the estimate of synthetic cohorts, next to what is lost when the same patients are stained elsewhere."""
    start = time.perf_counter()
    options = TrainOptions(
        aggregator=args.aggregator, learning_rate=args.learning_rate, epochs=args.epochs, device="cpu", elsewhere=False
    )
    patients = max(count for _, count in SIZES)
    pool = {one: drawn(one, args.cells, args.seed) for one in np.ndindex(len(CLASSES), patients, OWN + 1)}
    print(
        "\n| laboratories of the patients | classes x patients | accuracy out of fold | fall, stained by any of them "
        "| estimated fall (mean bounds) | shown | fall, stained by a new one | warning of background | of colours |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for kind, (count, share) in LABORATORIES.items():
        for size in SIZES:
            rows = [of_cohort(pool, count, share, size, seed, options) for seed in range(args.cohorts)]
            known, true, new, fall, low, high, background, colours = np.nanmean(rows, axis=0)
            shown = sum(row[4] > 0 for row in rows)
            print(
                f"| {kind} | {size[0]} x {size[1]} | {known:.2f} | {true:.2f} | {fall:.2f} ({low:.2f} to {high:.2f}) "
                f"| {shown} of {len(rows)} | {new:.2f} | {background:.0%} | {colours:.0%} |",
                flush=True,
            )
    print(f"\n{machine()}; {args.aggregator}, {args.cells} cells a patient; {time.perf_counter() - start:.0f} s")


def drawn(one: tuple[int, ...], cells: int, seed: int) -> Measured:
    """Return features, borders and colours of a patient of a class, with the stain of a laboratory or the own."""
    number, patient, laboratory = one
    smear = synthesize_patient(CLASSES[number], cells=cells, seed=1000 * (seed + 1) + patient)
    images = list((smear if laboratory == OWN else of_laboratory(smear, 100 * (seed + 1) + laboratory)).images(112))
    borders, colours = (
        pd.DataFrame([of(image) for image in images]).mean().to_dict() for of in (border_traits, colour_traits)
    )
    return demo_encoder().features(images), borders, colours


@cache
def demo_encoder() -> LoadedEncoder:
    return load_encoder(EncodeOptions(encoder=DEMO_ENCODER, device="cpu", precision="float32"))


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


def of_cohort(
    pool: Drawn, count: int, share: float | None, size: tuple[int, int], seed: int, options: TrainOptions
) -> tuple[float, ...]:
    """Train on a cohort; return what `in_other_laboratories` prints of it."""
    rng, (kinds, each) = np.random.default_rng([seed, *size, count]), size
    kind_of, laboratories = rng.permutation(len(CLASSES))[:kinds], rng.permutation(OWN)
    home = np.repeat(rng.permutation(kinds) % max(1, count), each)
    people = np.concatenate([rng.permutation(max(n for _, n in SIZES))[:each] for _ in range(kinds)])
    numbers, others = np.repeat(kind_of, each), (home + rng.integers(1, max(2, count), len(home))) % max(1, count)
    by_chance = rng.integers(max(1, count), size=len(home))
    place = by_chance if share is None else np.where(rng.random(len(home)) < share, home, others)

    def rows(place: NDArray[np.integer]) -> list[tuple[NDArray[np.float32], dict[str, float], dict[str, float]]]:
        stains = laboratories[place] if count else np.full(len(place), OWN)
        return [pool[int(n), int(p), int(s)] for n, p, s in zip(numbers, people, stains, strict=True)]

    taxonomy = caltomorph_taxonomy()
    coarse = [class_of(CLASSES[n])[0].slug for n in numbers]
    table = pd.DataFrame({"patient_id": [f"p{i}" for i in range(len(home))], "coarse": coarse, "split": "train"})
    table["fold"] = (table.groupby("coarse").cumcount() % 5).astype(int)
    cohort = Cohort("synthetic", Path("synthetic"), "drawn", taxonomy, with_types(table))
    known = tuple(one for one in taxonomy.classes if one.slug in coarse)
    taxonomy = taxonomy.model_copy(update={"classes": known})
    features, borders, colours = zip(*rows(place), strict=True)
    bags = LabelledBags(
        taxonomy=taxonomy,
        values=features,
        classes=np.array([taxonomy.slugs.index(slug) for slug in coarse]),
        hemoglobin=np.full(len(home), np.nan),
        folds=table["fold"].to_numpy(dtype=np.intp),
        table=cohort.table,
        origin=FeatureOrigin(encoder=DEMO_ENCODER),
    )
    of_borders, of_colours = (pd.DataFrame(list(one), index=table["patient_id"]) for one in (borders, colours))
    traits = ImageTraits(of_borders, of_colours, pd.DataFrame(index=of_borders.index), {})
    trained = []
    with tempfile.TemporaryDirectory() as scratch:
        for split in member_splits(bags, options):
            checkpoint = FoldCheckpoint(Path(scratch), split.fold)
            fit_member(bags, split, options, checkpoint)
            trained.append(trained_member(bags, split, options, checkpoint))
    recalibrate(trained, bags, options)
    found = measured_elsewhere(cohort, bags, traits, trained, options)

    own = np.concatenate([one.split.own for one in trained])

    def logits(place: NDArray[np.integer]) -> NDArray[np.float64]:
        there = replace(bags, values=tuple(one[0] for one in rows(place)))
        parts = [predict_bags(one.member, there, one.split.own, options).logits for one in trained]
        return np.concatenate([part.double().numpy() for part in parts])

    def accuracy(place: NDArray[np.integer]) -> float:
        return float((logits(place).argmax(axis=1) == bags.classes[own]).mean())

    auroc, fall = macro_auroc(bags.classes[own], softmax(logits(place), axis=1)), found.background_fall
    assert auroc is not None
    assert fall is not None
    low, high = (np.nan if one is None else one for one in (fall.low, fall.high))
    warning = found.shortcut(Estimate(value=auroc.value))
    elsewhere = np.mean([accuracy(np.full(len(place), one)) for one in range(max(1, count))])
    return (
        accuracy(place),
        accuracy(place) - float(elsewhere),
        accuracy(place) - accuracy(np.full(len(place), 3)) if count else 0.0,
        fall.value,
        low,
        high,
        "the background" in warning,
        "the colours" in warning,
    )


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
