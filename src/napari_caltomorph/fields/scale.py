"""How large a pixel of a field is: as a person says, as its file says, or as its red cells show.

Fields of one folder have one microscope: their red cells are measured together, and a field that contradicts the others
is refused rather than cut at a wrong size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from napari_caltomorph.errors import FieldUnreadable, ScaleUnknown
from napari_caltomorph.fields.images import FieldImage
from napari_caltomorph.fields.red_cells import FEWEST_RED_CELLS, RED_CELL_UM, are_bright, measure_red_cells
from napari_caltomorph.progress import OnProgress, Progress, ignore

COARSEST_UM = 1.0
"""Larger pixels leave fewer than 8 of them for a red cell."""

_CONTRADICTION = 1.3  # Between a field's own median diameter and that of all: another objective, not other red cells
_MOST_MEASURED = 40  # Fields; more of one microscope make the median no better
_MOST_CHECKED = 3  # Fields; one export inverts all or none


class ScaleOptions(BaseModel, frozen=True, extra="forbid"):
    """How the size of a pixel is known."""

    pixel_size: float | None = Field(
        None, gt=0.005, lt=COARSEST_UM, description="Micrometres a pixel of the fields; by default as their files say."
    )
    from_red_cells: bool = Field(
        False, description="Measure the scale on red cells (7.5 micrometres), whatever the files say."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.from_red_cells and self.pixel_size is not None:
            raise PydanticCustomError("two_scales", "give --pixel-size or --from-red-cells, not both")
        return self


@dataclass(frozen=True)
class Scale:
    """The size of a pixel, and how it is known."""

    pixel_size_um: float
    source: Literal["given", "file", "red cells"]
    red_cells: int = 0  # How many were measured
    spread_um: float = 0.0  # Half the distance between the quartiles of their diameters

    @property
    def in_words(self) -> str:
        """E.g. ``"0.098 micrometres a pixel, from 420 red cells of 7.5 ± 0.4 micrometres"``."""
        size = f"{self.pixel_size_um:.3g} micrometres a pixel"
        if self.source == "red cells":
            return f"{size}, from {self.red_cells} red cells (7.5 ± {self.spread_um:.1f} micrometres)"
        return f"{size}, as {'was given' if self.source == 'given' else 'the file says'}"


def scale_of_fields(
    images: Sequence[FieldImage], options: ScaleOptions, *, progress: OnProgress = ignore
) -> list[Scale]:
    """Return the scale of each field.

    Parameters
    ----------
    images : sequence of FieldImage
        Fields of one microscope: the red cells of all are measured together.
    options : ScaleOptions
        A given pixel size wins over that of the files, and that of a file over red cells.
    progress : callable
        Called for each field that is measured; raising `Cancelled` in it stops cleanly.

    Returns
    -------
    list of Scale
        One a field, in their order.

    Raises
    ------
    ScaleUnknown
        Nothing says it and there are too few red cells, or fields of several magnifications are among them.
    FieldUnreadable
        None of them can be measured, or red cells are brighter than the glass.
    """
    scales = _scales(images, options, progress)
    for number in _spread(len(images), _MOST_CHECKED):
        image, scale = images[number], scales[number]
        try:
            image.refuse_unsuitable()
            pixels = image.centre
        except FieldUnreadable:
            continue  # It is refused again when its cells are searched
        if are_bright(pixels, scale.pixel_size_um):
            raise FieldUnreadable(
                f"{image.name}: inverted, its red cells are brighter than the glass; export the images as the "
                "microscope shows them."
            )
    return scales


def _scales(images: Sequence[FieldImage], options: ScaleOptions, progress: OnProgress) -> list[Scale]:
    stated = [_stated(image, options) for image in images]
    unknown = [image for image, scale in zip(images, stated, strict=True) if scale is None]
    if not unknown:
        return [scale for scale in stated if scale is not None]
    chosen = [unknown[number] for number in _spread(len(unknown), _MOST_MEASURED)]
    measured: list[tuple[FieldImage, NDArray[np.float64]]] = []
    refused: list[FieldUnreadable] = []
    for number, image in enumerate(chosen):
        progress(Progress("Measuring red cells", number, len(chosen), "fields"))
        try:
            image.refuse_unsuitable()
            measured.append((image, measure_red_cells(image.centre)))
        except FieldUnreadable as error:  # It is refused again when its cells are searched
            refused.append(error)
    if not measured:
        raise refused[0]
    common = _common(measured)
    return [common if scale is None else scale for scale in stated]


def _spread(count: int, at_most: int) -> list[int]:
    """Return numbers from 0 to `count` - 1, evenly spread."""
    return [int(number) for number in np.unique(np.linspace(0, count - 1, at_most).astype(int))]


def _stated(image: FieldImage, options: ScaleOptions) -> Scale | None:
    if options.pixel_size is not None:
        return Scale(options.pixel_size, "given")
    if image.pixel_size_um is not None and not options.from_red_cells:
        return Scale(image.pixel_size_um, "file")
    return None


def _common(measured: Sequence[tuple[FieldImage, NDArray[np.float64]]]) -> Scale:
    """Return the scale that the red cells of all fields agree on."""
    # Of a field with few, what is measured may be clumps.
    good = [(image, one) for image, one in measured if len(one) >= FEWEST_RED_CELLS]
    if not good:
        best = max(len(one) for _, one in measured)
        raise ScaleUnknown(
            f"{measured[0][0].name}: {best} red cells can be measured, {FEWEST_RED_CELLS} are needed to know how large "
            "a pixel is; give its size with --pixel-size (micrometres), or add fields of the same microscope."
        )
    diameters = np.concatenate([one for _, one in good])
    medians = [float(np.median(one)) for _, one in good]
    median = float(np.median(medians))
    for (image, _), own in zip(good, medians, strict=True):
        if not 1 / _CONTRADICTION < own / median < _CONTRADICTION:
            raise ScaleUnknown(
                f"{image.name}: its red cells are {own:.0f} pixels wide, those of the other fields "
                f"{median:.0f}: magnifications are mixed, or images inverted. Cut each magnification separately."
            )
    pixel_um = RED_CELL_UM / median
    lower, upper = np.quantile(diameters, (0.25, 0.75))
    return Scale(pixel_um, "red cells", len(diameters), float(upper - lower) / 2 * pixel_um)
