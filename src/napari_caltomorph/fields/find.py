"""One field -> its white cells, each with a box and a confidence, and what was taken for something else.

Large fields are searched in windows that overlap, so memory does not grow with them. Every window is measured at
4 pixels a micrometre and relative to its own light and red cells.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from napari_caltomorph.errors import FieldUnreadable
from napari_caltomorph.fields.images import FieldImage, array_field
from napari_caltomorph.fields.nuclei import PX_PER_UM, Nucleus, Stained, describe, find_nuclei
from napari_caltomorph.fields.outlines import survey
from napari_caltomorph.fields.scale import COARSEST_UM, Scale, ScaleOptions, scale_of_fields
from napari_caltomorph.progress import OnProgress, Progress, ignore

_WINDOW_UM = 150.0
_OVERLAP_UM = 30.0
_SLACK_UM = 2.0  # Two windows place the same cell a little differently
_TOUCHES_UM = 0.75  # A box this close to the edge of its field may be cut off
_PERHAPS = 0.1  # Confidence above which a cell is measured


class FindOptions(ScaleOptions):
    """How white cells are found in fields."""

    min_confidence: float = Field(0.5, gt=0, lt=1, description="Less certain cells are left out, and counted.")


@dataclass(frozen=True)
class FoundCell:
    """One white cell of a field: x to the right, y down, from the field's upper left corner."""

    x_px: float  # Centre of its box
    y_px: float
    width_px: float
    height_px: float
    confidence: float  # That it is a white cell, 0 to 1
    nucleus_um2: float | None = None  # None where a person placed it
    is_cut: bool = False  # Its box touches the edge of the field

    @property
    def box_px(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom."""
        x, y, across, down = self.x_px, self.y_px, self.width_px / 2, self.height_px / 2
        return x - across, y - down, x + across, y + down

    def diameter_um(self, pixel_size_um: float) -> float:
        """Return the diameter of a disc that is as large as the ellipse in its box."""
        return float(np.sqrt(self.width_px * self.height_px) * pixel_size_um)


@dataclass(frozen=True)
class FoundCells:
    """What was found in one field."""

    field: str  # Its name
    width_px: int
    height_px: int
    scale: Scale
    cells: tuple[FoundCell, ...]  # In reading order
    rejected: tuple[FoundCell, ...] = ()  # Stained, but rather platelets, dirt, smudges or red cells

    def __len__(self) -> int:
        return len(self.cells)


@dataclass(frozen=True)
class FoundFields:
    """What was found in the fields of one patient, a `FoundCells` for each image."""

    images: tuple[FieldImage, ...]
    found: tuple[FoundCells, ...]
    problems: tuple[str, ...] = ()  # Fields that could not be searched, and why


@dataclass(frozen=True)
class LinearModel:
    """Log-odds that are linear in standardised features."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: float

    def log_odds(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the log-odds of features (..., F)."""
        return np.asarray((features - self.mean) / self.spread @ self.weights + self.bias)


@dataclass(frozen=True)
class CellModel:
    """What was learnt from labelled fields: which nuclei are white cells', and where a cell ends."""

    nucleus: LinearModel
    outline: LinearModel

    def confidence(self, features: NDArray[np.float64]) -> float:
        """Return how certain a nucleus with these features is that of a white cell, 0 to 1."""
        return float(1 / (1 + np.exp(-np.clip(self.nucleus.log_odds(features), -30, 30))))


@functools.cache
def shipped_model() -> CellModel:
    """Return the model of this package; `cell_model.md` says what it learnt from."""
    parts = json.loads((files(__package__) / "cell_model.json").read_text("utf-8"))
    lists: dict[str, dict[str, Any]] = {
        name: {key: np.array(value) for key, value in part.items()} for name, part in parts.items()
    }
    return CellModel(**{name: LinearModel(**part) for name, part in lists.items()})


def find_cells(
    field: FieldImage | NDArray[np.uint8],
    options: FindOptions = FindOptions(),  # noqa: B008 (frozen)
    *,
    scale: Scale | None = None,
    model: CellModel | None = None,
    progress: OnProgress = ignore,
) -> FoundCells:
    """Find the white cells of one field of a stained smear.

    Parameters
    ----------
    field : FieldImage or ndarray
        What `open_field` returns, or (H, W, 3) uint8 RGB.
    options : FindOptions
    scale : Scale, optional
        How large a pixel is, where it is known already, e.g. from all fields of a slide; `options` say it otherwise.
    model : CellModel, optional
        Another model than that of this package.
    progress : callable
        Called for each window of a large field; raising `Cancelled` in it stops cleanly.

    Returns
    -------
    FoundCells
        In reading order. Cells at the edge of the field are among them, marked `is_cut`.

    Raises
    ------
    ScaleUnknown
        Nothing says how large a pixel is, and there are too few red cells to measure it.
    FieldUnreadable
        It is grey, dark instead of bright, too coarse, or cannot be decoded.
    """
    image = array_field(field) if isinstance(field, np.ndarray) else field
    image.refuse_unsuitable()
    scale = scale or scale_of_fields([image], options)[0]
    if scale.pixel_size_um > COARSEST_UM:
        raise FieldUnreadable(
            f"{image.name}: a pixel is {scale.pixel_size_um:.2f} micrometres wide, too coarse to tell cells; "
            "take the fields with at least a 20x objective, or correct the pixel size."
        )
    found: list[FoundCell] = []
    slack = _SLACK_UM / scale.pixel_size_um
    windows = list(_windows(image, scale.pixel_size_um))
    for number, (core, window) in enumerate(windows):
        progress(Progress("Finding cells", number, len(windows), "windows"))
        cells = _in_window(image, window, scale.pixel_size_um, model or shipped_model())
        found += [cell for cell in cells if _is_within(cell, core, slack) and not _is_known(cell, found, 2 * slack)]
    found.sort(key=lambda cell: (cell.y_px, cell.x_px))
    return FoundCells(
        field=image.name,
        width_px=image.width,
        height_px=image.height,
        scale=scale,
        cells=tuple(cell for cell in found if cell.confidence >= options.min_confidence),
        rejected=tuple(cell for cell in found if cell.confidence < options.min_confidence),
    )


def find_in_fields(
    images: Sequence[FieldImage],
    options: FindOptions = FindOptions(),  # noqa: B008 (frozen)
    *,
    problems: Sequence[str] = (),
    progress: OnProgress = ignore,
) -> FoundFields:
    """Find the white cells of all fields of one patient.

    Parameters
    ----------
    images : sequence of FieldImage
    options : FindOptions
    problems : sequence of str
        Those of fields that could not be opened.
    progress : callable
        See `OnProgress`.

    Raises
    ------
    ScaleUnknown
        As `find_cells` does.
    FieldUnreadable
        None can be searched.
    """
    found, left_out = {}, list(problems)
    for number, (image, scale) in enumerate(
        zip(images, scale_of_fields(images, options, progress=progress), strict=True)
    ):
        progress(Progress("Finding cells", number, len(images), "fields"))
        try:
            found[image] = find_cells(image, options, scale=scale, progress=progress)
        except FieldUnreadable as error:
            left_out.append(str(error))
    if not found:
        raise FieldUnreadable(left_out[0])
    return FoundFields(tuple(found), tuple(found.values()), tuple(left_out))


Window = tuple[int, int, int, int]
"""Top, left, bottom and right, px."""


def _windows(image: FieldImage, pixel_um: float) -> Iterator[tuple[Window, Window]]:
    """Yield parts that make up the field, each with a window around it that shows its cells whole."""
    size, overlap = int(_WINDOW_UM / pixel_um), int(_OVERLAP_UM / pixel_um)
    if image.height <= 1.5 * size and image.width <= 1.5 * size:
        yield (whole := (0, 0, image.height, image.width)), whole
        return
    for top, left in product(range(0, image.height, size), range(0, image.width, size)):
        bottom, right = min(top + size, image.height), min(left + size, image.width)
        first = max(top - overlap, 0), max(left - overlap, 0)
        last = min(bottom + overlap, image.height), min(right + overlap, image.width)
        yield (top, left, bottom, right), (*first, *last)


def _is_within(cell: FoundCell, window: Window, slack: float) -> bool:
    top, left, bottom, right = window
    return left - slack <= cell.x_px <= right + slack and top - slack <= cell.y_px <= bottom + slack


def _is_known(cell: FoundCell, found: list[FoundCell], distance: float) -> bool:
    """Whether an earlier window has the cell already."""
    return any(
        abs(cell.x_px - other.x_px) < distance
        and abs(cell.y_px - other.y_px) < distance
        and other.confidence > cell.confidence / 2
        for other in found
    )


def _in_window(image: FieldImage, window: Window, pixel_um: float, model: CellModel) -> Iterator[FoundCell]:
    top, left, _, _ = window
    pixels = image.read(*window)
    stained = Stained.of(at_working_scale(pixels, pixel_um))
    steps = np.array(pixels.shape[:2]) / stained.stain.shape  # Pixels of the field for one at working resolution
    for nucleus, box, confidence in measured_cells(stained, model):
        y0, x0, y1, x1 = box * np.tile(steps, 2) + np.tile([top, left], 2)
        edge = _TOUCHES_UM / pixel_um
        yield FoundCell(
            x_px=float((x0 + x1) / 2),
            y_px=float((y0 + y1) / 2),
            width_px=float(x1 - x0),
            height_px=float(y1 - y0),
            confidence=confidence,
            nucleus_um2=nucleus.area_um2,
            is_cut=bool(min(y0, x0) < edge or y1 > image.height - edge or x1 > image.width - edge),
        )


Measured = tuple[Nucleus, NDArray[np.float64], float]
"""A nucleus, its cell's top, left, bottom and right at working resolution, and how certain it is."""


def measured_cells(stained: Stained, model: CellModel) -> list[Measured]:
    """Return the nuclei of a window with their cells, the most certain first."""
    found = []
    nuclei = [(nucleus, model.confidence(describe(nucleus, stained))) for nucleus in find_nuclei(stained)]
    for nucleus, confidence in nuclei:
        first, last = nucleus.box
        box = np.concatenate([first, last + 1]).astype(float)
        if confidence > _PERHAPS:  # The others are not cut out
            others = [other for other, c in nuclei if other is not nucleus and c > _PERHAPS]
            surroundings = survey(nucleus, stained)
            box = surroundings.box(model.outline.log_odds(surroundings.features), others)
        found.append((nucleus, box, confidence))
    return _without_repeats(found)


def _without_repeats(found: list[Measured]) -> list[Measured]:
    """Leave out nuclei whose middle is in the box of a more certain cell: they are lobes of it, or lie on it."""
    kept: list[Measured] = []
    for one in sorted(found, key=lambda each: (-each[2], -each[0].area_um2)):
        middles = (one[0].box[0] + one[0].box[1]) / 2, (one[1][:2] + one[1][2:]) / 2
        if not any(_contains(box, middle) for _, box, _ in kept for middle in middles):
            kept.append(one)
    return kept


def _contains(box: NDArray[np.float64], place: NDArray[np.float64]) -> bool:
    """Whether a place is in a box, and not in its rim, where another cell may touch."""
    margin = 0.12 * (box[2:] - box[:2])
    return bool((place > box[:2] + margin).all() and (place < box[2:] - margin).all())


def at_working_scale(pixels: NDArray[np.uint8], pixel_um: float) -> NDArray[np.uint8]:
    """Return an image of `PX_PER_UM`, each pixel the mean of what it covers."""
    height, width = pixels.shape[:2]
    factor = pixel_um * PX_PER_UM
    size = (max(8, round(width * factor)), max(8, round(height * factor)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
