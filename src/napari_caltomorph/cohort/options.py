"""What a person may choose about a cohort; the terminal's flags and the panel's fields are made from it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

HemoglobinUnit = Literal["auto", "g/dl", "g/l", "mmol/l"]


class CohortOptions(BaseModel):
    """How a labelled directory or table becomes a cohort: its columns, its classes, who is left out, its splits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: str = Field(
        "auto", description="How the data lie: table, aml-hehr, apl-aml, features, folders; auto looks."
    )
    where: tuple[str, ...] = Field((), description="Keep rows with COLUMN=VALUE; may be given again.")
    table: str | None = Field(
        None, description="Table of patients beside the folders, where it is not found by itself."
    )
    id_column: str | None = Field(None, description="Column with the patient's id.")
    label_column: str | None = Field(None, description="Column with the diagnosis.")
    path_column: str | None = Field(None, description="Column with the folder of the patient's cells.")
    hemoglobin_column: str | None = Field(None, description="Column with measured hemoglobin.")
    hemoglobin_unit: HemoglobinUnit = Field(
        "auto", description="Unit of that column; auto takes g/dl and uses nothing that looks otherwise."
    )
    age_column: str | None = Field(None, description="Column with the age in years.")
    sex_column: str | None = Field(None, description="Column with the sex.")
    group_column: str | None = Field(
        None, description="Patients of one group (site, family) stay on one side of a split."
    )
    split_column: str | None = Field(None, description="Column that says train or test.")

    taxonomy: str = Field(
        "caltomorph", description="caltomorph, aml-hehr, apl-aml, a taxonomy file, or none: each label is a class."
    )
    keep_unmatched: bool = Field(False, description="Keep labels of no class as 'other' instead of leaving them out.")

    min_cells: NonNegativeInt = Field(50, description="Leave out patients with fewer usable cells.")
    names_only: bool = Field(False, description="Count file names instead of looking at every image; much faster.")
    keep_follow_up: bool = Field(False, description="Keep samples after therapy.")
    keep_double: bool = Field(False, description="Keep double and in-between diagnoses, as a set of classes.")
    keep_unclear: bool = Field(False, description="Keep unclear diagnoses.")
    min_patients: NonNegativeInt = Field(2, description="Leave out classes with fewer patients (rare diagnoses).")

    test_fraction: float = Field(0.2, ge=0, lt=1, description="Held-out part, unless the table brings its own.")
    folds: int = Field(5, ge=2, description="Cross-validation folds of the rest.")
    split_seed: NonNegativeInt = Field(0, description="The same seed gives the same split.")

    def with_columns(self, **columns: str) -> CohortOptions:
        """Return the options with these columns, where none was chosen."""
        return self.model_copy(update={field: getattr(self, field) or column for field, column in columns.items()})
