"""What must hold for the pixel size: what a microscope can have is believed, and nothing refuses an image."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile

from napari_caltomorph.smear.images import read_cells

CELL = np.zeros((8, 8, 3), np.uint8)


def header_of(*, description: str | None = None, **options):
    file = io.BytesIO()
    if description is not None:
        options |= {"description": description, "metadata": None}
    tifffile.imwrite(file, options.pop("pixels", CELL), photometric="rgb", **options)
    file.seek(0)
    return read_cells(file)


@pytest.mark.parametrize(
    ("resolution", "unit", "expected"),
    [
        (57_600, "CENTIMETER", 10_000 / 57_600),
        (146_304, "INCH", 25_400 / 146_304),
        (72, "INCH", None),
        (300, "INCH", None),
        (57_600, "NONE", None),
        (0, "CENTIMETER", None),
    ],
)
def test_resolution_tags_are_believed_when_a_microscope_can_have_them(resolution, unit, expected):
    result = header_of(resolution=(resolution, resolution), resolutionunit=unit)[0].pixel_size_um
    assert result == (None if expected is None else pytest.approx(expected, rel=1e-4))


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m"])
def test_imagej_gives_pixels_per_micrometre(unit):
    stack = np.zeros((3, 8, 8, 3), np.uint8)
    result = header_of(pixels=stack, imagej=True, resolution=(5.76, 5.76), metadata={"unit": unit})[0].pixel_size_um
    assert result == pytest.approx(1 / 5.76, rel=1e-4)


@pytest.mark.parametrize(
    ("size", "unit", "expected"),
    [(0.2, "µm", 0.2), (0.2, "μm", 0.2), (200, "nm", 0.2), (0.0002, "mm", 0.2), (0.2, "pixel", None), (5, "µm", None)],
)
def test_ome_size_is_read_in_its_unit(size, unit, expected):
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image><Pixels '
        f'PhysicalSizeX="{size}" PhysicalSizeXUnit="{unit}"/></Image></OME>'
    ).encode()
    result = header_of(description=xml)[0].pixel_size_um
    assert result == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    "xml",
    [
        '<OME xmlns="x"><Image></OME>',
        "<OME></OME>",
        '<OME><Image><Pixels PhysicalSizeX="n/a"/></Image></OME>',
        '<OME><Image ID="1"/></OME>',
    ],
)
def test_ome_written_by_hand_falls_back_to_the_tags_and_costs_no_cell(xml):
    (header,) = header_of(description=xml, resolution=(57_600, 57_600), resolutionunit="CENTIMETER")
    assert (header.height, header.width) == (8, 8)
    assert header.pixel_size_um == pytest.approx(10_000 / 57_600)
