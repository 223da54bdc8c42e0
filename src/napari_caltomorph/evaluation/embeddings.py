"""What one member of a model makes of patients: the points of the map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Embeddings:
    """What one member makes of patients; the spaces of two members have nothing in common.

    Attributes
    ----------
    member : int
    judged : (P, width) float32
        In the order of `Evaluation.patients`.
    training : (T, width) float32 or None
        Training patients that are not among the judged; None where the model does not bring them.
    training_classes : tuple of str
        Their slugs.
    """

    member: int
    judged: NDArray[np.float32]
    training: NDArray[np.float32] | None = None
    training_classes: tuple[str, ...] = ()
