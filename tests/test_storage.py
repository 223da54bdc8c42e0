"""What must hold for files we write: whole or not at all, and readable like any file of this user."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_caltomorph import storage
from napari_caltomorph.errors import DiskFull, OutputRefused
from napari_caltomorph.storage import (
    file_sha256,
    only_run,
    refuse_missing,
    refuse_unwritable,
    replacing,
    replacing_folder,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_whole_when_the_block_ends(tmp_path):
    target = tmp_path / "new" / "result.csv"
    with replacing(target) as part:
        part.write_text("half")
        assert not target.exists()
        assert part.parent == target.parent
    assert target.read_text() == "half"
    assert names(target.parent) == ["result.csv"]


def test_folder_is_written_in_the_scratch_folder_that_was_named(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with replacing_folder(tmp_path / "model", scratch=scratch) as part:
        assert part.parent == scratch
        (part / "a").write_text("x")
    assert names(tmp_path / "model") == ["a"]
    assert names(scratch) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_failing_block_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "result.csv"
    target.write_text("old")

    def write() -> None:
        with replacing(target) as part:
            part.write_text("half")
            raise error

    with pytest.raises(OutputRefused if error is OSError else error):
        write()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["result.csv"]


def test_result_has_the_mode_of_any_file_of_this_user(tmp_path):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "a") as part:
            part.write_text("x")
        with replacing_folder(tmp_path / "b"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o750


def test_long_name_of_wide_letters_is_no_obstacle(tmp_path):
    target = tmp_path / ("血" * 80 + ".csv")
    with replacing(target) as part:
        part.write_text("x")
    assert target.read_text() == "x"


def test_target_that_is_a_folder_is_refused(tmp_path):
    (tmp_path / "results").mkdir()
    with pytest.raises(OutputRefused, match="results could not be written"), replacing(tmp_path / "results") as part:
        part.write_text("x")
    assert names(tmp_path) == ["results"]


def test_parent_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputRefused, match="could not be written"), replacing(tmp_path / "file" / "a.csv"):
        pass
    with pytest.raises(OutputRefused, match="file is a file, not a folder"), replacing_folder(tmp_path / "file" / "a"):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that cannot be written")
def test_a_read_only_folder_is_reported():
    with (
        pytest.raises(OutputRefused, match=r"/proc/result\.csv could not be written"),
        replacing(Path("/proc/result.csv")),
    ):
        pass
    with pytest.raises(OutputRefused, match="/proc/results could not be written"):
        refuse_unwritable(Path("/proc/results"))


def test_a_full_disk_is_reported_and_leaves_the_old_file(tmp_path):
    target = tmp_path / "result.bin"
    target.write_bytes(b"old")
    script = """
        import resource, sys
        from pathlib import Path
        from napari_caltomorph.errors import DiskFull, OutputRefused
        from napari_caltomorph.storage import replacing
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            with replacing(Path(sys.argv[1])) as part:
                part.write_bytes(bytes(20_000))
        except OutputRefused as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(target)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "result.bin could not be written" in output
    assert "free some space or choose another folder" in output
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["result.bin"]


def test_folder_appears_whole_when_the_block_ends(tmp_path):
    with replacing_folder(tmp_path / "model") as part:
        (part / "a").write_text("x")
        assert not (tmp_path / "model").exists()
    assert (tmp_path / "model" / "a").read_text() == "x"
    assert names(tmp_path) == ["model"]


def test_a_table_that_is_open_in_excel_is_named_with_the_fix(tmp_path):
    with pytest.raises(OutputRefused, match=r"a\.csv .*close it in other programs"), replacing(tmp_path / "a.csv"):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert not list(tmp_path.iterdir())


