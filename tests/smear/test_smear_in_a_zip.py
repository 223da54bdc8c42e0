"""What must hold for a smear in a zip archive, good or hostile."""

from __future__ import annotations

import copy
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_caltomorph.errors import CellUnreadable, LooksLikeCohort, SmearUnreadable
from napari_caltomorph.smear import check_smear, read_smear


def zipped(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def contents(tmp_path, make_export) -> dict[str, bytes]:
    folder = make_export(tmp_path / "source", cells=4)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("prefix", ["", "P17/", "./", "P17\\"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_of_a_folder_has_the_same_cells_and_fingerprint(tmp_path, contents, prefix, method):
    archive = zipped(tmp_path / "P17.zip", {prefix + name: content for name, content in contents.items()}, method)
    smear, folder = check_smear(read_smear(archive)), check_smear(read_smear(tmp_path / "source"))
    assert smear.patient_id == "P17"
    assert smear.cells == folder.cells
    assert smear.fingerprint == folder.fingerprint
    assert smear.pixel_size_um == folder.pixel_size_um
    assert (smear.image(1) == folder.image(1)).all()


def test_a_layer_of_an_open_smear_can_be_duplicated(tmp_path, contents):
    smear = read_smear(zipped(tmp_path / "P17.zip", contents))
    smear.image(0)
    assert copy.deepcopy(smear) is smear


def test_zip_from_a_mac_has_the_same_fingerprint(tmp_path, contents):
    entries = {f"Jürgen/{name}": content for name, content in contents.items()}
    entries |= {f"__MACOSX/Jürgen/._{name}": b"resource fork" for name in contents} | {".DS_Store": b"x"}
    archive = zipped(tmp_path / "m.zip", entries)
    # Finder writes UTF-8 names without the flag that says so.
    raw = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = raw.find(signature)
        while at >= 0:
            (flags,) = struct.unpack_from("<H", raw, at + offset)
            struct.pack_into("<H", raw, at + offset, flags & ~0x800)
            at = raw.find(signature, at + 4)
    archive.write_bytes(raw)
    smear = check_smear(read_smear(archive))
    assert smear.fingerprint == check_smear(read_smear(tmp_path / "source")).fingerprint
    assert smear.passed_over == (".DS_Store",)


def test_labels_in_a_zip_are_kept(tmp_path, contents):
    first, second, *_ = contents.values()
    archive = zipped(tmp_path / "p.zip", {"lymphocyte/1.tif": first, "monocyte/1.tif": second})
    assert read_smear(archive).labels == ("lymphocyte", "monocyte")
    only = zipped(tmp_path / "q.zip", {"lymphocyte/1.tif": first, "lymphocyte/2.tif": second})
    assert read_smear(only).labels == ("lymphocyte", "lymphocyte")


def test_zip_of_a_stack_has_the_same_cells_and_fingerprint(tmp_path, make_cell):
    stack = tmp_path / "p.tif"
    tifffile.imwrite(stack, np.stack([make_cell(i) for i in range(5)]), photometric="rgb")
    archive = zipped(tmp_path / "p.zip", {"folder/p.tif": stack.read_bytes()})
    smear, plain = check_smear(read_smear(archive)), check_smear(read_smear(stack))
    assert smear.cells == plain.cells
    assert smear.fingerprint == plain.fingerprint


def test_zip_of_patients_is_refused(tmp_path, contents):
    entries = {f"cohort/{p}/{name}": content for p in ("a", "b") for name, content in contents.items()}
    with pytest.raises(LooksLikeCohort, match="2 folders"):
        read_smear(zipped(tmp_path / "c.zip", entries))


@pytest.mark.parametrize("name", ["../evil.tif", "a/../../evil.tif", "/etc/evil.tif", "C:\\evil.tif", "..\\evil.tif"])
def test_entry_that_points_outside_is_refused(tmp_path, contents, name):
    archive = zipped(tmp_path / "p.zip", contents | {name: b"x"})
    with pytest.raises(SmearUnreadable, match="points outside the archive"):
        read_smear(archive)


def test_colon_in_a_folder_name_is_no_drive(tmp_path, contents):
    entries = {f"2024-01-02 10:33/{name}": content for name, content in contents.items()}
    assert len(read_smear(zipped(tmp_path / "p.zip", entries))) == 4


def test_bomb_is_refused_before_it_is_unpacked(tmp_path, contents):
    archive = zipped(tmp_path / "p.zip", contents | {"bomb.tif": bytes(20_000_000)})
    tracemalloc.start()
    with pytest.raises(SmearUnreadable, match=r"bomb.tif.*would unpack to 20 MB"):
        read_smear(archive)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_cannot_be_stopped_half_way_are_refused(tmp_path, contents, method):
    archive = zipped(tmp_path / "p.zip", contents | {"bomb.tif": bytes(1000)}, method)
    with pytest.raises(SmearUnreadable, match="plain zip"):
        read_smear(archive)


def test_a_bomb_with_a_false_size_is_not_unpacked(tmp_path, contents):
    archive = zipped(tmp_path / "p.zip", contents | {"bomb.tif": bytes(50_000_000)})
    raw = bytearray(archive.read_bytes())
    at = raw.rfind(b"PK\x01\x02")
    assert raw[at + 46 :].startswith(b"bomb.tif")
    struct.pack_into("<I", raw, at + 24, 1000)
    archive.write_bytes(raw)
    smear = read_smear(archive)
    tracemalloc.start()
    with pytest.raises(CellUnreadable, match="damaged in the archive"):
        smear.image(smear.cells.index("bomb.tif"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert [left.cell for left in check_smear(smear).left_out] == ["bomb.tif"]


def test_name_of_endless_folders_is_refused_before_they_are_listed(tmp_path, contents):
    archive = zipped(tmp_path / "p.zip", contents | {"a/" * 30_000 + "x.tif": b"x"})
    tracemalloc.start()
    with pytest.raises(SmearUnreadable, match="folders deep"):
        read_smear(archive)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_an_encrypted_zip_is_reported(tmp_path, contents):
    archive = tmp_path / "p.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)
        for info in file.filelist:
            info.flag_bits |= 1
    with pytest.raises(SmearUnreadable, match="is encrypted; unpack it"):
        read_smear(archive)


def test_a_file_that_is_no_zip_is_reported(tmp_path):
    (tmp_path / "p.zip").write_bytes(b"not a zip")
    with pytest.raises(SmearUnreadable, match="not a zip archive that can be read"):
        read_smear(tmp_path / "p.zip")


def test_damaged_entry_costs_one_cell(tmp_path, contents):
    archive = zipped(tmp_path / "p.zip", contents)
    raw = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as file:
        second = file.infolist()[1]
    middle = second.header_offset + second.compress_size // 2
    raw[middle : middle + 50] = bytes(50)
    archive.write_bytes(raw)
    smear = check_smear(read_smear(archive))
    assert [(left.cell, str(left.reason)) for left in smear.left_out] == [(second.filename, "unreadable")]
    assert "damaged in the archive" in smear.left_out[0].note


def test_entry_without_a_name_is_ignored(tmp_path, contents):
    archive = zipped(tmp_path / "p.zip", contents)
    cells = read_smear(archive).cells
    raw = archive.read_bytes()
    directory = raw.index(b"PK\x01\x02")
    archive.write_bytes(raw[: directory + 46] + b"\0" + raw[directory + 47 :])  # zipfile cuts a name at the first zero
    assert len(read_smear(archive)) == len(cells) - 1
