"""The cells of one patient's smear: names and headers are read, pixels are decoded when needed.

A `Smear` never changes. Grading it, or including a cell again, returns another one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_caltomorph.errors import CellUnreadable, SmearUnreadable
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear.sources import ArraySource, CellSource
from napari_caltomorph.storage import place_of


class Reason(StrEnum):
    """Why a cell is left out of the bag."""

    UNREADABLE = "unreadable"
    REPEAT = "repeat of another cell"
    WHOLE_FIELD = "whole field, not a cell"
    EMPTY = "no stained cell in it"
    BLURRED = "badly blurred"
    BY_HAND = "left out by hand"


@dataclass(frozen=True)
class Grade:
    """What `check_smear` measured of one cell."""

    digest: str  # SHA-256 of the cell's bytes; empty when there were none to read
    reason: Reason | None = None  # Why the quality rules leave it out; None when it is usable
    note: str = ""  # The particulars, e.g. ``"truncated"`` or ``"same as 003.TIF"``.
    blur: float = float("nan")  # 0 (sharp) ... 1 (blurred), Crete et al. 2007; NaN when it was not decoded.


@dataclass(frozen=True)
class LeftOut:
    """One cell that is not in the bag, why, and by whom: ``"rule"`` or ``"user"``."""

    cell: str
    reason: Reason
    note: str
    by: str


@dataclass(frozen=True)
class Smear:
    """One patient's cells."""

    patient_id: str  # The name of the folder, archive or stack
    # Where it was read from; of slides in several places, the folder that contains them. None for an array
    path: Path | None
    cells: tuple[str, ...]  # POSIX paths relative to the smear, in natural order; undecodable bytes percent-escaped
    labels: tuple[str | None, ...]  # Cell types as the sub-folders say, one a cell
    source: CellSource = field(repr=False, compare=False)  # Where pixels come from
    canvas: tuple[int, int]  # Height and width, in pixels, of the canvas on which every cell is shown
    pixel_size_um: float | None = None  # Micrometres a pixel, where the files say so, or the user
    assumed_export: str | None = None  # The `Export` whose pixel size is assumed, because the images have its form
    passed_over: tuple[str, ...] = ()  # Files and folders that are no cells, e.g. ``Thumbs.db``.
    slides: tuple[str, ...] = ()  # The slides whose cells are joined, named ``slide/cell``; none where it is one slide
    paths: tuple[Path, ...] = ()  # Of slides in several places, each of these
    notes: tuple[str, ...] = ()  # What was guessed when it was read, and what with images was not read
    grades: tuple[Grade, ...] | None = field(default=None, repr=False)  # One a cell, after `check_smear`
    # Cells that the user included again, or left out, whatever the rules decided
    taken_back: frozenset[str] = frozenset()
    set_aside: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.cells)

    def __deepcopy__(self, memo: object) -> Smear:
        """Return itself: it never changes, and napari duplicates layers with all that they hold, open files too."""
        return self

    @property
    def place(self) -> str | None:
        """Where it was read from, as `open_place` takes it; None for an array."""
        return None if self.path is None else place_of(self.paths or [self.path])

    @property
    def field_of_view_um(self) -> float | None:
        """Width of a cell's image in micrometres, where the pixel size is known."""
        return None if self.pixel_size_um is None else self.pixel_size_um * self.canvas[1]

    def image(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of one cell as it is on disk; `CellUnreadable` when it cannot be decoded."""
        return self.source.image(index)

    def image_again(self, index: int) -> NDArray[np.uint8]:
        """`image` of a cell that was readable when it was graded; `SmearUnreadable` where it no longer is."""
        try:
            return self.image(index)
        except CellUnreadable as error:
            raise SmearUnreadable(
                f"{self.path or self.patient_id}: {self.cells[index]} can no longer be read ({error}); open it again."
            ) from error

    def on_canvas(self, index: int) -> NDArray[np.uint8]:
        """(*canvas, 3) uint8 RGB of one cell, centred on white; shrunk only when larger than the canvas."""
        return on_canvas(self.image(index), self.canvas)

    @cached_property
    def usable(self) -> NDArray[np.intp]:
        """Indices of the cells that make up the bag. Needs `check_smear` first."""
        out = {left.cell for left in self.left_out}
        return np.array([i for i, cell in enumerate(self.cells) if cell not in out], dtype=np.intp)

    @cached_property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Cells that are not in the bag. Needs `check_smear` first."""
        found = []
        for cell, grade in zip(self.cells, self._checked, strict=True):
            if cell in self.set_aside:
                found.append(LeftOut(cell, Reason.BY_HAND, "", "user"))
            elif grade.reason is not None and cell not in self.taken_back:
                found.append(LeftOut(cell, grade.reason, grade.note, "rule"))
        return tuple(found)

    def left_out_counts(self) -> dict[str, int]:
        """How many cells are left out for each reason, most frequent first."""
        return dict(Counter(str(left.reason) for left in self.left_out).most_common())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the sorted (cell, SHA-256 of its bytes) of all cells. Needs `check_smear` first."""
        return _fingerprint(self.cells, [grade.digest for grade in self._checked])

    def choosing(self, *, take_back: Iterable[str] = (), set_aside: Iterable[str] = ()) -> Smear:
        """Return the smear with the user's own choice of cells.

        Parameters
        ----------
        take_back, set_aside : iterable of str
            Names of cells; an unreadable cell cannot be taken back.

        Raises
        ------
        SmearUnreadable
            No usable cell would be left.
        """
        dead = {c for c, g in zip(self.cells, self._checked, strict=True) if g.reason is Reason.UNREADABLE}
        chosen = replace(self, taken_back=frozenset(take_back) - dead, set_aside=frozenset(set_aside))
        if not len(chosen.usable):
            raise SmearUnreadable(f"{self.patient_id}: no cell is left; include some again.")
        return chosen

    @property
    def _checked(self) -> tuple[Grade, ...]:
        if self.grades is None:
            raise ValueError("call check_smear first: this smear's cells are not graded")
        return self.grades


def smear_fingerprint(smear: Smear, *, progress: OnProgress = ignore) -> str:
    """Return the `fingerprint` of a smear that need not be graded: every file is read, no image is decoded.

    `progress` is called often; raising `Cancelled` in it stops cleanly.
    """
    digests = []
    for index in range(len(smear)):
        if index % 32 == 0:
            progress(Progress("Comparing", index, len(smear)))
        try:
            digests.append(smear.source.digest(index))
        except CellUnreadable:
            digests.append("")
    return _fingerprint(smear.cells, digests)


def _fingerprint(cells: Sequence[str], digests: Sequence[str]) -> str:
    lines = sorted(f"{cell}\0{digest}" for cell, digest in zip(cells, digests, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def smear_from_array(array: NDArray[np.uint8], patient_id: str, pixel_size_um: float | None = None) -> Smear:
    """Make a smear of an array, which is not copied, such as the data of an image layer.

    Parameters
    ----------
    array : ndarray
        (N, H, W, 3) uint8 RGB.
    patient_id : str
    pixel_size_um : float, optional
        Width of a pixel, in micrometres.

    Returns
    -------
    Smear
        Of N cells.

    Raises
    ------
    SmearUnreadable
        The array has another shape or type, or no cell.
    """
    shape: Sequence[int] = array.shape
    if array.dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3 or 0 in shape:
        raise SmearUnreadable(
            f"{patient_id}: an array of shape {tuple(shape)} and type {array.dtype} is no smear; "
            "it takes 8-bit RGB cells of shape (cells, height, width, 3)."
        )
    names = tuple(f"cell_{i + 1:0{len(str(shape[0]))}d}" for i in range(shape[0]))
    return Smear(
        patient_id=patient_id,
        path=None,
        cells=names,
        labels=(None,) * len(names),
        source=ArraySource(array),
        canvas=(shape[1], shape[2]),
        pixel_size_um=pixel_size_um,
    )


def on_canvas(image: NDArray[np.uint8], canvas: tuple[int, int]) -> NDArray[np.uint8]:
    """Centre an (H, W, 3) image on a white canvas, shrinking it only when it is larger."""
    if image.shape[:2] == canvas:
        return image
    scale = min(canvas[0] / image.shape[0], canvas[1] / image.shape[1])
    if scale < 1:
        height, width = (max(1, int(n * scale)) for n in image.shape[:2])
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    top, left = ((full - n) // 2 for full, n in zip(canvas, image.shape[:2], strict=True))
    shown = np.full((*canvas, 3), 255, dtype=np.uint8)
    shown[top : top + image.shape[0], left : left + image.shape[1]] = image
    return shown
