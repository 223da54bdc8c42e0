"""What must hold for one image file: every format becomes the same 8-bit RGB, and nothing is guessed."""

from __future__ import annotations

import io
import tracemalloc

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.smear.images import decode, is_image, read_cells
from napari_caltomorph.smear.pixels import Alpha, StoredCell
from napari_caltomorph.smear.tiff import TIFF_STARTS

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GREY = RGB[..., 0]
RGB16 = RNG.integers(0, 65536, (20, 30, 3), dtype=np.uint16)


def read_tiff(pixels, **options) -> np.ndarray:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    file.seek(0)
    return decode(file)


def read_pillow(image: Image.Image, kind: str, **options) -> np.ndarray:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return decode(file)


def shown_of(pixels: np.ndarray) -> np.ndarray:
    height, width, samples = (*pixels.shape, 1)[:3]
    bits = {"bool": 1, "uint8": 8, "uint16": 16}[pixels.dtype.name]
    alpha = Alpha.STRAIGHT if samples in (2, 4) else Alpha.NONE
    cell = StoredCell(height, width, lambda: pixels, bits=bits, colors=3 if samples > 2 else 1, alpha=alpha)
    return cell.rgb(lambda: 16)


def scaled(pixels16: np.ndarray) -> np.ndarray:
    """16 bits to 8 by the plain definition, in floating point."""
    return np.floor(pixels16 / 65535 * 255 + 0.5).astype(np.uint8)


def on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    part = alpha[..., None] / 255
    return np.rint(rgb * part + 255 * (1 - part)).astype(int)


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.stack([pixels] * 3, axis=-1)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "zstd"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_rgb_tiff_comes_out_as_it_went_in(compression, planar):
    pixels = RGB if planar == "contig" else np.moveaxis(RGB, -1, 0)
    assert (read_tiff(pixels, photometric="rgb", planarconfig=planar, compression=compression) == RGB).all()


def test_grey_tiff_is_repeated_in_three_channels():
    assert (read_tiff(GREY, photometric="minisblack") == grey(GREY)).all()


def test_inverted_grey_tiff_is_turned_right():
    assert (read_tiff(GREY, photometric="miniswhite") == grey(255 - GREY)).all()


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_one_bit_tiff_is_black_and_white(photometric):
    bits = GREY > 127
    expected = bits if photometric == "minisblack" else ~bits
    assert (read_tiff(bits, photometric=photometric) == grey(expected * 255)).all()


def test_16_bit_tiff_keeps_the_full_scale():
    assert (read_tiff(RGB16, photometric="rgb") == scaled(RGB16)).all()
    assert (read_tiff(RGB16[..., 0], photometric="minisblack") == grey(scaled(RGB16[..., 0]))).all()


@pytest.mark.parametrize("factor", [257, 256, 1])
@pytest.mark.parametrize("bits", [8, 1])
def test_palette_of_a_tiff_is_applied_however_its_writer_scaled_it(factor, bits):
    colors = RNG.integers(0, 256, (3, 2**bits)).astype(np.uint16)
    indices = GREY if bits == 8 else GREY > 127
    colormap = colors * np.uint16(factor)
    file = io.BytesIO()
    if bits == 8:
        tifffile.imwrite(file, indices, photometric="palette", colormap=colormap)
    else:
        tags = [(320, "H", 6, tuple(colormap.ravel().tolist()), True)]
        tifffile.imwrite(file, indices, photometric="minisblack", extratags=tags)
        file.seek(0)
        with tifffile.TiffFile(file, mode="r+") as tiff:
            tiff.pages[0].tags["PhotometricInterpretation"].overwrite(3)
    file.seek(0)
    assert (decode(file) == colors.T[indices.astype(int)]).all()


def test_pillow_palette_tiff_keeps_its_colours():
    image = Image.fromarray(RGB).quantize(16)
    assert (read_pillow(image, "TIFF") == np.asarray(image.convert("RGB"))).all()


