"""Shortcuts in a real cohort, and in synthetic ones with known truth: how well a label is predicted without the cells.

    python benchmarks/shortcut_audit.py COHORT [--min-cells 20] [--where Cohort=Discovery] [--shufflings 300]
                                        [--predictions predictions.csv]
    python benchmarks/shortcut_audit.py --synthetic 96 [--cells 30] [--cohorts 3] [--shufflings 300]

COHORT is the APL-AML cohort (Sidhom et al. 2021), whole or in part. All patients are assigned to folds; only the
audit's own logistic regressions are trained. --synthetic audits synthetic patients of eight classes three times:
unchanged; with the red cells of a healthy person, so that anemia does not show; and with stains that depend on the
class (`caltomorph synth --shortcut`). The patients are the same. Prints Markdown; docs/audit.md has one run of each.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
from speed import machine

from napari_caltomorph.audit import AuditOptions, audit
from napari_caltomorph.cohort import CohortOptions, read_cohort
from napari_caltomorph.cohort.synthetic import SyntheticPatients
from napari_caltomorph.statistics.metric import METRICS
from napari_caltomorph.synthetic import SynthOptions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path, nargs="?")
    parser.add_argument("--synthetic", type=int, help="patients of each synthetic cohort")
    parser.add_argument("--cells", type=int, default=30, help="of each of them")
    parser.add_argument("--cohorts", type=int, default=3, help="how many, of seeds 0, 1, ...")
    parser.add_argument("--taxonomy", default="apl-aml")
    parser.add_argument("--min-cells", type=int, default=20)
    parser.add_argument("--where", action="append", default=[])
    parser.add_argument("--shufflings", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of folds, cells and shufflings")
    parser.add_argument("--predictions", type=Path, help="out-of-fold ones: patient_id and p_<class slug>")
    args = parser.parse_args()
    if args.synthetic is not None:
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
