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
import tempfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote_to_bytes

import filelock
import platformdirs

from napari_caltomorph.errors import OutputRefused, printable

# What network file systems without locks report; macOS has ENOTSUP next to EOPNOTSUPP.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


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
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary file next to `target` that replaces it when the block ends without an error.

    Raises `OutputRefused` where the folder cannot be written, or the disk is full; `target` is as it was before.
    """
    with _explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = _beside(target, "part")
        part.touch(exist_ok=False)
        try:
            yield part
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(target: Path, *, overwrite: bool = False, scratch: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder that replaces `target` when the block ends without an error.

    With `overwrite`, a folder at `target` is replaced with everything in it. `scratch` is an existing folder on the
    same disk in which the temporary one is made, by default next to `target`. A process that is killed leaves the
    temporary folder; a caller that removes `scratch` later passes it. Raises `OutputRefused` where `target` must not be
    overwritten, is a file, cannot be written, or the disk is full; `target` is then as it was before.
    """
    if target.exists() and not (overwrite and target.is_dir()):
        raise OutputRefused(f"{target} exists already; choose another name, or remove it first.")
    with _explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = _beside(target if scratch is None else scratch / target.name, "part")
        part.mkdir()
        try:
            yield part
            if overwrite and target.exists():
                _swap(part, target)
            else:
                part.rename(target)  # fails when someone else has filled it meanwhile
        finally:
            shutil.rmtree(part, ignore_errors=True)


def refuse_unwritable(folder: Path) -> None:
    """Raise `OutputRefused` before a long run where results cannot be written to `folder`; no file remains."""
    with _explained(folder):
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        if not existing.is_dir():
            raise OutputRefused(f"{existing} is a file, not a folder; choose another folder for the results.")
        with tempfile.TemporaryFile(dir=existing):  # never has a name (Linux), so even a kill leaves nothing
            pass


@contextlib.contextmanager
def only_run(folder: Path, name: str, instead: str) -> Iterator[None]:
    """Make a folder and keep other runs out of it while the block runs, or until the process ends.

    `name` is the lock file in it, `instead` what to choose otherwise, e.g. "another feature folder". Raises
    `OutputRefused` where another run writes there, or the folder cannot be written.
    """
    refuse_unwritable(folder)
    path = folder / name
    lock = filelock.FileLock(
        path, timeout=0, fallback_to_soft=False, preserve_lock_file=True, on_acquired=_write_holder
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        with path.open("rb", buffering=0) as file:
            file.seek(1)
            holder = file.read(500).decode(errors="replace").strip() or "unknown"
        raise OutputRefused(
            f"Another run writes to {folder} ({holder}); wait until it has ended, or stop it."
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise OutputRefused(f"{folder} cannot be written ({error.strerror}); choose {instead}.") from error
        # Two runs would then do the work twice; files are still written whole.
        logging.getLogger(__name__).warning("%s cannot be locked (%s); start no second run.", path, error.strerror)
    try:
        yield
    finally:
        lock.release()


def path_of(name: str) -> Path:
    """Return the path that `printable` was made of: the name itself where it exists, its bytes otherwise."""
    path = Path(name)
    return path if path.exists() else Path(os.fsdecode(unquote_to_bytes(name)))


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


@contextlib.contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputRefused(
            f"{target} could not be written ({reason}); free some space or choose another folder."
        ) from error


def _beside(target: Path, ending: str) -> Path:
    """Return a new name in the folder of `target`; made by us, not by `tempfile`, it has the user's usual mode."""
    return target.parent / f".caltomorph-{secrets.token_hex(8)}.{ending}"


def _swap(new: Path, target: Path) -> None:
    old = _beside(target, "old")
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
