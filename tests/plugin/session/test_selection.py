"""The selection model: selected cells are always shown, at least one cell remains, and undo reverts edits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from napari_caltomorph.errors import ExplanationRefused
from napari_caltomorph.plugin.session.cell_columns import CellFilter, Sort, shown_order
from napari_caltomorph.plugin.session.selection import CellSelection

CLASSES = ("Acute leukemia", "Healthy")
TYPES = ("", "blast", "smudge cell")
SORTS = ("attention", "quality", "label", "cell", "alone_class", "alone_p_healthy", "mine")


def make_selection(count: int, seed: int = 0) -> CellSelection:
    rng = np.random.default_rng(seed)
    attention = rng.integers(0, 5, count) / 4
    ranks = np.empty(count, dtype=int)
    ranks[np.argsort(-attention, kind="stable")] = np.arange(1, count + 1)
    quality = np.where(rng.random(count) < 0.3, np.nan, rng.random(count))
    columns = {
        "cell": np.array([f"cell {i}.tif" for i in rng.permutation(count)], dtype=object),
        "rank": ranks,
        "attention": attention,
        "alone_class": np.array(CLASSES, dtype=object)[rng.integers(0, 2, count)],
        "quality": quality,
        "alone_p_healthy": rng.random(count),
        "mine": rng.integers(0, 3, count),
    }
    return CellSelection(columns, [TYPES[i] for i in rng.integers(0, 3, count)])


filters = st.builds(
    CellFilter,
    search=st.sampled_from(["", "1", "CELL 2", "none of these"]),
    alone_class=st.sampled_from([None, *CLASSES]),
    label=st.sampled_from([None, *TYPES]),
    quality=st.sampled_from([0.0, 0.5]),
    top=st.sampled_from([None, 1, 3]),
)


class UserActions(RuleBasedStateMachine):
    """Any sequence of what a user can do, compared with a simple history of edits."""

    @initialize(count=st.integers(1, 9), seed=st.integers(0, 5))
    def begin(self, count: int, seed: int) -> None:
        self.cells = make_selection(count, seed)
        self.history = [self.edits()]
        self.now = 0
        self.emitted: list[str] = []
        self.seen = self.state()
        for name in ("selection_changed", "order_changed", "edited", "columns_changed"):
            getattr(self.cells, name).connect(lambda name=name: self.record(name))

    def edits(self) -> tuple[frozenset[int], frozenset[int], tuple[str, ...]]:
        return self.cells.marked, self.cells.left_out, self.cells.labels

    def state(self) -> dict[str, object]:
        cells = self.cells
        return {
            "selection_changed": (cells.selected, cells.current),
            "order_changed": cells.order.tolist(),
            "edited": self.edits(),
        }

    def record(self, name: str) -> None:
        self.emitted.append(name)
        self.consistent()  # a slot may read any state

    def some(self, data: st.DataObject) -> list[int]:
        return data.draw(st.lists(st.integers(0, len(self.cells) - 1), max_size=4))

    def edited(self) -> None:
        if self.edits() != self.history[self.now]:
            self.history[self.now + 1 :] = [self.edits()]
            self.now += 1

    @rule(data=st.data(), reveal=st.booleans())
    def select(self, data: st.DataObject, reveal: bool) -> None:
        wanted = self.some(data)
        self.cells.select(wanted, reveal=reveal)
        if reveal:
            assert self.cells.selected == set(wanted)
        else:
            assert self.cells.selected == set(wanted) & set(self.cells.order)

    @rule(data=st.data())
    def toggle_and_extend(self, data: st.DataObject) -> None:
        cell = data.draw(st.integers(0, len(self.cells) - 1))
        if data.draw(st.booleans()):
            self.cells.toggle(cell)
        else:
            self.cells.extend_to(cell)
            if cell in self.cells.order:
                assert self.cells.current == cell

    @rule(by=st.integers(-3, 3))
    def step(self, by: int) -> None:
        self.cells.step(by)
        assert (self.cells.current is None) == (len(self.cells.order) == 0)

    @rule(column=st.sampled_from(SORTS), descending=st.booleans())
    def sort(self, column: str, descending: bool) -> None:
        self.cells.sort_by(column, descending=descending)

    @rule(what=filters)
    def filter(self, what: CellFilter) -> None:
        self.cells.set_filter(what)

    @rule()
    def mark(self) -> None:
        before = self.cells.marked
        self.cells.mark()
        assert self.cells.marked ^ before <= self.cells.selected
        self.edited()

    @rule(data=st.data())
    def leave_out(self, data: st.DataObject) -> None:
        cells = data.draw(st.sampled_from([None, self.some(data)]))
        act = data.draw(st.sampled_from([self.cells.leave_out, self.cells.keep_only]))
        before = self.edits()
        try:
            act(cells)
        except ExplanationRefused:
            assert self.edits() == before
        self.edited()

    @rule(name=st.sampled_from(TYPES))
    def label(self, name: str) -> None:
        chosen, before = self.cells.selected, self.cells.labels
        self.cells.label(name)
        assert all(now == (name if i in chosen else before[i]) for i, now in enumerate(self.cells.labels))
        self.edited()

    @rule(data=st.data())
    def set_column(self, data: st.DataObject) -> None:
        count = len(self.cells)
        self.cells.set_column("mine", data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))

    @precondition(lambda self: hasattr(self, "history"))
    @rule()
    def undo(self) -> None:
        self.cells.undo()
        self.now = max(0, self.now - 1)

    @precondition(lambda self: hasattr(self, "history"))
    @rule()
    def redo(self) -> None:
        self.cells.redo()
        self.now = min(len(self.history) - 1, self.now + 1)

    def consistent(self) -> None:
        cells = self.cells
        order = cells.order.tolist()
        assert len(set(order)) == len(order)
        assert cells.selected <= set(order)
        assert (cells.current is None) == (not cells.selected)
        assert cells.current is None or cells.current in cells.selected
        assert len(cells.left_out) < len(cells)
        assert order == shown_order(cells.columns, cells.sort, cells.filter).tolist()

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "history"):
            return
        self.consistent()
        assert self.edits() == self.history[self.now]
        now = self.state()
        for name, value in now.items():
            # Every change is signalled, and no signal comes without a change.
            assert (value != self.seen[name]) <= (name in self.emitted)
        self.seen, self.emitted = now, []


UserActions.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestUserActions = UserActions.TestCase


@given(count=st.integers(1, 30), seed=st.integers(0, 9), column=st.sampled_from(SORTS), descending=st.booleans())
def test_sorted_cells_are_in_order_with_unknown_values_last(
    count: int, seed: int, column: str, descending: bool
) -> None:
    cells = make_selection(count, seed)
    order = shown_order(cells.columns, Sort(column, descending), CellFilter())
    assert sorted(order) == list(range(count))
    values = list(cells.columns[column][order])
    known = [value for value in values if value == value and value != ""]
    assert not [value for value in values[: len(known)] if value != value or value == ""]
    keys = [int(value.split()[1].split(".")[0]) for value in known] if column == "cell" else known
    assert keys == sorted(keys, reverse=descending)


def test_leaving_out_every_cell_is_refused() -> None:
    cells = make_selection(3)
    cells.select([0, 1, 2])
    with pytest.raises(ExplanationRefused, match="at least one cell"):
        cells.leave_out()
    with pytest.raises(ExplanationRefused, match="at least one cell"):
        cells.keep_only([])
    assert not cells.left_out


def test_a_single_cell_can_be_selected_and_marked() -> None:
    cells = make_selection(1)
    cells.step(1)
    cells.mark()
    assert (cells.current, cells.marked) == (0, {0})


def test_when_the_current_cell_is_filtered_away_the_next_step_goes_to_the_one_at_its_place() -> None:
    cells = make_selection(9)
    cells.set_filter(CellFilter(label="blast"))
    shown = cells.order.tolist()
    cells.select([shown[0]])
    cells.label("smudge cell")
    assert cells.current is None
    cells.step(1)
    assert cells.current == shown[1]


def test_columns_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 values for 3 cells"):
        make_selection(3).set_column("mine", [1, 2])
