"""Grading the cells of a smear: which are usable, and why the others are left out.

The rules are few and cautious: of 4,047 different real cells none was called empty or blurred
(`benchmarks/quality_rules.py` repeats that, `docs/quality-rules.md` tells the numbers). Every verdict but
"unreadable" can be reversed by the user.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from skimage.measure import blur_effect

from napari_caltomorph.errors import CellUnreadable, SmearUnreadable
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear.smear import Grade, Reason, Smear

QUALITY_RULES = "1"
"""Version of the rules below; it stands in every feature file, so that a change is noticed."""

# Real cells have 95 or more between the 1st and 99th percentile of green: a stained nucleus absorbs green.
MIN_CONTRAST = 60
# Real cells reach 0.65; a Gaussian blur of 3 px brings 9 of 10 above 0.75, one of 2 px few.
MAX_BLUR = 0.75
# Real cells reach 1.3 times the median side; whole fields beside them have 8 times.
WHOLE_FIELD = 3.0
# Measuring blur takes many times the image's memory; what is this large is judged by its size.
_LARGEST_MEASURED = 1024


@dataclass(frozen=True)
class _Look:
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
    progress : callable
        Called with a `Progress` for every few cells; raising `Cancelled` in it stops cleanly.

    Returns
    -------
    Smear
        The same with `grades`.

    Raises
    ------
    SmearUnreadable
        No cell is usable; the message says what was found.
    """
    looks: list[_Look] = []
    progress(Progress("Checking cells", 0, len(smear)))
    with closing(_look_at_all(smear)) as found:
        for look in found:
            looks.append(look)
            if len(looks) % 16 == 0 or len(looks) == len(smear):
                progress(Progress("Checking cells", len(looks), len(smear)))
    checked = replace(smear, grades=_grade(smear, looks))
    if not len(checked.usable):
        counts = ", ".join(f"{n} {reason}" for reason, n in checked.left_out_counts().items())
        first = checked.left_out[0]
        raise SmearUnreadable(
            f"{smear.path or smear.patient_id}: {len(smear)} {'images' if len(smear) > 1 else 'image'} found, none "
            f"usable ({counts}; first: {first.cell}{': ' + first.note if first.note else ''}). Export the smear again."
        )
    return checked


def _look_at_all(smear: Smear) -> Generator[_Look, None, None]:
    """Look at the cells in order, a few at once: decoders and hashing release the interpreter."""
    pool = ThreadPoolExecutor(max_workers=4)
    try:
        indices = iter(range(len(smear)))
        # A bounded window: the looks of 20,000 cells need not wait in memory for the first one.
        pending = deque(pool.submit(_look, smear, i) for i in islice(indices, 64))
        while pending:
            yield pending.popleft().result()
            pending += [pool.submit(_look, smear, i) for i in islice(indices, 1)]
    finally:
        pool.shutdown(cancel_futures=True)


def _look(smear: Smear, index: int) -> _Look:
    digest = ""
    try:
        digest = smear.source.digest(index)
        image = smear.image(index)
    except CellUnreadable as error:
        return _Look(digest, error=str(error))
    contrast, blur = measure(image)
    return _Look(digest, "", max(image.shape[:2]), contrast, blur)


def measure(image: NDArray[np.uint8]) -> tuple[float, float]:
    """Return contrast and blur of an (H, W, 3) image: what the rules judge.

    Contrast is the distance between the 1st and the 99th percentile of green; blur is 0 (sharp) ... 1 (blurred),
    Crete et al. 2007, or NaN where it cannot be measured.
    """
    green = image[..., 1].astype(np.float32)
    low, high = np.percentile(green, [1, 99])
    # The measure divides by the image's own variation, and needs a few pixels around its filter.
    is_measurable = low < high and min(green.shape) >= 16 and max(green.shape) <= _LARGEST_MEASURED
    return float(high - low), float(blur_effect(green)) if is_measurable else float("nan")


def _grade(smear: Smear, looks: list[_Look]) -> tuple[Grade, ...]:
    sizes = [look.long_side for look in looks if not look.error]
    # Of two, the lower one: a cell beside a whole field.
    limit = WHOLE_FIELD * statistics.median_low(sizes) if sizes else 0.0
    kept = _kept_of_repeats(smear, looks)
    grades = []
    for index, look in enumerate(looks):
        reason, note = None, ""
        if look.error:
            reason, note = Reason.UNREADABLE, look.error
        elif kept[look.digest] != index:
            reason, note = Reason.REPEAT, f"same as {smear.cells[kept[look.digest]]}"
        elif look.long_side > limit:
            reason, note = Reason.WHOLE_FIELD, f"{look.long_side} px, cells have {limit / WHOLE_FIELD:.0f}"
        elif look.contrast < MIN_CONTRAST:
            reason, note = Reason.EMPTY, f"contrast {look.contrast:.0f} of 255"
        elif look.blur > MAX_BLUR:
            reason, note = Reason.BLURRED, f"blur {look.blur:.2f}"
        grades.append(Grade(look.digest, reason, note, look.blur))
    return tuple(grades)


def _kept_of_repeats(smear: Smear, looks: list[_Look]) -> dict[str, int]:
    """Which of byte-identical cells stays: the first with a label, otherwise the first."""
    kept: dict[str, int] = {}
    for index, look in enumerate(looks):
        if look.error:
            continue
        if look.digest not in kept or (smear.labels[kept[look.digest]] is None and smear.labels[index] is not None):
            kept[look.digest] = index
    return kept
