"""Options of a prediction, and of each kind of aggregator. No torch here: `model.json` is read without it.

The options of an aggregator are a class in the union below and a row in `AGGREGATOR_OPTIONS`; its network is a class in
`aggregators.py`, `concepts.py` or `transformer.py`, and a row in `member.AGGREGATORS`. As text, options describe the
network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from napari_caltomorph.encoding.options import ComputeOptions
from napari_caltomorph.storage import as_text


class FrozenModel(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A section of ``model.json`` or ``prediction.json``: frozen, finite, and without unknown fields."""


NOT_A_SHARE = "a share is a number {}; 20 % is 0.2"
SOME = "above 0 and below 1"


def share_within(bounds: str) -> WrapValidator:
    """Return what refuses any value that the limits of a share refuse, in one sentence: many write 20 for 20 %."""

    def in_words(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError as error:
            raise PydanticCustomError("share", NOT_A_SHARE.format(bounds)) from error

    return WrapValidator(in_words)


# A share of patients that is neither none nor all; below one in a million, odds lose their digits.
_LEAST_SHARE = 1e-6
Share = Annotated[float, Field(ge=_LEAST_SHARE, le=1 - _LEAST_SHARE), share_within(SOME)]
ShareOrZero = Annotated[float, Field(ge=0, lt=1), share_within("from 0 to below 1")]


def is_share(value: float) -> bool:
    """Whether a number is a `Share`."""
    return _LEAST_SHARE <= value <= 1 - _LEAST_SHARE


class SmearOptions(ComputeOptions):
    """How a smear is diagnosed, by any model."""

    prevalence: Share | None = Field(
        None,
        description="Share of malignant patients in your clinic, e.g. 0.1; otherwise that of the training.",
    )
    policy: Path | None = Field(
        None,
        description="TOML or JSON of your laboratory: when a prediction is withheld; otherwise never.",
    )
    average_views: bool = Field(
        False,
        description="Average over views of each cell, as if stained, lit and focused elsewhere; for models that were "
        "trained on views.",
    )


class PredictOptions(SmearOptions):
    """How a smear is diagnosed, and by which model."""

    model: str = Field("demo", description="Model folder, or the name of an installed model.")

    _path_or_name = field_validator("model", mode="before")(as_text)


# Where the attention of an aggregator comes from: attention rollout, its own weights, or nowhere.
AttentionKind = Literal["rollout", "weights", "none"]


class _Options(FrozenModel):
    """Options of one kind of aggregator, and where its attention comes from."""

    attention_kind: ClassVar[AttentionKind] = "none"


class LayerOptions(_Options):
    """Transformer layers over the cells."""

    attention_kind: ClassVar[AttentionKind] = "rollout"

    depth: PositiveInt = Field(10, description="Transformer layers.")
    heads: PositiveInt = Field(8, description="Attention heads.")
    width: PositiveInt = Field(512, description="Embedding dimension.")
    mlp_width: PositiveInt = Field(2048, description="Hidden dimension of each layer's MLP.")
    pooling: Literal["cls", "mean"] = Field("cls", description="Read a CLS token, or the mean of the cells.")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of {self.heads} heads")
        return self

    def __str__(self) -> str:
        read = "read at a CLS token" if self.pooling == "cls" else "read as the mean of the cells"
        size = f"{self.depth} layers, {self.heads} heads, width {self.width}, MLP {self.mlp_width}"
        return f"a transformer of {size}, {read}"


class TransformerOptions(LayerOptions):
    """Transformer layers over the cells (paper, section 2.4); the defaults are the paper's."""

    kind: Literal["transformer"] = "transformer"


class GenBloomOptions(LayerOptions):
    """A published patient encoder: a transformer on features of DinoBloom-B (Dasdelen et al. 2026)."""

    published: ClassVar[str]  # Its file at MarrLab/GenBloom
    encoder: ClassVar[str] = "dinobloom-b"  # Whose features it takes

    kind: str
    depth: PositiveInt = Field(6, description="Transformer layers.")
    heads: PositiveInt = Field(12, description="Attention heads.")
    width: PositiveInt = Field(768, description="Embedding dimension.")
    mlp_width: PositiveInt = Field(3072, description="Hidden dimension of each layer's MLP.")
    frozen: bool = Field(True, description="All members share the published weights; only their heads were trained.")
    weights_sha256: str = Field("", description="Of the published weights.")

    def __str__(self) -> str:
        how = "frozen" if self.frozen else "trained further"
        return f"the published patient encoder {self.published} ({how}; MarrLab, Apache-2.0), {super().__str__()}"


class GenBloomVOptions(GenBloomOptions):
    """GenBloom-V: trained on images without labels."""

    published: ClassVar[str] = "checkpoints/genbloom_v/genbloom_v.pth"

    kind: Literal["genbloom-v"] = "genbloom-v"


class GenBloomGOptions(GenBloomOptions):
    """GenBloom-G: aligned with the genetics of patients with AML."""

    published: ClassVar[str] = "checkpoints/genbloom_g/genbloom_g_fold<0 to 4>.pth"

    kind: Literal["genbloom-g"] = "genbloom-g"


class AbmilOptions(_Options):
    """Gated attention over the cells (Ilse et al. 2018)."""

    attention_kind: ClassVar[AttentionKind] = "weights"

    kind: Literal["abmil"] = "abmil"
    width: PositiveInt = Field(512, description="Embedding dimension.")
    attention_width: PositiveInt = Field(128, description="Hidden dimension of the attention.")

    def __str__(self) -> str:
        return f"gated attention (ABMIL) of width {self.width}, attention width {self.attention_width}"


class WbcmilOptions(_Options):
    """Attention of its own for each class, as in SCEMILA (Hehr et al. 2023)."""

    attention_kind: ClassVar[AttentionKind] = "weights"

    kind: Literal["wbcmil"] = "wbcmil"
    attention_width: PositiveInt = Field(128, description="Hidden dimension of the attention.")

    def __str__(self) -> str:
        return f"attention of its own for each class (as SCEMILA), attention width {self.attention_width}"


class MeanOptions(_Options):
    """The mean of the cells' features."""

    kind: Literal["mean"] = "mean"

    def __str__(self) -> str:
        return "the mean of the cells' features"


class MaxOptions(_Options):
    """The largest value of each feature among the cells."""

    kind: Literal["max"] = "max"

    def __str__(self) -> str:
        return "the largest value of each feature among the cells"


class ConceptsOptions(_Options):
    """Concepts found cell by cell, and classes that are called by their presence only."""

    attention_kind: ClassVar[AttentionKind] = "weights"

    kind: Literal["concepts"] = "concepts"
    width: PositiveInt = Field(512, description="Hidden dimension of what reads a cell.")
    concepts: PositiveInt = Field(32, description="Kinds of cells that are told apart.")
    reference: NonNegativeInt | None = Field(
        None, description="Number of the class that is called where nothing is found; None: each needs evidence."
    )

    def __str__(self) -> str:
        return (
            f"{self.concepts} concepts found cell by cell (width {self.width}), which only add to evidence for a class"
        )


AggregatorOptions = Annotated[
    TransformerOptions
    | GenBloomVOptions
    | GenBloomGOptions
    | AbmilOptions
    | WbcmilOptions
    | ConceptsOptions
    | MeanOptions
    | MaxOptions,
    Field(discriminator="kind"),
]
"""The options of one aggregator; `kind` says of which."""

AGGREGATOR_OPTIONS: dict[
    str,
    type[TransformerOptions]
    | type[GenBloomVOptions]
    | type[GenBloomGOptions]
    | type[AbmilOptions]
    | type[WbcmilOptions]
    | type[ConceptsOptions]
    | type[MeanOptions]
    | type[MaxOptions],
] = {
    "transformer": TransformerOptions,
    "genbloom-v": GenBloomVOptions,
    "genbloom-g": GenBloomGOptions,
    "abmil": AbmilOptions,
    "wbcmil": WbcmilOptions,
    "concepts": ConceptsOptions,
    "mean": MeanOptions,
    "max": MaxOptions,
}
"""Name of an aggregator -> its options."""

GENBLOOM: dict[str, type[GenBloomVOptions] | type[GenBloomGOptions]] = {
    "genbloom-v": GenBloomVOptions,
    "genbloom-g": GenBloomGOptions,
}
