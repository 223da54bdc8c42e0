"""The options of an evaluation; the terminal's flags and the panel's fields are made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt

from napari_caltomorph.diagnosis.options import share_within
from napari_caltomorph.encoding.options import Device

Lab = Literal["same", "other", "unknown"]
Overlap = Literal["yes", "no", "unknown"]


class EvaluateOptions(BaseModel, frozen=True, extra="forbid"):
    """Which patients a model is evaluated on, and how."""

    split: Literal["test", "train", "all", "extended"] = Field(
        "test",
        description="Patients to evaluate; all where the cohort has no splits; extended: those left out of the cohort.",
    )
    out_of_fold: bool = Field(
        False,
        description="Evaluate patients that the model was trained on, each by the member that was not trained on it.",
    )
    average_views: bool = Field(
        False, description="Average over the views of the cells that the model was trained on; the features have them."
    )
    threshold: Annotated[float, Field(ge=0, le=1), share_within("from 0 to 1")] | None = Field(
        None, description="Malignancy from which a patient counts as malignant; otherwise the model's."
    )
    lab: Lab = Field(
        "unknown", description="Whether the smears come from the laboratory of the training: same, other, unknown."
    )
    encoder_overlap: Overlap = Field(
        "unknown", description="Whether the encoder has seen these images in its own training: yes, no, unknown."
    )
    classes_map: Path | None = Field(
        None,
        description='JSON or TOML: class or label of the cohort = class of the model, "none", or "none: NAME OF ROW".',
    )
    against: tuple[str, ...] = Field(
        (),
        description="Numbers to show predictions against: columns of the table, or cell types of labelled sub-folders.",
    )
    healthy: tuple[str, ...] = Field(
        ("healthy", "stem_cell_donor", "control"), description="Slugs of the classes that are healthy donors."
    )
    skip_missing: bool = Field(False, description="Evaluate the others where patients have no features.")
    bins: PositiveInt = Field(15, description="Bins of equal width of the expected calibration error.")
    resamples: NonNegativeInt = Field(1000, description="Simulations of a calibrated model, for its ECE; 0 for none.")
    seed: NonNegativeInt = Field(0, description="Of these simulations and of the map of patients.")
    device: Device = Field("auto", description="Where to compute: auto, cpu, cuda, cuda:N or mps.")
