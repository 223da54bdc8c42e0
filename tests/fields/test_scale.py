"""The size of a pixel: given, from the file, or from red cells; refused where none of them says it."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from tests.fields.drawn import draw_field

from napari_caltomorph.errors import FieldUnreadable, ScaleUnknown
from napari_caltomorph.fields import FindOptions, array_field, scale_of_fields


@pytest.mark.parametrize("pixel_um", [0.15, 0.3])
def test_red_cells_are_a_ruler(pixel_um):
    image = array_field(draw_field([(40, 50)], pixel_um=pixel_um))
    (scale,) = scale_of_fields([image], FindOptions())
    assert scale.pixel_size_um == pytest.approx(pixel_um, rel=0.08)
    assert scale.source == "red cells"
    assert scale.red_cells >= 20
    assert 0 <= scale.spread_um < 1


def test_what_is_given_wins_over_the_file_and_the_file_over_red_cells():
    image = array_field(draw_field(pixel_um=0.2), pixel_size_um=0.3)
    sizes = [
        scale_of_fields([image], options)[0].pixel_size_um
        for options in (FindOptions(pixel_size=0.4), FindOptions(), FindOptions(from_red_cells=True))
    ]
    assert sizes[:2] == [0.4, 0.3]
    assert sizes[2] == pytest.approx(0.2, rel=0.08)


def test_too_few_red_cells_are_refused():
    image = array_field(draw_field([(20, 20)], size_um=(40, 40), red_cells=False), "empty.png")
    with pytest.raises(ScaleUnknown, match=r"empty\.png.*--pixel-size"):
        scale_of_fields([image], FindOptions())


def test_a_field_with_few_red_cells_has_the_scale_of_the_others():
    full = array_field(draw_field(pixel_um=0.2), "full.png")
    empty = array_field(draw_field(pixel_um=0.2, size_um=(40, 40), red_cells=False), "empty.png")
    scales = scale_of_fields([full, full, empty], FindOptions())
    assert len(set(scales)) == 1


@pytest.mark.parametrize("sizes", [(0.4, 0.4, 0.2), (0.4, 0.2)])
def test_mixed_magnifications_are_refused(sizes):
    images = [array_field(draw_field(pixel_um=size), f"{size}.png") for size in sizes]
    with pytest.raises(ScaleUnknown, match=r"\.png.*mixed"):
        scale_of_fields(images, FindOptions())


def test_an_image_of_nothing_has_no_scale():
    with pytest.raises(ScaleUnknown):
        scale_of_fields([array_field(np.full((99, 99, 3), (225, 220, 215), np.uint8))], FindOptions())


def test_two_sources_of_the_scale_are_refused():
    with pytest.raises(ValidationError, match="not both"):
        FindOptions(pixel_size=0.2, from_red_cells=True)


def test_bright_inverted_fields_are_refused():
    """They are bright enough to be searched, and their white cells would be missed."""
    pixels = (255 * ((255 - draw_field([(45, 55)])) / 255) ** 0.5).astype(np.uint8)
    with pytest.raises(FieldUnreadable, match=r"a\.png.*inverted"):
        scale_of_fields([array_field(pixels, "a.png")], FindOptions(pixel_size=0.25))
