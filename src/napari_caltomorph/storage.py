"""Where this package keeps its own files, and how any file is written so that nothing half-written remains."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote_to_bytes

import filelock
import platformdirs

from napari_caltomorph.errors import DiskFull, OutputRefused, printable

StrPath = str | os.PathLike[str]
"""A path as public functions take it; ``~`` is the shell's and is not expanded."""

# What network file systems without locks report; macOS has ENOTSUP next to EOPNOTSUPP.
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_BLOCK = 4096
_PARTS = ".caltomorph-*.part"
# On Windows, a virus scanner or an indexer has a new file open for a moment, and nothing open can be moved. Longer
# paths than this need a setting that most machines do not have.
_IS_WINDOWS = sys.platform == "win32"
_PATIENCE_S, _LONGEST_PATH = 2.0, 259


def home(kind: str) -> Path:
    """Return the folder for ``"weights"``, ``"models"`` or ``"cache"`` (not created).

    ``CALTOMORPH_HOME`` overrides the platform's own folders.
    """
    if override := os.environ.get("CALTOMORPH_HOME"):
        return Path(override).expanduser() / kind
    if kind == "cache":
        return platformdirs.user_cache_path("caltomorph", appauthor=False)
    return platformdirs.user_data_path("caltomorph", appauthor=False) / kind


@contextlib.contextmanager
def explained_output(target: Path) -> Iterator[None]:
    """Raise `OutputRefused`, or `DiskFull`, where the block cannot write a file or folder, instead of OSError."""
    try:
        yield
    except OSError as error:
        refusal = DiskFull if error.errno in _FULL else OutputRefused
        reason = error.strerror or str(error)
        # Windows lets no one else write a table that is open in Excel
        fix = "close it in other programs" if isinstance(error, PermissionError) else "free some space"
        if _IS_WINDOWS and len(str(_longer(target.absolute()))) > _LONGEST_PATH:
            fix = "its path is too long for Windows: use shorter names"
        raise refusal(f"{target} could not be written ({reason}); {fix} or choose another folder.") from error


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary file next to `target` that replaces it when the block ends without an error.

    Raises `OutputRefused` where the folder cannot be written, or the disk is full; `target` is as it was before.
    """
    with explained_output(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = _beside(target, "part")
        part.touch(exist_ok=False)
        try:
            yield part
            move(part, target)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(target: Path, *, overwrite: bool = False, scratch: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder that replaces `target` when the block ends without an error.

    With `overwrite`, a folder at `target` is replaced with everything in it. `scratch` is an existing folder on the
    same disk in which the temporary one is made; by default, it is a hidden one next to `target` that keeps other runs
    out, and what a killed run left there is removed. Raises `OutputRefused` where `target` must not be overwritten, is
    a file, cannot be written, another run makes it, or the disk is full; `target` is then as it was before.
    """
    with explained_output(target):
        if target.exists() and not (overwrite and target.is_dir()):
            raise OutputRefused(f"{target} exists already; choose another name, or remove it first.")
    with contextlib.ExitStack() as stack:
        if scratch is None:
            scratch = stack.enter_context(_only_scratch(target.absolute()))
        stack.enter_context(explained_output(target))
        part = _beside(scratch / "new", "part")
        part.mkdir()
        try:
            yield part
            if overwrite and target.exists():
                _swap(part, target.absolute())
            else:
                move(part, target, is_new=True)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def move(source: Path, target: Path, *, is_new: bool = False) -> None:
    """Give a file or folder another name; with `is_new`, fail where there is something else of that name.

    Windows refuses while another program has it open, which mostly ends soon.
    """
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            source.rename(target) if is_new else source.replace(target)
        except PermissionError:
            if not _IS_WINDOWS or time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def refuse_missing(files: Sequence[Path]) -> None:
    """Raise `OutputRefused` where files that were written are gone: a folder may be deleted during a long run."""
    if missing := [file for file in files if not file.exists()]:
        raise OutputRefused(
            f"{len(missing)} of {len(files)} written files are gone (first: {missing[0]}): they were deleted "
            "meanwhile; run this again."
        )


def refuse_unwritable(folder: Path) -> None:
    """Raise `OutputRefused` before a long run where results cannot be written to `folder`; no file remains."""
    with explained_output(folder):
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        if not existing.is_dir():
            raise OutputRefused(f"{existing} is a file, not a folder; choose another folder for the results.")
        with tempfile.TemporaryFile(dir=existing) as file:  # never has a name (Linux), so even a kill leaves nothing
            file.write(bytes(_BLOCK))  # on a full disk, a file can be made but not filled


def raise_if_of_all(error: OutputRefused, folder: Path) -> None:
    """Raise where not only this could not be written to a folder: its disk is full, or nothing can be written there."""
    if isinstance(error, DiskFull):
        raise error
    refuse_unwritable(folder)


def refuse_existing(*paths: Path | None, overwrite: bool) -> None:
    """Raise `OutputRefused` where one of these results is there already, unless it may be overwritten."""
    for path in paths:
        if path is not None and not overwrite and path.exists():
            raise OutputRefused(f"{path} exists already; add --overwrite to replace it, or choose another name.")


