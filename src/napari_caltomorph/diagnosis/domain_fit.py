"""A training cohort's features -> the `Domain` of its members, computed patient by patient, without copies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.domain import TAILS, Domain, MemberDomain, robust_scale, with_total
from napari_caltomorph.diagnosis.image_domain import fit_images

LEAST_PATIENTS = 19
"""With fewer, no p-value can be 5 % or less."""

_EMBEDDING_RANK = 32
_CLUSTERS = 16
_LEAST_IN_CLUSTER = 50
# Subsamples: of all cells for the clusters, and of each smear for the distances of cells. All else uses all cells.
_CELLS_FOR_CLUSTERS = 20_000
_CELLS_KEPT = 500


def fit_domain(
    bags: Sequence[NDArray[np.float32]],
    embeddings: NDArray[np.float32],
    held_out_by: NDArray[np.integer],
    traits: pd.DataFrame | None = None,
) -> Domain | None:
    """Measure the training domain; None where fewer than `LEAST_PATIENTS` patients were held out from a member.

    `bags` are the cells (N, D) of each of P patients, `embeddings` (M, P, E) those of each patient by each member.
    `held_out_by` (P,) is the member that was not trained on the patient: -1 where no member was, -2 where all were.
    `traits` has a row a patient, of what their images show away from the cells, where they have images.

    Each patient has the same weight, however many cells there are. Within-smear covariance is shrunk towards a multiple
    of the identity, more with fewer cells; between-smear covariance and that of the embeddings as in Ledoit and Wolf
    (2004).
    """
    if (held_out_by >= 0).sum() < LEAST_PATIENTS:
        return None
    counts = np.array([len(bag) for bag in bags])
    means = np.stack([bag.mean(axis=0, dtype=np.float64) for bag in bags])  # (P, D)
    scatter = _scatter_of_groups(bags, means, held_out_by)
    members = []
    for k, embedded in enumerate(embeddings):
        trained_on = (held_out_by != k) & (held_out_by != -1)
        parts = [part for group, part in scatter.items() if group not in (k, -1)]
        within = np.sum([matrix for matrix, _ in parts], axis=0) / max(sum(count for _, count in parts), 1)
        some = [bags[int(p)] for p in np.flatnonzero(trained_on)]
        members.append(_member(some, means[trained_on], counts[trained_on], within, embedded[trained_on]))
    known = [int(p) for p in np.flatnonzero(held_out_by >= 0)]
    measured = [members[held_out_by[p]].distances(bags[p], embeddings[held_out_by[p], p]) for p in known]
    scale = robust_scale([aspects for aspects, _ in measured])
    scores = with_total((np.stack([aspects for aspects, _ in measured]) - scale[:, 0]) / scale[:, 1])
    held_out = tuple(np.sort(scores[held_out_by[known] == k].T, axis=1) for k in range(len(members)))
    cells = np.concatenate([cells[:: max(1, len(cells) // _CELLS_KEPT)] for _, cells in measured])
    images = None
    if traits is not None:
        totals = np.zeros(len(bags))
        totals[known] = scores[:, -1]
        images = fit_images(traits, held_out_by, totals)
    return Domain(tuple(members), scale, held_out, np.quantile(cells, 1 - TAILS), images)


def _scatter_of_groups(
    bags: Sequence[NDArray[np.float32]], means: NDArray[np.float64], held_out_by: NDArray[np.integer]
) -> dict[int, tuple[NDArray[np.float64], int]]:
    """Return for each group of patients the sum of their within-smear covariances, and how many have one."""
    width = means.shape[1]
    scatter: dict[int, tuple[NDArray[np.float64], int]] = {}
    for bag, mean, group in zip(bags, means, held_out_by.tolist(), strict=True):
        total, count = scatter.get(group, (np.zeros((width, width)), 0))
        if len(bag) > 1:
            centred = bag - mean.astype(np.float32)
            total += (centred.T @ centred) / (len(bag) - 1)
            count += 1
        scatter[group] = total, count
    return scatter


def _member(
    bags: Sequence[NDArray[np.float32]],
    means: NDArray[np.float64],
    counts: NDArray[np.integer],
    within: NDArray[np.float64],
    embeddings: NDArray[np.float32],
) -> MemberDomain:
    from sklearn.covariance import ledoit_wolf

    width = means.shape[1]
    share = width / (width + counts.sum())
    within = (1 - share) * within + (share * np.trace(within) / width + 1e-12) * np.eye(width)
    variances, directions = np.linalg.eigh(within)
    whitening = directions / np.sqrt(variances)
    centre = means.mean(axis=0)
    between, turn = np.linalg.eigh(ledoit_wolf((means - centre) @ whitening, assume_centered=True)[0])
    embedding_centre = embeddings.mean(axis=0, dtype=np.float64)
    spread, basis = np.linalg.eigh(ledoit_wolf(embeddings - embedding_centre, assume_centered=True)[0])
    rank = min(_EMBEDDING_RANK, len(spread) - 1)
    spread = np.maximum(spread[::-1], 1e-12)
    axes = whitening @ turn  # along these, cells of one smear vary by 1
    lengths = np.linalg.norm(axes, axis=0)
    return MemberDomain(
        centre=centre,
        axes=axes / lengths,
        within=lengths**-2,
        between=np.maximum(between - np.mean(1 / counts), 0) * lengths**-2,
        cell_centres=_cluster_centres(bags, centre, axes),
        embedding_centre=embedding_centre,
        embedding_basis=basis[:, ::-1][:, :rank],
        embedding_variances=np.append(spread[:rank], spread[rank:].mean()),
    )


def _cluster_centres(
    bags: Sequence[NDArray[np.float32]], centre: NDArray[np.float64], axes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return centres of the commonest appearances, (K, D): each the mean of many cells."""
    from sklearn.cluster import MiniBatchKMeans

    step = max(1, sum(map(len, bags)) // _CELLS_FOR_CLUSTERS)
    some = np.concatenate([bag[::step] for bag in bags])
    placed = ((some - centre) @ axes).astype(np.float32)
    count = max(1, min(_CLUSTERS, len(placed) // _LEAST_IN_CLUSTER))
    clusters = MiniBatchKMeans(count, random_state=0, n_init=3, batch_size=2048).fit(placed)
    return np.asarray(clusters.cluster_centers_)
