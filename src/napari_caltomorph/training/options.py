"""The options of a training; the terminal's flags, the panel's fields and option files are made from them.

A recipe is a column of default values: `TrainOptions(recipe="paper")` is the paper's training, and each of its values
can be changed. The learning rate follows the aggregator too. docs/training.md gives the source of each value.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    Field,
    ModelWrapValidatorHandler,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from napari_caltomorph.cohort.options import without_workers
from napari_caltomorph.diagnosis import AGGREGATOR_OPTIONS, AggregatorOptions
from napari_caltomorph.diagnosis.options import GENBLOOM, ShareOrZero, share_within
from napari_caltomorph.encoding.options import Device, Precision
from napari_caltomorph.taxonomy import Taxonomy

if TYPE_CHECKING:
    from napari_caltomorph.diagnosis.genbloom import PatientEncoder

Recipe = Literal["robust", "paper"]
AggregatorName = Literal["transformer", "genbloom-v", "genbloom-g", "abmil", "wbcmil", "concepts", "mean", "max"]

# Option -> its value in the recipe robust, and in the recipe paper.
_VALUES: dict[str, tuple[Any, Any]] = {
    "depth": (2, 10),
    "learning_rate": (None, 5e-5),
    "weight_decay": (0.01, 0.01),
    "schedule": ("cosine", "constant"),
    "warmup_epochs": (5, 0),
    "batch_size": (8, 8),
    "patience": (25, 20),
    "dropout": (0.1, 0.0),
    "scaling": ("standardise", "none"),
}
# Aggregator -> its learning rate in the recipe robust.
_RATES: dict[str, float] = {
    "transformer": 3e-5,
    "abmil": 3e-5,
    "wbcmil": 3e-5,
    "concepts": 3e-3,
    "mean": 3e-4,
    "max": 3e-5,
}
DECIDING = ("recipe", "aggregator", "fine_tune", "epochs")
"""The options that others follow, unless these are given too."""


def _following(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that follow from given ones; nothing where a deciding one is refused by its own field."""
    recipe, aggregator = given.get("recipe", "robust"), given.get("aggregator", "transformer")
    if recipe not in get_args(Recipe) or aggregator not in get_args(AggregatorName):
        return {}
    row = {name: values[get_args(Recipe).index(recipe)] for name, values in _VALUES.items()}
    trained = aggregator
    if aggregator in GENBLOOM:
        row["scaling"] = "none"
        trained = "transformer" if given.get("fine_tune") else "mean"  # as what is trained: all, or heads
    row["learning_rate"] = row["learning_rate"] or _RATES[trained]
    return row | ({"least_steps": 0} if "epochs" in given else {})


