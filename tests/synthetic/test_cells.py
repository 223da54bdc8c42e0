"""What must hold for one drawn cell."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.filters import threshold_otsu

from napari_caltomorph.synthetic import CELL_TYPES, RedCells, Stain, UnknownCellType, draw_cell

STAIN = Stain.sample(np.random.default_rng(3))
NORMAL = RedCells(14.0)


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(deadline=None, max_examples=40)
@given(
    cell_type=st.sampled_from(sorted(CELL_TYPES)),
    size=st.sampled_from([48, 144, 224, 600]),
    hemoglobin=st.floats(4, 21),
    seed=st.integers(0, 2**32),
)
def test_every_type_draws_rgb_of_the_asked_size(cell_type, size, hemoglobin, seed):
    image = draw_cell(cell_type, rng(seed), Stain.sample(rng(seed)), RedCells(hemoglobin), size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.std() > 10


@pytest.mark.parametrize("cell_type", CELL_TYPES)
def test_two_cells_of_one_type_differ(cell_type):
    generator = rng(5)
    first, second = (draw_cell(cell_type, generator, STAIN, NORMAL) for _ in range(2))
    assert np.abs(first.astype(int) - second).mean() > 1


def test_same_seed_draws_same_bytes_in_another_process():
    program = (
        "import hashlib, numpy as np; from napari_caltomorph.synthetic import *;"
        "s = Stain.sample(np.random.default_rng(3));"
        "h = hashlib.sha256(b''.join(draw_cell(t, np.random.default_rng(8), s, RedCells(12.0)).tobytes()"
        " for t in CELL_TYPES)); print(h.hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    here = hashlib.sha256(b"".join(draw_cell(t, rng(8), STAIN, RedCells(12.0)).tobytes() for t in CELL_TYPES))
    assert there.stdout.strip() == here.hexdigest()


def test_unknown_type_is_refused_and_the_known_ones_are_named():
    with pytest.raises(UnknownCellType, match="segmented_neutrophil"):
        draw_cell("neutrophil", rng(0), STAIN, NORMAL)


def nuclear_share(cell_type: str, seed: int) -> float:
    """Measure the N:C ratio as image analysis does it: red light is absorbed by nuclei most of all."""
    image = draw_cell(cell_type, rng(seed), STAIN, NORMAL).astype(float)
    nuclei = image[..., 0] < threshold_otsu(image[..., 0]) - 25
    middle = np.zeros_like(nuclei)
    middle[20:-20, 20:-20] = True
    glass = np.abs(image - STAIN.light).sum(-1) < 45
    foreground, _ = ndimage.label(ndimage.binary_opening(~glass, iterations=3))
    cell = foreground == foreground[72, 72]
    return float((nuclei & middle).sum() / (cell & middle).sum())


def test_blasts_have_a_higher_nuclear_share_than_neutrophils():
    blasts = np.median([nuclear_share("myeloblast", seed) for seed in range(15)])
    neutrophils = np.median([nuclear_share("segmented_neutrophil", seed) for seed in range(15)])
    assert blasts > neutrophils + 0.2


def test_red_cells_pale_as_hemoglobin_falls():
    def redness(hemoglobin: float) -> float:
        """Mean absorption of green light by everything around the cell."""
        images = np.stack([draw_cell("lymphocyte", rng(seed), STAIN, RedCells(hemoglobin)) for seed in range(12)])
        border = np.ones(images.shape[1:3], bool)
        border[35:-35, 35:-35] = False
        return float(-np.log(images[:, border, 1] / STAIN.light[1]).mean())

    values = [redness(hemoglobin) for hemoglobin in (6.0, 9.0, 12.0, 15.0)]
    assert values == sorted(values)
    assert values[-1] > 1.4 * values[0]


def test_stains_differ_between_patients():
    brightness = [draw_cell("monocyte", rng(1), Stain.sample(rng(s)), NORMAL).mean() for s in range(10)]
    assert np.std(brightness) > 2
