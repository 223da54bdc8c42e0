"""Cohorts of feature files whose truth is known, for benchmarks: synthetic bags, and bags of real cells with a rule.

A cohort is a folder that `caltomorph train` and `evaluate` read as it is: ``patients.csv``, with the column split, next
to ``features/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.encoding import Features
from napari_caltomorph.synthetic import synthesize_patient, synthetic_features
from napari_caltomorph.taxonomy import caltomorph_taxonomy

# Immature granulocytes: from this share of them on, a patient of `rule_bags` is malignant.
IMMATURE = ("immature_granulocyte", "promyelocyte", "myelocyte", "metamyelocyte")
RULE = 0.05
_MOST_IMMATURE = 0.3
# Of the other cells: a type of 20 % varies by some 8 percent points between patients.
_LIKENESS = 20.0

# Of the training cells, and as many of the test cells.
POOLS = 14

Split = str  # train or test
Cells = dict[str, NDArray[np.float32]]  # Cell type -> the features of its cells, (N, D)


@dataclass(frozen=True)
class Bag:
    """The features of one patient's cells, and the truth."""

    patient_id: str
    label: str  # Slug of a class
    values: NDArray[np.float32]  # (N, D)
    split: Split
    hemoglobin: float | None = None  # g/dl
    group: str | None = None  # Patients of one group stay together in a split; else each is one


def write_cohort(bags: Iterable[Bag], folder: Path) -> Path:
    """Write bags as a cohort folder; return the folder."""
    rows = []
    (folder / "features").mkdir(parents=True)
    for bag in bags:
        names = tuple(f"cell_{number + 1}" for number in range(len(bag.values)))
        Features(bag.patient_id, bag.values, names).save(folder / "features" / f"{bag.patient_id}.h5")
        rows.append((bag.patient_id, bag.label, bag.split, bag.hemoglobin, bag.group or bag.patient_id))
    table = pd.DataFrame(rows, columns=["patient_id", "label", "split", "hemoglobin", "group"])
    table.dropna(axis=1, how="all").to_csv(folder / "patients.csv", index=False)
    return folder


def malignant_first(patients: int, prevalence: float) -> list[bool]:
    """Return whether each patient is malignant: a share of exactly the prevalence, rounded to patients."""
    malignant = round(patients * prevalence)
    return [True] * malignant + [False] * (patients - malignant)


def synthetic_bags(
    patients: int, split: Split, prevalence: float, cells: int, *, width: int = 64, seed: int = 0
) -> Iterator[Bag]:
    """Synthesize patients of all eight classes; classes are as frequent as each other, but for the prevalence."""
    rng = np.random.default_rng([seed, split == "test"])
    classes = caltomorph_taxonomy().classes
    for number, is_malignant in enumerate(malignant_first(patients, prevalence)):
        among = [one for one in classes if one.malignant == is_malignant]
        coarse = among[rng.integers(len(among))]
        detailed = coarse.detailed[rng.integers(len(coarse.detailed))].slug
        one = synthesize_patient(detailed, cells=cells, seed=int(rng.integers(2**31)))
        values = synthetic_features(one, width)
        yield Bag(f"{split}_{number:04d}", detailed, values, split, one.hemoglobin_g_dl)


def pools(types: Cells) -> dict[Split, list[Cells]]:
    """Divide the cells of each type among pools; a patient's cells are of one pool, and pools train or test.

    So patients share cells within a pool only. It is the group of its patients: no split separates them.
    """
    parts = [{name: values[i :: 2 * POOLS] for name, values in types.items()} for i in range(2 * POOLS)]
    return {"train": parts[:POOLS], "test": parts[POOLS:]}


def rule_bags(
    among: list[Cells], patients: int, split: Split, prevalence: float, cells: int, *, seed: int = 0
) -> Iterator[Bag]:
    """Compose patients of real cells: malignant from a share `RULE` of immature granulocytes in the blood on.

    The cells are a sample of the blood, so with few cells not even the rule itself separates the classes.
    """
    rng = np.random.default_rng([seed, split == "test"])
    for number, is_malignant in enumerate(malignant_first(patients, prevalence)):
        pool = number % len(among)
        immature = np.concatenate([among[pool][name] for name in IMMATURE if name in among[pool]])
        others = [values for name, values in among[pool].items() if name not in IMMATURE and len(values)]
        share = rng.uniform(RULE, _MOST_IMMATURE) if is_malignant else rng.uniform(0, RULE)
        mixture = (1 - share) * rng.dirichlet([_LIKENESS / len(others)] * len(others))
        counts = rng.multinomial(cells, [share, *mixture])
        drawn = [
            values[rng.integers(len(values), size=n)] for values, n in zip([immature, *others], counts, strict=True)
        ]
        label = "aml" if is_malignant else "reactive_changes"
        yield Bag(f"{split}_{number:04d}", label, np.concatenate(drawn), split, group=f"{split}_{pool}")