def test_existing_folder_is_kept_unless_it_may_be_overwritten(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").write_text("x")
    with pytest.raises(OutputRefused, match="exists already"), replacing_folder(tmp_path / "model"):
        pass
    with replacing_folder(tmp_path / "model", overwrite=True) as part:
        (part / "new").write_text("x")
    assert names(tmp_path / "model") == ["new"]
    assert names(tmp_path) == ["model"]


def test_failing_block_leaves_the_old_folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").write_text("x")

    def write() -> None:
        with replacing_folder(tmp_path / "model", overwrite=True) as part:
            (part / "new").write_text("x")
            raise ValueError

    with pytest.raises(ValueError):
        write()
    assert names(tmp_path / "model") == ["old"]
    assert names(tmp_path) == ["model"]


def test_folder_that_someone_filled_meanwhile_is_not_lost(tmp_path):

    def write() -> None:
        with replacing_folder(tmp_path / "model"):
            (tmp_path / "model").mkdir()
            (tmp_path / "model" / "theirs").write_text("x")

    with pytest.raises(OutputRefused):
        write()
    assert names(tmp_path / "model") == ["theirs"]
    assert names(tmp_path) == ["model"]


def test_file_is_never_overwritten_by_a_folder(tmp_path):
    (tmp_path / "model").write_text("x")
    with pytest.raises(OutputRefused), replacing_folder(tmp_path / "model", overwrite=True):
        pass
    assert (tmp_path / "model").read_text() == "x"


def test_writable_folder_is_found_out_without_a_trace(tmp_path):
    refuse_unwritable(tmp_path / "a" / "b")
    assert names(tmp_path) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputRefused, match="is a file, not a folder"):
        refuse_unwritable(tmp_path / "file" / "b")


def test_sum_is_that_of_the_bytes(tmp_path):
    content = os.urandom(100_000)
    (tmp_path / "a").write_bytes(content)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_home_is_set_by_the_variable_or_the_platform(home: Path, monkeypatch):
    from napari_caltomorph import storage

    assert storage.home("weights") == home / "weights"
    monkeypatch.delenv("CALTOMORPH_HOME")
    assert storage.home("weights").name == "weights"
    assert "caltomorph" in str(storage.home("cache"))
    assert len({storage.home(kind) for kind in ("weights", "models", "cache")}) == 3


def test_second_run_in_a_folder_is_refused_and_named_until_the_first_ends(tmp_path):
    folder = tmp_path / "bytes \udcff"
    named = rf"Another run writes to .*bytes %FF \(process {os.getpid()} on "
    with (
        only_run(folder, ".lock", "another folder"),
        pytest.raises(OutputRefused, match=named),
        only_run(folder, ".lock", "another folder"),
    ):
        pass
    with only_run(folder, ".lock", "another folder"):
        pass


