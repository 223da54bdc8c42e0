"""What a person may choose about a shortcut audit."""

from __future__ import annotations

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt


class AuditOptions(BaseModel, frozen=True, extra="forbid"):
    """How shortcuts are looked for."""

    cells: PositiveInt = Field(60, description="Images looked at of each patient, drawn at random.")
    shufflings: int = Field(300, ge=20, description="How often labels are shuffled; p is at least 1 / (this + 1).")
    folds: int = Field(5, ge=2, description="Folds to deal out where the cohort has none.")
    columns: tuple[str, ...] = Field(
        (), description="Columns such as site, scanner or year; by default those whose names look like it."
    )
    routine: tuple[str, ...] = Field(
        (), description="Columns of routine data; by default age, sex, hemoglobin and what looks like a blood count."
    )
    seed: NonNegativeInt = Field(0, description="The same seed gives the same audit.")
