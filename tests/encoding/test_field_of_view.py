"""An encoder that takes the centre of some micrometres sees the same cell whatever surrounds it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tifffile

from napari_caltomorph.cohort.encode_patient import made_with
from napari_caltomorph.encoding import EncodeOptions, Features, encode, load_encoder
from napari_caltomorph.encoding.run import grade_and_encode
from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.smear import read_smear, smear_from_array
from napari_caltomorph.smear.pixel_size import known_export


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


def as_exported(cells, path):
    """Return a smear as Metafer exports it: its names, and no scale in the files."""
    for number, cell in enumerate(cells):
        tifffile.imwrite(path / f"Gal-{number:06d}.RGB.TIF", cell, photometric="rgb")
    return read_smear(path)


def test_the_width_of_a_known_export_is_assumed_and_recorded(centred, tiny_encoder, cells, tmp_path):
    smear = as_exported(cells[:, :144, :144], tmp_path)
    features = encode(smear, encoder=centred)
    np.testing.assert_array_equal(features.values, values_of(centred, cells[:, :144, :144], 25 / 144))
    assert features.origin.assumed_export == "Metafer"
    (words,) = features.origin.assumptions
    assert "25 µm" in words
    assert "--field-of-view" in words
    features.save(tmp_path / "f.h5")
    assert Features.load(tmp_path / "f.h5").origin == features.origin
    assert encode(smear, encoder=tiny_encoder).origin.field_of_view_um is None  # takes whole images: needs no scale


def test_a_stated_width_replaces_an_assumed_one(centred, cells, tmp_path):
    assumed, _ = grade_and_encode(as_exported(cells[:, :144, :144], tmp_path), encoder=centred)
    stated = encode(assumed, encoder=dataclasses.replace(centred, field_of_view_um=40.0)).origin
    assert (stated.field_of_view_um, stated.assumptions) == (pytest.approx(40), ())


@pytest.mark.parametrize(
    ("width", "name", "canvas"),
    [
        (25, "slide/Gal-000123.RGB.TIF", (144, 144)),
        (25, "image_17.tif", (144, 144)),
        (45, "BA_689200.jpg", (363, 360)),
        (45, "BA_689200.jpg", (369, 366)),
        (None, "Gal-000123.RGB.TIF", (145, 144)),
        (None, "cell.tif", (144, 144)),
        (None, "BA_689200.jpg", (182, 180)),
    ],
)
def test_an_export_is_known_by_its_names_and_its_size(width, name, canvas):
    known = known_export([name, name], canvas)
    assert (known and known.width_um) == width
    assert known_export([name, "001.png"], canvas) is None


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