def test_lock_ends_with_a_process_that_is_killed(tmp_path):
    script = f"""
        import os, pathlib
        from napari_caltomorph.storage import only_run
        with only_run(pathlib.Path({str(tmp_path)!r}), ".lock", "another folder"):
            os._exit(9)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False).returncode == 9
    with only_run(tmp_path, ".lock", "another folder"):
        pass


@pytest.mark.skipif(os.name != "posix", reason="Windows locks files in another way")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOTSUP])
def test_file_system_without_locks_only_warns(tmp_path, monkeypatch, caplog, code):
    def no_locks(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with only_run(tmp_path, ".lock", "another folder"):
        (tmp_path / "result").touch()
    assert "start no second run" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="Windows locks files in another way")
@pytest.mark.parametrize("error", [OSError(errno.EIO, os.strerror(errno.EIO)), TimeoutError("the server is gone")])
def test_lock_that_fails_for_another_reason_is_one_sentence(tmp_path, monkeypatch, error):
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("fcntl.flock", fails)
    with (
        pytest.raises(OutputRefused, match=r"locked.*(output|gone).*choose another folder"),
        only_run(tmp_path, ".lock", "another folder"),
    ):
        pass


@pytest.mark.skipif(os.name != "posix", reason="Windows locks files in another way")
def test_lock_that_cannot_be_released_does_not_hide_the_result(tmp_path, monkeypatch):
    def fails(*_: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with only_run(tmp_path, ".lock", "another folder") as is_locked:
        monkeypatch.setattr("fcntl.flock", fails)
    assert is_locked


def test_lock_that_is_a_folder_is_one_sentence(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(OutputRefused, match="choose another folder"), only_run(tmp_path, ".lock", "another folder"):
        pass


def test_full_disk_is_an_error_of_its_own(tmp_path):
    def write() -> None:
        with replacing(tmp_path / "result.csv"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DiskFull, match=r"result\.csv"):
        write()
    assert names(tmp_path) == []


def test_folder_that_another_process_makes_is_refused_and_what_a_killed_one_left_is_removed(tmp_path):
    """A real process makes the folder; while it lives nobody else can, once it is killed anybody can."""
    target = tmp_path / "practice"
    script = f"""
        import pathlib, sys
        from napari_caltomorph.storage import replacing_folder
        with replacing_folder(pathlib.Path({str(target)!r})) as part:
            (part / "half").write_text("x")
            print("writing", flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        refused = pytest.raises(OutputRefused, match=rf"practice \(process {process.pid} on ")
        with refused, replacing_folder(target):
            pass
        assert list(tmp_path.rglob("half"))
        process.kill()
    assert list(tmp_path.rglob("half"))
    with replacing_folder(target) as part:
        (part / "whole").write_text("x")
        assert not list(tmp_path.rglob("half"))
    assert names(tmp_path) == ["practice"]
    assert names(target) == ["whole"]


def test_run_removes_what_a_killed_one_left_in_its_own_folders_and_in_no_others(tmp_path):
    left, kept = tmp_path / "P1" / ".caltomorph-0123.part", tmp_path / "theirs" / ".caltomorph-0123.part"
    for part in (tmp_path / ".caltomorph-4567.part", left, kept):
        part.parent.mkdir(exist_ok=True)
        part.write_text("half")
    with only_run(tmp_path, ".lock", "another folder", inside=[tmp_path / "P1", tmp_path / "none"]):
        assert not left.exists()
    assert names(tmp_path) == ["P1", "theirs"]
    assert kept.exists()


def test_run_that_writes_nothing_leaves_no_folder(tmp_path):
    with only_run(tmp_path / "new" / "results", ".lock", "another folder"):
        pass
    assert names(tmp_path) == []


def test_files_that_were_written_and_are_gone_are_named(tmp_path):
    (tmp_path / "there").touch()
    refuse_missing([tmp_path / "there"])
    with pytest.raises(OutputRefused, match=r"1 of 2 written files are gone \(first: .*gone\).*run this again"):
        refuse_missing([tmp_path / "there", tmp_path / "gone"])


class _Scanner:
    """A virus scanner, as Windows shows it: what is moved is open in it for so many tries."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tries: int) -> None:
        self.left = tries
        for name in ("rename", "replace"):
            monkeypatch.setattr(Path, name, self._refusing(getattr(Path, name)))
        monkeypatch.setattr(storage, "_IS_WINDOWS", True)

    def _refusing(self, move: Callable[[Path, Path], object]) -> Callable[[Path, Path], object]:
        def moved(source: Path, target: Path) -> object:
            self.left -= 1
            if self.left >= 0:
                raise PermissionError(errno.EACCES, "The process cannot access the file")
            return move(source, target)

        return moved


def test_a_file_that_a_scanner_has_open_for_a_moment_is_replaced_on_windows(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    _Scanner(monkeypatch, tries=2)
    with replacing(tmp_path / "a.csv") as part:
        part.write_text("x", "utf-8")
    _Scanner(monkeypatch, tries=2)
    with replacing_folder(tmp_path / "model", overwrite=True) as new:
        (new / "a").write_text("x", "utf-8")
    assert names(tmp_path) == ["a.csv", "model"]
    assert names(tmp_path / "model") == ["a"]


def test_a_file_that_stays_open_is_refused_with_the_old_one_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("old", "utf-8")
    monkeypatch.setattr(storage, "_PATIENCE_S", 0.1)
    _Scanner(monkeypatch, tries=10**6)
    with pytest.raises(OutputRefused, match="close it in other programs"), replacing(tmp_path / "a.csv") as part:
        part.write_text("new", "utf-8")
    assert (tmp_path / "a.csv").read_text("utf-8") == "old"
    assert names(tmp_path) == ["a.csv"]


@pytest.mark.parametrize(("folder", "is_long"), [("x" * 200, True), ("x" * 20, False)])
def test_a_path_that_is_too_long_for_windows_is_said_to_be(folder, is_long, monkeypatch):
    monkeypatch.setattr(storage, "_IS_WINDOWS", True)
    with pytest.raises(OutputRefused) as caught, storage.explained_output(Path("/", folder, "b" * 40, "a.csv")):
        raise FileNotFoundError(errno.ENOENT, "The system cannot find the path specified")
    assert ("too long for Windows" in str(caught.value)) == is_long
