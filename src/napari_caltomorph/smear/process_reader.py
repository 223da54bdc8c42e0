"""Reads smears in another process (`cell_process`): several use all cores, where threads wait for each other."""

from __future__ import annotations

import contextlib
import io
import math
import os
import pickle
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace

from napari_caltomorph.child_process import start_process
from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.smear.cell_process import BLOCK_BYTES, SHARED_BYTES, Answer, pixels_at, share_memory
from napari_caltomorph.smear.readers import Part, SmearToRead, parts_if_news

# A process may be killed for what others need of the memory; an image that crashes it does so again.
_ATTEMPTS = 2


class _EndedError(Exception):
    """The process has ended without an answer."""


class ProcessReader:
    """Reads in a process of its own, which is started when it is first needed, and again when it was killed."""

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def read(self, wanted: SmearToRead) -> Iterator[Part]:
        """Yield the parts of a smear, whose `open` and `at_scale` are pickled; its source stays in the process."""
        counted = 0
        for _ in range(_ATTEMPTS):
            try:
                for number, part in enumerate(parts_if_news(wanted, self._ask)):
                    # The second time, all is read again, as files may have changed, but nothing is counted twice.
                    yield replace(part, cells=0) if number < counted else part
                    counted = max(counted, number + 1)
                return
            except _EndedError:
                pass
        yield Part(
            wanted.key,
            error=SmearUnreadable(
                f"{wanted.key} was not read: the process that read it crashed {_ATTEMPTS} times. An image is damaged, "
                "or memory ran out; export the smear again, close other programs, or use fewer --workers."
            ),
        )

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._child is not None:
                self._child.end()

    def _ask(self, wanted: SmearToRead, only_grades: bool) -> Iterator[Part]:
        child = self._running()
        is_whole = False
        try:
            child.send((replace(wanted, has_news=None), only_grades))
            while not is_whole:
                part = child.receive()
                is_whole = part.is_last
                yield part
        except (EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
            raise _EndedError from error
        finally:
            if not is_whole:
                child.end()

    def _running(self) -> _Child:
        with self._lock:
            if self._is_closed:
                raise _EndedError
            if self._child is None or not self._child.is_alive:
                if self._child is not None:
                    self._child.end()
                try:
                    self._child = _Child()
                except OSError as error:
                    raise _EndedError from error
            return self._child


class _Child:
    """One process, the pipes to it, and the memory that it shares."""

    def __init__(self) -> None:
        module = "napari_caltomorph.smear.cell_process"
        if sys.platform == "win32":
            name = f"caltomorph-{uuid.uuid4().hex}"
            self._memory = share_memory(name)
            self._process = start_process(module, name)
        else:
            # Memory, or a file, without a name: whatever happens to both processes, nothing of it is left behind.
            has_memory_files = hasattr(os, "memfd_create")
            with os.fdopen(os.memfd_create("cells"), "wb") if has_memory_files else tempfile.TemporaryFile() as file:
                file.truncate(SHARED_BYTES)
                self._memory = share_memory(str(file.fileno()))
                self._process = start_process(module, str(file.fileno()), pass_fds=[file.fileno()])
        assert isinstance(self._process.stdin, io.BufferedWriter)
        assert isinstance(self._process.stdout, io.BufferedReader)
        self._requests, self._answers = self._process.stdin, self._process.stdout

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, request: object) -> None:
        pickle.dump(request, self._requests)
        self._requests.flush()

    def receive(self) -> Part:
        answer: Answer = pickle.load(self._answers)  # noqa: S301 (of the process that was started here)
        part, shapes, block = answer
        if block is None:
            return part
        images, start = {}, block * BLOCK_BYTES
        for digest, shape in shapes.items():
            # A copy: the process needs the block before the encoder is done with the images.
            images[digest] = pixels_at(self._memory, start, math.prod(shape)).reshape(shape).copy()
            start += images[digest].size
        self.send(block)
        return replace(part, images=images)

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        with contextlib.suppress(OSError):  # a request that it did not take
            self._requests.close()
