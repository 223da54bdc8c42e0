"""The tables of a shortcut audit, for the report of an evaluation."""

from __future__ import annotations

from napari_caltomorph.audit.result import Audit
from napari_caltomorph.report.evaluation_tables import Cell, ReportTable
from napari_caltomorph.statistics.interval import Interval
from napari_caltomorph.statistics.metric import METRICS


def trait_table(audit: Audit) -> ReportTable:
    """Return how well each set of traits tells the label, beside shuffled labels."""
    heads = (
        "what a classifier was given",
        "patients",
        "traits",
        "metric",
        "found",
        "shuffled labels",
        "p",
        "corrected p",
    )
    table = ReportTable(heads)
    for row in audit.rows:
        chance, found = row.chance[row.metric], row.estimates[row.metric]
        table.rows.append(
            (
                Cell(row.sees.rstrip(",")),
                Cell(str(row.patients), key=row.patients),
                Cell(str(row.traits), key=row.traits),
                Cell(METRICS[row.metric].name),
                _estimate(found),
                Cell(f"{chance.median:.2f}", f"{chance.low:.2f} to {chance.high:.2f}", chance.median),
                _p(row.p),
                _p(row.p_corrected),
            )
        )
    return table


def column_table(audit: Audit) -> ReportTable:
    """Return each value of the columns that were looked at, with its classes and its accuracy."""
    heads = ("column", "value", "patients", "classes", "accuracy", "p, classes uneven", "p, accuracy differs", "note")
    table = ReportTable(heads)
    for column in audit.columns:
        for one in column.values:
            table.rows.append(
                (
                    Cell(column.column, "found by its name" if column.is_guessed else ""),
                    Cell(one.value),
                    Cell(str(one.patients), key=one.patients),
                    Cell(", ".join(f"{count} {name}" for name, count in one.classes.items())),
                    Cell("") if one.accuracy is None else _estimate(one.accuracy),
                    _p(column.p_classes),
                    _p(column.p_accuracy_corrected),
                    Cell(column.note),
                )
            )
    return table


def _estimate(found: Interval) -> Cell:
    below = "" if found.low is None or found.high is None else f"{found.low:.2f} to {found.high:.2f}"
    return Cell(f"{found.value:.2f}", below, found.value)


def _p(value: float | None) -> Cell:
    return Cell("") if value is None else Cell(f"{value:.2g}", key=value)
