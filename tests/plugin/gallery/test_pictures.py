"""The picture of all cells: where each stands, and that lazily composed levels show the same as the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_caltomorph.plugin.gallery import pictures
from napari_caltomorph.plugin.gallery.pictures import CellStack, Grid, read_pictures
from napari_caltomorph.progress import Cancelled, Progress
from napari_caltomorph.smear import read_smear

sizes = st.integers(8, 400)


@given(count=st.integers(1, 30_000), height=sizes, width=sizes, data=st.data())
def test_a_cell_is_found_at_its_place(count: int, height: int, width: int, data: st.DataObject) -> None:
    grid = Grid(count, (height, width))
    position = data.draw(st.integers(0, count - 1))
    top, left = grid.corner(position)
    assert grid.at(top, left) == position
    assert grid.at(top + height - 1, left + width - 1) == position
    assert grid.at(top + height + 1, left) != position
    assert top + height <= grid.shape[0]
    assert left + width <= grid.shape[1]


def test_nothing_is_found_outside_the_picture() -> None:
    grid = Grid(5, (10, 10))
    assert grid.at(-20, 0) is None
    assert grid.at(0, -20) is None
    assert grid.at(5_000, 0) is None
    assert grid.at(0, 5_000) is None


def test_cells_are_in_the_given_order(export: Path) -> None:
    smear = read_smear(export)
    order, grid = np.arange(len(smear))[::-1], Grid(len(smear), smear.canvas)
    picture = read_pictures(smear, np.arange(len(smear))).arranged(order, grid)
    for position in (0, 7, len(smear) - 1):
        top, left = grid.corner(position)
        shown = picture[top : top + 144, left : left + 144, :3]
        assert np.array_equal(shown, smear.image(int(order[position])))
    assert not picture[144:150, :144, 3].any()


def test_levels_of_a_large_gallery_show_what_the_whole_shows(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smear = read_smear(export)
    cells = np.arange(len(smear))
    order, grid = cells[3:37:2], Grid(17, smear.canvas, across=7)
    whole = read_pictures(smear, cells).arranged(order, grid)
    monkeypatch.setattr(pictures, "_EAGER_CELLS", 10)
    levels = read_pictures(smear, cells).arranged(order, grid)
    finest, *coarser = levels
    assert finest.shape == whole.shape
    assert np.array_equal(finest[100:400, 37:900], whole[100:400, 37:900])
    assert np.array_equal(np.asarray(finest), whole)
    for number, level in enumerate(coarser, start=1):
        assert level.shape[:2] == tuple(n >> number for n in whole.shape[:2])
        step = 1 << number
        rows, columns = level.shape[:2]
        blocks = whole[: rows * step, : columns * step].reshape(rows, step, columns, step, 4).mean(axis=(1, 3))
        inside = blocks[..., 3] == 255
        difference = np.abs(np.asarray(level)[inside].astype(float) - blocks[inside])
        # Up to a quarter of the size levels are means of the cell; below, they take every n-th pixel of that.
        assert difference.mean() < (1.5 if number <= 2 else 25)


def test_composing_can_be_cancelled(export: Path) -> None:
    smear = read_smear(export)

    def stop(progress: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        read_pictures(smear, np.arange(len(smear)), progress=stop)


def test_a_stack_gives_what_an_array_would(export: Path) -> None:
    smear = read_smear(export)
    stack = CellStack(smear)
    array = np.asarray(stack)
    assert stack.shape == array.shape == (len(smear), 144, 144, 3)
    for key in (3, -1, slice(2, 9, 3), (4, slice(0, 10), slice(5, 6)), (slice(None), 1, 2, 0), (np.int64(2), ..., 1)):
        assert np.array_equal(stack[key], array[key])


def test_a_cell_that_cannot_be_read_is_crossed_out(export: Path) -> None:
    cells = sorted(export.glob("*.TIF"))
    smear = read_smear(export)
    cells[0].write_bytes(b"damaged")
    shown = CellStack(smear)[0]
    assert shown.shape == (144, 144, 3)
    assert len(np.unique(shown)) == 2