@contextlib.contextmanager
def only_run(
    folder: Path, name: str, instead: str, *, inside: Sequence[Path] = (), target: Path | None = None
) -> Iterator[bool]:
    """Make a folder and keep other runs out of it while the block runs, or until the process ends.

    Yields whether it is locked; some network drives have no locks. Where it is, files that a killed run left half
    written are removed from it, and from the folders `inside` it that no other run writes to. `name` is the lock file
    in it, `instead` what to choose otherwise, e.g. "another feature folder", and `target` what is written, by default
    the folder. Raises `OutputRefused` where another run writes there, or the folder cannot be written.
    """
    target = target or folder
    refuse_unwritable(folder if target == folder else target.parent)
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    lock = filelock.FileLock(folder / name, timeout=0, fallback_to_soft=False, on_acquired=_write_holder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        holder = _holder(folder / name)
        raise OutputRefused(
            f"Another run writes to {target} ({holder}); wait until it has ended, or stop it."
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            reason = error.strerror or str(error)
            raise OutputRefused(f"{target} cannot be locked for this run ({reason}); choose {instead}.") from error
        # Two runs would then do the work twice; files are still written whole.
        logging.getLogger(__name__).warning(
            "%s cannot be locked (%s); start no second run.", folder / name, error.strerror
        )
    written_here = (folder, *inside) if lock.is_locked else ()
    try:
        _remove_leftovers(written_here)
        yield lock.is_locked
    finally:
        _remove_leftovers(written_here)  # of workers that were killed
        with contextlib.suppress(OSError):  # while it is locked, so that it is not the next run's
            (folder / name).unlink()
        with contextlib.suppress(OSError):  # a drive that is gone ends the lock, and must not hide the result
            lock.release()
        with contextlib.suppress(OSError):  # there is a result in it
            for one in made:
                one.rmdir()


def as_text(value: object) -> object:
    """Return a path as text, and anything else as it is: the validator of options that are a name or a path."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def path_of(name: str) -> Path:
    """Return the path that `printable` was made of: the name itself where it exists, its bytes otherwise."""
    path = Path(name)
    with contextlib.suppress(OSError):  # longer than any file's name
        # Below a file: in an archive
        is_there = path.exists() or next((one for one in path.parents if one.exists()), path).is_file()
        return path if is_there else Path(os.fsdecode(unquote_to_bytes(name)))
    return path


def is_file(path: Path) -> bool:
    """Whether there is a regular file; false, too, for what no file can be called."""
    try:
        return path.is_file()
    except OSError:
        return False


def place_of(paths: Iterable[Path]) -> str:
    """Return one text for where a patient's slides are, as tables and predictions record it; see `paths_of`."""
    names = [printable(str(path)) for path in paths]
    return names[0] if len(names) == 1 else "|".join(name.replace("|", "%7C") for name in names)


def paths_of(place: str) -> list[Path]:
    """Return the paths that `place_of` was made of: one, or those of several slides."""
    whole = path_of(place)
    return [whole] if "|" not in place or whole.exists() else [path_of(name) for name in place.split("|")]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_holder(lock: int) -> None:
    """Write the lock's holder into its file, after the first byte: on Windows, others cannot read a locked byte."""
    os.ftruncate(lock, 0)
    since = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
    os.write(lock, f" process {os.getpid()} on {socket.gethostname()}, since {since}\n".encode())


def _holder(lock: Path) -> str:
    """Return what `_write_holder` wrote."""
    try:
        with lock.open("rb", buffering=0) as file:
            file.seek(1)
            return file.read(500).decode(errors="replace").strip() or "unknown"
    except OSError:  # it has ended just now
        return "unknown"


def _remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove the temporary files of `replacing` in folders that no other process writes to."""
    for part in (part for folder in folders for part in folder.glob(_PARTS)):
        with contextlib.suppress(OSError):  # a folder is not removed: it has a lock of its own
            part.unlink()


@contextlib.contextmanager
def _only_scratch(target: Path) -> Iterator[Path]:
    """Yield a folder next to `target` in which no other run makes it.

    It has the same name in every run, so that the next one finds what a killed one left. It is never the folder that
    becomes `target`: then, its lock could not be kept to the end.
    """
    folder = target.parent / f".caltomorph-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}.part"
    with only_run(folder, ".lock", "another folder", target=target) as is_locked:
        if is_locked:
            for part in folder.glob(_PARTS):
                shutil.rmtree(part, ignore_errors=True)
        yield folder
    with contextlib.suppress(OSError):  # the next run is in it already
        folder.rmdir()


def _beside(target: Path, ending: str) -> Path:
    """Return a new name in the folder of `target`; made by us, not by `tempfile`, it has the user's usual mode."""
    return target.parent / f".caltomorph-{secrets.token_hex(8)}.{ending}"


def _longer(target: Path) -> Path:
    """Return what has the longer path: the target, or the temporary file next to it."""
    return max(target, _beside(target, "part"), key=lambda path: len(str(path)))


def _swap(new: Path, target: Path) -> None:
    old = _beside(target, "old")
    move(target, old, is_new=True)
    try:
        move(new, target, is_new=True)
    except OSError:
        move(old, target, is_new=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
