"""Shortcuts in a real cohort: how well APL is told from AML without looking at a cell.

    python benchmarks/shortcut_audit.py COHORT [--min-cells 20] [--where Cohort=Discovery] [--shufflings 300]
                                        [--predictions predictions.csv]

COHORT is the APL-AML cohort (Sidhom et al. 2021), whole or in part. All patients are dealt into folds; nothing is
learnt here but the audit's own logistic regressions. Prints Markdown; docs/audit.md holds one run.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd

from napari_caltomorph.cohort import CohortOptions, read_cohort
from napari_caltomorph.evaluate.audit import AuditOptions, audit
from napari_caltomorph.evaluate.audit_result import METRIC_NAMES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--taxonomy", default="apl-aml")
    parser.add_argument("--min-cells", type=int, default=20)
    parser.add_argument("--where", action="append", default=[])
    parser.add_argument("--shufflings", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of folds, cells and shufflings")
    parser.add_argument("--predictions", type=Path, help="out-of-fold ones: patient_id and p_<class slug>")
    asked = parser.parse_args()
    cohort = read_cohort(
        asked.cohort,
        CohortOptions(
            taxonomy=asked.taxonomy,
            min_cells=asked.min_cells,
            where=tuple(asked.where),
            test_fraction=0,
            split_seed=asked.seed,
        ),
    )
    predictions = None if asked.predictions is None else pd.read_csv(asked.predictions, dtype={"patient_id": str})
    start = time.perf_counter()
    found = audit(cohort, AuditOptions(shufflings=asked.shufflings, seed=asked.seed), predictions=predictions)
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
                f"| {row.name} | {row.patients} | {METRIC_NAMES[metric]} | {value.value:.2f}{bounds} "
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
