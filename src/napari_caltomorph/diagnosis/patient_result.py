"""What becomes of each of many patients, and how far the run is: what the terminal and the panel's table show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_caltomorph.diagnosis.prediction import Prediction
from napari_caltomorph.progress import Progress


@dataclass(frozen=True)
class PatientResult:
    """What became of one patient.

    Attributes
    ----------
    patient_id : str
    path : Path
        Where the cells are.
    prediction : Prediction or None
        None where the patient failed.
    file : Path or None
        The ``prediction.json``.
    was_done : bool
        Whether it stood there already and was not computed again.
    problem : str
        Why there is no prediction; empty where there is one.
    ran_out_of_memory : bool
        Whether the machine was the problem, and not the patient's images.
    """

    patient_id: str
    path: Path
    prediction: Prediction | None = None
    file: Path | None = None
    was_done: bool = False
    problem: str = ""
    ran_out_of_memory: bool = False


@dataclass(frozen=True)
class PatientProgress(Progress):
    """One report of a run over patients: a step of patient `number`, or, with `result`, that the patient is through."""

    patient_id: str = ""
    number: int = 1
    patients: int = 1
    result: PatientResult | None = None

    @property
    def in_words(self) -> str:
        """E.g. ``"3 of 12: Encoding: 312/487 cells"``."""
        step = super().in_words
        return step if self.patients == 1 else f"{self.number} of {self.patients}: {step}"
