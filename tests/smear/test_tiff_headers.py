"""What must hold when the header of a TIFF was parsed before: its cell is the same as if it had not been."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.smear import tiff_headers
from napari_caltomorph.smear.images import decode, read_cell


def tiff_of(pixels: np.ndarray, **how) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="rgb", metadata=None, resolution=(57800, 57800), **how)
    return file.getvalue()


@pytest.fixture
def nothing_known(monkeypatch):
    monkeypatch.setattr(tiff_headers, "_known", ())


def outcome(content: bytes) -> object:
    try:
        cell = read_cell(io.BytesIO(content))
        return decode(io.BytesIO(content)).tolist(), cell.height, cell.width, cell.pixel_size_um, cell.alpha
    except CellUnreadable as error:
        return str(error)


def test_cells_of_one_export_are_parsed_once(nothing_known, monkeypatch, make_cell):
    first, second = make_cell(1), make_cell(2)
    assert (decode(io.BytesIO(tiff_of(first))) == first).all()
    monkeypatch.setattr(tifffile, "TiffPage", None)  # nothing is parsed any more
    assert (decode(io.BytesIO(tiff_of(second))) == second).all()
    assert read_cell(io.BytesIO(tiff_of(second))).pixel_size_um == read_cell(io.BytesIO(tiff_of(first))).pixel_size_um


def test_whatever_byte_of_a_header_differs_it_is_another_header(nothing_known, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    plain = tiff_of(pixels)
    places = range(len(plain) - pixels.nbytes)
    changed = [plain[:at] + bytes([plain[at] ^ bit]) + plain[at + 1 :] for at in places for bit in (1, 4)]
    changed += [plain[:-1], plain + b"\0", tiff_of(pixels[:, ::-1]), tiff_of(pixels, compression="zlib")]
    alone = []
    for content in changed:
        monkeypatch.setattr(tiff_headers, "_known", ())
        alone.append(outcome(content))
    monkeypatch.setattr(tiff_headers, "_known", ())
    outcome(plain)
    ((known),) = tiff_headers._known
    for content, expected in zip(changed, alone, strict=True):
        monkeypatch.setattr(tiff_headers, "_known", (known,))
        assert outcome(content) == expected


def test_pixels_that_are_packed_are_of_their_own_file(nothing_known):
    for seed in (0, 1):
        pixels = np.full((32, 32, 3), seed, np.uint8)
        for how in ({"compression": "zlib"}, {"predictor": 2, "compression": "lzw"}, {"planarconfig": "separate"}):
            stored = np.moveaxis(pixels, -1, 0) if "planarconfig" in how else pixels
            assert (decode(io.BytesIO(tiff_of(stored, **how))) == pixels).all()
