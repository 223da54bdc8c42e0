"""What must hold for one drawn cell."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_caltomorph.synthetic import CELL_TYPES, CellType, RedCells, Stain, UnknownCellType, draw_cell

STAIN = Stain.sample(np.random.default_rng(3))
NORMAL = RedCells(14.0)

# Another hash is another generator: raise GENERATOR_VERSION, and train the demo model again.
GOLDEN = {
    0: "32d201a65d8285af5daa714fb15c5ba99236eb05abc62ccc6e806a8e5ad70773",
    1: "346c0e0b7a6c36876d85e60d0e18bb593bd129de0b70e3e9b9e1c412d92bca0e",
    2: "d16dd8e6417b79b7e312d14e25b3c321a7a8156adc940a33eb6b239f250ed433",
}


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def draw_all(seed: int) -> bytes:
    red_cells = RedCells(12.0, rouleaux=0.1 * seed, teardrops=0.2 * seed)
    stain = Stain.sample(rng(seed))
    return b"".join(draw_cell(t, rng(seed, n), stain, red_cells).tobytes() for n, t in enumerate(CELL_TYPES))


@settings(deadline=None, max_examples=30)
@given(
    cell_type=st.sampled_from(sorted(CELL_TYPES)),
    size=st.sampled_from([48, 144, 224, 600]),
    red_cells=st.builds(RedCells, st.floats(4, 21), st.floats(0, 1), st.floats(0, 1)),
    seed=st.integers(0, 2**32),
)
def test_every_type_gives_rgb_of_the_given_size(cell_type, size, red_cells, seed):
    image = draw_cell(cell_type, rng(seed), Stain.sample(rng(seed)), red_cells, size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.std() > 10
    middle = image[size * 2 // 5 : size * 3 // 5, size * 2 // 5 : size * 3 // 5]
    assert middle.mean() < 0.9 * np.percentile(image, 99)  # Something lies in the middle.


@settings(deadline=None, max_examples=20)
@given(cell_type=st.sampled_from(sorted(CELL_TYPES)), seed=st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_image_and_another_seed_another(cell_type, seed):
    stain = Stain.sample(rng(seed, 1))
    first, again, other = (draw_cell(cell_type, rng(s), stain, NORMAL) for s in (seed, seed, seed + 1))
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 1


def test_no_two_of_some_hundred_cells_are_equal():
    generator = rng(5)
    seen = {draw_cell("lymphocyte", generator, STAIN, NORMAL, 32).tobytes() for _ in range(300)}
    assert len(seen) == 300


@pytest.mark.parametrize("seed", GOLDEN)
def test_a_seed_gives_the_recorded_bytes(seed):
    assert hashlib.sha256(draw_all(seed)).hexdigest() == GOLDEN[seed]


def test_the_same_seed_gives_the_same_bytes_in_another_process():
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
    with pytest.raises(UnknownCellType) as refusal:
        draw_cell("neutrophil", rng(0), STAIN, NORMAL)
    assert all(known in str(refusal.value) for known in CELL_TYPES)


@pytest.mark.parametrize("entry", [{"diameter": [9, 12], "colour": "pink"}, {"nucleus": {"shape": {"kind": "cube"}}}])
def test_a_mistake_in_an_entry_of_the_table_is_refused(entry):
    with pytest.raises(ValidationError):
        CellType(**({"diameter": [9, 12]} | entry))


def absorption_around(red_cells: RedCells, stain: Stain = STAIN) -> float:
    """Mean absorption of green light by everything around the cell."""
    images = np.stack([draw_cell("lymphocyte", rng(seed), stain, red_cells) for seed in range(12)])
    border = np.ones(images.shape[1:3], bool)
    border[35:-35, 35:-35] = False
    return float(-np.log(np.maximum(images[:, border, 1], 1) / stain.light[1]).mean())


@pytest.mark.parametrize("seed", range(3))
def test_red_cells_pale_as_hemoglobin_falls(seed):
    values = [absorption_around(RedCells(hemoglobin), Stain.sample(rng(seed))) for hemoglobin in (6, 9, 12, 15)]
    assert values == sorted(values)
    assert values[-1] > 1.4 * values[0]


def test_rouleaux_and_teardrops_show_around_the_cell():
    assert absorption_around(RedCells(12.0, rouleaux=1.0)) > 1.1 * absorption_around(RedCells(12.0))
    plain, teardrops = (draw_cell("lymphocyte", rng(3), STAIN, RedCells(12.0, teardrops=t)) for t in (0.0, 1.0))
    assert np.abs(plain.astype(int) - teardrops).mean() > 1


def test_stains_differ_between_patients():
    brightness = [draw_cell("monocyte", rng(1), Stain.sample(rng(s)), NORMAL).mean() for s in range(10)]
    assert np.std(brightness) > 2
