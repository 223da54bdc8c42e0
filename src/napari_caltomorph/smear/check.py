"""Grading the cells of a smear: which are usable, and why the others are left out.

The rules are few and cautious: of 11,383 different real cells none was called empty or blurred
(`benchmarks/quality_rules.py` repeats that, `docs/quality-rules.md` has the numbers). The user can reverse every grade
except "unreadable".
"""

from __future__ import annotations

import statistics
from contextlib import closing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.errors import SmearUnreadable, visible
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear.cell_batches import CellBatch, Measurement, read_batches
from napari_caltomorph.smear.smear import Grade, Reason, Smear

QUALITY_RULES = "2"
"""Version of the rules below and of how pixels are read; it is in every feature file, so that a change is noticed."""

# Real cells have 95 or more between the 1st and 99th percentile of green: a stained nucleus absorbs green.
MIN_CONTRAST = 60
# Real cells reach 0.65; a Gaussian blur of 3 px brings 9 of 10 above 0.75, one of 2 px few.
MAX_BLUR = 0.75
# Real cells reach 1.3 times the median side; whole fields next to them have 8 times.
WHOLE_FIELD = 3.0
# Long sides of the images of one export differ less, of cells cut out one by one too.
_ONE_SIZE = 1.5


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
    grading = Grading(smear)
    progress(Progress("Checking cells", 0, len(smear)))
    with closing(read_batches(smear)) as batches:
        for batch in batches:
            grading.add(batch)
            progress(Progress("Checking cells", grading.done, len(smear)))
    return grading.graded()


class Grading:
    """Collects what is measured of a smear's cells, in their order, and grades them when all are there."""

    def __init__(self, smear: Smear) -> None:
        self._smear = smear
        self._measured: list[Measurement] = []
        self._digests: set[str] = set()

    @property
    def done(self) -> int:
        """How many cells were measured."""
        return len(self._measured)

    def add(self, batch: CellBatch) -> dict[str, NDArray[np.uint8]]:
        """Take a batch; return its images that may be usable, by digest, each once for the whole smear.

        Of these, `graded` still leaves out whole fields: they are known when all cells were seen.
        """
        self._measured += batch.measured
        found = {}
        for one, image in zip(batch.measured, batch.images, strict=True):
            if image is not None and one.digest not in self._digests and _flaw(one) is None:
                found[one.digest] = image
            self._digests.add(one.digest)
        return found

    def graded(self) -> Smear:
        """Return the smear with `grades`; `SmearUnreadable` when no cell is usable."""
        smear = self._smear
        # What was guessed of the pixels is only known when they were decoded.
        checked = replace(smear, grades=_grade(smear, self._measured))
        notes = (*smear.notes, smear.source.scale.note, self._mixed(checked))
        checked = replace(checked, notes=tuple(dict.fromkeys(note for note in notes if note)))
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

    def _mixed(self, checked: Smear) -> str:
        sides = [self._measured[index].long_side for index in checked.usable]
        if max(sides, default=0) <= _ONE_SIZE * min(sides, default=0):
            return ""
        return f"Images of different sizes, {min(sides)} to {max(sides)} pixels: cells may differ in magnification"


def _flaw(one: Measurement) -> tuple[Reason, str] | None:
    """Return why a cell that was decoded is not usable, whatever the other cells are."""
    if one.contrast < MIN_CONTRAST:
        return Reason.EMPTY, f"contrast {one.contrast:.0f} of 255"
    if one.blur > MAX_BLUR:
        return Reason.BLURRED, f"blur {one.blur:.2f}"
    return None


def _grade(smear: Smear, measured: list[Measurement]) -> tuple[Grade, ...]:
    sizes = [one.long_side for one in measured if not one.error]
    # Of two, the lower one: a cell next to a whole field.
    limit = WHOLE_FIELD * statistics.median_low(sizes) if sizes else 0.0
    kept = _kept_of_repeats(smear, measured)
    grades = []
    for index, one in enumerate(measured):
        reason: Reason | None = None
        note = ""
        if one.error:
            reason, note = Reason.UNREADABLE, one.error
        elif kept[one.digest] != index:
            reason, note = Reason.REPEAT, f"same as {visible(smear.cells[kept[one.digest]])}"
        elif one.long_side > limit:
            reason, note = Reason.WHOLE_FIELD, f"{one.long_side} px, cells have {limit / WHOLE_FIELD:.0f}"
        elif flaw := _flaw(one):
            reason, note = flaw
        grades.append(Grade(one.digest, reason, note, one.blur))
    return tuple(grades)


def _kept_of_repeats(smear: Smear, measured: list[Measurement]) -> dict[str, int]:
    """Return which of byte-identical cells is kept: the first with a label, otherwise the first."""
    kept: dict[str, int] = {}
    for index, one in enumerate(measured):
        if one.error:
            continue
        if one.digest not in kept or (smear.labels[kept[one.digest]] is None and smear.labels[index] is not None):
            kept[one.digest] = index
    return kept
