"""What must hold for the pages of a TIFF: series and axes say what a cell is, and what they leave open is refused."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_caltomorph.errors import CellUnreadable, SmearUnreadable
from napari_caltomorph.smear import check_smear, read_smear
from napari_caltomorph.smear.images import read_cells

RNG = np.random.default_rng(0)
CELLS = RNG.integers(0, 256, (12, 24, 30, 3), dtype=np.uint8)
CHANNELS = np.ascontiguousarray(np.moveaxis(CELLS, -1, 1))  # (12, 3, H, W): a page a colour
RED, GREEN, BLUE = np.zeros((3, 3, 256), np.uint8)
for number, table in enumerate((RED, GREEN, BLUE)):
    table[number] = np.arange(256)
GREY = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
CYAN = GREEN + BLUE


def written(pixels, **options) -> io.BytesIO:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file


def pages(*images, **common) -> io.BytesIO:
    """A TIFF that says nothing of its pages but what is in their tags; each is an image, or one and its options."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        for one in images:
            pixels, options = one if isinstance(one, tuple) else (one, {})
            colors = "rgb" if pixels.ndim == 3 else "minisblack"
            tiff.write(pixels, **{"photometric": colors, "metadata": None, "contiguous": False} | common | options)
    return file


def images_of(file: io.BytesIO) -> list[np.ndarray]:
    file.seek(0)
    return [cell.rgb(lambda: 16) for cell in read_cells(file)]


def assert_same(file: io.BytesIO, expected) -> None:
    found = images_of(file)
    assert len(found) == len(expected)
    for image, original in zip(found, expected, strict=True):
        assert np.array_equal(image, original)


@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped"])
@pytest.mark.parametrize("axes", ["ZCYX", "TCYX", "CZYX", "TZCYX"])
def test_colours_as_separate_pages_become_one_rgb_cell(kind, axes):
    pixels = {"CZYX": np.moveaxis(CHANNELS, 1, 0), "TZCYX": CHANNELS.reshape(3, 4, *CHANNELS.shape[1:])}.get(
        axes, CHANNELS
    )
    if kind == "imagej" and axes == "CZYX":
        pytest.skip("ImageJ writes channels before slices")
    options = {"photometric": "minisblack"} if kind == "shaped" else {kind: True}
    assert_same(written(pixels, metadata={"axes": axes}, **options), CELLS)


def test_a_folder_of_cells_with_a_page_a_colour_equals_the_rgb_originals(tmp_path):
    for number, cell in enumerate(CHANNELS[:4]):
        tifffile.imwrite(tmp_path / f"{number}.tif", cell, imagej=True, metadata={"axes": "CYX", "mode": "composite"})
        tifffile.imwrite(tmp_path / f"{number}.ome.tif", cell, ome=True, metadata={"axes": "CYX"})
    smear = read_smear(tmp_path)
    assert len(smear) == 8
    assert smear.canvas == (24, 30)
    for index, name in enumerate(smear.cells):
        assert (smear.image(index) == CELLS[int(name[0])]).all()


@pytest.mark.parametrize(
    ("tables", "order"),
    [([RED, GREEN, BLUE], [0, 1, 2]), ([BLUE, GREEN, RED], [2, 1, 0]), ([GREY] * 3, [0, 1, 2]), ([], [0, 1, 2])],
)
def test_channels_are_ordered_by_the_colours_that_imagej_gives_them(tables, order):
    metadata = {"axes": "CYX", "mode": "composite"} | ({"LUTs": tables} if tables else {})
    assert_same(written(CHANNELS[0][order], imagej=True, metadata=metadata), CELLS[:1])


def test_channels_are_ordered_by_the_colours_that_ome_gives_them():
    colors = {"Color": [65535, 16711935, -16776961]}  # blue, green, red
    assert_same(written(CHANNELS[0][::-1], ome=True, metadata={"axes": "CYX", "Channel": colors}), CELLS[:1])


@pytest.mark.parametrize(
    "file",
    [
        written(CHANNELS[0], imagej=True, metadata={"axes": "CYX", "mode": "composite", "LUTs": [RED, GREEN, CYAN]}),
        written(CHANNELS[0], ome=True, metadata={"axes": "CYX", "Channel": {"Color": [65535, 65535, -16776961]}}),
        written(CHANNELS[0, :2], imagej=True, metadata={"axes": "CYX"}),
        written(CHANNELS[:2, [0, 1, 2, 0]], ome=True, metadata={"axes": "ZCYX"}),
        written(CHANNELS[0], photometric="minisblack"),
        written(CHANNELS, photometric="minisblack"),
        pages(*CHANNELS[0]),
        pages(CELLS[0], CELLS[0, ..., 0]),
    ],
    ids=["a cyan", "two blues", "2 channels", "4 channels", "3 grey", "12 x 3 grey", "3 grey pages", "cell and mask"],
)
def test_what_can_be_colours_or_cells_is_refused_with_what_to_do(file):
    with pytest.raises(CellUnreadable, match=r"save .* RGB"):
        images_of(file)