def test_alpha_is_laid_on_white():
    alpha = RNG.integers(0, 256, GREY.shape, dtype=np.uint8)
    rgba = np.dstack([RGB, alpha])
    for shown in (
        read_tiff(rgba, photometric="rgb", extrasamples=["unassalpha"]),
        read_pillow(Image.fromarray(rgba), "PNG"),
    ):
        assert np.abs(shown - on_white(RGB, alpha)).max() <= 1
    la = np.dstack([GREY, alpha])
    for shown in (
        read_tiff(la, photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig"),
        read_pillow(Image.merge("LA", [Image.fromarray(channel) for channel in (GREY, alpha)]), "PNG"),
    ):
        assert np.abs(shown - on_white(grey(GREY), alpha)).max() <= 1


def test_premultiplied_alpha_is_not_applied_twice():
    alpha = np.full(GREY.shape, 128, np.uint8)
    premultiplied = np.rint(RGB * (128 / 255)).astype(np.uint8)
    shown = read_tiff(np.dstack([premultiplied, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    assert np.abs(shown - on_white(RGB, alpha)).max() <= 1


@pytest.mark.parametrize(
    "pixels", [np.dstack([RGB, np.full_like(GREY, 40)]), np.dstack([GREY, np.full_like(GREY, 40)])]
)
def test_sample_of_unspecified_kind_is_no_alpha(pixels):
    kind = "rgb" if pixels.shape[-1] == 4 else "minisblack"
    shown = read_tiff(pixels, photometric=kind, planarconfig="contig", extrasamples=["unspecified"])
    assert (shown == (RGB if kind == "rgb" else grey(GREY))).all()


def test_inverted_grey_with_alpha_is_on_white_too():
    la = np.dstack([GREY, np.full_like(GREY, 128)])
    shown = read_tiff(la, photometric="miniswhite", planarconfig="contig", extrasamples=["unassalpha"])
    assert np.abs(shown - on_white(grey(255 - GREY), la[..., 1])).max() <= 1


def test_opaque_alpha_of_16_bits_over_12_bit_colours_changes_nothing():
    pixels = np.dstack([RGB16 >> 4, np.full(GREY.shape, 65535, np.uint16)])
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="rgb", extrasamples=["unassalpha"])
    assert (decode(file, lambda: 12) == np.floor((RGB16 >> 4) / 4095 * 255 + 0.5)).all()


def test_alpha_of_zero_everywhere_is_ignored():
    rgba = np.dstack([RGB, np.zeros_like(GREY)])
    assert (read_tiff(rgba, photometric="rgb", extrasamples=["unassalpha"]) == RGB).all()
    assert (read_pillow(Image.fromarray(rgba), "PNG") == RGB).all()


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_png_and_bmp_of_every_mode_are_what_pillow_shows(mode, kind):
    image = Image.fromarray(RGB).convert(mode)
    assert (read_pillow(image, kind) == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_follows_the_same_rule_as_16_bit_tiff(channels):
    pixels = RNG.integers(0, 65536, (20, 30, channels), dtype=np.uint16)
    shown = decode(io.BytesIO(imagecodecs.png_encode(pixels.squeeze())))
    colors = grey(scaled(pixels[..., 0])) if channels < 3 else scaled(pixels[..., :3])
    expected = colors if channels in (1, 3) else on_white(colors, scaled(pixels[..., -1]))
    assert np.abs(shown.astype(int) - expected).max() <= (0 if channels in (1, 3) else 1)


def test_transparent_colour_of_a_png_is_white():
    shown = read_pillow(Image.fromarray(GREY), "PNG", transparency=int(GREY[0, 0]))
    assert (shown[0, 0] == 255).all()
    assert (shown[GREY[0, 0] != GREY] == grey(GREY)[GREY[0, 0] != GREY]).all()


def test_jpeg_colours_are_converted(make_cell):
    cell = make_cell(0)
    for image in (Image.fromarray(cell), Image.fromarray(cell).convert("CMYK"), Image.fromarray(cell).convert("L")):
        shown = read_pillow(image, "JPEG", quality=95)
        assert np.abs(shown - np.asarray(image.convert("RGB")).astype(int)).mean() < 6


def test_ycbcr_tiff_is_converted(make_cell):
    cell = make_cell(0)
    ycbcr = np.asarray(Image.fromarray(cell).convert("YCbCr"))
    assert np.abs(read_tiff(ycbcr, photometric="ycbcr").astype(int) - cell).max() <= 3
    compressed = read_tiff(cell, photometric="rgb", compression="jpeg", compressionargs={"level": 95})
    assert np.abs(compressed.astype(int) - cell).mean() < 6


@pytest.mark.parametrize("bits", [2, 4, 7, 10, 12, 14])
def test_full_scale_of_any_number_of_bits_is_white(bits):
    pixels = RGB16 >> (16 - bits)
    packed = read_tiff(pixels.astype(np.uint8 if bits <= 8 else np.uint16), photometric="rgb", bitspersample=bits)
    assert (packed == np.floor(pixels / (2**bits - 1) * 255 + 0.5)).all()


def test_full_scale_that_a_16_bit_tiff_states_is_white_and_other_values_are_none():
    pixels = RGB16 >> 4
    pixels[0, 0] = 3000
    for stated, white in ((4095, 4095), (3000, 65535), (65535, 65535)):
        shown = read_tiff(pixels, photometric="rgb", extratags=[(341, "H", 3, (stated,) * 3, True)])
        assert (shown == np.floor(pixels / white * 255 + 0.5)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["TIFF", "JPEG", "PNG", "WEBP"])
def test_image_is_upright_however_the_camera_was_held(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    lossless = {"WEBP": {"lossless": True}}.get(kind, {})
    Image.fromarray(RGB).save(file, kind, exif=exif, **lossless)
    upright = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    (header,) = read_cells(file)
    assert (header.width, header.height) == upright.size
    assert (decode(file) == np.asarray(upright)).all()


def test_damaged_exif_costs_no_cell():
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "PNG", exif=b"Exif\0\0nothing")
    assert (decode(file) == RGB).all()


@pytest.mark.parametrize("compression", ["jpeg", "png", "jpeg2000", "webp"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"rowsperstrip": 16}])
def test_images_in_the_strips_of_a_tiff_are_read(make_cell, compression, options):
    cell = make_cell(0, 40, 50)
    shown = read_tiff(cell, photometric="rgb", compression=compression, **options)
    assert np.abs(shown.astype(int) - cell).mean() < 8


@pytest.mark.parametrize("compression", ["jpeg", "png", "jpeg2000", "webp"])
def test_image_in_a_strip_larger_than_declared_is_refused_before_memory_is_taken(compression):
    file = io.BytesIO()
    huge = np.zeros((3000, 3000, 3), np.uint8)
    tifffile.imwrite(file, huge, photometric="rgb", compression=compression, rowsperstrip=3000)
    file.seek(0)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tiff.pages[0].tags[tag].overwrite(64)
    tracemalloc.start()
    with pytest.raises(CellUnreadable, match="3000 x 3000 pixels in a strip of 64 x 64"):
        decode(file)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("pixels", "options", "words"),
    [
        (RGB.astype(np.float32), {"photometric": "rgb"}, "float32 pixels"),
        (GREY.astype(np.int16), {"photometric": "minisblack"}, "int16 pixels"),
        (GREY.astype(np.float32), {"photometric": "miniswhite"}, "float32 pixels"),
        (np.dstack([RGB, GREY]), {"photometric": "separated"}, "CMYK"),
        (RGB, {"photometric": "cielab"}, "CIELAB"),
        (np.dstack([RGB, RGB]), {"photometric": "minisblack", "planarconfig": "contig"}, "no colour image"),
        (RGB16[..., 0].astype(np.uint32), {"photometric": "minisblack"}, "uint32 pixels"),
        (RGB, {"photometric": "rgb", "compression": "jpegxl"}, "compressed as JPEGXL"),
        (RGB, {"photometric": "rgb", "compression": "lerc"}, "compressed as LERC"),
    ],
)
def test_what_no_rule_covers_is_refused_and_named(pixels, options, words):
    with pytest.raises(CellUnreadable, match=words):
        read_tiff(pixels, **options)


def test_name_of_another_format_never_starts_its_decoder():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(CellUnreadable, match="whatever its name says"):
        decode(io.BytesIO(postscript))
    with pytest.raises(CellUnreadable, match="whatever its name says"):
        decode(io.BytesIO(b"GIF89a and more"))


@given(arrays(np.uint16, (3, 4, 3)))
def test_16_bits_are_rounded_to_the_nearest_of_the_full_scale(pixels):
    assert (shown_of(pixels) == scaled(pixels)).all()


@given(
    st.sampled_from([np.bool_, np.uint8, np.uint16]).flatmap(
        lambda kind: st.sampled_from([(3, 4), (3, 4, 1), (3, 4, 2), (3, 4, 3), (3, 4, 4)]).flatmap(
            lambda shape: arrays(kind, shape)
        )
    )
)
def test_whatever_goes_in_eight_bit_rgb_of_the_same_size_comes_out(pixels):
    shown = shown_of(pixels)
    assert shown.dtype == np.uint8
    assert shown.shape == (3, 4, 3)
    assert shown.flags.c_contiguous


@given(st.sampled_from([b"", *TIFF_STARTS, b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF"]), st.binary(max_size=200))
def test_random_bytes_are_unreadable_with_one_line(start, content):
    with pytest.raises(CellUnreadable) as caught:
        decode(io.BytesIO(start + content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "JPEG", "BMP"])
def test_image_cut_anywhere_is_unreadable_and_not_half_black(kind):
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, kind)
    whole = file.getvalue()
    for length in range(0, len(whole) - 16, max(1, len(whole) // 60)):
        with pytest.raises(CellUnreadable):
            decode(io.BytesIO(whole[:length]))


def test_resource_forks_are_no_images():
    assert is_image("Gal-000001.RGB.TIF")
    assert not is_image("folder/._Gal-000001.RGB.TIF")
    assert not is_image("Thumbs.db")
