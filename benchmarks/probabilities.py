"""Whether probabilities, intervals and what is learned can be relied on: measured where the truth is known.

    python benchmarks/probabilities.py [--only malignancy] [--cells-by-type FOLDER] [--prevalences 0.2]

Sections, each a table; --only names some:

- malignancy: models trained by the defaults on cohorts with 5 to 80 % malignant patients, evaluated on others of the
  same kind. Patients are synthetic features of all eight classes; with --cells-by-type (real cells, a folder a type,
  e.g. of Acevedo et al. 2020) also bags of such cells, of two classes: malignant from 5 % of immature granulocytes on.
  No cell is in a training and in a test patient, or in two folds. Next to the defaults, models of a balanced training
  (rare classes weigh more), which the shift of its logits brings to the training prevalence; and both as trained,
  without recalibration and shift.
- unit-tests: the tests of Raff and Holt (2023) for multiple-instance learning, for every aggregator, through the
  commands `caltomorph train` and `evaluate` with their defaults.
- hemoglobin: how many measured values are within the interval that is shown with an estimate, by what was measured.
- intervals: how often 95 % intervals contain the truth with 12, 30 and 100 patients a class (`interval_coverage.py`):
  the mean over kinds of models, and in brackets the least.

Bags are small and ensembles have two members, so that all of it takes an hour or two on two cores. Prints Markdown;
docs/benchmarks.md has one run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import pandas as pd
from bag_cohorts import Bag, pools, rule_bags, synthetic_bags, write_cohort
from domain import real_smears
from interval_coverage import MODELS, coverage
from mil_unit_tests import UNIT_TESTS, unit_test_bags
from speed import machine

from napari_caltomorph.cohort import CohortOptions, read_cohort
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.encoding import EncodeOptions, load_encoder
from napari_caltomorph.evaluation import Evaluation, evaluate
from napari_caltomorph.statistics.reliability import Reliability
from napari_caltomorph.training import TrainOptions, train
from napari_caltomorph.training.options import AggregatorName

READ = CohortOptions(min_cells=1, folds=2, group_column="group")
MALIGNANCY = ("mean malignancy", "sensitivity", "specificity", "FDR", "Brier", "AUROC", "ECE, malignancy", "ECE, class")
# Patients, split, prevalence -> bags
Draw = Callable[[int, str, float], Iterable[Bag]]


def malignancy(args: argparse.Namespace) -> None:
    """Print how far malignancy is a probability, at several prevalences: of the defaults, and of balance."""
    draws: dict[str, Draw] = {"synthetic, 8 classes": partial(synthetic_bags, cells=args.cells)}
    if args.cells_by_type is not None:
        encoder = load_encoder(EncodeOptions(encoder=args.encoder))
        cells = pools({name: one.values for name, one in real_smears(args.cells_by_type, encoder)})
        draws["real cells, 2 classes"] = lambda *row: rule_bags(cells[row[1]], *row, cells=args.cells)
    print(f"\n| bags | malignant | model | {' | '.join(MALIGNANCY)} | time |\n|{'---|' * (len(MALIGNANCY) + 4)}")
    for name, draw in draws.items():
        for prevalence in args.prevalences:
            bags = [*draw(args.patients, "train", prevalence), *draw(args.test_patients, "test", prevalence)]
            for row in defaults_and_balance(bags):
                print(f"| {name} | {prevalence:.0%} | {row} |", flush=True)


def defaults_and_balance(bags: Iterable[Bag]) -> Iterator[str]:
    """Train by the defaults, and in balance; yield the rows of both models, and of both as they were trained."""
    with tempfile.TemporaryDirectory() as scratch:
        cohort = read_cohort(write_cohort(bags, Path(scratch) / "cohort"), READ)
        for kind, options in (("defaults", TrainOptions()), ("balanced", TrainOptions(balance="weights"))):
            start = time.process_time()
            ensemble = train(cohort, None, options)
            seconds = time.process_time() - start
            yield f"{kind} | {numbers(evaluate(ensemble, cohort))} | {seconds:.0f} s"
            yield f"{kind}, as trained | {numbers(evaluate(as_trained(ensemble), cohort))} | "


def as_trained(ensemble: Ensemble) -> Ensemble:
    """Return the ensemble without recalibration, and without the shift of its logits to the training prevalence."""
    members = deepcopy(ensemble.members)
    for member in members:
        member.recalibration = None
        member.log_prior_shift.zero_()
    return replace(ensemble, members=members)


def numbers(evaluation: Evaluation) -> str:
    """Return the values of `MALIGNANCY`; behind an ECE, what perfectly calibrated models would show."""
    point, headline = evaluation.at(0.5), evaluation.headline
    metrics = (
        point.sensitivity,
        point.specificity,
        point.fdr,
        headline["malignant_brier"],
        headline["malignant_auroc"],
    )
    values = ["-" if one.value is None else f"{one.value:.3f}" for one in metrics]
    errors = [ece(one) for one in (evaluation.malignancy_reliability, evaluation.reliability)]
    return " | ".join([f"{evaluation.screened.malignancy.mean():.3f}", *values, *errors])


def ece(found: Reliability | None) -> str:
    assert found is not None
    assert found.chance is not None
    return f"{found.ece:.3f} ({found.chance.low:.3f} to {found.chance.high:.3f})"


def unit_tests(args: argparse.Namespace) -> None:
    """Print which unit tests each aggregator passes: AUROC on the test bags, one for each seed."""
    print(f"\n| aggregator | {' | '.join(name.replace('_', ' ') for name in UNIT_TESTS)} | time of a training |")
    print("|---" * (len(UNIT_TESTS) + 2) + "|")
    with tempfile.TemporaryDirectory() as scratch:
        places = {name: write_cohort(concept_bags(name, args.bags), Path(scratch) / name) for name in UNIT_TESTS}
        for aggregator in args.aggregators:
            start = time.perf_counter()
            shown = [
                ", ".join(area_through_the_terminal(place, aggregator, seed) for seed in range(args.seeds))
                for place in places.values()
            ]
            seconds = (time.perf_counter() - start) / len(places) / args.seeds
            print(f"| {aggregator} | {' | '.join(shown)} | {seconds:.0f} s |", flush=True)


def concept_bags(test: str, count: int) -> Iterator[Bag]:
    """Return the bags of a unit test as patients, of whom the positive ones have AML."""
    for split, seed in (("train", 0), ("test", 1000)):
        values, labels = unit_test_bags(test, count, is_training=split == "train", seed=seed)
        for number, (bag, label) in enumerate(zip(values, labels, strict=True)):
            yield Bag(f"{split}_{number:04d}", "aml" if label else "reactive_changes", bag, split)


def area_through_the_terminal(cohort: Path, aggregator: str, seed: int) -> str:
    """Train and evaluate with the commands of a user; return the AUROC on the test bags."""
    with tempfile.TemporaryDirectory() as scratch:
        model, results = Path(scratch) / "model", Path(scratch) / "results"
        flags = ("--min-cells", 1, "--folds", 2)
        terminal("train", cohort, "--out", model, "--aggregator", aggregator, "--seed", seed, *flags)
        terminal("evaluate", cohort, "--model", model, "--out", results, "--numbers-only", *flags)
        return f"{Evaluation.load(results).headline['malignant_auroc'].value:.3f}"


def terminal(*words: object) -> None:
    """Run a command of the product as a user does; its words are shown only where it fails."""
    command = [sys.executable, "-m", "napari_caltomorph.cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def hemoglobin(args: argparse.Namespace) -> None:
    """Print how many measured values are within the interval of the estimate, by band of what was measured."""
    draw = partial(synthetic_bags, prevalence=0.5, cells=args.cells)
    bags = [*draw(args.patients, "train"), *draw(args.test_patients, "test")]
    # The mean of the cells: it trains in seconds, and what is tested is the interval.
    with tempfile.TemporaryDirectory() as scratch:
        cohort = read_cohort(write_cohort(bags, Path(scratch) / "cohort"), READ)
        bounded = evaluate(train(cohort, None, TrainOptions(aggregator="mean", hemoglobin=True)), cohort)
    error = bounded.provenance.hemoglobin_error
    assert error is not None
    one_for_all = error.model_copy(update={"bands": ()})
    unbounded = replace(bounded, provenance=bounded.provenance.model_copy(update={"hemoglobin_error": one_for_all}))
    print("\n| patients | n | in the interval (bounded by band) | in an interval of all errors |\n|---|---|---|---|")
    for ours, before in zip(bounded.hemoglobin, unbounded.hemoglobin, strict=True):
        if "in_interval" in ours.numbers and (ours.name == "all" or ours.name.startswith("measured")):
            shown = (one.numbers["in_interval"].shown(2) for one in (ours, before))
            print(f"| {ours.name} | {ours.patients} | {' | '.join(shown)} |", flush=True)


def intervals(args: argparse.Namespace) -> None:
    """Print how often 95 % intervals contain the truth with few patients in each of eight classes."""
    covered = pd.concat(
        {(n, model): coverage((n,) * 8, model, args.cohorts)["covered"] for n in (12, 30, 100) for model in MODELS}
    )
    found = covered.groupby(level=[2, 0], sort=False).agg(["mean", "min"])
    print("\n| number | 12 patients a class | 30 | 100 |\n|---|---|---|---|")
    for number, rows in found.groupby(level=0, sort=False):
        shown = [f"{row['mean']:.3f} ({row['min']:.3f})" for _, row in rows.iterrows()]
        print(f"| {str(number).replace('_', ' ')} | {' | '.join(shown)} |", flush=True)


SECTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "malignancy": malignancy,
    "unit-tests": unit_tests,
    "hemoglobin": hemoglobin,
    "intervals": intervals,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=SECTIONS, help="a section; may be given again")
    parser.add_argument("--cells-by-type", type=Path, help="folder of real cells, one folder a type")
    parser.add_argument("--encoder", default="efficientnet-lite0", help="of the real cells")
    parser.add_argument("--prevalences", type=float, nargs="+", default=[0.05, 0.2, 0.5, 0.8])
    parser.add_argument("--patients", type=int, default=500, help="to train on")
    parser.add_argument("--test-patients", type=int, default=600)
    parser.add_argument("--cells", type=int, default=24, help="of a patient")
    parser.add_argument("--bags", type=int, default=400, help="to train on and to test on, of a unit test")
    parser.add_argument("--aggregators", nargs="+", default=get_args(AggregatorName))
    parser.add_argument("--seeds", type=int, default=2, help="of the unit tests' trainings")
    parser.add_argument("--cohorts", type=int, default=300, help="to simulate, for each kind of model and size")
    args = parser.parse_args()
    print(machine())
    for name in args.only or SECTIONS:
        print(f"\n**{name}**", flush=True)
        SECTIONS[name](args)


if __name__ == "__main__":
    main()
