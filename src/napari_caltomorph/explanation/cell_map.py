"""Cells in two dimensions by their features: PCA is fast, UMAP slower, and shows groups better."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.errors import ExplanationRefused, import_optional
from napari_caltomorph.progress import OnProgress, Progress, ignore

FEWEST = 10
"""UMAP needs at least so many cells."""

_NEIGHBOURS = 15
# UMAP of 128 or 768 features and of their first 50 components show the same groups; distances are far cheaper.
_COMPONENTS = 50


def pca(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project cells (N, D) onto the two directions in which they differ most.

    Returns positions (N, 2), and the share of the variance along each axis; zeros where there are fewer directions.
    """
    places, shares = _components(values, 2)
    return places, shares


def umap(values: NDArray[np.float32], *, seed: int = 0, progress: OnProgress = ignore) -> NDArray[np.float64]:
    """Place cells (N, D) by UMAP: (N, 2). Near each other are similar cells; distances between groups mean little.

    `progress` is called between the steps; UMAP itself cannot be stopped. Raises `ExplanationRefused` where there are
    too few cells, and `PackageMissing` without the extra ``umap``.
    """
    if len(values) < FEWEST:
        raise ExplanationRefused(f"UMAP needs {FEWEST} cells, there are {len(values)}; PCA shows them.")
    progress(Progress("Loading UMAP", 0, 2, "steps"))
    reduced, _ = _components(values, _COMPONENTS)
    progress(Progress("Placing cells by UMAP", 1, 2, "steps"))
    neighbours = min(_NEIGHBOURS, len(values) - 1)
    return fit_umap(reduced, "The UMAP of cells", seed=seed, n_neighbors=neighbours, init="pca")[0]


def fit_umap(
    values: NDArray[np.floating],
    purpose: str,
    *,
    others: NDArray[np.floating] | None = None,
    seed: int,
    **options: Any,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the UMAP, (N, 2), of values (N, D), and the places of `others` (M, D) on it, (M, 2), by its `transform`.

    `options` are those of `umap.UMAP`.

    Raises `PackageMissing` without the extra ``umap``; `purpose` begins the message.
    """
    import torch

    library = import_optional("umap", "umap", purpose)  # compiles for seconds
    # numba sets the number of OpenMP threads, which torch shares; with another number, the same seed trains other
    # weights.
    threads = torch.get_num_threads()
    try:
        mapping = library.UMAP(random_state=seed, n_jobs=1, **options).fit(values)
        placed = np.zeros((0, 2)) if others is None or not len(others) else mapping.transform(others)
        return np.asarray(mapping.embedding_, dtype=float), np.asarray(placed, dtype=float)
    finally:
        torch.set_num_threads(threads)


def _components(values: NDArray[np.float32], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.decomposition import PCA

    fitting = min(count, *values.shape)
    places, shares = np.zeros((len(values), count)), np.zeros(count)
    if len(np.unique(values, axis=0)) > 1:  # else there is no direction in which they differ
        mapping = PCA(fitting, random_state=0)
        places[:, :fitting] = mapping.fit_transform(values.astype(np.float64))
        shares[:fitting] = mapping.explained_variance_ratio_
    return places, shares
