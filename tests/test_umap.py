"""Maps by the real UMAP, in one file: it compiles for seconds in each process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.evaluation.factories import SLUGS, evaluation_of, simulated
from tests.explanation.test_cell_map import two_groups

from napari_caltomorph.evaluation import Embeddings
from napari_caltomorph.explanation.cell_map import umap
from napari_caltomorph.report.patient_map import patient_map


@pytest.fixture(scope="module", autouse=True)
def _umap() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "umap", raising=False)  # conftest.py hides it
        pytest.importorskip("umap")
        yield


@pytest.fixture(autouse=True)
def _torch_keeps_its_threads() -> Iterator[None]:
    """numba would change their number, and so the weights of a later training."""
    threads = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == threads


def test_umap_keeps_two_groups_of_cells_apart() -> None:
    places = umap(two_groups(60))
    middles = places[:30].mean(axis=0), places[30:].mean(axis=0)
    nearer = np.linalg.norm(places[:, None] - np.array(middles), axis=2).argmin(axis=1)
    assert nearer.tolist() == [0] * 30 + [1] * 30


def test_evaluated_patients_are_placed_by_the_transform_of_umap() -> None:
    rng, classes = np.random.default_rng(0), np.arange(60) % 4
    training = (8 * np.eye(4, 6)[classes] + rng.normal(size=(60, 6))).astype(np.float32)
    evaluation = evaluation_of(*simulated((10, 10, 10, 10)))
    evaluated_patients = training[:40] + rng.normal(scale=0.1, size=(40, 6)).astype(np.float32)
    evaluated_patients[0] = 500
    embeddings = Embeddings(0, evaluated_patients, training, tuple(SLUGS[c] for c in classes))
    mapping = patient_map(replace(evaluation, embeddings=embeddings))
    assert mapping.projection == "UMAP"
    assert "UMAP's transform" in mapping.in_words
    assert "placed_by_neighbours" not in mapping.parameters
    assert mapping.is_far.tolist() == [True] + [False] * 39
    near = np.linalg.norm(mapping.evaluated[1:] - mapping.training[1:40], axis=1)
    assert np.median(near) < 0.1 * np.ptp(mapping.training)
    assert np.isfinite(mapping.evaluated).all()  # there is a place for the far one, too
