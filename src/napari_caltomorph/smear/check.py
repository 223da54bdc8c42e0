"""Grading the cells of a smear: which are usable, and why the others are left out.

The rules are few and cautious: of 11,383 different real cells none was called empty or blurred
(`benchmarks/quality_rules.py` repeats that, `docs/quality-rules.md` has the numbers). The user can reverse every grade
except "unreadable".
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

from napari_caltomorph.errors import CellUnreadable, SmearUnreadable, visible
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear.measures import measure_batch
from napari_caltomorph.smear.smear import Grade, Reason, Smear

QUALITY_RULES = "2"
"""Version of the rules below and of how pixels are read; it is in every feature file, so that a change is noticed."""

# Real cells have 95 or more between the 1st and 99th percentile of green: a stained nucleus absorbs green.
MIN_CONTRAST = 60
# Real cells reach 0.65; a Gaussian blur of 3 px brings 9 of 10 above 0.75, one of 2 px few.
MAX_BLUR = 0.75
# Real cells reach 1.3 times the median side; whole fields next to them have 8 times.
WHOLE_FIELD = 3.0


@dataclass(frozen=True)
class _Measurement:
    digest: str = ""
    error: str = ""
    long_side: int = 0
    contrast: float = 0.0
    blur: float = float("nan")


def check_smear(smear: Smear, *, progress: OnProgress = ignore) -> Smear:
    """Decode every cell and grade it.

    Parameters
    ----------
    smear : Smear
        N cells.
    progress : callable
        See `OnProgress`.

    Returns
    -------
    Smear
        With `grades`, one for each of N cells.

    Raises
    ------
    SmearUnreadable
        No cell is usable.
    """
    measured: list[_Measurement] = []
    progress(Progress("Checking cells", 0, len(smear)))
    with closing(_measure_all(smear)) as measurements:
        for one in measurements:
            measured.append(one)
            if len(measured) % 16 == 0 or len(measured) == len(smear):
                progress(Progress("Checking cells", len(measured), len(smear)))
    # What was guessed of the pixels is only known when they were decoded.
    notes = tuple(dict.fromkeys(note for note in (*smear.notes, smear.source.scale.note) if note))
    checked = replace(smear, grades=_grade(smear, measured), notes=notes)
    if not len(checked.usable):
        counts = ", ".join(f"{n} {reason}" for reason, n in checked.left_out_counts().items())
        first = checked.left_out[0]
        fix = "Export the smear again."
        if smear.source.scale.is_full:
            fix = "One of its 16-bit images is very bright; if the others use fewer bits, move it elsewhere."
        raise SmearUnreadable(
            f"{smear.path or smear.patient_id}: {len(smear)} {'images' if len(smear) > 1 else 'image'} found, none "
            f"usable ({counts}; first: {first.cell}{': ' + first.note if first.note else ''}). {fix}"
        )
    return checked


def _measure_all(smear: Smear) -> Generator[_Measurement, None, None]:
    """Measure the cells in order, a few at once: decoders and hashing release the interpreter."""
    pool = ThreadPoolExecutor(max_workers=4)
    try:
        indices = iter(range(len(smear)))
        # A bounded window: the measurements of 20,000 cells need not wait in memory for the first one.
        pending = deque(pool.submit(_measure, smear, i) for i in islice(indices, 64))
        while pending:
            yield pending.popleft().result()
            pending += [pool.submit(_measure, smear, i) for i in islice(indices, 1)]
    finally:
        pool.shutdown(cancel_futures=True)


def _measure(smear: Smear, index: int) -> _Measurement:
    digest = ""
    try:
        digest = smear.source.digest(index)
        image = smear.image(index)
    except CellUnreadable as error:
        return _Measurement(digest, error=str(error))
    contrast, blur = measure_batch([image])[0].tolist()
    return _Measurement(digest, "", max(image.shape[:2]), contrast, blur)


def _grade(smear: Smear, measured: list[_Measurement]) -> tuple[Grade, ...]:
    sizes = [one.long_side for one in measured if not one.error]
    # Of two, the lower one: a cell next to a whole field.
    limit = WHOLE_FIELD * statistics.median_low(sizes) if sizes else 0.0
    kept = _kept_of_repeats(smear, measured)
    grades = []
    for index, one in enumerate(measured):
        reason, note = None, ""
        if one.error:
            reason, note = Reason.UNREADABLE, one.error
        elif kept[one.digest] != index:
            reason, note = Reason.REPEAT, f"same as {visible(smear.cells[kept[one.digest]])}"
        elif one.long_side > limit:
            reason, note = Reason.WHOLE_FIELD, f"{one.long_side} px, cells have {limit / WHOLE_FIELD:.0f}"
        elif one.contrast < MIN_CONTRAST:
            reason, note = Reason.EMPTY, f"contrast {one.contrast:.0f} of 255"
        elif one.blur > MAX_BLUR:
            reason, note = Reason.BLURRED, f"blur {one.blur:.2f}"
        grades.append(Grade(one.digest, reason, note, one.blur))
    return tuple(grades)


def _kept_of_repeats(smear: Smear, measured: list[_Measurement]) -> dict[str, int]:
    """Return which of byte-identical cells is kept: the first with a label, otherwise the first."""
    kept: dict[str, int] = {}
    for index, one in enumerate(measured):
        if one.error:
            continue
        if one.digest not in kept or (smear.labels[kept[one.digest]] is None and smear.labels[index] is not None):
            kept[one.digest] = index
    return kept
