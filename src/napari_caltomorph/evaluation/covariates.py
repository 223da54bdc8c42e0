"""How predictions depend on a covariate, such as the share of myeloblasts (paper, figures 3B and 3C).

A model that reads cells should be sure where there are many of the disease's cells, and err where there are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.errors import EvaluationRefused
from napari_caltomorph.evaluation.patients import EvaluatedPatients
from napari_caltomorph.statistics.metric import Metric
from napari_caltomorph.statistics.regression import spearman

SHARE = "share of labelled cells: "
"""Begins the name of a covariate that was counted from cell labels."""

# Columns that `EvaluatedPatients.patients` has already, or that describe the reading and not the patient.
_NO_COVARIATES = {
    *("patient_id", "path", "features", "raw_label", "detailed", "coarse", "coarse_set", "hemoglobin_g_dl", "split"),
    *("patient_id_in_table", "hemoglobin_g_dl_in_table", "fold", "fingerprint", "label_kind", "problem"),
    *("shared_images", "twin", "twin_share", "n_cells"),
}
_BINS = 4
# With fewer patients, a bin's share of errors has an interval from nearly 0 to nearly 1.
_LEAST = 5
_FEWEST = 4


@dataclass(frozen=True)
class ErrorBin:
    """Patients whose number lies from `low` up to and with `high`, and the share of them that is predicted wrong."""

    low: float
    high: float
    middle: float
    error: Metric


@dataclass(frozen=True)
class CovariateAssociation:
    """How errors and probabilities depend on one number of each patient."""

    column: str  # Of `EvaluatedPatients.covariates`
    patients: int  # Those that have the number and a right answer
    bins: tuple[ErrorBin, ...]  # Quarters of these patients by the number; fewer where many have the same
    # Class slug -> Spearman's r of the class's probability and the number, over the patients of the class
    correlations: dict[str, Metric]


def covariate_values(evaluated: EvaluatedPatients, column: str) -> NDArray[np.float64]:
    """(P,) the numbers of a column of `EvaluatedPatients.covariates`; NaN where a patient has none."""
    if column not in evaluated.covariates:
        return np.full(len(evaluated), np.nan)
    values = pd.to_numeric(evaluated.covariates[column], errors="coerce")
    return np.asarray(values.to_numpy(dtype=float, na_value=np.nan))


def covariate_association(evaluated: EvaluatedPatients, column: str) -> CovariateAssociation:
    """Return how errors and probabilities depend on a column of `EvaluatedPatients.covariates`.

    Bins are cut at quantiles; errors have Wilson's interval, and `spearman` has its own.
    """
    values = covariate_values(evaluated, column)
    counted = np.isfinite(values) & (evaluated.has_one_class | evaluated.has_several)
    bins = []
    if counted.any():
        for place in _quarters(values[counted]):
            inside, wrong = values[counted][place], ~evaluated.is_right[counted][place]
            error = Metric.of_counts(int(wrong.sum()), len(inside), "")
            bins.append(ErrorBin(float(inside.min()), float(inside.max()), float(np.median(inside)), error))
    correlations = {}
    for number, slug in enumerate(evaluated.taxonomy.slugs):
        mine = np.isfinite(values) & (evaluated.classes == number)
        if mine.any():
            correlations[slug] = _spearman(values[mine], evaluated.probabilities[mine, number])
    return CovariateAssociation(column, int(counted.sum()), tuple(bins), correlations)


def covariates_of(
    table: pd.DataFrame, shares: Sequence[dict[str, float]], named: Sequence[str], source: object
) -> pd.DataFrame:
    """Return the covariates of P patients, with a column of shares for each name that is none of the table's columns.

    `shares` are those of each patient by cell type, empty where no cell is labelled. `named` are columns of the table,
    or cell types, in any case. Raises `EvaluationRefused`, naming `source`, where a name is neither or has no numbers.
    """
    types = sorted({name for one in shares for name in one})
    covariates = table[[column for column in table.columns if column not in _NO_COVARIATES]]
    added = covariates.copy()
    for name in named:
        if name in covariates:
            if pd.to_numeric(covariates[name], errors="coerce").notna().sum() == 0:
                raise EvaluationRefused(f"--against {name}: that column of {source} holds no numbers; name another.")
            continue
        mine = [one for one in types if one.lower() == name.lower()]
        if not mine:
            numeric = [c for c in covariates if pd.to_numeric(covariates[c], errors="coerce").notna().any()]
            raise EvaluationRefused(
                f"--against {name}: {source} has no such column or labelled cell type; numbers are in "
                f"{', '.join(map(str, numeric)) or 'no column'}, labelled are {', '.join(types) or 'no cells'}."
            )
        added[SHARE + name] = [sum(one.get(m, 0.0) for m in mine) if one else np.nan for one in shares]
    return added


def _quarters(values: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Places of P values in up to four groups of about as many each; equal values stay together."""
    count = max(1, min(_BINS, len(values) // _LEAST))
    edges = np.unique(np.quantile(values, np.arange(1, count) / count))
    group = np.searchsorted(edges, values, side="left")
    return [np.flatnonzero(group == one) for one in np.unique(group)]


def _spearman(values: NDArray[np.float64], probabilities: NDArray[np.float64]) -> Metric:
    count = len(values)
    if count < _FEWEST:
        return Metric.undefined(f"fewer than {_FEWEST} patients", count)
    r = spearman(values, probabilities)
    if r is None:
        return Metric.undefined("one of the two does not vary", count)
    if r.low is None:
        return Metric(r.value, patients=count, remark="no interval: both have the same order")
    return Metric.of(r, count, "Fisher")
