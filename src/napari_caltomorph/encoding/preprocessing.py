"""What of a cell's image an encoder takes, and how it is made into the encoder's input."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.smear import Smear
from napari_caltomorph.smear.pixel_size import known_export

if TYPE_CHECKING:
    from torch import Tensor

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """RGB, the centre of some micrometres if so stated, resized (antialiased), its centre square, normalised.

    Normalised is ``(x / 255 - mean) / std``.
    """

    size: int = 224
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD
    field_um: float | None = None  # Width of the centre square that is taken; None for the whole image
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    crop: float = 1.0  # Share of the resized image's side that is left
    is_square: bool = True  # Resized to a square, whatever its shape; otherwise its shorter side is

    def __str__(self) -> str:
        numbers = ",".join(f"{x:.5g}" for x in (*self.mean, *self.std))
        centre = "" if self.field_um is None else f"centre{self.field_um:g}um-"
        side = "" if self.is_square else "-shorter-side"
        crop = "" if self._resized_side == self.size and self.is_square else f"-crop{self.size}"
        return f"{centre}resize{self._resized_side}{side}{crop}-{self.interpolation}-antialias-norm({numbers})"

    @property
    def _resized_side(self) -> int:
        return math.floor(self.size / self.crop)

    def takes_all_of(self, shape: tuple[int, ...]) -> bool:
        """Whether an image (H, W, ...) is resized as a whole, and nothing of it is cut off afterwards."""
        return self.crop == 1 and (self.is_square or shape[0] == shape[1])

    def resized(self, image: Tensor) -> Tensor:
        """Resize images (B, 3, H, W) of 0...1, and take the centre: (B, 3, size, size), of 0...1."""
        from torch.nn import functional

        side, (height, width) = self._resized_side, image.shape[2:]
        shorter = min(height, width)
        shape = (side, side) if self.is_square else (side * height // shorter, side * width // shorter)
        image = functional.interpolate(image, shape, mode=self.interpolation, antialias=True, align_corners=False)
        if self.interpolation == "bicubic":
            image = image.clamp(0, 1)  # it goes beyond, where an 8-bit image ends
        top, left = (round((length - self.size) / 2) for length in shape)
        return image[..., top : top + self.size, left : left + self.size]

    def framed(self, image: NDArray[np.uint8], pixel_size_um: float | None) -> NDArray[np.uint8]:
        """Return what the encoder sees of an image (H, W, 3); a smaller image is mirrored at its border."""
        if self.field_um is None or pixel_size_um is None:
            return image
        side = max(round(self.field_um / pixel_size_um), 1)
        before = [max(side - length, 0) // 2 for length in image.shape[:2]]
        after = [max(side - length, 0) - first for length, first in zip(image.shape, before, strict=False)]
        if any(after):
            image = np.pad(image, (*zip(before, after, strict=True), (0, 0)), mode="symmetric")
        top, left = ((length - side) // 2 for length in image.shape[:2])
        return image[top : top + side, left : left + side].copy()


@dataclass(frozen=True)
class AtScale:
    """Gives a smear the width that the user states, its files state, or a known export has, in this order.

    The last is an assumption, and made only for an encoder that needs it. It is sent to processes that read smears.
    """

    encoder: str
    needed_um: float | None  # Width that the encoder takes, `Preprocessing.field_um`
    stated_um: float | None  # Width of a cell's image as the user states it

    def __call__(self, smear: Smear) -> Smear:
        """Return the smear; `SmearUnreadable` where its width is needed and unknown."""
        if smear.assumed_export is not None:  # for another encoder, or before the user stated a width
            smear = replace(smear, pixel_size_um=None, assumed_export=None)
        if self.stated_um is not None:
            return replace(smear, pixel_size_um=self.stated_um / smear.canvas[1])
        if smear.pixel_size_um is not None or self.needed_um is None:
            return smear
        if (export := known_export(smear.cells, smear.canvas)) is not None:
            return replace(smear, pixel_size_um=export.pixel_size_um, assumed_export=export.name)
        height, width = smear.canvas
        raise SmearUnreadable(
            f"{smear.path or smear.patient_id} does not say how wide its images of {width} x {height} pixels are, and "
            f"{self.encoder} takes their centre of {self.needed_um:g} micrometres: state the width in micrometres with "
            "--field-of-view (in napari: Preferences), for example 45 for CellaVision, 25 for Metafer."
        )
