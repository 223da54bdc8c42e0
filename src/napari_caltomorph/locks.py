"""One run at a time in a folder; the operating system lets go of the lock however the process ends."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.storage import refuse_unwritable

# Windows keeps others from reading a locked byte; the text that says who holds the lock stands before it.
_LOCKED_BYTE = 2**20
_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


@contextlib.contextmanager
def only_run(folder: Path, name: str, instead: str) -> Iterator[None]:
    """Make a folder and keep other runs out of it while the block runs.

    Parameters
    ----------
    folder : Path
    name : str
        Of the lock file in it.
    instead : str
        What to choose when it cannot be used, e.g. "another feature folder".

    Raises
    ------
    OutputRefused
        Another run writes there, or the folder cannot be written.
    """
    refuse_unwritable(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / name).open("a+", encoding="utf-8")
    except OSError as error:
        raise OutputRefused(f"{folder} cannot be written ({error.strerror}); choose {instead}.") from error
    with lock:
        if not _try_to_lock(lock):
            lock.seek(0)
            who = lock.read(500).strip() or "unknown"
            raise OutputRefused(f"Another run writes to {folder} ({who}); wait until it has ended, or stop it.")
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%Y-%m-%d %H:%M:%S}\n")
        lock.flush()
        yield


def _try_to_lock(file: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        # Some network file systems have no locks. Two runs would then do work twice; files are still written whole.
        logging.getLogger(__name__).warning("%s cannot be locked (%s); start no second run.", file.name, error.strerror)
    return True
