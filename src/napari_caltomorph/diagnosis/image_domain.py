"""Whether a smear's images look like those of the training patients away from the cells: stain, background, size.

An aspect of the training domain for smears that come with their images. Cells of another laboratory can give features
that are not unusual; their background is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.reading import refuse_misfit
from napari_caltomorph.smear.image_traits import APPEARANCE, SIZES

TRAITS = (*APPEARANCE, *SIZES)
_PREFIX = "images."
# Of its mean: a trait that is the same for all training patients is not measured more exactly than so.
_LEAST_SPREAD = 0.02
_LEAST_MEASURED = 0.9
_TINY = 1e-12
_UNKNOWN = 1e12  # The spread of a trait that no training patient has: it makes no distance

Numbers = NDArray[np.floating]


@dataclass(frozen=True)
class ImageDomain:
    """The images of the patients that each of M members was trained on, by T traits."""

    centre: Numbers  # (M, T)
    spread: Numbers  # (M, T)
    precision: Numbers  # (M, T, T): of standardised traits, shrunk (Ledoit and Wolf 2004)
    # (2, 2): median and robust standard deviation of held-out patients' log distance, and of their features' total
    scale: Numbers
    # For each member, of the patients that it was not trained on: the score of their images, and the larger one of it
    # and the score of their features, (2, n); every row is sorted separately
    held_out: tuple[Numbers, ...]

    @property
    def patients(self) -> int:
        return sum(rows.shape[1] for rows in self.held_out)

    def scores(self, traits: Mapping[str, float], totals: Numbers) -> NDArray[np.float64]:
        """Return (2, M) scores of a smear as in `held_out`; `totals` (M,) are those of its features."""
        values = np.array([traits.get(name, np.nan) for name in TRAITS])
        distances = np.array([self._distance(member, values) for member in range(len(self.centre))])
        return _joint(distances, totals, self.scale)

    def _distance(self, member: int, values: Numbers) -> float:
        return log_distance(values, self.centre[member], self.spread[member], self.precision[member])

    def to_tensors(self) -> dict[str, Numbers]:
        return {
            **{f"{_PREFIX}{name}": getattr(self, name) for name in ("centre", "spread", "precision", "scale")},
            **{f"{_PREFIX}unseen.{k}": rows for k, rows in enumerate(self.held_out)},
        }

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Numbers], members: int) -> ImageDomain | None:
        """Return what a file has of it; None where that is nothing, ValueError where it does not fit."""
        if f"{_PREFIX}centre" not in tensors:
            return None
        count = len(TRAITS)
        shapes: dict[str, tuple[int | None, ...]] = {
            "centre": (members, count),
            "spread": (members, count),
            "precision": (members, count, count),
            "scale": (2, 2),
            **{f"unseen.{k}": (2, None) for k in range(members)},
        }
        refuse_misfit(tensors, {_PREFIX + name: shape for name, shape in shapes.items()})
        found = {name: tensors[_PREFIX + name] for name in shapes}
        held_out = tuple(found.pop(f"unseen.{k}") for k in range(members))
        if not ((found["spread"] > _TINY / 2).all() and (found["scale"][:, 1] > 0).all()):
            raise ValueError("a spread of images in it is not positive")
        if not all((np.diff(rows) >= 0).all() for rows in held_out) or not sum(rows.shape[1] for rows in held_out):
            raise ValueError("scores of images in it are not sorted, or are of no patient")
        return cls(**found, held_out=held_out)


def log_distance(values: Numbers, centre: Numbers, spread: Numbers, precision: Numbers) -> float:
    """Return the log of a squared Mahalanobis distance a trait; traits that were not measured are at the centre."""
    placed = np.nan_to_num((values - centre) / spread)
    squared = max(float(placed @ precision @ placed), 0.0)
    return float(np.log(squared / len(values) + _TINY))


def fit_images(traits: pd.DataFrame, held_out_by: NDArray[np.integer], totals: Numbers) -> ImageDomain | None:
    """Measure the images of P patients: `traits` and `held_out_by` (P,) as in `fit_domain`.

    `totals` (P,) are the scores of the features of patients that a member was not trained on. None where fewer than
    90 % of the patients have images.
    """
    from sklearn.covariance import ledoit_wolf

    traits = traits.reindex(columns=list(TRAITS)).reset_index(drop=True).astype(float)
    is_measured = traits.notna().any(axis=1).to_numpy()
    is_known = is_measured & (held_out_by >= 0)
    if is_measured.mean() < _LEAST_MEASURED or not is_known.any():
        return None
    fits, values = [], traits.to_numpy()
    for member in range(int(held_out_by.max()) + 1):
        is_in = is_measured & (held_out_by != member) & (held_out_by != -1)
        of_traits = traits.loc[is_in].agg(["mean", "std"])
        centre, spread = of_traits.fillna(0).to_numpy()
        spread = np.maximum(spread, _LEAST_SPREAD * np.abs(centre) + _TINY)
        spread[of_traits.loc["mean"].isna()] = _UNKNOWN
        placed = np.nan_to_num((values[is_in] - centre) / spread)
        fits.append((centre, spread, np.linalg.pinv(ledoit_wolf(placed, assume_centered=True)[0])))
    distances = np.array([log_distance(values[p], *fits[held_out_by[p]]) for p in np.flatnonzero(is_known)])
    scale = np.stack([_robust(distances), _robust(totals[is_known])])
    scores, by = _joint(distances, totals[is_known], scale), held_out_by[is_known]
    held_out = tuple(np.sort(scores[:, by == member], axis=1) for member in range(len(fits)))
    centres, spreads, precisions = (np.stack(parts) for parts in zip(*fits, strict=True))
    return ImageDomain(centres, spreads, precisions, scale, held_out)


def as_far_out(held_out: Sequence[Numbers], scores: Numbers) -> NDArray[np.int64]:
    """Return (rows,): how many held-out patients have scores as large, each member's (rows, M) among its own."""
    counts = [
        [len(row) - np.searchsorted(row, score, side="left") for row, score in zip(rows, mine, strict=True)]
        for rows, mine in zip(held_out, scores.T, strict=True)
    ]
    return np.asarray(np.sum(counts, axis=0))


def _joint(distances: Numbers, totals: Numbers, scale: Numbers) -> NDArray[np.float64]:
    """(2, n): the score of images, and the larger one of it and that of features: either may show that they differ."""
    images = (distances - scale[0, 0]) / scale[0, 1]
    return np.stack([images, np.maximum(images, (totals - scale[1, 0]) / scale[1, 1])])


def _robust(values: Numbers) -> NDArray[np.float64]:
    median = float(np.median(values))
    return np.array([median, max(1.4826 * float(np.median(np.abs(values - median))), 1e-6)])