def test_grey_pages_are_cells_and_that_is_said(tmp_path):
    tifffile.imwrite(tmp_path / "p.tif", CHANNELS[:5, 0], photometric="minisblack")
    smear = read_smear(tmp_path / "p.tif")
    assert len(smear) == 5
    assert "5 pages" in smear.notes[0]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, np.uint8),
        ({"byteorder": "<"}, np.uint16),
        ({"byteorder": ">"}, np.uint16),
        ({"imagej": True, "metadata": {"axes": "ZYXS"}}, np.uint8),
    ],
)
def test_many_cells_after_one_directory_are_all_found(options, kind):
    scaled = CELLS * (kind(257) if kind == np.uint16 else kind(1))
    file = written(scaled, photometric="rgb", truncate=True, **options)
    assert_same(file, CELLS)


@pytest.mark.parametrize("options", [{}, {"imagej": True, "metadata": {"axes": "ZYXS"}}])
def test_cells_that_were_cut_off_after_one_directory_are_missed(options):
    file = written(CELLS, photometric="rgb", truncate=True, **options)
    file.truncate(file.seek(0, io.SEEK_END) - 5000)
    with pytest.raises(CellUnreadable, match=r"cut off|truncated"):
        images_of(file)


def test_reduced_copies_and_masks_are_no_cells():
    reduced = [(cell[:13, :17], {"subfiletype": 1}) for cell in CELLS]
    assert_same(pages(*(page for pair in zip(CELLS, reduced, strict=True) for page in pair)), CELLS)
    assert_same(pages(*CELLS, *reduced), CELLS)
    assert_same(pages(reduced[0]), [CELLS[0, :13, :17]])
    file = pages(CELLS[0], (CELLS[0, ..., 0], {"subfiletype": 1}))
    file.seek(0)
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tiff.pages[1].tags["NewSubfileType"].overwrite(4)
    assert_same(file, CELLS[:1])


@pytest.mark.parametrize("options", [{"metadata": None}, {"metadata": {}}, {"metadata": {"axes": "ZYXS"}}])
def test_pyramid_levels_are_no_cells(options):
    file = io.BytesIO()
    with tifffile.TiffWriter(file, ome="axes" in (options["metadata"] or ())) as tiff:
        tiff.write(CELLS, photometric="rgb", subifds=1, **options)
        tiff.write(np.ascontiguousarray(CELLS[:, ::2, ::2]), photometric="rgb", subfiletype=1, metadata=None)
    assert_same(file, CELLS)


def test_cells_of_different_sizes_keep_their_order_even_where_one_is_half_of_another():
    cells = [CELLS[0, :side, :side] for side in (24, 12, 20, 20, 10, 6, 20, 20, 20, 20)]
    assert_same(pages(*cells), cells)
    assert_same(pages(*cells, metadata={}), cells)
    file = io.BytesIO()
    with tifffile.TiffWriter(file, ome=True) as tiff:
        for cell in cells:
            tiff.write(cell, photometric="rgb")
    assert_same(file, cells)


def test_each_page_has_its_own_palette():
    images = [Image.fromarray(cell).quantize(16) for cell in CELLS]
    file = io.BytesIO()
    images[0].save(file, "TIFF", save_all=True, append_images=images[1:])
    assert_same(file, [np.asarray(image.convert("RGB")) for image in images])


def test_one_file_of_a_set_is_no_cell_without_the_others(tmp_path):
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><Image ID="Image:0"><Pixels '
        'ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="30" SizeY="24" SizeC="3" SizeZ="1" SizeT="1">'
        + "".join(
            f'<TiffData FirstC="{c}" IFD="0"><UUID FileName="{c}.ome.tif">urn:uuid:{c + 1}</UUID></TiffData>'
            for c in range(3)
        )
        + "</Pixels></Image></OME>"
    ).encode()
    for c in range(3):
        page = CHANNELS[0, c]
        tifffile.imwrite(tmp_path / f"{c}.ome.tif", page, description=xml, metadata=None, photometric="minisblack")
    with pytest.raises(SmearUnreadable, match="one of a set of files"):
        check_smear(read_smear(tmp_path))


