"""Which cells of a prediction are selected, shown and edited: one model for the gallery, tables, plots and keys.

Cells are numbers: indices into `Prediction.cells`. Edits (mark, leave out, label) can be undone; selecting, sorting and
filtering cannot. Selected cells are always shown, and at least one cell always remains in the bag.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal, SignalInstance

from napari_caltomorph.differential.cell_types import cell_type
from napari_caltomorph.errors import ExplanationRefused
from napari_caltomorph.plugin.session.cell_columns import AnyCells, CellFilter, Column, Sort, cell_columns, shown_order
from napari_caltomorph.smear import Smear


@dataclass(frozen=True)
class Edits:
    """What the user did to the cells."""

    marked: frozenset[int]
    left_out: frozenset[int]
    labels: tuple[str, ...]


class CellSelection:
    """The cells of one prediction as the user sees them.

    Signals have no arguments. `selection_changed`: selected or current cell. `order_changed`: which cells are shown,
    or in which order. `edited`: marked, left out or labels. `columns_changed`: a new column, or new values.

    `columns` (N,) are those of `cell_columns`; a label is empty where there is none; cells of `left_out` are left out
    from the start, which cannot be undone.
    """

    selection_changed = Signal()
    order_changed = Signal()
    edited = Signal()
    columns_changed = Signal()

    def __init__(self, columns: Mapping[str, Column], labels: Sequence[str], left_out: Iterable[int] = ()) -> None:
        self._columns = dict(columns)
        self._edits = Edits(frozenset(), frozenset(left_out), tuple(labels))
        self._past: list[Edits] = []
        self._future: list[Edits] = []
        self._sort = Sort() if "attention" in columns else Sort("rank", descending=False)
        self._filter = CellFilter()
        self._selected: frozenset[int] = frozenset()
        self._current: int | None = None
        self._place = 0  # of the current cell; it remains when that cell is no longer shown
        self._order = self._ordered()

    @classmethod
    def of(cls, bag: AnyCells, smear: Smear | None = None, left_out: Iterable[int] = ()) -> CellSelection:
        """Return the cells of a prediction or smear; their quality is known if the graded smear is available."""
        labels = [cell_type(label).name if label else "" for label in bag.labels]  # labs spell them differently
        return cls(cell_columns(bag, smear), labels, left_out)

    def __len__(self) -> int:
        return len(self._edits.labels)

    @property
    def columns(self) -> Mapping[str, Column]:
        """What is known of the cells, ``label`` included: name -> (N,) values."""
        return MappingProxyType({**self._columns, "label": np.array(self.labels, dtype=object)})

    def set_column(self, name: str, values: Sequence[Any] | Column) -> None:
        """Add a column that cells can be sorted by and that the table shows, or replace it."""
        if len(values) != len(self):
            raise ValueError(f"{name}: {len(values)} values for {len(self)} cells")
        self._columns[name] = np.asarray(values)
        self._emit([self.columns_changed, *(self._update_order() if self._sort.column == name else [])])

    @property
    def selected(self) -> frozenset[int]:
        """The selected cells; all of them are shown."""
        return self._selected

    @property
    def current(self) -> int | None:
        """The cell that is shown enlarged, one of the selected; None when none is selected."""
        return self._current

    @property
    def marked(self) -> frozenset[int]:
        """Cells that the user marked, shown or not."""
        return self._edits.marked

    @property
    def left_out(self) -> frozenset[int]:
        """Cells that the user left out of the bag, shown or not; never all."""
        return self._edits.left_out

    @property
    def labels(self) -> tuple[str, ...]:
        """(N,) the cells' types; empty where there is none."""
        return self._edits.labels

    @property
    def order(self) -> NDArray[np.intp]:
        """(K,) the cells that are shown, as they are sorted."""
        return self._order

    @property
    def sort(self) -> Sort:
        return self._sort

    @property
    def filter(self) -> CellFilter:
        return self._filter

    def position(self, cell: int) -> int | None:
        """Return the place of a cell in `order`; None where it is not shown."""
        found = np.flatnonzero(self._order == cell)
        return int(found[0]) if len(found) else None

    def select(self, cells: Iterable[int], *, current: int | None = None, reveal: bool = False) -> None:
        """Select these cells and no others; the `current` one, or the first as they are sorted, is shown enlarged.

        To `reveal` them, a filter that hides some of them is dropped; otherwise those are not selected.
        """
        wanted = frozenset(int(cell) for cell in cells)
        if reveal and not wanted <= set(self._order.tolist()):
            self.set_filter(CellFilter())
        self._emit(self._update_selection(wanted & set(self._order.tolist()), current))

    def toggle(self, cell: int) -> None:
        """Add a cell to the selection, or remove it."""
        self.select(self._selected ^ {cell}, current=cell)

    def extend_to(self, cell: int) -> None:
        """Select all cells from the current one to this, as they are sorted."""
        here, there = (None if c is None else self.position(c) for c in (self._current, cell))
        if there is not None:
            low, high = sorted((there if here is None else here, there))
            self.select(self._order[low : high + 1], current=cell)

    def step(self, by: int) -> None:
        """Select the cell so many places further; if the current one is no longer shown, the one at its place."""
        if not len(self._order):
            return
        place = self._place + by if self._current is not None else self._place
        self.select([int(self._order[np.clip(place, 0, len(self._order) - 1)])])

    def sort_by(self, column: str, *, descending: bool) -> None:
        """Order the cells by a column."""
        if column not in self.columns:
            raise KeyError(column)
        self._sort = Sort(column, descending)
        self._reorder()

    def set_filter(self, what: CellFilter) -> None:
        """Show these cells only."""
        self._filter = what
        self._reorder()

    def mark(self, cells: Iterable[int] | None = None) -> None:
        """Mark cells, by default the selected; if all of them are marked, unmark them."""
        chosen = self._chosen(cells)
        marked = self.marked - chosen if chosen <= self.marked else self.marked | chosen
        self._edit(replace(self._edits, marked=marked))

    def leave_out(self, cells: Iterable[int] | None = None) -> None:
        """Leave cells out of the bag, by default the selected; if all of them are left out, include them again."""
        chosen = self._chosen(cells)
        self.set_left_out(self.left_out - chosen if chosen <= self.left_out else self.left_out | chosen)

    def keep_only(self, cells: Iterable[int] | None = None) -> None:
        """Leave all other cells out of the bag."""
        self.set_left_out(frozenset(range(len(self))) - self._chosen(cells))

    def set_left_out(self, cells: Iterable[int]) -> None:
        """Leave exactly these cells out; raise `ExplanationRefused` if no cell would be left."""
        left_out = frozenset(int(cell) for cell in cells)
        if len(left_out) >= len(self):
            raise ExplanationRefused("A diagnosis needs at least one cell: keep one.")
        self._edit(replace(self._edits, left_out=left_out))

    def label(self, name: str, cells: Iterable[int] | None = None) -> None:
        """Label cells, by default the selected; an empty name removes their labels."""
        chosen = self._chosen(cells)
        labels = tuple(name if i in chosen else old for i, old in enumerate(self.labels))
        self._edit(replace(self._edits, labels=labels))

    def set_labels(self, labels: Sequence[str]) -> None:
        """Set the labels of all N cells as one edit; empty where there is no label."""
        if len(labels) != len(self):
            raise ValueError(f"{len(labels)} labels for {len(self)} cells")
        self._edit(replace(self._edits, labels=tuple(labels)))

    def undo(self) -> None:
        if self._past:
            self._future.append(self._edits)
            self._show(self._past.pop())

    def redo(self) -> None:
        """Apply again the edit that was undone last."""
        if self._future:
            self._past.append(self._edits)
            self._show(self._future.pop())

    def _chosen(self, cells: Iterable[int] | None) -> frozenset[int]:
        return self._selected if cells is None else frozenset(int(cell) for cell in cells)

    def _edit(self, edits: Edits) -> None:
        if edits != self._edits:
            self._past.append(self._edits)
            self._future.clear()
            self._show(edits)

    def _show(self, edits: Edits) -> None:
        relabelled = edits.labels != self._edits.labels
        self._edits = edits
        signals = [self.edited, self.columns_changed] if relabelled else [self.edited]
        if relabelled and (self._sort.column == "label" or self._filter.label is not None):
            signals += self._update_order()
        self._emit(signals)

    def _reorder(self) -> None:
        self._emit(self._update_order())

    def _update_order(self) -> list[SignalInstance]:
        """Update the order and return the signals to emit when all of the state is consistent."""
        order = self._ordered()
        if np.array_equal(order, self._order):
            return []
        self._order = order
        shown = self._selected & set(order.tolist())
        return [self.order_changed, *self._update_selection(shown, self._current)]

    def _update_selection(self, cells: frozenset[int], current: int | None) -> list[SignalInstance]:
        if current not in cells:
            current = next((int(cell) for cell in self._order if cell in cells), None)
        if current is not None:
            self._place = self.position(current) or 0
        if (cells, current) == (self._selected, self._current):
            return []
        self._selected, self._current = cells, current
        return [self.selection_changed]

    def _emit(self, signals: list[SignalInstance]) -> None:
        for signal in signals:
            signal.emit()

    def _ordered(self) -> NDArray[np.intp]:
        return shown_order(self.columns, self._sort, self._filter)
