"""Cells unlike every type that a probe learnt, by the Mahalanobis distance to the nearest type.

Types are Gaussian clouds of one shared, shrunk covariance among the principal components of the features (Lee et al.
2018). The limit is the distance that 95 % of held-out cells of the learnt types do not reach.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FALSE_OTHER = 0.05
_COMPONENTS = 32
_FAR = 1e6


@dataclass(frozen=True, eq=False)
class TypeClouds:
    """Where the K types are, in a space in which distances are Mahalanobis distances."""

    # (P, D), (K, P) float32: to the space, and the means of the types in it
    space: NDArray[np.float32]
    centres: NDArray[np.float32]

    @classmethod
    def fit(cls, values: NDArray[np.float64], types: NDArray[np.intp], count: int) -> TypeClouds:
        """Fit to features (N, D) of types (N,), places below `count`; a type without cells is far from any cell."""
        from sklearn.covariance import LedoitWolf  # not needed to count with a saved probe
        from sklearn.decomposition import PCA

        pca = PCA(min(_COMPONENTS, *values.shape), svd_solver="randomized", random_state=0).fit(values)
        points = pca.transform(values)
        means = np.full((count, points.shape[1]), _FAR)
        for one in np.unique(types):
            means[one] = points[types == one].mean(axis=0)
        spread = LedoitWolf(assume_centered=True).fit(points - means[types]).covariance_
        spread += np.eye(len(spread)) * (1e-6 * points.var(axis=0).sum() + 1e-9)  # cells that are all the same
        whiten = np.linalg.cholesky(np.linalg.inv(spread)).T
        centres = (means + pca.mean_ @ pca.components_.T) @ whiten.T
        return cls((whiten @ pca.components_).astype(np.float32), centres.astype(np.float32))

    def distances(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, K) distances of cells to the types."""
        points = values.astype(np.float64) @ self.space.T.astype(np.float64)
        each = [np.linalg.norm(points - centre, axis=1) for centre in self.centres]
        return np.stack(each, axis=1)


def distance_limit(held_out: NDArray[np.float64]) -> float | None:
    """Return the distance above which a cell is "other"; None where held-out cells are too few to tell.

    The rank makes the rate hold for one more cell like these (split conformal prediction; Vovk et al. 2005).
    """
    rank = math.ceil((len(held_out) + 1) * (1 - FALSE_OTHER))
    limit = 0.0 if rank > len(held_out) else float(np.sort(held_out)[rank - 1])
    return limit if limit > 1e-6 else None  # cells that are all the same have no distance
