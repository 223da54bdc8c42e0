"""Files that come over the network: whole and with the right checksum, or resumed by the next run.

What has arrived is kept under its checksum in one folder, so a run that was stopped, or whose connection broke off, is
resumed by any later one. Threads download; the caller only waits, so that it can cancel at any time.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from napari_caltomorph.errors import DiskFull, DownloadRefused
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.storage import explained_output, home, move, only_run

if TYPE_CHECKING:
    import requests

Result = TypeVar("Result")

TIMEOUT_SECONDS = 10.0
"""How long a server may be silent."""

_THREADS = 4
_ATTEMPTS = 3  # In a row that bring nothing
_CHUNK_BYTES = 2**16
_POLL_SECONDS = 0.1
_UNPACKED = {"Accept-Encoding": "identity"}


@dataclass(frozen=True)
class RemoteFile:
    """A file of a server, and what is known of its content."""

    name: str
    url: str
    size: int
    checksum: str  # Hex digits: 64 of a SHA-256, or 40 of git's SHA-1 of a small file; empty where it is not known

    @classmethod
    def at(cls, url: str, name: str, sha256: str | None) -> RemoteFile:
        """Return the file at an address, as large as its server says; `requests.RequestException` as in `fetch`."""
        import requests

        with requests.get(url, headers=_UNPACKED, stream=True, timeout=TIMEOUT_SECONDS) as response:
            response.raise_for_status()
            return cls(name, url, int(response.headers.get("Content-Length", 0)), sha256 or "")

    @property
    def key(self) -> str:
        """What it is called until it is used."""
        return self.checksum or self.name

    def matches(self, path: Path) -> bool:
        """Whether the content of a file is the one that the server announced."""
        with path.open("rb") as file:
            if len(self.checksum) != 40:
                return not self.checksum or hashlib.file_digest(file, "sha256").hexdigest() == self.checksum
            digest = hashlib.sha1(f"blob {self.size}\0".encode(), usedforsecurity=False)
            digest.update(file.read())
            return digest.hexdigest() == self.checksum


def fetch(
    files: Sequence[RemoteFile], folder: Path, headers: Mapping[str, str], *, progress: OnProgress
) -> dict[str, Path]:
    """Download files into an existing folder and return where each is, by its name.

    What is in the folder from an earlier run is not downloaded again. Raises `DownloadRefused` where a file is another
    than was announced, `DiskFull`, and `requests.RequestException` for anything else that the network does.
    """
    # Files of one content are one transfer: two threads would write into one part.
    transfers = [_Transfer(file, folder, headers) for file in {file.key: file for file in files}.values()]
    total = sum(transfer.file.size for transfer in transfers)
    _refuse_full_disk(folder, total - sum(transfer.received for transfer in transfers))

    def report() -> None:
        done = sum(transfer.received for transfer in transfers)
        progress(Progress("Downloading", done // 1000, max(done, total) // 1000, "kB"))

    try:
        run_in_threads(transfers, report, _THREADS)
    finally:
        for transfer in transfers:
            transfer.stop()
    return {file.name: folder / file.key for file in files}


@contextmanager
def fetched(
    files: Sequence[RemoteFile], source: str, headers: Mapping[str, str] = MappingProxyType({}), *, progress: OnProgress
) -> Iterator[dict[str, Path]]:
    """Yield what `fetch` returns of the files of a source; they are removed when the block ends without an error.

    After an error, what has arrived is kept in the cache, and the next call continues there. Raises what `fetch` does,
    and `OutputRefused` where the cache cannot be written, or another run downloads from this source.
    """
    folder = home("cache") / "downloads" / source
    with only_run(folder, ".lock", "another cache folder with CALTOMORPH_HOME"):
        paths = fetch(files, folder, headers, progress=progress)
        yield paths
        for path in (*paths.values(), *folder.glob("*.part")):
            path.unlink(missing_ok=True)
    with suppress(OSError):  # files of another commit are in it
        folder.rmdir()


def run_in_threads(
    calls: Sequence[Callable[[], Result]], report: Callable[[], object], threads: int = 1
) -> list[Result]:
    """Return the results of calls; `report` is called ten times a second meanwhile, and stops by raising an error.

    The threads are daemons: one that waits for a silent server does not keep the process from ending.
    """
    queue: SimpleQueue[tuple[Future[Result], Callable[[], Result]]] = SimpleQueue()
    futures: list[Future[Result]] = [Future() for _ in calls]
    for item in zip(futures, calls, strict=True):
        queue.put(item)
    for _ in range(min(threads, len(calls))):
        threading.Thread(target=_work, args=(queue,), daemon=True).start()
    pending = set(futures)
    try:
        while pending:
            report()
            done, pending = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        report()
    finally:
        for future in futures:
            future.cancel()
    return [future.result() for future in futures]


def _work(queue: SimpleQueue[tuple[Future[Result], Callable[[], Result]]]) -> None:
    with suppress(Empty):
        while True:
            future, call = queue.get_nowait()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
                    future.set_exception(error)


class _Transfer:
    """One file on its way. Calling it downloads what is missing; `stop` ends that from another thread."""

    def __init__(self, file: RemoteFile, folder: Path, headers: Mapping[str, str]) -> None:
        self.file = file
        self.target = folder / file.key
        self._part = self.target.with_name(f"{file.key}.part")
        self._headers = dict(headers) | _UNPACKED
        self._stopped = False
        self._response: requests.Response | None = None
        is_here = self.target.is_file()
        self.received = file.size if is_here else min(_size(self._part), file.size)

    def __call__(self) -> None:
        import requests

        failures = 0
        while not self._stopped and not self.target.is_file():
            before = _size(self._part)
            try:
                self._continue()
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                failures = failures + 1 if _size(self._part) <= before else 0
                if failures == _ATTEMPTS and not self._stopped:
                    raise

    def stop(self) -> None:
        """End it, also while it waits for the server."""
        self._stopped = True
        if self._response is not None:
            with suppress(OSError, ValueError, RuntimeError, AttributeError):  # it has ended; or an urllib3 before 2.3
                self._response.raw.shutdown()

    def _continue(self) -> None:
        """Download what is missing, and give the file its name if its content is right."""
        import requests

        if (start := _size(self._part)) < self.file.size:
            headers = self._headers | ({"Range": f"bytes={start}-"} if start else {})
            with requests.get(self.file.url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as self._response:
                self._response.raise_for_status()
                self._write(self._response, "ab" if self._response.status_code == 206 else "wb")
        if self._stopped:
            return
        if _size(self._part) < self.file.size:
            raise requests.ConnectionError(f"{self.file.url} ended early")
        if _size(self._part) != self.file.size or not self.file.matches(self._part):
            self._part.unlink()
            raise DownloadRefused(
                f"{self.file.url} gave another file than is announced (its checksum differs); nothing was kept of it. "
                "Try again later, or from another network."
            )
        move(self._part, self.target)

    def _write(self, response: requests.Response, mode: str) -> None:
        if self._stopped:  # the file may be the next run's by now
            return
        with explained_output(self._part):
            file = self._part.open(mode)
        with file:
            self.received = file.tell()
            for chunk in response.iter_content(_CHUNK_BYTES):
                if self._stopped or self.received > self.file.size:
                    return
                with explained_output(self._part):
                    file.write(chunk)
                    file.flush()
                self.received += len(chunk)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _refuse_full_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFull(
            f"{folder} has {free / 1e6:,.0f} MB free, and {needed / 1e6:,.0f} MB are to be downloaded; free some "
            "space, or name a folder on another disk in CALTOMORPH_HOME."
        )
