"""What must hold for input that is wrong: one sentence, no memory taken, and the good cells still read."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_caltomorph.errors import CellUnreadable, SmearUnreadable
from napari_caltomorph.smear import Reason, check_smear, read_smear


def test_a_missing_path_is_reported(tmp_path):
    with pytest.raises(SmearUnreadable, match="does not exist"):
        read_smear(tmp_path / "absent")
    with pytest.raises(SmearUnreadable):
        read_smear(tmp_path / ("x" * 5000))
    with pytest.raises(SmearUnreadable, match="No image was named"):
        read_smear([])


def test_an_empty_folder_is_reported(tmp_path):
    with pytest.raises(SmearUnreadable, match=r"holds no cell image.*found nothing"):
        read_smear(tmp_path)


def test_a_folder_of_texts_lists_what_was_found(tmp_path):
    for i in range(5):
        (tmp_path / f"report_{i}.txt").write_text("text")
    with pytest.raises(SmearUnreadable, match=r"found report_0.txt, report_1.txt, report_2.txt and 2 more"):
        read_smear(tmp_path)


def test_text_file_is_no_smear(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(SmearUnreadable, match="neither a folder, a zip archive nor an image"):
        read_smear(tmp_path / "a.txt")


def test_a_folder_without_usable_cells_lists_what_was_found(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.tif").write_bytes(bytes(100))
    with pytest.raises(SmearUnreadable, match=r"3 images found, none usable \(3 unreadable; first: 0.tif: zero-filled"):
        check_smear(read_smear(tmp_path))
    with pytest.raises(SmearUnreadable, match=r"1 image found, none usable"):
        check_smear(read_smear(tmp_path / "0.tif"))


@pytest.mark.parametrize("pages", [2, 150])
def test_a_tiff_whose_last_page_leads_back_to_the_first_ends(tmp_path, make_cell, pages):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.stack([make_cell(n, 8) for n in range(pages)]), photometric="rgb", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        first, last = tiff.pages[0].offset, tiff.pages[pages - 1]
    content = bytearray(path.read_bytes())
    end = last.offset + 2 + 12 * len(last.tags)
    assert content[end : end + 4] == bytes(4)
    content[end : end + 4] = first.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(SmearUnreadable, match=r"stack\.tif.*lead back"):
        check_smear(read_smear(path))


def test_a_name_with_a_line_break_leaves_the_message_one_line(tmp_path):
    (tmp_path / "a\nb.tif").write_bytes(bytes(100))
    with pytest.raises(SmearUnreadable) as raised:
        check_smear(read_smear(tmp_path))
    assert str(raised.value).isprintable()


def enlarge(path, side: int) -> None:
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tiff.pages[0].tags[tag].overwrite(side)


@pytest.mark.parametrize("good", [0, 1, 5])
def test_header_of_50_000_pixels_is_refused_before_memory_is_taken(tmp_path, make_export, good):
    folder = make_export(tmp_path / "p", cells=good + 1)
    bad = folder / f"Gal-{good + 1:06d}.RGB.TIF"
    enlarge(bad, 50_000)
    tracemalloc.start()
    try:
        smear = read_smear(folder)
        with pytest.raises(CellUnreadable, match="50000 x 50000 pixels, far too large for a cell"):
            smear.image(good)
        assert smear.canvas == (144, 144)
        if good:
            checked = check_smear(smear)
            assert [left.cell for left in checked.left_out] == [bad.name]
            assert checked.on_canvas(0).shape == (144, 144, 3)
        else:
            with pytest.raises(SmearUnreadable, match="far too large for a cell"):
                check_smear(smear)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


def test_tile_larger_than_any_image_is_refused_before_memory_is_taken(tmp_path, make_cell):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, make_cell(0), photometric="rgb", tile=(48, 48), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for tag in ("TileWidth", "TileLength"):
            tiff.pages[0].tags[tag].overwrite(48_000)
    tracemalloc.start()
    with pytest.raises(CellUnreadable, match="far too large"):
        read_smear(path).image(0)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("side", [20_000, 12_000, 6_000])
def test_huge_png_is_refused_from_its_header(tmp_path, make_export, side):
    folder = make_export(tmp_path / "p", cells=2)
    path = folder / "huge.png"
    Image.new("1", (side, side)).save(path)
    tracemalloc.start()
    smear = check_smear(read_smear(folder))
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert [(left.cell, left.reason) for left in smear.left_out] == [("huge.png", Reason.UNREADABLE)]
    assert "far too large for a cell" in smear.left_out[0].note


def test_large_images_are_decoded_one_at_a_time(tmp_path, make_export):
    folder = make_export(tmp_path / "p", cells=2)
    glass = np.full((2100, 2100, 4), 30_000, np.uint16)  # 35 MB, of which conversions at once made 300 each
    for number in range(3):
        glass[0, 0] = number
        tifffile.imwrite(folder / f"{number}.tif", glass, photometric="rgb", extrasamples=["unassalpha"])
    tracemalloc.start()
    smear = check_smear(read_smear(folder))
    assert tracemalloc.get_traced_memory()[1] < 200_000_000
    tracemalloc.stop()
    assert len(smear.left_out) == 3


def test_paths_with_spaces_umlauts_and_bytes_that_are_no_text_are_read(tmp_path, make_cell):
    folder = tmp_path / os.fsdecode("Müller, Jörg é ".encode() + b"\xe4\xff")
    folder.mkdir()
    names = [os.fsdecode(b"zelle \xe4.png"), "zelle ä 2.png", "zelle 3.png"]
    for seed, name in enumerate(names):
        Image.fromarray(make_cell(seed)).save(folder / name)
    smear = check_smear(read_smear(folder))
    assert smear.patient_id == "Müller, Jörg é %E4%FF"
    assert set(smear.cells) == {"zelle %E4.png", "zelle ä 2.png", "zelle 3.png"}
    assert (smear.image(smear.cells.index("zelle %E4.png")) == make_cell(0)).all()
    assert len(smear.usable) == 3
    assert len(smear.fingerprint) == 64


def test_message_about_a_path_that_is_no_text_can_be_printed(tmp_path):
    folder = tmp_path / os.fsdecode(b"leer \xff")
    folder.mkdir()
    with pytest.raises(SmearUnreadable, match="leer %FF") as caught:
        read_smear(folder)
    str(caught.value).encode()


def test_two_files_shown_under_one_name_are_refused(tmp_path, make_cell):
    for seed, name in enumerate([os.fsdecode(b"a\xff.png"), "a%FF.png"]):
        Image.fromarray(make_cell(seed)).save(tmp_path / name)
    with pytest.raises(SmearUnreadable, match=r"two files are both shown as a%FF.png"):
        read_smear(tmp_path)


def test_links_that_go_in_circles_end(tmp_path, make_export):
    folder = make_export(tmp_path / "p", cells=2)
    (folder / "self").symlink_to(folder, target_is_directory=True)
    (folder / "itself").symlink_to(folder / "itself")
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "loop").symlink_to(tmp_path / "loop", target_is_directory=True)
    assert len(read_smear(folder)) == 2
    with pytest.raises(SmearUnreadable):
        read_smear(tmp_path / "loop")


def test_folders_without_end_are_given_up(tmp_path):
    deep = tmp_path / ("d/" * 400)
    deep.mkdir(parents=True)
    with pytest.raises(SmearUnreadable):
        read_smear(tmp_path)


def test_broken_link_is_an_unreadable_cell_and_a_pipe_is_none(tmp_path, make_export):
    folder = make_export(tmp_path / "p", cells=2)
    (folder / "gone.tif").symlink_to(tmp_path / "absent.tif")
    os.mkfifo(folder / "pipe.tif")
    smear = check_smear(read_smear(folder))
    assert [(left.cell, left.note) for left in smear.left_out] == [("gone.tif", "No such file or directory")]


def test_damaged_stack_is_one_unreadable_image(tmp_path, make_cell):
    path = tmp_path / "p.tif"
    tifffile.imwrite(path, [make_cell(0), make_cell(1)], photometric="rgb")
    path.write_bytes(path.read_bytes()[:6])
    with pytest.raises(SmearUnreadable, match="none usable"):
        check_smear(read_smear(path))


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_an_animation_is_not_its_first_image(tmp_path, make_cell, kind):
    first, *others = (Image.fromarray(make_cell(number)) for number in range(4))
    first.save(tmp_path / f"a.{kind}", save_all=True, append_images=others)
    with pytest.raises(SmearUnreadable, match="4 images; save each in a file of its own"):
        check_smear(read_smear(tmp_path))
