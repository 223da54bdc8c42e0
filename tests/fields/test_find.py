"""White cells are found where they were drawn, whatever the light, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from tests.fields.drawn import LIGHT, draw_field

from napari_caltomorph.errors import FieldUnreadable
from napari_caltomorph.fields import FindOptions, find_cells

CELLS = [(25, 30), (28, 80), (65, 52)]
OPTIONS = FindOptions(pixel_size=0.25)


def places(found):
    return np.array([(cell.y_px, cell.x_px) for cell in found.cells])


@pytest.fixture(scope="module")
def field():
    return draw_field(CELLS, platelets=[(50, 20), (12, 55), (80, 95)])


def test_cells_are_found_and_platelets_are_not(field):
    found = find_cells(field, OPTIONS)
    assert np.allclose(places(found) * 0.25, CELLS, atol=1.0)
    assert all(9 < cell.diameter_um(0.25) < 15 and not cell.is_cut for cell in found.cells)


def test_a_cell_moved_by_k_pixels_moves_its_box_by_k(field):
    moved = find_cells(field[13:, 21:], OPTIONS)
    assert np.allclose(places(moved) + np.array([13, 21]), places(find_cells(field, OPTIONS)), atol=1.5)


def test_uneven_light_and_a_colour_cast_change_no_count():
    y, x = np.linspace(-1, 1, 360)[:, None, None], np.linspace(-1, 1, 440)[None, :, None]
    light = LIGHT * (1 - 0.35 * (x**2 + y**2) / 2) * (1 + 0.1 * x) * [1.0, 0.75, 0.85]
    found = find_cells(draw_field(CELLS, light=light), OPTIONS)
    assert np.allclose(places(found) * 0.25, CELLS, atol=1.0)


def test_touching_cells_are_two():
    found = find_cells(draw_field([(40, 40), (40, 52.6)]), OPTIONS)
    assert np.allclose(places(found) * 0.25, [(40, 40), (40, 52.6)], atol=1.2)


def test_cells_of_a_large_field_are_found_once_each():
    cells = [(40, x) for x in (40, 75, 150, 185)]
    found = find_cells(draw_field(cells, size_um=(80, 230), pixel_um=0.4), FindOptions(pixel_size=0.4))
    assert np.allclose(places(found) * 0.4, cells, atol=1.2)


def test_a_cell_at_the_edge_is_marked():
    found = find_cells(draw_field([(40, 3), (40, 60)]), OPTIONS)
    assert [cell.is_cut for cell in found.cells] == [True, False]


def test_no_cells_is_a_result_and_no_error():
    assert len(find_cells(draw_field(), OPTIONS)) == 0
    assert len(find_cells(np.full((200, 200, 3), (225, 220, 215), np.uint8), OPTIONS)) == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [(lambda f: np.repeat(f[..., 1:2], 3, axis=-1), "grey"), (lambda f: 255 - f, "inverted")],
)
def test_images_without_stain_or_light_are_refused(field, change, word):
    with pytest.raises(FieldUnreadable, match=word):
        find_cells(change(field), OPTIONS)


def test_arrays_of_other_kinds_are_refused(field):
    with pytest.raises(FieldUnreadable, match="uint16"):
        find_cells(field.astype(np.uint16), OPTIONS)
