"""Options for reading and for encoding a cohort; the terminal's flags and the panel's fields are made from them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from napari_caltomorph.diagnosis.options import ShareOrZero
from napari_caltomorph.encoding.options import EncodeOptions, Preparation
from napari_caltomorph.storage import as_text

HemoglobinUnit = Literal["auto", "g/dl", "g/l", "mmol/l"]


class CohortOptions(BaseModel, frozen=True, extra="forbid"):
    """How a labelled directory or table becomes a cohort: columns, classes, which patients are left out, splits."""

    layout: str = Field(
        "auto", description="How the data are arranged: table, aml-hehr, apl-aml, features, folders; auto finds out."
    )
    where: tuple[str, ...] = Field((), description="Keep rows with COLUMN=VALUE; may be given again.")
    table: str | None = Field(
        None,
        description="Table of patients next to the folders, where it is not found automatically.",
        json_schema_extra={"format": "path"},
    )
    id_column: str | None = Field(None, description="Column with the patient's id.")
    label_column: str | None = Field(None, description="Column with the diagnosis.")
    path_column: str | None = Field(None, description="Column with the folder of the patient's cells.")
    hemoglobin_column: str | None = Field(None, description="Column with measured hemoglobin.")
    hemoglobin_unit: HemoglobinUnit = Field(
        "auto", description="Unit of that column; auto takes g/dl, and ignores values that may be of another unit."
    )
    age_column: str | None = Field(None, description="Column with the age in years.")
    sex_column: str | None = Field(None, description="Column with the sex.")
    group_column: str | None = Field(
        None, description="Patients of one group (site, family) stay in one part of a split."
    )
    split_column: str | None = Field(None, description="Column of train or test.")

    taxonomy: str = Field(
        "caltomorph", description="caltomorph, aml-hehr, apl-aml, a taxonomy file, or none: each label is a class."
    )
    keep_unmatched: bool = Field(False, description="Keep labels of no class as 'other' instead of leaving them out.")

    bag: Literal["patient", "slide"] = Field(
        "patient", description="Join the slides of a patient, or take each for itself; a split keeps them together."
    )
    min_cells: NonNegativeInt = Field(50, description="Leave out patients with fewer usable cells.")
    names_only: bool = Field(False, description="Count file names instead of checking every image; much faster.")
    keep_follow_up: bool = Field(False, description="Keep samples after therapy.")
    keep_double: bool = Field(False, description="Keep double and in-between diagnoses, as a set of classes.")
    keep_unclear: bool = Field(False, description="Keep unclear diagnoses.")
    min_patients: NonNegativeInt = Field(2, description="Leave out classes with fewer patients (rare diagnoses).")

    test_fraction: ShareOrZero = Field(0.2, description="Held-out part, unless the table has its own.")
    folds: int = Field(5, ge=2, description="Cross-validation folds of the rest.")
    split_seed: NonNegativeInt = Field(0, description="The same seed gives the same split.")

    _path_or_name = field_validator("table", "taxonomy", mode="before")(as_text)

    def with_columns(self, **columns: str) -> CohortOptions:
        """Return the options with these columns, where none was chosen."""
        return self.model_copy(update={field: getattr(self, field) or column for field, column in columns.items()})


def without_workers(scheduler: str | None, info: ValidationInfo) -> str | None:
    """Refuse a scheduler given together with `workers`: the validator of options that have both."""
    if scheduler is not None and info.data.get("workers", 1) > 1:
        raise PydanticCustomError("exclusive", "a scheduler has its own workers; leave out --workers")
    return scheduler


PeerName = Literal["stamp", "clam", "trident"]


class EncodeCohortOptions(EncodeOptions, Preparation):
    """How the cells of many patients are turned into features, and what reads them."""

    workers: PositiveInt = Field(
        1, description="Processes that read cells for the encoder, on this machine; with 1, threads of this process do."
    )
    scheduler: str | None = Field(
        None, description="Address of a Dask scheduler whose workers share the patients, e.g. tcp://node:8786."
    )

    extended: bool = Field(
        False, description="Also encode the patients left out with a diagnosis, for `evaluate --split extended`."
    )

    write_as: PeerName | None = Field(
        None, description="Also write the features as STAMP, CLAM or TRIDENT reads them, into a folder of that name."
    )

    _scheduler_alone = field_validator("scheduler")(without_workers)
