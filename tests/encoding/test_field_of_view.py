"""An encoder that takes the centre of some micrometres sees the same cell whatever surrounds it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from napari_caltomorph.cohort.encode_patient import made_with
from napari_caltomorph.encoding import EncodeOptions, encode, load_encoder
from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.smear import smear_from_array


@pytest.fixture
def centred(tiny_encoder):
    """The small ViT, on the centre of 25 micrometres."""
    return dataclasses.replace(
        tiny_encoder, preprocessing=dataclasses.replace(tiny_encoder.preprocessing, field_um=25.0)
    )


@pytest.fixture
def cells() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (3, 180, 182, 3), dtype=np.uint8)


def values_of(encoder, cells, pixel_size_um):
    return encode(smear_from_array(cells, "p", pixel_size_um), encoder=encoder).values


def test_only_the_centre_of_the_stated_micrometres_is_encoded(centred, tiny_encoder, cells):
    wide = values_of(centred, cells, 0.25)
    np.testing.assert_array_equal(wide, values_of(tiny_encoder, cells[:, 40:140, 41:141], 0.25))
    assert np.abs(wide - values_of(centred, cells, 0.2)).max() > 0


def test_an_image_narrower_than_the_field_keeps_its_scale(centred):
    frame = centred.preprocessing.framed(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), 12.5 / 4)
    assert frame.shape == (8, 8, 3)
    frame = centred.preprocessing.framed(np.full((60, 80, 3), 7, np.uint8), 0.25)
    assert frame.shape == (100, 100, 3)
    assert (frame == 7).all()


def test_unknown_scale_is_refused_with_the_option_that_states_it(centred, cells):
    with pytest.raises(SmearUnreadable, match=r"25 micrometres.*--field-of-view"):
        values_of(centred, cells, None)


def test_the_users_width_is_used_recorded_and_sealed(centred, cells):
    stated = dataclasses.replace(centred, field_of_view_um=45.5)
    features = encode(smear_from_array(cells, "p", 3.0), encoder=stated)
    np.testing.assert_array_equal(features.values, values_of(centred, cells, 0.25))
    assert features.origin.field_of_view_um == pytest.approx(45.5)
    assert "centre25um" in features.origin.preprocessing


def test_features_of_another_stated_width_are_not_those_of_this_run(centred, cells):
    origin = encode(smear_from_array(cells, "p", 0.25), encoder=centred).origin
    assert made_with(centred).is_of(origin)
    assert made_with(dataclasses.replace(centred, field_of_view_um=45.5)).is_of(origin)
    assert not made_with(dataclasses.replace(centred, field_of_view_um=25.0)).is_of(origin)


def test_the_option_reaches_the_encoder(tiny):
    options = EncodeOptions(**tiny.model_dump() | {"field_of_view": 45})
    assert load_encoder(options).field_of_view_um == 45
