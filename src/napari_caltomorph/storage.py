"""Where this package keeps its own files, and how any file is written so that nothing half-written remains."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from napari_caltomorph.errors import OutputRefused


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
    """Yield a temporary file beside `target` that takes its place when the block ends without an error.

    Raises
    ------
    OutputRefused
        The folder cannot be written, or the disk is full; `target` is as it was before.
    """
    with _explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:80]}-", suffix=".part", dir=target.parent)
        os.close(handle)
        part = Path(name)
        try:
            yield part
            _give_default_mode(part)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `target` that takes its place when the block ends without an error.

    Raises
    ------
    OutputRefused
        `target` exists and is not to be overwritten, cannot be written, or the disk is full.
    """
    if not overwrite and target.exists():
        raise OutputRefused(f"{target} exists already; choose another name, or remove it first.")
    with _explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name[:80]}-", suffix=".part", dir=target.parent))
        try:
            yield part
            part.chmod(0o777 & ~_umask())
            if target.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{target.name[:80]}-", suffix=".old", dir=target.parent))
                target.replace(old / target.name)
                part.replace(target)
                shutil.rmtree(old)
            else:
                part.replace(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def refuse_unwritable(folder: Path) -> None:
    """Find out, before any work is done, whether results can be written to `folder`; nothing is left behind.

    Raises
    ------
    OutputRefused
        It is a file, or it cannot be written or made.
    """
    with _explained(folder):
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        if not existing.is_dir():
            raise OutputRefused(f"{existing} is a file, not a folder; choose another folder for the results.")
        with tempfile.TemporaryDirectory(prefix=".caltomorph-", dir=existing):
            pass


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputRefused(
            f"{target} could not be written ({reason}); free some space or choose another folder."
        ) from error


def _give_default_mode(path: Path) -> None:
    """Undo mkstemp's private mode: a result is as readable as any file this user writes."""
    path.chmod(0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
