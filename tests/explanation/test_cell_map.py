"""Cells on a plane: what is alike stands together, and nothing breaks where there is little to place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_caltomorph.errors import ExplanationRefused
from napari_caltomorph.explanation.cell_map import FEWEST, pca, umap


def two_groups(count: int, width: int = 12) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)
    values[count // 2 :, 0] += 20
    return values


def test_pca_parts_two_groups_along_its_first_axis() -> None:
    places, shares = pca(two_groups(40))
    first, second = np.sort(places[:20, 0]), np.sort(places[20:, 0])
    assert first[-1] < second[0] or second[-1] < first[0]
    assert shares[0] > 0.5 > shares[1]


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 4), width=st.integers(1, 4), same=st.booleans())
def test_pca_places_any_number_of_cells(count: int, width: int, same: bool) -> None:
    values = np.zeros((count, width)) if same else np.random.default_rng(1).normal(size=(count, width))
    places, shares = pca(values.astype(np.float32))
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert np.isfinite(shares).all()


def test_umap_of_too_few_cells_names_pca() -> None:
    with pytest.raises(ExplanationRefused, match="needs 10 cells, there are 9; PCA shows them"):
        umap(two_groups(FEWEST - 1))
