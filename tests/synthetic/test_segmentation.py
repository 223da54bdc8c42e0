"""A drawn cell has the size, the nucleus and the lobes that its row of the table states."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from napari_caltomorph.synthetic import CELL_TYPES, RedCells, Stain
from napari_caltomorph.synthetic.cells import Parts, paint_cell

STAIN = Stain.sample(np.random.default_rng(3))
TOLERANCE = 0.06  # Of an area: pixels, and shapes that cannot grow further within their cell.
CELLS = 15
STRAND_UM = 0.45  # Half the width up to which a bridge of the nucleus is a strand between lobes.


def segment(cell_type: str, seed: int) -> Parts:
    return paint_cell(CELL_TYPES[cell_type], np.random.default_rng(seed), STAIN, RedCells(14.0))[1]


@pytest.mark.parametrize("cell_type", CELL_TYPES)
def test_area_and_nuclear_share_lie_in_the_stated_ranges(cell_type):
    row = CELL_TYPES[cell_type]
    smallest, largest = (math.pi * (diameter / 2) ** 2 for diameter in row.diameter)
    for seed in range(CELLS):
        parts = segment(cell_type, seed)
        share = row.nucleus.share if row.nucleus else (0.0, 0.0)
        if row.cytoplasm is None:  # A bare nucleus is the whole cell.
            smallest, share = smallest * row.nucleus.share[0], (1.0, 1.0)
        assert smallest * (1 - TOLERANCE) < parts.area < largest * (1 + TOLERANCE)
        assert share[0] * (1 - TOLERANCE) <= parts.grid.area(parts.nucleus) / parts.area <= share[1] * (1 + TOLERANCE)


@pytest.mark.parametrize("cell_type", [t for t, row in CELL_TYPES.items() if row.nucleus and row.cytoplasm])
def test_nucleus_is_within_the_cell(cell_type):
    for seed in range(CELLS):
        parts = segment(cell_type, seed)
        assert not ((parts.nucleus > 0) & (parts.cell <= 0)).any()


def count_lobes(parts: Parts) -> int:
    """Count what is left of the nucleus when strands are eroded away, by morphology of its mask."""
    strand = round(STRAND_UM / parts.grid.pixel)
    cores = ndimage.distance_transform_edt(np.pad(parts.nucleus > 0, 1)) > strand
    labels, result = ndimage.label(cores)
    return int(sum((labels == one).sum() * parts.grid.pixel**2 > 0.5 for one in range(1, result + 1)))


@pytest.mark.parametrize("cell_type", [t for t, row in CELL_TYPES.items() if row.nucleus and row.cytoplasm])
def test_lobes_are_as_many_as_stated(cell_type):
    fewest, most = getattr(CELL_TYPES[cell_type].nucleus.shape, "lobes", (1, 1))
    counted = np.array([count_lobes(segment(cell_type, seed)) for seed in range(CELLS)])
    # Lobes that lie one on another count as one, on a real smear too; a deep dent may leave a knob.
    assert ((counted >= min(fewest, 1)) & (counted <= most + 1)).all()
    assert fewest <= np.median(counted) <= most


def test_lobes_tell_segmented_from_band_and_pelger():
    segmented, band, pelger = (
        np.mean([count_lobes(segment(f"{kind}_neutrophil", seed)) for seed in range(40)])
        for kind in ("segmented", "band", "dysplastic")
    )
    assert segmented > 2.5
    assert band < 1.4
    assert 1.2 < pelger < 2


def test_auer_rods_occur_in_some_myeloblasts_and_in_no_lymphoblast():
    with_rods = np.mean([segment("myeloblast", seed).auer_rods > 0 for seed in range(120)])
    assert 0.05 < with_rods < 0.35
    assert not any(segment("lymphoblast", seed).auer_rods for seed in range(40))


def test_auer_rods_are_redder_than_anything_else_in_the_cell():
    def reddest(seed: int) -> tuple[bool, float]:
        canvas, parts = paint_cell(CELL_TYPES["myeloblast"], np.random.default_rng(seed), STAIN, RedCells(14.0))
        red, green, _ = canvas.densities
        return parts.auer_rods > 0, float((green / np.maximum(red, 0.3)).max())

    drawn = [reddest(seed) for seed in range(60)]
    assert min(ratio for has_rods, ratio in drawn if has_rods) > max(ratio for has_rods, ratio in drawn if not has_rods)
