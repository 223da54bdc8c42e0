"""What must hold for cells of 10, 12 or 14 bits in 16: one scale for the whole smear, and it is said."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
import tifffile

from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.smear import check_smear, read_smear


@pytest.fixture
def save(make_cell):
    """Write cells into a folder, each brightness 0...255 as one of so many bits in 16."""

    def write(folder, seeds, bits, *, darker=1, kind="tif"):
        folder.mkdir(exist_ok=True, parents=True)
        for seed in seeds:
            pixels = make_cell(seed).astype(np.uint32) * (2**bits - 1) // 255 // darker
            path = folder / f"{seed}.{kind}"
            if kind == "png":
                path.write_bytes(imagecodecs.png_encode(pixels.astype(np.uint16)))
            else:
                tifffile.imwrite(path, pixels.astype(np.uint16), photometric="rgb")
        return folder

    return write


@pytest.mark.parametrize("kind", ["tif", "png"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_cells_of_fewer_bits_are_as_bright_as_the_original_and_that_is_said_once(save, make_cell, tmp_path, bits, kind):
    smear = check_smear(read_smear(save(tmp_path, range(3), bits, kind=kind)))
    assert len(smear.usable) == 3
    for index in range(3):
        assert np.abs(smear.image(index).astype(int) - make_cell(index)).max() <= 1
    (note,) = smear.notes
    assert f" {bits} bits" in note
    assert f"{2**bits - 1}" in note
    assert check_smear(smear).notes == (note,)


def test_16_bits_that_are_used_are_read_at_full_scale_and_nothing_is_said(save, make_cell, tmp_path):
    smear = check_smear(read_smear(save(tmp_path, range(3), 16)))
    assert (smear.image(1) == make_cell(1)).all()
    assert smear.notes == ()


def test_the_brightest_cell_decides_for_all_whether_it_is_usable_or_not(save, tmp_path):
    folder = save(tmp_path, range(3), 12)
    before = read_smear(folder).image(0)
    empty = np.full((144, 144, 3), 16_000, np.uint16)  # no cell in it, but 14 bits bright
    tifffile.imwrite(folder / "9.tif", empty, photometric="rgb")
    smear = read_smear(folder)
    darker = smear.image(0)
    assert np.abs(darker.astype(int) * 4 - before).max() <= 4
    tifffile.imwrite(folder / "9.tif", empty * np.uint16(4), photometric="rgb")
    with pytest.raises(SmearUnreadable, match="One of its 16-bit images is very bright"):
        check_smear(read_smear(folder))


def test_a_dark_cell_stays_darker_than_the_others(save, make_cell, tmp_path):
    save(tmp_path, [0], 12)
    save(tmp_path, [1], 12, darker=8)
    smear = read_smear(tmp_path)
    assert np.abs(smear.image(1).astype(int) * 8 - make_cell(1)).max() <= 8


def test_slides_of_a_patient_have_one_scale(save, tmp_path, make_cell):
    slides = [save(tmp_path / "slide_1", [0], 14), save(tmp_path / "slide_2", [1], 14, darker=5)]
    smear = check_smear(read_smear(slides, slides=True))
    assert np.abs(smear.image(1).astype(int) * 5 - make_cell(1)).max() <= 5
    assert len(smear.notes) == 1


def test_cells_of_8_bits_next_to_12_in_16_are_left_as_they_are(save, tmp_path, make_cell):
    save(tmp_path, [0], 12)
    tifffile.imwrite(tmp_path / "1.tif", make_cell(1), photometric="rgb")
    smear = read_smear(tmp_path)
    assert (smear.image(1) == make_cell(1)).all()
    assert np.abs(smear.image(0).astype(int) - make_cell(0)).max() <= 1


def test_stack_has_one_scale_and_its_fingerprint_is_of_what_is_shown(make_cell, tmp_path):
    cells = np.stack([make_cell(seed) for seed in range(3)])
    tifffile.imwrite(tmp_path / "a.tif", cells * np.uint16(16), photometric="rgb")  # 4080 of 4095
    smear = check_smear(read_smear(tmp_path / "a.tif"))
    assert np.abs(smear.image(2).astype(int) - cells[2]).max() <= 1
    file = io.BytesIO()
    tifffile.imwrite(file, cells * np.uint16(257), photometric="rgb")
    (tmp_path / "a.tif").write_bytes(file.getvalue())
    assert check_smear(read_smear(tmp_path / "a.tif")).fingerprint != smear.fingerprint
