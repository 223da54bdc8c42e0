"""What a person may choose about a synthetic cohort; the terminal's flags are made from it."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt

CELLS_WORTH_A_PROCESS = 400  # Drawing fewer takes less time than starting a process.


class SynthOptions(BaseModel, frozen=True, extra="forbid"):
    """How a synthetic cohort is made."""

    patients: PositiveInt = Field(80, description="Patients in all, spread evenly over the classes.")
    cells: PositiveInt = Field(200, description="Cells of each patient.")
    seed: NonNegativeInt = Field(0, description="The same seed writes the same cohort, byte for byte.")
    layout: Literal["folders", "aml-hehr"] = Field(
        "folders",
        description="folders: the 19 diagnoses, one folder a class; aml-hehr: four genetic subtypes of AML and healthy "
        "donors, in the folders of that public cohort.",
    )
    shortcut: bool = Field(
        False,
        description="Stain and scanner give the class away, as if each disease came from another laboratory: to test "
        "whether such a shortcut is noticed.",
    )
    workers: PositiveInt | None = Field(
        None, description="Processes that draw; one a processor where not given. The bytes are the same."
    )
    overwrite: bool = Field(False, description="Replace the synthetic cohort in the output folder.")

    @property
    def processes(self) -> int:
        """How many processes draw: the chosen number, but none that would have too little to do."""
        chosen = self.workers or os.cpu_count() or 1
        return max(1, min(chosen, self.patients * self.cells // CELLS_WORTH_A_PROCESS))
