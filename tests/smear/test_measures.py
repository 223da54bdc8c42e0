"""What must hold when contrast and blur are measured: the published definitions, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.measure import blur_effect

from napari_caltomorph.smear.measures import measure_batch

sizes = st.tuples(st.integers(16, 70), st.integers(16, 70))


@settings(max_examples=40, deadline=None)
@given(shapes=st.lists(sizes, min_size=1, max_size=4), sigma=st.floats(0, 4), seed=st.integers(0, 999))
def test_blur_is_that_of_scikit_image_and_contrast_that_of_numpy(shapes, sigma, seed):
    rng = np.random.default_rng(seed)
    levels = [rng.integers(0, 256, (*shape, 3)).astype(np.uint8) for shape in shapes * 2]
    images = [gaussian_filter(image, (sigma, sigma, 0)) for image in levels]
    for image, (contrast, blur) in zip(images, measure_batch(images), strict=True):
        low, high = np.percentile(image[..., 1], [1, 99])
        assert contrast == pytest.approx(high - low, abs=1e-9)
        expected = blur_effect(image[..., 1].astype(np.float32)) if low < high else np.nan
        assert blur == pytest.approx(expected, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("step", [1, 128, 255])
def test_the_strongest_gradients_are_summed_without_overflow(step):
    rng = np.random.default_rng(0)
    random = rng.integers(0, 2, (300, 290)).astype(np.uint8) * step
    stripes = np.tile(np.repeat([0, step], 6), (300, 25)).astype(np.uint8)  # The filter leaves most of these
    images = [np.dstack([green] * 3) for green in (random, stripes, stripes.T)]
    expected = [blur_effect(image[..., 1].astype(np.float32)) for image in images]
    np.testing.assert_allclose(measure_batch(images)[:, 1], expected, atol=1e-5)


def test_a_batch_gives_what_each_image_gives_alone(make_cell):
    images = [make_cell(seed, size) for seed, size in enumerate([144, 90, 144, 144, 37, 90, 144, 144, 144])]
    np.testing.assert_array_equal(measure_batch(images), [measure_batch([image])[0] for image in images])


def test_blur_is_not_measured_where_nothing_varies_nor_of_images_far_from_a_cells_size(make_cell):
    images = [np.full((64, 64, 3), 200, np.uint8), make_cell(0, 15), make_cell(0, 16), make_cell(0, 1025)]
    measures = measure_batch(images)
    assert np.isnan(measures[:, 1]).tolist() == [True, True, False, True]
    assert measures[0, 0] == 0
    assert (measures[1:, 0] > 0).all()
    assert measure_batch([]).shape == (0, 2)
