"""Which distance tells that a cell is of no learnt type: each type is left out in turn, and its cells should be far.

    python -m benchmarks.other_cells CELLS [--cells 1500]

CELLS is the folder that trained the shipped encoder. Distances are fitted to cells that it learnt from, and judged on
cells that it did not, in made-up laboratories (`scripts/train_blood_probe.py`); the limit is where 5 % of the other
types' cells are far. ImageNet's network learnt no type, so it stands for cells that no encoder has seen. No cell of a
cohort is used. Prints Markdown; docs/differential.md has one run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from benchmarks.blood_encoder import FIELD_UM
from benchmarks.speed import machine
from numpy.typing import NDArray
from scripts.train_blood_encoder import read_cells
from scripts.train_blood_probe import Smear, framed, labelled, laboratories, perturbed, smear_of, some
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from napari_caltomorph.differential.other import FALSE_OTHER
from napari_caltomorph.encoding import EncodeOptions, load_encoder

Values, Types = NDArray[np.float64], NDArray[np.str_]
Score = Callable[[Values], NDArray[np.float64]]


def mahalanobis(values: Values, types: Types, components: int, *, relative: bool = False) -> Score:
    """Distance to the nearest type; `relative` to that from all cells (Ren et al. 2021)."""
    pca = PCA(components, svd_solver="randomized", random_state=0).fit(values)
    points = pca.transform(values)
    names, of = np.unique(types, return_inverse=True)
    means = np.array([points[types == name].mean(axis=0) for name in names])
    spread, whole = LedoitWolf(assume_centered=True).fit(points - means[of]), LedoitWolf().fit(points)

    def score(cells: Values) -> NDArray[np.float64]:
        seen = pca.transform(cells)
        nearest = np.min([spread.mahalanobis(seen - mean) for mean in means], axis=0)
        return np.asarray(nearest - whole.mahalanobis(seen) if relative else nearest)

    return score


def neighbours(values: Values, types: Types, components: int) -> Score:
    """Distance to the fifth nearest cell, of features of length one (Sun et al. 2022)."""
    pca = PCA(components, svd_solver="randomized", random_state=0).fit(values)

    def unit(cells: Values) -> Values:
        points = pca.transform(cells)
        return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))

    known = NearestNeighbors(n_neighbors=5).fit(unit(values))
    return lambda cells: known.kneighbors(unit(cells))[0][:, -1]


DISTANCES: dict[str, Callable[[Values, Types], Score]] = {
    "Mahalanobis, 16 components": partial(mahalanobis, components=16),
    "Mahalanobis, 32 components": partial(mahalanobis, components=32),
    "Mahalanobis, 64 components": partial(mahalanobis, components=64),
    "relative Mahalanobis, 32 components": partial(mahalanobis, components=32, relative=True),
    "fifth nearest neighbour, 32 components": partial(neighbours, components=32),
}


def gathered(smears: Sequence[Smear]) -> tuple[Values, Types]:
    """Features and types of the cells of all smears."""
    values = np.concatenate([features.values for features, _ in smears]).astype(float)
    return values, np.concatenate([[labels.of(one)[cell] for cell in one.cells] for one, labels in smears])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path)
    parser.add_argument("--cells", type=int, default=1500, dest="count")
    asked = parser.parse_args()
    every = read_cells(asked.cells, FIELD_UM)
    learnt = some(labelled(every, every.part >= 2), asked.count, seed=0)
    judged = labelled(every, every.part == 1)
    names = np.unique(judged.labels)
    print(f"\n{machine()}\n\n| encoder | distance | left-out type called other, mean | {' | '.join(names)} |")
    print(f"|---|---|---|{'---|' * len(names)}")
    for encoder_name in ("blood-lite", "efficientnet-lite0"):
        options = EncodeOptions(encoder=encoder_name, device="cpu", precision="float32", field_of_view=25)
        encoder = load_encoder(options)
        smears = [smear_of(images, learnt.labels, "learnt", encoder) for images in (framed(learnt), perturbed(learnt))]
        values, types = gathered(smears)
        cells, true = gathered(laboratories(judged, encoder, seed=1000, count=20))
        for name, fit in DISTANCES.items():
            caught = []
            for left_out in names:
                far = fit(values[types != left_out], types[types != left_out])(cells)
                caught.append((far > np.quantile(far[true != left_out], 1 - FALSE_OTHER))[true == left_out].mean())
            row = " | ".join(f"{share:.2f}" for share in (np.mean(caught), *caught))
            print(f"| {encoder_name} | {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
