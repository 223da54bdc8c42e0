"""How a probe is trained."""

from __future__ import annotations

from pydantic import BaseModel, Field, PositiveFloat


class ProbeOptions(BaseModel, frozen=True, extra="forbid"):
    """How labelled cells become a probe."""

    min_cells: int = Field(5, ge=2, description="A type with fewer labelled cells is left out, and said so.")
    folds: int = Field(5, ge=2, description="Parts of the cross-validation, by patient where there are several.")
    strength: PositiveFloat = Field(
        10.0, description="Inverse of the penalty on weights, for features of any width (scikit-learn's C times width)."
    )
    seed: int = Field(0, ge=0, description="How cells are dealt into parts where there is one patient.")
