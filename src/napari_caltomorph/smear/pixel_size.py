"""How large a pixel is: from the OME, ImageJ or resolution tags of a TIFF, or from the form of a known export.

Nothing written in tags refuses an image. A width by form is an assumption: it is used only where a width is needed and
neither the files nor the user state it, and it is shown with the result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import tifffile

from napari_caltomorph.smear.pixels import MALFORMED

# Resolution tags are often a printer's default (72 or 96 dpi are 353 and 265 um a pixel); only what a
# microscope can have is believed.
_PLAUSIBLE_UM = (0.01, 2.0)

# The micro sign and the Greek mu look the same and are both used.
_MICROMETRES = ("µm", "μm", "um", "micron", "microns", "\\u00B5m")
_UM_PER_NAMED_UNIT = dict.fromkeys(_MICROMETRES, 1.0) | {"nm": 1e-3, "mm": 1e3, "cm": 1e4}
_UM_PER_TAGGED_UNIT = {2: 25_400.0, 3: 10_000.0}


@dataclass(frozen=True)
class Export:
    """Images of a device whose files do not state their scale, which is always the same."""

    name: str
    width_um: float
    canvas: tuple[int, int]  # Height and width, in pixels
    file_name: str  # What the whole name of each of its files matches, in any case
    tolerance: int = 0  # How many pixels its images may be higher or wider, or less

    @property
    def pixel_size_um(self) -> float:
        return self.width_um / self.canvas[1]


EXPORTS = (
    # As the scanner names its cells, and as the AML-Hehr cohort renamed them
    Export("Metafer", 25.0, (144, 144), r"(.*\.rgb|image_\d+)\.tiff?"),
    Export("CellaVision", 45.0, (363, 360), r".*\.jpe?g", tolerance=10),
)


def known_export(cells: Iterable[str], canvas: tuple[int, int]) -> Export | None:
    """Return the export that images of these names and this size have the form of."""
    names = [cell.rsplit("/", 1)[-1] for cell in cells]
    for one in EXPORTS:
        is_as_large = max(abs(mine - its) for mine, its in zip(canvas, one.canvas, strict=True)) <= one.tolerance
        if is_as_large and all(re.fullmatch(one.file_name, name, re.IGNORECASE) for name in names):
            return one
    return None


def pixel_size_um(tiff: tifffile.TiffFile) -> float | None:
    """Micrometres a pixel from OME, ImageJ or resolution tags; None where none is plausible."""
    low, high = _PLAUSIBLE_UM
    for read in (_from_ome, _from_aperio, _from_tags):
        try:
            size = read(tiff)
        except MALFORMED:
            continue  # written by hand, or cut off: the pixels are still good
        if size is not None and low <= size <= high:
            return size
    return None


def _from_ome(tiff: tifffile.TiffFile) -> float | None:
    if not tiff.is_ome:
        return None
    image = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    return float(pixels["PhysicalSizeX"]) * _UM_PER_NAMED_UNIT[pixels.get("PhysicalSizeXUnit", "µm")]


def _from_aperio(tiff: tifffile.TiffFile) -> float | None:
    if not tiff.is_svs:
        return None
    return float(tifffile.tifffile.svs_description_metadata(tiff.pages[0].description)["MPP"])


def _from_tags(tiff: tifffile.TiffFile) -> float | None:
    tags = tiff.pages[0].tags
    resolution = tags.valueof("XResolution")
    if not resolution:
        return None
    unit_um = _UM_PER_TAGGED_UNIT.get(int(tags.valueof("ResolutionUnit", 2)))
    if tiff.is_imagej and (named := str((tiff.imagej_metadata or {}).get("unit"))) in _UM_PER_NAMED_UNIT:
        unit_um = _UM_PER_NAMED_UNIT[named]
    return None if unit_um is None else float(unit_um * resolution[1] / resolution[0])
