"""Cells in two dimensions by their features: PCA is fast, UMAP slower, and shows groups better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.errors import ExplanationRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore

FEWEST = 10
"""UMAP needs at least so many cells."""

_NEIGHBOURS = 15
# UMAP of 128 or 768 features and of their first 50 components show the same groups; distances are far cheaper.
_COMPONENTS = 50


def pca(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project cells onto the two directions in which they differ most.

    Parameters
    ----------
    values : (N, D)
        Features; N >= 1.

    Returns
    -------
    (N, 2), (2,)
        Positions, and the share of the variance along each axis; zeros where there are fewer directions.
    """
    places, shares = _components(values, 2)
    return places, shares


def umap(values: NDArray[np.float32], *, seed: int = 0, progress: OnProgress = ignore) -> NDArray[np.float64]:
    """Place cells by UMAP.

    Parameters
    ----------
    values : (N, D)
    seed : int
    progress : callable
        Called between the steps; UMAP itself cannot be stopped.

    Returns
    -------
    (N, 2)
        Near each other are cells with similar features; distances between groups mean little.

    Raises
    ------
    ExplanationRefused
        There are too few cells.
    """
    if len(values) < FEWEST:
        raise ExplanationRefused(f"UMAP needs {FEWEST} cells, there are {len(values)}; PCA shows them.")
    progress(Progress("Loading UMAP", 0, 3, "steps"))
    import torch
    from umap import UMAP  # compiles for seconds when imported

    progress(Progress("Placing cells by UMAP", 1, 3, "steps"))
    reduced, _ = _components(values, _COMPONENTS)
    progress(Progress("Placing cells by UMAP", 2, 3, "steps"))
    # numba sets the number of OpenMP's threads, which are torch's too (see `report.patient_map`).
    threads = torch.get_num_threads()
    mapping = UMAP(n_neighbors=min(_NEIGHBOURS, len(values) - 1), random_state=seed, init="pca", n_jobs=1)
    try:
        places: NDArray[np.float64] = np.asarray(mapping.fit_transform(reduced), dtype=float)
    finally:
        torch.set_num_threads(threads)
    return places


def _components(values: NDArray[np.float32], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.decomposition import PCA

    fitting = min(count, *values.shape)
    places, shares = np.zeros((len(values), count)), np.zeros(count)
    if len(np.unique(values, axis=0)) > 1:  # else there is no direction in which they differ
        mapping = PCA(fitting, random_state=0)
        places[:, :fitting] = mapping.fit_transform(values.astype(np.float64))
        shares[:fitting] = mapping.explained_variance_ratio_
    return places, shares
