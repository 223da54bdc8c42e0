"""What must hold when the cells of a smear are graded, and when the user disagrees."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import skimage
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from tests.stopping import Cancels

from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.progress import Cancelled, Progress
from napari_caltomorph.smear import Reason, check_smear, read_smear, smear_from_array


def reasons(smear) -> dict[str, Reason]:
    return {left.cell: left.reason for left in smear.left_out}


@pytest.fixture
def flawed(tmp_path, make_export, make_cell) -> Path:
    """Eight good cells, and one of each flaw."""
    folder = make_export(tmp_path / "flawed", cells=8)
    (folder / "repeat.tif").write_bytes((folder / "Gal-000003.RGB.TIF").read_bytes())
    tifffile.imwrite(folder / "field.tif", make_cell(50, 600), photometric="rgb")
    pale = np.clip(make_cell(51) * 0.1 + 200, 0, 255).astype(np.uint8)
    tifffile.imwrite(folder / "empty.tif", pale, photometric="rgb")
    blurred = gaussian_filter(make_cell(52).astype(float), (5, 5, 0)).astype(np.uint8)
    tifffile.imwrite(folder / "blurred.tif", blurred, photometric="rgb")
    (folder / "truncated.tif").write_bytes((folder / "Gal-000001.RGB.TIF").read_bytes()[:9000])
    (folder / "zeros.tif").write_bytes(bytes(5000))
    (folder / "nothing.png").write_bytes(b"")
    (folder / "Thumbs.db").write_bytes(b"x")
    return folder


def test_good_cells_are_all_usable(tmp_path, make_export):
    smear = check_smear(read_smear(make_export(tmp_path / "p", cells=12)))
    assert smear.left_out == ()
    assert list(smear.usable) == list(range(12))


def test_every_flaw_is_left_out_with_its_reason(flawed):
    smear = check_smear(read_smear(flawed))
    assert reasons(smear) == {
        "repeat.tif": Reason.REPEAT,
        "field.tif": Reason.WHOLE_FIELD,
        "empty.tif": Reason.EMPTY,
        "blurred.tif": Reason.BLURRED,
        "truncated.tif": Reason.UNREADABLE,
        "zeros.tif": Reason.UNREADABLE,
        "nothing.png": Reason.UNREADABLE,
    }
    notes = {left.cell: left.note for left in smear.left_out}
    assert notes["repeat.tif"] == "same as Gal-000003.RGB.TIF"
    assert notes["truncated.tif"] == "truncated"
    assert notes["zeros.tif"] == "zero-filled"
    assert notes["nothing.png"] == "empty file"
    assert {left.by for left in smear.left_out} == {"rule"}
    assert smear.left_out_counts()["unreadable"] == 3
    assert next(iter(smear.left_out_counts())) == "unreadable"
    assert len(smear.usable) == 8
    assert smear.passed_over == ("Thumbs.db",)


def test_blur_is_limited_at_0_75(make_cell):
    sharper, softer = (
        np.stack([gaussian_filter(make_cell(seed), (sigma, sigma, 0)) for seed in range(3)]) for sigma in (2.25, 2.5)
    )
    blurs = [skimage.measure.blur_effect(cell[..., 1].astype(np.float32)) for cell in (*sharper, *softer)]
    assert 0.73 < min(blurs[:3]) < max(blurs[:3]) < 0.75 < min(blurs[3:]) < max(blurs[3:]) < 0.79
    smear = check_smear(smear_from_array(np.concatenate([sharper, softer]), "p"))
    assert list(smear.usable) == [0, 1, 2]
    assert set(reasons(smear).values()) == {Reason.BLURRED}


def test_a_whole_field_next_to_one_cell_is_left_out(tmp_path, make_cell):
    Image.fromarray(make_cell(0, 60)).save(tmp_path / "cell.png")
    Image.fromarray(make_cell(1, 600)).save(tmp_path / "field.png")
    assert reasons(check_smear(read_smear(tmp_path))) == {"field.png": Reason.WHOLE_FIELD}


def test_of_two_copies_the_labelled_one_is_kept(tmp_path, make_cell):
    for folder in ("A/Unsigned slides", "A/Signed slides/Monocyte"):
        (tmp_path / folder).mkdir(parents=True)
    Image.fromarray(make_cell(0)).save(tmp_path / "A/Signed slides/Monocyte/x.png")
    content = (tmp_path / "A/Signed slides/Monocyte/x.png").read_bytes()
    (tmp_path / "A/Unsigned slides/x.png").write_bytes(content)
    (tmp_path / "A/0.png").write_bytes(content)
    smear = check_smear(read_smear(tmp_path / "A"))
    assert [smear.labels[i] for i in smear.usable] == ["Monocyte"]
    assert set(reasons(smear).values()) == {Reason.REPEAT}


@pytest.mark.skipif(sys.platform == "win32", reason="names have no line breaks")
def test_a_line_break_in_the_name_of_a_cell_is_none_in_the_note_on_its_repeat(tmp_path, make_export):
    first, *_ = sorted(make_export(tmp_path / "smear", cells=2).iterdir())
    shutil.copy(first, tmp_path / "smear" / "zz.tif")
    first.rename(first.with_name("a\nb.tif"))
    smear = check_smear(read_smear(tmp_path / "smear"))
    assert [left.note for left in smear.left_out] == [r"same as a\nb.tif"]


def test_user_takes_back_what_a_rule_left_out_and_sets_aside_what_it_kept(flawed):
    smear = check_smear(read_smear(flawed))
    chosen = smear.choosing(take_back=["empty.tif", "field.tif"], set_aside=["Gal-000001.RGB.TIF"])
    assert "empty.tif" not in reasons(chosen)
    assert reasons(chosen)["Gal-000001.RGB.TIF"] == Reason.BY_HAND
    assert [left.by for left in chosen.left_out if left.reason is Reason.BY_HAND] == ["user"]
    assert len(chosen.usable) == 8 + 2 - 1
    assert chosen.fingerprint == smear.fingerprint
    assert len(smear.usable) == 8
    again = check_smear(chosen)
    assert list(again.usable) == list(chosen.usable)


def test_unreadable_cell_cannot_be_taken_back(flawed):
    chosen = check_smear(read_smear(flawed)).choosing(take_back=["truncated.tif", "blurred.tif"])
    assert reasons(chosen)["truncated.tif"] == Reason.UNREADABLE
    assert "blurred.tif" not in reasons(chosen)


def test_setting_everything_aside_is_refused(tmp_path, make_export):
    smear = check_smear(read_smear(make_export(tmp_path / "p", cells=2)))
    with pytest.raises(SmearUnreadable, match="no cell is left"):
        smear.choosing(set_aside=smear.cells)


def test_fingerprint_is_the_sum_of_names_and_file_sums(flawed):
    smear = check_smear(read_smear(flawed))
    images = [p for p in flawed.iterdir() if p.suffix.lower() in (".tif", ".png")]
    pairs = sorted((p.name, hashlib.sha256(p.read_bytes()).hexdigest()) for p in images)
    text = "\n".join(name + "\0" + digest for name, digest in pairs)
    assert smear.fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_fingerprint_changes_with_one_byte_and_with_one_name(tmp_path, make_export):
    folder = make_export(tmp_path / "p", cells=3)
    before = check_smear(read_smear(folder)).fingerprint
    path = folder / "Gal-000002.RGB.TIF"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert check_smear(read_smear(folder)).fingerprint != before
    content[-1] ^= 1
    path.write_bytes(content)
    assert check_smear(read_smear(folder)).fingerprint == before
    path.rename(folder / "Gal-000009.RGB.TIF")
    assert check_smear(read_smear(folder)).fingerprint != before


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(6)))
def test_fingerprint_does_not_depend_on_the_order_of_files(tmp_path_factory, make_cell, order):
    folder = tmp_path_factory.mktemp("order") / "p"
    folder.mkdir()
    for i in order:
        Image.fromarray(make_cell(i, 32)).save(folder / f"{i}.png")
    lines = [f"{i}.png\0{hashlib.sha256((folder / f'{i}.png').read_bytes()).hexdigest()}" for i in range(6)]
    assert check_smear(read_smear(folder)).fingerprint == hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_an_ungraded_smear_names_the_function_to_call(tmp_path, make_export):
    smear = read_smear(make_export(tmp_path / "p", cells=1))
    with pytest.raises(ValueError, match="check_smear"):
        _ = smear.usable


def test_progress_counts_every_cell(tmp_path, make_export):
    received: list[Progress] = []
    check_smear(read_smear(make_export(tmp_path / "p", cells=35)), progress=received.append)
    assert [(p.done, p.total) for p in received] == [(0, 35), (16, 35), (32, 35), (35, 35)]


@settings(max_examples=8, deadline=None)
@given(call=st.integers(0, 3))
def test_cancelling_at_any_call_stops_at_once_and_the_next_check_works(many_cells, call):
    smear = read_smear(many_cells)
    before = threading.active_count()
    with pytest.raises(Cancelled):
        check_smear(smear, progress=Cancels(call=call))
    assert threading.active_count() == before
    assert smear.grades is None
    assert len(check_smear(smear).usable) == 35


@pytest.fixture(scope="module")
def many_cells(tmp_path_factory, make_export) -> Path:
    return make_export(tmp_path_factory.mktemp("many") / "p", cells=35)


def test_stack_with_a_damaged_page_loses_one_cell(tmp_path, make_cell):
    path = tmp_path / "p.tif"
    tifffile.imwrite(path, np.stack([make_cell(i) for i in range(5)]), photometric="rgb", compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[2].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + 200] = os.urandom(200)
    path.write_bytes(content)
    smear = check_smear(read_smear(path))
    assert reasons(smear) == {"p.tif#3": Reason.UNREADABLE}
    assert len(smear.fingerprint) == 64


def test_array_is_a_smear_with_the_same_rules(make_cell):
    stack = np.stack([make_cell(i) for i in range(12)])
    stack[5] = stack[2]
    smear = check_smear(smear_from_array(stack, "layer", 0.17))
    assert smear.cells[0] == "cell_01"
    assert reasons(smear) == {"cell_06": Reason.REPEAT}
    assert (smear.image(11) == stack[11]).all()
    assert smear.canvas == (144, 144)
    assert smear.field_of_view_um == pytest.approx(0.17 * 144)
    lines = []
    for i, cell in enumerate(stack):
        lines.append(f"cell_{i + 1:02d}\0{hashlib.sha256(b'144x144x3' + cell.tobytes()).hexdigest()}")
    assert smear.fingerprint == hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((4, 8, 8), np.uint8),
        np.zeros((4, 8, 8, 4), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
    ],
)
def test_array_that_is_no_smear_is_refused_with_its_shape(array):
    with pytest.raises(SmearUnreadable, match=r"shape .* is no smear"):
        smear_from_array(array, "layer")
