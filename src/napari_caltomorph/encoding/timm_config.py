"""The config.json that timm writes next to a model's weights: which network it is, and what images it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from napari_caltomorph.encoding.preprocessing import Preprocessing
from napari_caltomorph.errors import WeightsRefused
from napari_caltomorph.reading import SMALL, read_as

# What `timm.create_model` takes besides the network's own arguments: some read files, one returns another network.
_OF_THE_FACTORY = ("pretrained", "checkpoint_path", "cache_dir", "features_only", "scriptable", "exportable", "no_jit")

_DEEPEST = 256
"""Layers; published networks have up to 48 blocks, and thousands would be built for minutes."""

_Side = Annotated[int, Field(ge=1, le=2**12)]
_Fraction = Annotated[float, Field(gt=-10, lt=10)]
_Deviation = Annotated[float, Field(gt=0, lt=10)]
_Bounds = Field(ge=-(2**14), le=2**14)  # A larger number would build for hours
_Argument = bool | Annotated[int, _Bounds] | Annotated[float, _Bounds] | str | None


class _PretrainedConfig(BaseModel):
    input_size: tuple[Literal[3], _Side, _Side] = (3, 224, 224)
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    crop_pct: Annotated[float, Field(gt=0.1, le=1)] = 0.875
    crop_mode: Literal["center", "squash"] = "center"
    mean: tuple[_Fraction, _Fraction, _Fraction] = Preprocessing.mean
    std: tuple[_Deviation, _Deviation, _Deviation] = Preprocessing.std


class TimmConfig(BaseModel):
    """What is read of a config.json."""

    architecture: str
    model_args: dict[str, _Argument | list[_Argument]] = {}
    pretrained_cfg: _PretrainedConfig

    @model_validator(mode="before")
    @classmethod
    def _of_one_level(cls, content: Any) -> Any:
        """Take timm's older form, which has all in one level."""
        return {"pretrained_cfg": content, **content} if isinstance(content, dict) else content

    @property
    def arguments(self) -> dict[str, Any]:
        """The network's own arguments, without those that give it a head, or no pooling."""
        has_pooling = bool(self.model_args.get("global_pool"))
        without = {"num_classes"} if has_pooling else {"num_classes", "global_pool"}
        return {key: value for key, value in self.model_args.items() if key not in without}

    def preprocessing(self, folder: Path) -> Preprocessing:
        """Return how images are prepared; its size is the network's, once that is built."""
        wanted = self.pretrained_cfg
        if wanted.input_size[1] != wanted.input_size[2]:
            raise WeightsRefused(f"{folder}: its network takes images of {wanted.input_size[1:]} px, no squares.")
        return Preprocessing(
            size=wanted.input_size[1],
            mean=wanted.mean,
            std=wanted.std,
            interpolation=wanted.interpolation,
            crop=wanted.crop_pct,
            is_square=wanted.crop_mode == "squash",
        )


def read_timm_config(folder: Path) -> TimmConfig:
    """Read the config.json of a folder; `WeightsRefused` where it is missing or not timm's."""
    path = folder / "config.json"
    config = read_as(
        TimmConfig,
        path,
        "timm's description of a model",
        WeightsRefused,
        "name the network with --encoder timm:ARCHITECTURE, and its weights file with --weights",
        at_most=SMALL,
    )
    if refused := [key for key in config.model_args if key.startswith(_OF_THE_FACTORY)]:
        raise WeightsRefused(f"{path}: model_args has {refused[0]}, which is no argument of a network; remove it.")
    for key, value in config.model_args.items():
        layers = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int | float)]
        if key.startswith(("depth", "layers")) and max(layers, default=0) > _DEEPEST:
            raise WeightsRefused(f"{path}: model_args has {key} {max(layers):g}, and a network has up to {_DEEPEST}.")
    return config
