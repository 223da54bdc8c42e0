"""What every part of ``model.json`` is: frozen, finite, and without fields that nobody knows."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of ``model.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
