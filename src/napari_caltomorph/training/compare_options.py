"""What a person may choose about a comparison; the terminal's flags are made from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

GroupName = Literal["aggregators", "depths", "sizes", "encoders"]

# The name becomes part of a file's name.
_ENCODER = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)=(?P<folder>.+)", re.DOTALL)


class CompareOptions(BaseModel):
    """Which ways of training are compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: tuple[GroupName, ...] = Field(
        ("aggregators", "depths", "sizes"),
        min_length=1,
        description="What is varied, one at a time; may be given again. --encoders adds the encoders.",
    )
    depths: tuple[PositiveInt, ...] = Field(
        (2, 4, 6, 8, 10, 12), description="Layers of the transformer, each with cls and mean pooling."
    )
    shares: tuple[float, ...] = Field(
        (0.1, 0.25, 0.5, 0.75, 1.0), description="Shares of each member's training patients, above 0 and up to 1."
    )
    encoders: tuple[str, ...] = Field(
        (),
        validate_default=True,
        description="NAME=DIR: features of the same patients by another encoder; may be given again.",
    )

    @field_validator("shares")
    @classmethod
    def _is_a_share(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < share <= 1 for share in shares):
            raise PydanticCustomError("share", "a share is above 0 and at most 1")
        return shares

    @field_validator("encoders")
    @classmethod
    def _names_a_folder(cls, encoders: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not encoders and "encoders" in info.data.get("what", ()):
            raise PydanticCustomError("encoder", "name the features to compare with, as NAME=DIR")
        found = [_ENCODER.fullmatch(one) for one in encoders]
        if not all(found):
            raise PydanticCustomError("encoder", "write NAME=DIR, the name of letters, digits, '.', '_' and '-'")
        names = [match["name"].casefold() for match in found if match]
        if len(set(names)) < len(names):
            raise PydanticCustomError("encoder", "two encoders of one name")
        return encoders

    @property
    def groups(self) -> tuple[GroupName, ...]:
        """What is varied, each once."""
        wanted = [*self.what, *(["encoders"] if self.encoders else [])]
        return tuple(name for name in ("aggregators", "depths", "sizes", "encoders") if name in wanted)

    @property
    def encoder_folders(self) -> dict[str, Path]:
        """Name -> feature folder."""
        pairs = (one.split("=", 1) for one in self.encoders)
        return {name: Path(folder) for name, folder in pairs}
