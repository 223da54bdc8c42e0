"""What a person may choose about encoding a cohort; the terminal's flags and the panel's fields are made from it."""

from __future__ import annotations

from pydantic import Field, PositiveInt, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from napari_caltomorph.encoding.options import EncodeOptions


class EncodeCohortOptions(EncodeOptions):
    """How the cells of many patients are turned into features, and by how many processes."""

    workers: PositiveInt = Field(1, description="Processes that share the patients, on this machine.")
    scheduler: str | None = Field(
        None, description="Address of a Dask scheduler whose workers share the patients, e.g. tcp://node:8786."
    )

    @field_validator("scheduler")
    @classmethod
    def _has_its_own_workers(cls, scheduler: str | None, info: ValidationInfo) -> str | None:
        if scheduler is not None and info.data.get("workers", 1) > 1:
            raise PydanticCustomError("exclusive", "a scheduler has its own workers; leave out --workers")
        return scheduler
