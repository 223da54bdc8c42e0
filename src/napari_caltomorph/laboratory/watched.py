"""What a watch shows of each export in its folder, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.errors import counted
from napari_caltomorph.progress import Progress

State = Literal["arriving", "waiting", "predicting", "predicted", "duplicate", "failed", "gone"]


@dataclass(frozen=True)
class Watched:
    """One export of a watched folder, and how far it is."""

    export: str  # Name of the folder or archive
    patient_id: str
    path: Path
    state: State
    note: str = ""  # Why, or how much has arrived
    prediction: Prediction | None = None  # The newest, also while more of the export arrives
    file: Path | None = None


def _malignant(one: Watched) -> tuple[float, ...]:
    shown = one.prediction
    return (2,) if shown is None else (1,) if shown.withheld else (0, -shown.malignancy)


def _doubtful(one: Watched) -> tuple[float, ...]:
    shown = one.prediction
    if shown is None or shown.withheld:
        return (2,) if shown is None else (0,)
    return 1, shown.stands_out and not shown.is_outside_domain, shown.delta_probability


First = Literal["malignant", "doubtful"]
"""Which patients are first."""
ORDERS: dict[First, Callable[[Watched], tuple[float, ...]]] = {"malignant": _malignant, "doubtful": _doubtful}
"""What is sorted by, so that the most malignant or the most doubtful patients are first."""


@dataclass(frozen=True)
class WatchProgress(Progress):
    """One report of a watch: of an export, or that it waits."""

    watched: Watched | None = None  # The export that changed its state
    note: str = ""  # What keeps the whole watch from going on

    @property
    def in_words(self) -> str:
        """E.g. ``"Watching: 3 of 5 exports done"``, and what it waits for."""
        words = f"{self.stage}: {self.done} of {counted(self.total, 'export')} done"
        return f"{words}. {self.note}" if self.note else words

    @property
    def whole(self) -> tuple[int, int]:
        """Exports that are done, and all exports."""
        return self.done, self.total
