"""The variants of a training that a comparison trains: the paper's ablations, chosen by its options.

Each group of variants changes one thing, and contains the unchanged training as its reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, PositiveInt, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from napari_caltomorph.diagnosis.options import GENBLOOM, share_within
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.training.options import AggregatorName, TrainOptions

GroupName = Literal["aggregators", "depths", "sizes", "encoders"]

# The name becomes part of a file's name.
_ENCODER = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)=(?P<folder>.+)", re.DOTALL)


class CompareOptions(BaseModel, frozen=True, extra="forbid"):
    """Which variants of a training are compared; the terminal's flags are made from it."""

    what: tuple[GroupName, ...] = Field(
        ("aggregators", "depths", "sizes"),
        min_length=1,
        description="What is varied, one at a time; may be given again. --encoders adds the encoders.",
    )
    depths: tuple[PositiveInt, ...] = Field(
        (2, 4, 6, 8, 10, 12), description="Layers of the transformer, each with cls and mean pooling."
    )
    shares: tuple[Annotated[float, Field(gt=0, le=1), share_within("above 0 and at most 1")], ...] = Field(
        (0.1, 0.25, 0.5, 0.75, 1.0), description="Shares of each member's training patients, above 0 and up to 1."
    )
    encoders: tuple[str, ...] = Field(
        (),
        validate_default=True,
        description="NAME=DIR: features of the same patients by another encoder; may be given again.",
        json_schema_extra={"format": "name=folder"},
    )

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
        return {name: Path(folder) for name, folder in (one.split("=", 1) for one in self.encoders)}


@dataclass(frozen=True)
class Variant:
    """One way to train, in one group."""

    group: GroupName  # What varies in it
    name: str  # Its value, e.g. "cls, depth 4"
    options: TrainOptions
    share: float = 1.0  # Of each member's training patients
    features: Path | None = None  # Feature folder; None where the cohort names feature files
    encoder: str = ""  # The name given to another feature folder; empty for the one that all groups share
    is_reference: bool = False  # The other variants of the group are compared with it

    @property
    def slug(self) -> str:
        """A name for files; variants that are trained alike have the same, in any group."""
        options, parts = self.options, []
        if options.aggregator == "transformer":
            parts = [options.pooling, str(options.depth)]
        if self.share < 1:
            parts += ["share", str(self.share)]
        if self.encoder:
            parts += ["features", self.encoder.casefold()]
        return "-".join([options.aggregator, *parts])

    @property
    def in_words(self) -> str:
        """The name that needs no group: what `slug` says, in words."""
        options, parts = self.options, []
        if options.aggregator == "transformer":
            parts = [options.pooling, f"depth {options.depth}"]
        if self.share < 1:
            parts += [f"{100 * self.share:g} % of the patients"]
        if self.encoder:
            parts += [f"features {self.encoder}"]
        return ", ".join([options.aggregator, *parts])


def variants(features: Path | None, options: CompareOptions, train_options: TrainOptions) -> list[Variant]:
    """Return the variants of each group; each group contains its reference, the chosen training options.

    The reference of the depths is the transformer of the chosen depth and pooling, whatever aggregator was chosen;
    `TrainingRefused` where the chosen options are invalid for it.
    """
    groups = {"aggregators": _aggregators, "depths": _depths, "sizes": _sizes, "encoders": _encoders}
    return [variant for group in options.groups for variant in groups[group](features, options, train_options)]


def _aggregators(features: Path | None, options: CompareOptions, chosen: TrainOptions) -> list[Variant]:
    rows = []
    # Published encoders need weights, and one kind of features.
    for name in (one for one in get_args(AggregatorName) if one not in GENBLOOM or one == chosen.aggregator):
        changed = _changed(chosen, aggregator=name)
        row = Variant("aggregators", name, changed, 1.0, features, is_reference=name == chosen.aggregator)
        rows.append(replace(row, name=row.in_words))
    return rows


def _depths(features: Path | None, options: CompareOptions, chosen: TrainOptions) -> list[Variant]:
    rows = []
    for pooling in ("cls", "mean"):
        own = {chosen.depth} if pooling == chosen.pooling else set()
        for depth in sorted({*options.depths, *own}):
            changed = _changed(chosen, aggregator="transformer", pooling=pooling, depth=depth)
            is_reference = (pooling, depth) == (chosen.pooling, chosen.depth)
            name = f"{pooling}, depth {depth}"
            rows.append(Variant("depths", name, changed, 1.0, features, is_reference=is_reference))
    return rows


def _sizes(features: Path | None, options: CompareOptions, chosen: TrainOptions) -> list[Variant]:
    return [
        Variant("sizes", f"{100 * share:g} %", chosen, share, features, is_reference=share == 1)
        for share in sorted({*options.shares, 1.0})
    ]


def _encoders(features: Path | None, options: CompareOptions, chosen: TrainOptions) -> list[Variant]:
    others = options.encoder_folders
    place = None if features is None else features.absolute()
    # Where --encoders names the folder too, that name is used.
    own = next((name for name, folder in others.items() if folder.absolute() == place), None)
    name = own or ("the cohort's features" if place is None else place.name)
    name = name if own or name not in others else f"{name} (--features)"
    rows = [Variant("encoders", name, chosen, 1.0, features, is_reference=True)]
    return rows + [
        Variant("encoders", name, chosen, 1.0, folder, encoder=name) for name, folder in others.items() if name != own
    ]


def _changed(options: TrainOptions, **changes: Any) -> TrainOptions:
    try:
        return TrainOptions(**options.given | changes)
    except ValidationError as error:  # the transformer's width and heads, where another aggregator was chosen
        raise TrainingRefused(f"{error.errors()[0]['msg']}; change --width or --heads.") from error
