"""What a person may choose about encoding; the terminal's flags and the panel's fields are made from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, NonNegativeInt, PositiveFloat, PositiveInt

Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
Precision = Literal["auto", "float32", "bf16"]


class ComputeOptions(BaseModel, frozen=True, extra="forbid"):
    """Where and how to compute, and with which weights."""

    weights: Path | None = Field(
        None, description="Encoder weights, a file or timm's folder; otherwise those on this machine."
    )
    field_of_view: PositiveFloat | None = Field(
        None, description="Width of a cell's image in micrometres; otherwise what its files say."
    )
    device: Device = Field("auto", description="Where to compute: auto, cpu, cuda, cuda:N or mps.")
    precision: Precision = Field("auto", description="bf16 where the hardware has it, float32 elsewhere.")
    batch_size: PositiveInt = Field(
        256, description="Most cells at once; smaller devices take fewer, and it is halved when memory runs out."
    )


class EncodeOptions(ComputeOptions):
    """How cells are turned into features."""

    encoder: str = Field("dinobloom-b", description="Encoder name; `caltomorph models encoders` lists them.")


class Preparation(BaseModel, frozen=True, extra="forbid"):
    """What an encoder is shown of each cell, where it is not the encoder's own; features and models record it."""

    crop_um: PositiveFloat | None = Field(
        None, description="Encode the centre of each image, so many micrometres wide; otherwise what the encoder takes."
    )
    views: NonNegativeInt = Field(
        0,
        le=16,
        description="Encode each cell also so many times as if stained, lit and focused elsewhere, for training; time, "
        "memory and disk grow by as many times.",
    )

    @classmethod
    def recorded(cls, preprocessing: str | None, views: str | None = None) -> Preparation:
        """Return what made features whose origin has these two texts."""
        centre = re.match(r"centre([\d.e+-]+)um-", preprocessing or "")
        return cls(crop_um=float(centre[1]) if centre else None, views=int(views.split()[0]) if views else 0)


AS_IT_IS = Preparation()
