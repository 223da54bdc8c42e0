"""Single-cell images -> is one leukocyte in the middle of each, and how large are it and its nucleus.

A cell can fill its image, so light and red cells are not those of one image: they are measured around the middle of
many images of the smear together. What is outside an image counts as empty glass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.errors import ScaleUnknown
from napari_caltomorph.fields.background import Pixels, red_cell_density
from napari_caltomorph.fields.find import CellModel, Measured, at_working_scale, measured_cells, shipped_model
from napari_caltomorph.fields.images import array_field
from napari_caltomorph.fields.nuclei import PX_PER_UM, Stained
from napari_caltomorph.fields.scale import COARSEST_UM
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import Smear
from napari_caltomorph.smear.pixel_size import known_export

if TYPE_CHECKING:
    import pandas as pd

_SAMPLE = 48  # Images that light and red cells are measured in
_AROUND_UM = 10.5  # Further from the middle is rarely the cell itself
_GLASS = 0.95  # Quantile of green above which a pixel is glass
_MARGIN = int(8 * PX_PER_UM)
_CERTAIN = 0.5
_LEAST_UM2 = 28.0  # Of a nucleus; platelets, of which the light of single-cell images tells little, have less
_STAINED = 0.4  # Of red cells: nuclear dye that is nowhere else
_OFF_CENTRE_UM = 5.0
_SAME = 0.3  # Of the smaller of two boxes, which the other covers: they are parts of one cell

COLUMNS = ("nucleus_um2", "nucleus_share", "nuclei", "off_centre_um", "in_view")
"""Of `DescribedCells.table`, after the cell's name."""


class Verdict(StrEnum):
    """What an image of a single cell shows."""

    ONE = "one centred leukocyte"
    OFF_CENTRE = "leukocyte off centre"
    SEVERAL = "several leukocytes"
    SMUDGE = "smudge or clump"
    NONE = "no leukocyte"


@dataclass(frozen=True)
class DescribedCell:
    """What is seen in one image; of a leukocyte the sizes, NaN without one."""

    cell: str
    verdict: Verdict
    nuclei: int = 0  # Leukocytes in view, each with one nucleus
    nucleus_um2: float = float("nan")
    cell_um2: float = float("nan")
    off_centre_um: float = float("nan")

    @property
    def nucleus_share(self) -> float:
        """The nucleus' share of the area of the cell, 0 to 1."""
        return min(self.nucleus_um2 / self.cell_um2, 1.0)


@dataclass(frozen=True)
class DescribedCells:
    """The usable cells of a smear, described."""

    patient_id: str
    scale: str  # In words
    cells: tuple[DescribedCell, ...]

    @cached_property
    def counts(self) -> dict[Verdict, int]:
        """How many cells have each verdict."""
        found = Counter(one.verdict for one in self.cells)
        return {verdict: found[verdict] for verdict in Verdict if found[verdict]}

    @property
    def in_words(self) -> str:
        """E.g. ``"60 cells: 52 one centred leukocyte, 8 smudge or clump"``."""
        return f"{len(self.cells):,} cells: {', '.join(f'{n:,} {verdict}' for verdict, n in self.counts.items())}"

    @property
    def table(self) -> pd.DataFrame:
        """One row a cell: its name, and `COLUMNS`."""
        import pandas as pd

        rows = [
            (one.cell, one.nucleus_um2, one.nucleus_share, one.nuclei, one.off_centre_um, str(one.verdict))
            for one in self.cells
        ]
        table = pd.DataFrame(rows, columns=["cell", *COLUMNS])
        return table.round({"nucleus_um2": 1, "nucleus_share": 3, "off_centre_um": 2})