class TrainOptions(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How members are trained on a cohort. Defaults are those of the recipe `robust`."""

    recipe: Recipe = Field(
        "robust",
        description="robust: a member's own fold never steers it. paper: as published; it stops on its own fold.",
    )
    hemoglobin: bool = Field(False, description="Also train to estimate hemoglobin.")

    aggregator: AggregatorName = Field("transformer", description="What pools a patient's cells.")
    aggregator_weights: str | None = Field(
        None,
        description="Checkpoint of genbloom-v or genbloom-g, as MarrLab/GenBloom publishes it.",
        json_schema_extra={"format": "path"},
    )
    fine_tune: bool = Field(False, description="Train genbloom-v or genbloom-g further, not only the heads on them.")
    depth: PositiveInt = Field(2, description="Layers of the transformer (paper: 10).")
    pooling: Literal["cls", "mean"] = Field("cls", description="How the transformer's cells become one vector.")
    width: PositiveInt = Field(512, description="Embedding dimension of transformer, abmil and concepts.")
    heads: PositiveInt = Field(8, description="Attention heads of the transformer.")
    mlp_width: PositiveInt = Field(2048, description="Hidden dimension of the transformer's MLPs.")
    classifier_width: PositiveInt = Field(128, description="Hidden dimension of the heads.")

    epochs: PositiveInt = Field(
        150, description="Most epochs of a member; if given, one with too few patients to stop on trains all of them."
    )
    patience: PositiveInt = Field(25, description="Stop when validation loss has not fallen for so many epochs.")
    least_steps: NonNegativeInt = Field(
        150, description="A member with too few patients to stop on trains 20 epochs, and so many steps; 0: all epochs."
    )
    learning_rate: PositiveFloat = Field(3e-5, le=1, description="Of AdamW, by aggregator (paper: 5e-5).")
    weight_decay: NonNegativeFloat = Field(0.01, description="Of AdamW.")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="Learning rate after the warm-up.")
    warmup_epochs: NonNegativeInt = Field(
        5, description="Epochs in which the learning rate rises; at most a quarter of all."
    )
    batch_size: PositiveInt = Field(8, title="Patients per batch", description="Patients at once.")
    accumulate: PositiveInt = Field(1, description="Batches a step of the optimizer; for small memories.")
    clip: PositiveFloat = Field(1.0, description="Largest norm of a step's gradient.")
    max_cells: PositiveInt = Field(500, description="Most cells of a patient in an epoch, sampled again each time.")
    dropout: ShareOrZero = Field(0.1, description="In the layers and heads, while training.")
    label_smoothing: ShareOrZero = Field(0.0, description="Of the cross entropy, while training.")
    balance: Literal["none", "weights", "sampling"] = Field(
        "none", description="Rare classes weigh more, or are sampled more often; outputs are at the natural shares."
    )
    scaling: Literal["none", "standardise"] = Field(
        "standardise", description="Features as they are, or with mean 0 and standard deviation 1; saved in the model."
    )
    hemoglobin_weight: PositiveFloat = Field(1.0, description="Weight of the hemoglobin loss; the classes' is 1.")

    calibration_split: Annotated[float, Field(ge=0, lt=0.5), share_within("from 0 to below 0.5")] = Field(
        0.0, description="Share of the training patients that no member sees, to calibrate on (200 or more)."
    )
    elsewhere: bool = Field(
        True,
        description="Measure the images of the patients, 0.1 s each, to estimate what to expect in other laboratories "
        "and to warn of images unlike them.",
    )
    skip_missing: bool = Field(False, description="Train without the patients whose features are missing.")
    seed: NonNegativeInt = Field(
        0, description="The same seed gives the same weights: to the last bit on a CPU, up to rounding on CUDA."
    )
    device: Device = Field("auto", description="Where to compute: auto, cpu, cuda, cuda:N or mps.")
    precision: Precision = Field("auto", description="bf16 where the hardware has it, float32 elsewhere.")
    workers: PositiveInt = Field(1, description="Folds trained in parallel on this machine.")
    scheduler: str | None = Field(
        None, description="Address of a Dask scheduler whose workers train the folds, e.g. tcp://node:8786."
    )

    @model_validator(mode="wrap")
    @classmethod
    def _filled_in(cls, values: Any, handler: ModelWrapValidatorHandler[TrainOptions]) -> TrainOptions:
        if not isinstance(values, Mapping):
            return handler(values)
        options = handler(_following(values) | dict(values))
        options.model_fields_set.intersection_update(values)  # what was filled in was not given
        return options

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> TrainOptions:
        if self.aggregator == "transformer" and self.width % self.heads:
            raise PydanticCustomError("heads", f"{self.heads} heads do not divide a width of {self.width}")
        return self

    @model_validator(mode="after")
    def _published_encoders_take_features_as_they_are(self) -> TrainOptions:
        if self.aggregator in GENBLOOM and self.scaling != "none":
            raise PydanticCustomError("scaling", f"{self.aggregator} takes features as they are: scaling none")
        return self

    @field_validator("aggregator_weights", mode="before")
    @classmethod
    def _wherever_workers_run(cls, path: Any) -> Any:
        return str(Path(path).absolute()) if isinstance(path, (str, Path)) else path

    _scheduler_alone = field_validator("scheduler")(without_workers)

    @property
    def is_frozen(self) -> bool:
        """Whether only heads are trained, on patients that a published encoder has pooled."""
        return self.aggregator in GENBLOOM and not self.fine_tune

    def published(self) -> PatientEncoder | None:
        """Read the published patient encoder that is trained on; None where all is trained from the start.

        Raises `WeightsMissing` and `WeightsRefused`.
        """
        if self.aggregator not in GENBLOOM:
            return None
        from napari_caltomorph.diagnosis.genbloom import find_genbloom, read_genbloom

        return read_genbloom(find_genbloom(self.aggregator, self.aggregator_weights), self.aggregator)

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given, without what was filled in."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}

    @property
    def changed(self) -> dict[str, Any]:
        """The fewest options that make the same: what differs from the defaults, and does not follow from that."""
        default = TrainOptions()
        decided = {n: getattr(self, n) for n in DECIDING if getattr(self, n) != getattr(default, n)}
        followed = TrainOptions(**decided)
        fields = type(self).model_fields
        return decided | {n: getattr(self, n) for n in fields if getattr(self, n) != getattr(followed, n)}

    def aggregator_options(self, taxonomy: Taxonomy) -> AggregatorOptions:
        """Return the options of the aggregator for these classes: those that its kind has, or its published weights."""
        if (published := self.published()) is not None:
            return published.options.model_copy(update={"frozen": self.is_frozen})
        kind = AGGREGATOR_OPTIONS[self.aggregator]
        known = self.model_dump() | {"reference": taxonomy.reference}
        return kind(**{name: known[name] for name in kind.model_fields if name in known})
