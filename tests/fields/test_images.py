"""Every kind of file gives the same pixels, and large ones are read by their tiles."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.fields.drawn import draw_field

from napari_caltomorph.errors import FieldUnreadable
from napari_caltomorph.fields import images, open_field


@pytest.fixture(scope="module")
def pixels():
    return draw_field([(12, 14)], size_um=(24, 33), pixel_um=0.1)


@pytest.mark.parametrize(
    "layout",
    [{"tile": (64, 48)}, {"tile": (64, 64), "compression": "jpeg"}, {"rowsperstrip": 17}, {"compression": "zlib"}],
)
def test_tiles_and_strips_of_a_large_tiff_are_its_pixels(tmp_path, pixels, layout, monkeypatch):
    path = tmp_path / "field.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", resolution=(1e5, 1e5), resolutionunit="CENTIMETER", **layout)
    monkeypatch.setattr(images, "LARGE", 100)
    field = open_field(path)
    whole = tifffile.imread(path)
    assert (field.height, field.width) == pixels.shape[:2]
    assert field.pixel_size_um == pytest.approx(0.1)
    for top, left, bottom, right in ((0, 0, *pixels.shape[:2]), (10, 70, 130, 207), (63, 47, 65, 49)):
        assert np.array_equal(field.read(top, left, bottom, right), whole[top:bottom, left:right])


def test_16_bits_that_a_camera_does_not_use_are_scaled(tmp_path, pixels, monkeypatch):
    path = tmp_path / "field.tif"
    tifffile.imwrite(path, pixels.astype(np.uint16) * 16, photometric="rgb", tile=(64, 64))
    monkeypatch.setattr(images, "LARGE", 100)
    assert np.abs(open_field(path).read(0, 0, 50, 50).astype(int) - pixels[:50, :50]).max() <= 1


def test_of_a_pyramid_the_largest_image_is_read(tmp_path, pixels):
    path = tmp_path / "slide.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tiff:
        options = {"photometric": "rgb", "tile": (64, 64)}
        tiff.write(pixels, subifds=1, metadata={"PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm"}, **options)
        tiff.write(pixels[::2, ::2], subfiletype=1, **options)
    field = open_field(path)
    assert field.pixel_size_um == pytest.approx(0.1)
    assert np.array_equal(field.read(5, 6, 99, 98), pixels[5:99, 6:98])


def test_a_slide_scan_says_its_scale(tmp_path, pixels):
    path = tmp_path / "slide.svs"
    description = "Aperio Image Library v1.0|AppMag = 40|MPP = 0.2520"
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64), description=description, metadata=None)
    assert open_field(path).pixel_size_um == pytest.approx(0.252)


def test_alpha_is_laid_on_white(tmp_path, pixels):
    path = tmp_path / "field.png"
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:5] = 0
    Image.fromarray(np.dstack([pixels, alpha])).save(path)
    read = open_field(path).read(0, 0, 20, 20)
    assert (read[:5] == 255).all()
    assert np.array_equal(read[5:], pixels[5:20, :20])


@pytest.mark.parametrize(("name", "content"), [("a.jpg", b""), ("a.png", b"x" * 100), ("a.tif", b"II*\0" + b"\0" * 40)])
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FieldUnreadable, match=name):
        open_field(tmp_path / name)


def test_a_cut_off_image_is_named(tmp_path, pixels):
    path = tmp_path / "cut.jpg"
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(FieldUnreadable, match=r"cut\.jpg"):
        open_field(path).read(0, 0, 10, 10)