def describe_cells(
    smear: Smear,
    field_of_view_um: float | None = None,
    *,
    model: CellModel | None = None,
    progress: OnProgress = ignore,
) -> DescribedCells:
    """Describe what each usable cell's image shows: nucleus, cell, further nuclei, and how far from the middle.

    Parameters
    ----------
    smear : Smear
        N cells, graded by `check_smear`.
    field_of_view_um : float, optional
        Width of an image, in micrometres; by default what the files say, or what the known export that they have the
        form of has.
    model : CellModel, optional
        Another model of what is a white cell than that of this package.
    progress : callable
        Called for each cell; raising `Cancelled` in it stops cleanly.

    Returns
    -------
    DescribedCells
        Of N usable cells, in their order.

    Raises
    ------
    ScaleUnknown
        Nothing says how wide the images are, or their pixels are too coarse.
    FieldUnreadable
        They are grey, or dark instead of bright.
    SmearUnreadable
        An image was changed since it was graded, and can no longer be read.
    """
    pixel_um, scale = _pixel_size(smear, field_of_view_um)
    sample = [smear.image_again(int(i)) for i in smear.usable[:: max(1, len(smear.usable) // _SAMPLE)]]
    light = _Light.around(sample, pixel_um, smear.patient_id)
    described = []
    for number, index in enumerate(smear.usable):
        progress(Progress("Describing cells", number, len(smear.usable)))
        image = smear.image_again(int(index))
        described.append(_describe(smear.cells[index], image, pixel_um, light, model or shipped_model()))
    return DescribedCells(smear.patient_id, scale, tuple(described))


def _pixel_size(smear: Smear, stated_um: float | None) -> tuple[float, str]:
    """Return micrometres a pixel, and where they are from."""
    height, width = smear.canvas
    if stated_um is not None:
        size, source = stated_um / width, "as stated"
    elif smear.pixel_size_um is not None:
        size, source = smear.pixel_size_um, smear.assumed_export or "from the files"
    elif (export := known_export(smear.cells, smear.canvas)) is not None:
        size, source = export.pixel_size_um, f"assumed, as {export.name} exports them"
    else:
        raise ScaleUnknown(
            f"{smear.path or smear.patient_id} does not say how wide its images of {width} x {height} pixels are: "
            "state the width in micrometres with --field-of-view (in napari: Preferences), e.g. 45 for CellaVision."
        )
    if size > COARSEST_UM:
        raise ScaleUnknown(
            f"{smear.path or smear.patient_id}: a pixel is {size:.2f} micrometres wide, too coarse to tell nuclei; "
            "correct the width of the images with --field-of-view (in napari: Preferences)."
        )
    return size, f"images {size * width:.3g} micrometres wide, {source}"


@dataclass(frozen=True)
class _Light:
    """What empty glass shows in the images of a smear, and what red cells absorb of it."""

    log_glass: NDArray[np.float32]  # (3,)
    red_cells: NDArray[np.float32]  # (3,)

    @classmethod
    def around(cls, images: Sequence[NDArray[np.uint8]], pixel_um: float, name: str) -> _Light:
        pixels = np.concatenate([_around_middle(image, pixel_um) for image in images])
        some = pixels[:: -(-len(pixels) // 2000)]
        array_field(np.stack([some] * 16), name).refuse_unsuitable()
        green = pixels[:, 1]
        glass = np.median(pixels[green >= np.quantile(green, _GLASS)], axis=0)
        light = cls(_log(glass.round().astype(np.uint8)), np.ones(3, np.float32))
        return cls(light.log_glass, red_cell_density(light.density(pixels[None])))

    def density(self, image: NDArray[np.uint8]) -> Pixels:
        return self.log_glass - _log(image)


def _around_middle(image: NDArray[np.uint8], pixel_um: float) -> NDArray[np.uint8]:
    """(N, 3) some pixels of what is around the cell; of an image that shows nothing else, all of it."""
    height, width = image.shape[:2]
    y, x = np.ogrid[:height, :width]
    away = np.hypot(y - height / 2, x - width / 2) * pixel_um
    pixels = image[away > min(_AROUND_UM, 0.8 * float(away.max()))]
    return np.asarray(pixels[:: max(1, len(pixels) // 2000)])


def _log(values: NDArray[np.uint8]) -> Pixels:
    return np.asarray(np.log(np.arange(256, dtype=np.float32).clip(1))[values])


def _describe(cell: str, image: NDArray[np.uint8], pixel_um: float, light: _Light, model: CellModel) -> DescribedCell:
    density = light.density(at_working_scale(image, pixel_um))
    middle = np.array(density.shape[:2]) / 2 + _MARGIN
    around = np.pad(density, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)))
    stained = Stained.absorbing(around, light.red_cells)
    certain = [one for one in measured_cells(stained, model) if one[2] >= _CERTAIN]
    cells = [one for one in _joined(certain) if one.nucleus_um2 >= _LEAST_UM2]
    if not cells:
        dyed = np.count_nonzero(stained.smooth > _STAINED) / PX_PER_UM**2
        return DescribedCell(cell, Verdict.SMUDGE if dyed >= _LEAST_UM2 else Verdict.NONE)
    main = min(cells, key=lambda one: one.away_um(middle))
    off_centre = main.away_um(middle)
    verdict = Verdict.SEVERAL if len(cells) > 1 else Verdict.OFF_CENTRE if off_centre > _OFF_CENTRE_UM else Verdict.ONE
    return DescribedCell(cell, verdict, len(cells), main.nucleus_um2, main.area_um2, off_centre)


@dataclass(frozen=True, eq=False)
class _Whole:
    """A cell whose parts are joined."""

    box: NDArray[np.float64]  # Top, left, bottom and right, working pixels
    nucleus_um2: float

    @property
    def area_um2(self) -> float:
        height, width = self.box[2:] - self.box[:2]
        return float(np.pi / 4 * height * width / PX_PER_UM**2)

    def away_um(self, place: NDArray[np.float64]) -> float:
        return float(np.hypot(*((self.box[:2] + self.box[2:]) / 2 - place)) / PX_PER_UM)


def _joined(found: list[Measured]) -> list[_Whole]:
    """Join what covers much of one another: a large cell whose nucleus was taken for two."""
    cells: list[_Whole] = []
    for nucleus, box, _ in found:
        whole = _Whole(box, nucleus.area_um2)
        for other in [one for one in cells if _covered(one.box, whole.box) > _SAME]:
            cells.remove(other)
            corners = np.minimum(whole.box[:2], other.box[:2]), np.maximum(whole.box[2:], other.box[2:])
            whole = _Whole(np.concatenate(corners), whole.nucleus_um2 + other.nucleus_um2)
        cells.append(whole)
    return cells


def _covered(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return which share of the smaller box the larger one covers."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    smaller = min(np.prod(one[2:] - one[:2]), np.prod(other[2:] - other[:2]))
    return float(np.prod(np.maximum(sides, 0)) / smaller)