def test_grey_cell_with_ome_xml_by_hand_is_read():
    xml = b'<OME xmlns="x"><Image><Pixels PhysicalSizeX="0.2"/></Image></OME>'
    (image,) = images_of(written(CHANNELS[0, 0], description=xml, metadata=None, photometric="minisblack"))
    assert (image[..., 0] == CHANNELS[0, 0]).all()


def test_images_of_one_ome_file_whose_channels_differ_in_their_colours_are_refused():
    file = io.BytesIO()
    with tifffile.TiffWriter(file, ome=True) as tiff:
        for colors in ([-16776961, 16711935, 65535], [65535, 16711935, -16776961]):
            tiff.write(CHANNELS[0], photometric="minisblack", metadata={"axes": "CYX", "Channel": {"Color": colors}})
    with pytest.raises(CellUnreadable, match="save its cells as RGB"):
        images_of(file)


def test_copy_of_one_cell_with_the_description_of_its_stack_is_one_cell():
    stack = written(CELLS, imagej=True, photometric="rgb", metadata={"axes": "ZYXS"})
    stack.seek(0)
    description = tifffile.TiffFile(stack).pages.first.description
    assert_same(written(CELLS[2], description=description, metadata=None, photometric="rgb"), [CELLS[2]])


def test_several_cells_in_one_of_several_files_are_not_one_cell_and_that_is_said(tmp_path):
    for number in range(3):
        tifffile.imwrite(tmp_path / f"{number}.tif", CELLS[number], photometric="rgb")
    tifffile.imwrite(tmp_path / "montage.tif", CELLS[3:6], photometric="rgb")
    smear = read_smear(tmp_path)
    assert "montage.tif" in smear.notes[0]
    with pytest.raises(CellUnreadable, match="3 cells in one file; open it alone"):
        smear.image(3)


def test_preview_next_to_a_stack_does_not_become_the_patient(tmp_path):
    tifffile.imwrite(tmp_path / "P1.tif", CELLS, photometric="rgb")
    Image.fromarray(CELLS[0]).save(tmp_path / "preview.png")
    with pytest.raises(SmearUnreadable, match=r"P1\.tif has 12 cells.*Open it alone"):
        read_smear(tmp_path)
    (tmp_path / "preview.png").unlink()
    tifffile.imwrite(tmp_path / "P2.tif", CELLS[:2], photometric="rgb")
    with pytest.raises(SmearUnreadable, match=r"--each if each is a patient, or --slides"):
        read_smear(tmp_path)
    assert len(read_smear(tmp_path, slides=True)) == 14


def test_stack_that_cannot_be_read_is_still_a_patient(tmp_path, patients_in):
    tifffile.imwrite(tmp_path / "P1.tif", CELLS, photometric="rgb")
    tifffile.imwrite(tmp_path / "P2.tif", CHANNELS[:, 0], photometric="minisblack")
    tifffile.imwrite(tmp_path / "P3.tif", CHANNELS[:, :2], imagej=True, metadata={"axes": "ZCYX"})
    tifffile.imwrite(tmp_path / "legend.tif", CHANNELS[0], imagej=True, metadata={"axes": "CYX"})
    assert [path.name for path in patients_in(tmp_path)] == ["P1.tif", "P2.tif", "P3.tif"]


HUGE_OME = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
    'DimensionOrder="XYCZT" Type="uint8" SizeX="30" SizeY="24" SizeC="3" SizeZ="1" SizeT="{}">'
    '<Channel SamplesPerPixel="3"/><TiffData {}/></Pixels></Image></OME>'
)


@pytest.mark.parametrize(
    "description",
    [
        HUGE_OME.format(10**8, ""),
        HUGE_OME.format(1, f'NumPlanes="{10**8}"'),
        HUGE_OME.format(1, f'IFD="{10**8}" PlaneCount="{10**8}"'),
        f"ImageJ=1.11a\nimages={10**8}\nframes={10**8}\n",
        f'{{"shape": [{10**8}, 24, 30, 3]}}',
    ],
)
def test_description_of_a_hundred_million_cells_costs_no_memory(description):
    file = written(CELLS[0], photometric="rgb", description=description, metadata=None)
    tracemalloc.start()
    try:
        assert len(images_of(file)) == 1
    except CellUnreadable:
        pass  # or it is refused
    finally:
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
        tracemalloc.stop()
