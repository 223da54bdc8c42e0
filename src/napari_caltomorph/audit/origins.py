"""By which columns, such as site, scanner and year, classes and accuracy differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, fisher_exact

from napari_caltomorph.audit.columns import origin_columns, origins
from napari_caltomorph.audit.options import AuditOptions
from napari_caltomorph.audit.patients import Predicted
from napari_caltomorph.audit.result import ColumnRow, ColumnValue
from napari_caltomorph.statistics.interval import proportion
from napari_caltomorph.statistics.permutation import holm, share_as_large, shuffled_within
from napari_caltomorph.taxonomy import Taxonomy

# Values of a column with fewer patients are shown, but not tested.
_MIN_VALUE = 5
_SHUFFLINGS_OF_COLUMNS = 2000


def compare_columns(
    table: pd.DataFrame, taxonomy: Taxonomy, predicted: Predicted | None, options: AuditOptions
) -> tuple[list[ColumnRow], list[str]]:
    """Compare patients by where they come from; also return which columns were taken, in words."""
    table = table.loc[table["coarse"].notna()].reset_index(drop=True)
    names = dict(zip(taxonomy.slugs, taxonomy.names, strict=True))
    classes = table["coarse"].map(names).to_numpy(dtype=str)
    is_right = None if predicted is None else predicted.is_right
    rows = []
    notes = [f"The table has no column {name!r}." for name in (*options.columns, *options.routine) if name not in table]
    for column in origin_columns(table, options.columns):
        values = origins(table[column]).to_numpy(dtype=str)
        rows.append(_column(column, values, classes, is_right, options))
    tested = [row.p_accuracy_within_classes for row in rows if row.p_accuracy_within_classes is not None]
    corrected = iter(holm(tested))
    rows = [
        row if row.p_accuracy_within_classes is None else replace(row, p_accuracy_corrected=next(corrected))
        for row in rows
    ]
    if not rows:
        notes.append("No column looks like a site, a scanner or a year; name one if there is.")
    elif not options.columns:
        notes.append(f"Compared by {', '.join(row.column for row in rows)}: found by their names.")
    return rows, notes


def _column(
    column: str,
    values: NDArray[np.str_],
    classes: NDArray[np.str_],
    is_right: NDArray[np.bool_] | None,
    options: AuditOptions,
) -> ColumnRow:
    found = []
    for value in np.unique(values):
        here = values == value
        kinds, counts = np.unique(classes[here], return_counts=True)
        accuracy = None if is_right is None else proportion(int(is_right[here].sum()), int(here.sum()))
        found.append(
            ColumnValue(str(value), int(here.sum()), dict(zip(kinds.tolist(), counts.tolist(), strict=True)), accuracy)
        )
    row = ColumnRow(column, not options.columns, tuple(found))
    large = [one.value for one in found if one.patients >= _MIN_VALUE]
    if len(large) < 2:
        return replace(row, note=f"Not tested: fewer than two values have {_MIN_VALUE} patients.")
    is_in = np.isin(values, large)
    rng = np.random.default_rng(options.seed)
    p_classes, how = _independence(values[is_in], classes[is_in], rng)
    note = f"Classes by {how}"
    if len(large) < len(found):
        note += f"; values with fewer than {_MIN_VALUE} patients are not tested"
    row = replace(row, p_classes=p_classes, note=f"{note}.")
    if is_right is None:
        return row
    p_accuracy, how = _independence(values[is_in], is_right[is_in], rng)
    return replace(
        row,
        p_accuracy=p_accuracy,
        p_accuracy_within_classes=_within(values[is_in], is_right[is_in], classes[is_in], rng),
        note=f"{note}; accuracy by {how}, within classes by shuffling.",
    )


def _independence(
    rows: NDArray[np.generic], columns: NDArray[np.generic], rng: np.random.Generator
) -> tuple[float | None, str]:
    """Return the p of a test of independence, and which it was; None where one of the two does not vary."""
    row_of, column_of = (np.unique(values, return_inverse=True)[1] for values in (rows, columns))
    height, width = int(row_of.max()) + 1, int(column_of.max()) + 1
    if height < 2 or width < 2:
        return None, "no test, as they do not vary"

    def crossed(those: NDArray[np.intp]) -> NDArray[np.int64]:
        return np.bincount(row_of * width + those, minlength=height * width).reshape(height, width)

    table = crossed(column_of)
    if table.shape == (2, 2):
        return float(fisher_exact(table)[1]), "Fisher's exact test"
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    if expected.min() >= 5:
        return float(chi2_contingency(table)[1]), "chi-square test"

    def distance(those: NDArray[np.intp]) -> float:
        return float(((crossed(those) - expected) ** 2 / expected).sum())

    return _shuffled_p(distance, column_of, lambda: rng.permutation(column_of)), "shuffling, as counts are small"


def _within(
    values: NDArray[np.str_], is_right: NDArray[np.bool_], classes: NDArray[np.str_], rng: np.random.Generator
) -> float | None:
    """Return the p that patients of one class are right as often whatever their value."""
    value_of, class_of = (np.unique(those, return_inverse=True)[1] for those in (values, classes))
    share = np.bincount(class_of, weights=is_right) / np.bincount(class_of)
    sizes = np.bincount(value_of)
    expected = np.bincount(value_of, weights=share[class_of])

    def distance(those: NDArray[np.intp]) -> float:
        return float(((np.bincount(value_of, weights=those) - expected) ** 2 / sizes).sum())

    right = is_right.astype(np.intp)
    if right.min() == right.max():
        return None
    return _shuffled_p(distance, right, lambda: shuffled_within(right, class_of, rng))


def _shuffled_p(
    distance: Callable[[NDArray[np.intp]], float], truth: NDArray[np.intp], draw: Callable[[], NDArray[np.intp]]
) -> float:
    return share_as_large(distance(truth), [distance(draw()) for _ in range(_SHUFFLINGS_OF_COLUMNS)])
