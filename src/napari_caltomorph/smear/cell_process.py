"""The process that reads cells for `process_reader`; it imports nothing that encodes.

It is asked through its standard input. Parts of a smear are answered through standard output; their pixels are in
memory that both processes share, in blocks that are free again when the other one says so.
"""

from __future__ import annotations

import mmap
import os
import pickle
import queue
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.smear.cell_batches import BATCH_BYTES
from napari_caltomorph.smear.readers import Part, SmearToRead, read_parts
from napari_caltomorph.smear.sources import CellSource

BLOCK_BYTES = 2 * BATCH_BYTES
"""A block has the images of a part; a part that needs more, as its last image is large, goes through the pipe."""

BLOCKS = 4

SHARED_BYTES = BLOCKS * BLOCK_BYTES
"""Memory that a process shares: 32 MiB, of which only what was once written to is taken."""

Answer = tuple[Part, Mapping[str, tuple[int, ...]], int | None]
"""A part, the shapes of its images by digest, and the block where they are one after the other."""


def share_memory(name: str) -> mmap.mmap:
    """Return the shared memory; its name is a file descriptor but on Windows. It is gone with its last process."""
    if sys.platform == "win32":
        return mmap.mmap(-1, SHARED_BYTES, tagname=name)
    return mmap.mmap(int(name), SHARED_BYTES)


def pixels_at(memory: mmap.mmap, start: int, count: int) -> NDArray[np.uint8]:
    """Return `count` bytes of the memory, which are not copied."""
    return np.frombuffer(memory, np.uint8, count, start)


class _Requests:
    """What comes through standard input; when that ends, i.e. with the process that asks, so does this process."""

    def __init__(self, pipe: BinaryIO) -> None:
        self.wanted: queue.SimpleQueue[tuple[SmearToRead, bool]] = queue.SimpleQueue()
        self.free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for block in range(BLOCKS):
            self.free.put(block)
        # A thread of its own: reading a large smear may take long.
        threading.Thread(target=self._listen, args=(pipe,), daemon=True).start()

    def _listen(self, pipe: BinaryIO) -> None:
        try:
            while True:
                request = pickle.load(pipe)  # noqa: S301 (of the process that started this one)
                if isinstance(request, int):
                    self.free.put(request)
                else:
                    self.wanted.put(request)
        finally:
            os._exit(0)


def main() -> None:
    """Read what is asked for until standard input ends."""
    memory = share_memory(sys.argv[1])
    # What a decoder may print is no answer.
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    requests = _Requests(sys.stdin.buffer)
    while True:
        for part in read_parts(*requests.wanted.get()):
            pickle.dump(_answer(part, memory, requests.free), answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()


def _answer(part: Part, memory: mmap.mmap, free: queue.SimpleQueue[int]) -> Answer:
    if part.smear is not None:
        # Open files stay here: what takes a graded smear reads no more of its cells.
        part = replace(part, smear=replace(part.smear, source=cast(CellSource, None)))
    if part.error is not None and not isinstance(part.error, (CaltomorphError, OSError)):
        # Others may not be sendable, and are for a programmer.
        part = replace(part, error=RuntimeError("".join(traceback.format_exception(part.error))))
    if not 0 < part.nbytes <= BLOCK_BYTES:
        return part, {}, None
    block = free.get()
    start = block * BLOCK_BYTES
    for image in part.images.values():
        pixels_at(memory, start, image.size)[:] = image.reshape(-1)
        start += image.size
    return replace(part, images={}), {digest: image.shape for digest, image in part.images.items()}, block


if __name__ == "__main__":
    main()
