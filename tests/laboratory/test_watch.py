"""Which exports in a folder are complete, as one look at real files shows."""

from __future__ import annotations

import os
import zipfile

import pytest

from napari_caltomorph.errors import FolderLost, OutputRefused
from napari_caltomorph.laboratory import Resting, refuse_overlap, scan


def test_an_export_is_at_rest_when_nothing_has_changed_for_the_time_that_is_stated(tmp_path):
    (tmp_path / "P1").mkdir()
    cell = tmp_path / "P1" / "1.tif"
    cell.write_bytes(b"1")
    resting = Resting(settle=60)
    assert resting.see(scan(tmp_path).looks, 0.0) == []
    assert resting.see(scan(tmp_path).looks, 59.0) == []
    os.utime(cell, (0, 0))  # written again, by a drive whose clock is wrong
    assert resting.see(scan(tmp_path).looks, 60.0) == []
    assert resting.see(scan(tmp_path).looks, 120.0) == ["P1"]
    cell.rename(cell.with_name("2.tif"))
    (tmp_path / "P1" / "Thumbs.db").touch()  # of the system: no change
    assert resting.see(scan(tmp_path).looks, 180.0) == []
    assert resting.see(scan(tmp_path).looks, 240.0) == ["P1"]


def test_time_in_which_the_folder_was_not_looked_at_does_not_count(tmp_path):
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / "1.tif").write_bytes(b"1")
    resting, looks = Resting(settle=60), scan(tmp_path).looks
    assert resting.see(looks, 1000.0, 10) == []
    assert resting.see(looks, 1300.0, 10) == []  # a long prediction
    assert [resting.see(looks, 1300.0 + 10 * look, 10) for look in range(1, 6)] == [[], [], [], [], ["P1"]]


@pytest.mark.parametrize(
    "name",
    ["P1/2.tif.part", "P1/sub/export.LOCK", "P1/.2.tif.aB3dE9", "P1.part", "P1.lock", "P1/3.TMP"],
)
def test_what_says_that_it_is_unfinished_is_waited_for(tmp_path, name):
    for path in (tmp_path / "P1" / "1.tif", tmp_path / name):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"1")
    assert scan(tmp_path).looks["P1"].unfinished
    (tmp_path / name).unlink()
    assert not scan(tmp_path).looks["P1"].unfinished


def test_archives_are_complete_with_their_table_of_contents_and_folders_with_a_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "P1.zip", "w") as archive:
        archive.writestr("1.tif", bytes(1000))
    (tmp_path / "P2.zip").write_bytes((tmp_path / "P1.zip").read_bytes()[:-30])
    (tmp_path / "P3").mkdir()
    (tmp_path / "P3" / "back").symlink_to(tmp_path)  # a link that leads back
    (tmp_path / "a.tif").touch()
    (tmp_path / ".hidden").mkdir()
    found = scan(tmp_path)
    assert {name: bool(look.unfinished) for name, look in found.looks.items()}["P1.zip"] is False
    assert found.looks["P2.zip"].unfinished
    assert found.looks.keys() == {"P1.zip", "P2.zip", "P3"}
    assert found.loose == ("a.tif",)
    with pytest.raises(FolderLost, match="drive"):
        scan(tmp_path / "nothing")


def test_results_are_never_written_into_the_watched_folder(tmp_path):
    (tmp_path / "scanner").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "scanner")
    for out in ("scanner", "scanner/out", "link/out", "."):
        with pytest.raises(OutputRefused, match="overlap"):
            refuse_overlap(tmp_path / "scanner", tmp_path / out)
    refuse_overlap(tmp_path / "scanner", tmp_path / "scanner_out")
