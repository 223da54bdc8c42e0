"""Cells that no model has diagnosed: what the views of cells need of a `Prediction`, of a smear alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.smear import Smear


@dataclass(frozen=True)
class UndiagnosedCells:
    """The N usable cells of a graded smear, in its order."""

    patient_id: str
    smear_path: str | None
    smear_fingerprint: str
    cells: tuple[str, ...]
    labels: tuple[str | None, ...]  # As sub-folders name them
    has_attention = False

    @classmethod
    def of(cls, smear: Smear) -> UndiagnosedCells:
        cells = tuple(smear.cells[i] for i in smear.usable)
        labels = tuple(smear.labels[i] for i in smear.usable)
        return cls(smear.patient_id, smear.place, smear.fingerprint, cells, labels)

    @cached_property
    def order(self) -> NDArray[np.intp]:
        return np.arange(len(self.cells))

    @cached_property
    def ranks(self) -> NDArray[np.intp]:
        return self.order + 1

    @cached_property
    def attention(self) -> NDArray[np.float64]:
        return np.ones(len(self.cells))

    def cell_table(self) -> pd.DataFrame:
        """Return one row a cell."""
        return pd.DataFrame({"patient_id": self.patient_id, "cell": self.cells, "rank": self.ranks})
