"""Small valid images of every kind that the libraries write, with the places of the numbers in their formats."""

from __future__ import annotations

import io
import struct
import warnings
from functools import cache
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tests.fuzz.mutations import Seed

_RNG = np.random.default_rng(0)
RGB: NDArray[np.uint8] = _RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
_GRAY, _RGBA = RGB[..., 0], np.dstack([RGB, RGB[..., :1]])
_DEEP = RGB.astype(np.uint16) * 257
_PALETTE = _RNG.integers(0, 65536, (3, 256), dtype=np.uint16)

# Name -> pixels, and what tifffile is told.
_TIFFS: dict[str, tuple[Any, dict[str, Any]]] = {
    **{
        f"rgb {compression}": (RGB, {"photometric": "rgb", "compression": compression})
        for compression in ("zlib", "lzw", "packbits", "jpeg", "lzma", "zstd", "webp", "png", "jpeg2000", "jpegxl")
    },
    "rgb": (RGB, {"photometric": "rgb"}),
    "rgb predicted": (RGB, {"photometric": "rgb", "compression": "zlib", "predictor": True}),
    "rgb strips": (RGB, {"photometric": "rgb", "rowsperstrip": 1}),
    "rgb tiles": (np.tile(RGB, (4, 4, 1)), {"photometric": "rgb", "tile": (16, 16), "compression": "zlib"}),
    "planar": (np.moveaxis(RGB, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
    "16 bits": (_DEEP, {"photometric": "rgb"}),
    "12 bits": (_DEEP >> 4, {"photometric": "rgb", "extratags": [(281, 3, 3, (4095, 4095, 4095), True)]}),
    "big-endian": (_DEEP, {"photometric": "rgb", "byteorder": ">"}),
    "big": (RGB, {"photometric": "rgb", "bigtiff": True}),
    "gray": (_GRAY, {"photometric": "minisblack"}),
    "white is zero": (_GRAY, {"photometric": "miniswhite"}),
    "1 bit": (_GRAY > 127, {"photometric": "minisblack"}),
    "palette": (_GRAY, {"photometric": "palette", "colormap": _PALETTE}),
    "rgba": (_RGBA, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "fourth sample": (_RGBA, {"photometric": "rgb", "extrasamples": ["unspecified"]}),
    "floats": (RGB.astype(np.float32), {"photometric": "rgb"}),
    "jpeg ycbcr": (np.tile(RGB, (2, 2, 1)), {"photometric": "ycbcr", "compression": "jpeg", "subsampling": (2, 2)}),
    "pages": (np.stack([RGB, RGB[::-1], RGB[:, ::-1]]), {"photometric": "rgb"}),
    "imagej": (np.stack([RGB, RGB[::-1]]), {"imagej": True, "metadata": {"axes": "ZYXS"}}),
    "imagej composite": (np.moveaxis(RGB, -1, 0), {"imagej": True, "metadata": {"axes": "CYX", "mode": "composite"}}),
    "ome channels": (np.moveaxis(RGB, -1, 0), {"ome": True, "metadata": {"axes": "CYX", "PhysicalSizeX": 0.17}}),
    "ome stack": (np.stack([RGB, RGB[::-1]]), {"ome": True, "photometric": "rgb", "metadata": {"axes": "ZYXS"}}),
    "turned": (RGB, {"photometric": "rgb", "extratags": [(274, 3, 1, 6, True)]}),
    "resolution": (RGB, {"photometric": "rgb", "resolution": (57600, 57600), "resolutionunit": "CENTIMETER"}),
}


@cache
def images() -> tuple[tuple[Seed, str], ...]:
    """Every seed with the suffix of its kind."""
    found = [(_tiff(name), ".tif") for name in _TIFFS] + [(_reduced(), ".tif"), (_around_a_large_jpeg(), ".tif")]
    plain, palette = Image.fromarray(RGB), Image.fromarray(RGB).quantize(16)
    exif = Image.Exif()
    exif[274] = 6
    saved = (
        ("png", ".png", plain, {}),
        ("png rgba", ".png", Image.fromarray(_RGBA), {}),
        ("png palette", ".png", palette, {"transparency": 0}),
        ("png 1 bit", ".png", plain.convert("1"), {}),
        ("png 16 bits", ".png", Image.fromarray(_DEEP[..., 0]), {}),
        ("jpeg", ".jpg", plain, {"exif": exif}),
        ("jpeg progressive", ".jpg", plain, {"progressive": True}),
        ("jpeg cmyk", ".jpg", plain.convert("CMYK"), {}),
        ("bmp", ".bmp", plain, {}),
        ("bmp palette", ".bmp", palette, {}),
    )
    return (*found, *((_picture(name, image, suffix, how), suffix) for name, suffix, image, how in saved))


@cache
def png() -> bytes:
    """A plain cell."""
    return _saved(Image.fromarray(RGB), ".png", {})


def _tiff(name: str) -> Seed:
    pixels, how = _TIFFS[name]
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tifffile.imwrite(file, pixels, **how)
    return Seed(name, file.getvalue(), _tiff_fields(file.getvalue()))


def _reduced() -> Seed:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(np.tile(RGB, (2, 2, 1)), photometric="rgb", subifds=1)
        writer.write(RGB, photometric="rgb", subfiletype=1)
        writer.write(RGB, photometric="rgb", subfiletype=1)
    return Seed("reduced pages", file.getvalue(), _tiff_fields(file.getvalue()))


def _around_a_large_jpeg() -> Seed:
    """A TIFF of 8 x 8 pixels whose only strip is a JPEG that declares far more."""
    jpeg = bytearray(_saved(Image.fromarray(RGB), ".jpg", {"progressive": True}))
    size = jpeg.index(b"\xff\xc2") + 5
    jpeg[size : size + 4] = struct.pack(">HH", 20_000, 20_000)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(iter([bytes(jpeg)]), shape=(8, 8, 3), dtype=np.uint8, photometric="rgb", compression="jpeg")
    return Seed("large strip", file.getvalue(), _tiff_fields(file.getvalue()))


def _tiff_fields(content: bytes) -> tuple[tuple[int, int], ...]:
    """Return the places of header, tag entries, and of the values that tags point at."""
    fields = [(4, 4), (4, 8)]
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        pages = [*tiff.pages, *(sub for page in tiff.pages for sub in page.pages or ())]
        width = 8 if tiff.is_bigtiff else 4
        for page in pages:
            page = page.aspage()
            fields.append((page.offset, 2))
            for tag in page.tags:
                fields += [(tag.offset, 2), (tag.offset + 2, 2), (tag.offset + 4, width)]
                fields += [(tag.offset + 4 + width, width), (tag.valueoffset, min(width, max(1, tag.valuebytecount)))]
    return tuple(fields)


def _picture(name: str, image: Image.Image, suffix: str, how: dict[str, Any]) -> Seed:
    content = _saved(image, suffix, how)
    fields = {".png": _png_fields, ".jpg": _jpeg_fields, ".bmp": _bmp_fields}[suffix](content)
    return Seed(name, content, tuple(fields), is_repaired=suffix == ".png")


def _saved(image: Image.Image, suffix: str, how: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    image.save(file, {".png": "PNG", ".jpg": "JPEG", ".bmp": "BMP"}[suffix], **how)
    return file.getvalue()


def _png_fields(content: bytes) -> list[tuple[int, int]]:
    start, fields = 8, []
    while start + 12 <= len(content):
        (length,) = struct.unpack(">I", content[start : start + 4])
        fields += [(start, 4), (start + 4, 4), *((start + 8 + at, 1) for at in range(min(length, 20)))]
        start += 12 + length
    return [*fields, (16, 4), (20, 4), (16, 4), (20, 4)]


def _jpeg_fields(content: bytes) -> list[tuple[int, int]]:
    start, fields = 2, []
    while start + 4 <= len(content) and content[start] == 0xFF and content[start + 1] != 0xDA:
        (length,) = struct.unpack(">H", content[start + 2 : start + 4])
        fields += [(start + 1, 1), (start + 2, 2), *((start + 4 + at, 2) for at in range(min(length, 24)))]
        start += 2 + length
    return fields


def _bmp_fields(content: bytes) -> list[tuple[int, int]]:
    return [(at, width) for width in (2, 4) for at in range(2, 54, 2)]
