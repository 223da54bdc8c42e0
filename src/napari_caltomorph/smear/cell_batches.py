"""The cells of a smear in batches, each read once: its bytes are hashed, decoded and measured together.

Grading, fingerprint and encoding all need one of these. Batches are small, so that memory is bounded, progress is
frequent and cancelling is fast.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.child_process import processors
from napari_caltomorph.smear.measures import measure_batch
from napari_caltomorph.smear.smear import Smear
from napari_caltomorph.smear.sources import ReadCell

BATCH_CELLS = 16
BATCH_BYTES = 2**22
"""A batch ends with the image that reaches this: large cells come fewer at once."""

THREADS = min(4, processors())
"""That read one smear. Files, hashing and decoders release the interpreter; more threads wait for each other."""


@dataclass(frozen=True)
class Measurement:
    """What grading needs of one cell."""

    digest: str = ""  # Empty when there was nothing to read
    error: str = ""  # Why it cannot be decoded
    long_side: int = 0  # Pixels
    contrast: float = 0.0
    blur: float = float("nan")


@dataclass(frozen=True)
class CellBatch:
    """Some cells that follow each other in the smear."""

    measured: tuple[Measurement, ...]
    images: tuple[NDArray[np.uint8] | None, ...]  # (H, W, 3); None of one that cannot be decoded


def read_batches(smear: Smear, threads: int = THREADS) -> Generator[CellBatch, None, None]:
    """Yield all cells of a smear, in order, read by so many threads; closing the generator ends them."""
    chunks = deque(range(start, min(start + BATCH_CELLS, len(smear))) for start in range(0, len(smear), BATCH_CELLS))
    pending: deque[tuple[range, Future[CellBatch]]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        while chunks or pending:
            # A bounded window: the cells of a large smear need not wait in memory for the first one.
            while chunks and len(pending) <= threads:
                chunk = chunks.popleft()
                pending.append((chunk, pool.submit(_read_batch, smear, chunk)))
            chunk, future = pending.popleft()
            batch = future.result()
            if rest := chunk[len(batch.measured) :]:
                pending.appendleft((rest, pool.submit(_read_batch, smear, rest)))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


def _read_batch(smear: Smear, indices: Sequence[int]) -> CellBatch:
    """Read the cells with these indices, or the first of them where they are large."""
    cells: list[ReadCell] = []
    total = 0
    for index in indices:
        cells.append(smear.source.read(index))
        total += 0 if (image := cells[-1].image) is None else image.nbytes
        if total >= BATCH_BYTES:
            break
    measures = iter(measure_batch([cell.image for cell in cells if cell.image is not None]).tolist())
    measured = [
        Measurement(cell.digest, cell.error)
        if cell.image is None
        else Measurement(cell.digest, "", max(cell.image.shape[:2]), *next(measures))
        for cell in cells
    ]
    return CellBatch(tuple(measured), tuple(cell.image for cell in cells))
