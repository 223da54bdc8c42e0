"""How much better than random each order of cells is, as a table of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_caltomorph.report.evaluation_tables import Cell, ReportTable

if TYPE_CHECKING:
    from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness
    from napari_caltomorph.statistics import Metric


def faithfulness_table(found: CohortFaithfulness) -> ReportTable:
    """Return the mean area better than random of each order, with its interval over the patients."""
    heads = ("order of the cells", "deletion: below random", "insertion: above random", "patients")
    table = ReportTable(heads, is_sortable=False)
    for order in found.orders:
        table.rows.append(
            (
                Cell(ORDER_NAMES.get(order, order)),
                _gain(found.gain("deletion", order)),
                _gain(found.gain("insertion", order)),
                Cell(str(len(found)), key=len(found)),
            )
        )
    return table


ORDER_NAMES = {
    "attention": "attention",
    "contribution": "contribution (gradient x input)",
    "alone": "response to the cell alone",
}


def _gain(gain: Metric) -> Cell:
    below = gain.remark if gain.low is None else f"{gain.low:+.3f} to {gain.high:+.3f}"
    return Cell(f"{gain.value:+.3f}", below, gain.value)
