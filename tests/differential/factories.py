"""Features of cells whose types are known: each type a cloud of points, each patient a shift of all of them."""

from __future__ import annotations

import numpy as np

from napari_caltomorph.differential import CellLabels
from napari_caltomorph.encoding import FeatureOrigin, Features

TYPES = ("segmented neutrophil", "blast", "lymphocyte", "smudge cell")
WIDTH = 6


def features(
    counts: tuple[int, ...] = (20, 20, 20, 10),
    *,
    patient: str = "p1",
    seed: int = 0,
    spread: float = 0.4,
    shift: float = 0.0,
    encoder: str = "demo-vit",
) -> Features:
    """So many cells of each of `TYPES`, one after the other."""
    rng = np.random.default_rng(seed)
    types = np.repeat(np.arange(len(counts)), counts)
    values = np.eye(len(TYPES), WIDTH)[types] + rng.normal(0, spread, (len(types), WIDTH))
    values += rng.normal(0, 1, WIDTH) * shift
    cells = tuple(f"cell_{i:03d}" for i in range(len(types)))
    origin = FeatureOrigin(encoder=encoder, weights_sha256="0" * 64, smear_fingerprint=f"bytes of {patient}")
    return Features(patient, values.astype(np.float32), cells, origin)


def truth(counts: tuple[int, ...] = (20, 20, 20, 10)) -> dict[str, str]:
    """Cell -> its true type."""
    types = np.repeat(np.arange(len(counts)), counts)
    return {f"cell_{i:03d}": TYPES[kind] for i, kind in enumerate(types)}


def labelled(*smears: Features, counts: tuple[int, ...] = (20, 20, 20, 10)) -> CellLabels:
    """All cells of these smears, labelled as they are."""
    labels = CellLabels()
    for smear in smears:
        labels = labels.labelled(smear, truth(counts), by="expert", when="2026-01-01T00:00:00+00:00")
    return labels
