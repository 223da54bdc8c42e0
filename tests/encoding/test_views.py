"""Views of cells, and crops: drawn from the cell alone, kept next to it, and recorded."""

from __future__ import annotations

import dataclasses
from functools import partial

import h5py
import numpy as np
import pytest
import torch

from napari_caltomorph.cohort import EncodeCohortOptions
from napari_caltomorph.encoding import EncodeOptions, FeatureOrigin, Features, encode, load_bag, load_encoder
from napari_caltomorph.encoding.options import Preparation
from napari_caltomorph.encoding.perturbation import STAIN_VIEWS, Perturbation, perturb, with_views
from napari_caltomorph.encoding.stream import encode_smears
from napari_caltomorph.errors import FeaturesRefused
from napari_caltomorph.smear import check_smear, open_place, smear_from_array
from napari_caltomorph.smear.process_reader import ProcessReader
from napari_caltomorph.smear.readers import Readers, SmearToRead, ThreadReader

STILL = Perturbation(**dict.fromkeys(dataclasses.asdict(Perturbation()), 0.0))
ORIGIN = FeatureOrigin(encoder="tiny", views=f"2 of {STAIN_VIEWS}")


@pytest.fixture
def viewing(tiny) -> object:
    return load_encoder(tiny, Preparation(views=2))


@pytest.fixture
def kept() -> Features:
    return Features("p", np.arange(24, dtype=np.float32).reshape(2, 3, 4), ("a", "b"), ORIGIN)


def test_views_depend_on_the_cell_alone_and_differ_from_it(viewing, tiny_encoder, make_cell):
    smear = check_smear(smear_from_array(np.stack([make_cell(seed) for seed in range(7)]), "p", 0.2))
    alone = encode(smear, EncodeOptions(batch_size=1), encoder=viewing)
    together = encode(smear.choosing(set_aside=smear.cells[:2]), EncodeOptions(batch_size=64), encoder=viewing)
    assert alone.views.shape == (3, 7, 32)
    assert alone.views[:, 2:].tobytes() == together.views.tobytes()
    assert (alone.values == encode(smear, encoder=tiny_encoder).values).all()
    assert len(np.unique(alone.stacked.reshape(21, 32), axis=0)) == 21


def test_any_readers_give_the_same_bytes(tmp_path, make_export, viewing):
    folders = [make_export(tmp_path / name, cells=5, seed=seed) for seed, name in enumerate(("a", "b"))]

    def encoded(readers, batch):
        wanted = [SmearToRead(folder.name, partial(open_place, str(folder))) for folder in folders]
        with Readers(wanted, readers) as reading:
            done = {one.key: one.by_cell() for one in encode_smears(reading, viewing, batch, lambda *_: None)}
        return {(key, cell): value.tobytes() for key, cells in done.items() for cell, value in cells.items()}

    assert encoded([ThreadReader()], 32) == encoded([ProcessReader(), ProcessReader()], 3)


def test_a_view_zooms_within_the_image():
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    zoomed = perturb(ramp, 32, float(np.exp(-0.2)), dataclasses.replace(STILL, zoom=0.2))[0, 0, 16]
    assert (zoomed.diff() > 0).all()
    assert 0 <= zoomed.min() <= zoomed.max() <= 1
    seen = with_views(torch.full((1, 3, 32, 32), 0.6), [np.full((8, 8, 3), 153, np.uint8)], 4)
    assert seen[:, 1:].std(dim=(-2, -1)).max() < 0.05  # an even image has no other corners


@pytest.mark.parametrize("asked", [Preparation(), Preparation(crop_um=18.25, views=3)])
def test_what_features_record_gives_the_same_encoder_again(tiny, asked):
    encoder = load_encoder(tiny, asked)
    recorded = Preparation.recorded(str(encoder.preprocessing), encoder.views_in_words)
    assert recorded == asked
    assert load_encoder(tiny, recorded).preprocessing == encoder.preprocessing


def test_a_file_has_the_views_and_gives_the_cells_as_they_are(kept, tmp_path):
    kept.save(tmp_path / "p.h5")
    with h5py.File(tmp_path / "p.h5") as file:
        np.testing.assert_array_equal(file["features"], np.arange(24).reshape(2, 3, 4))
    plain, everything = Features.load(tmp_path / "p.h5"), load_bag([tmp_path / "p.h5"], views=True)
    assert plain.views is None
    np.testing.assert_array_equal(plain.values, np.arange(24).reshape(2, 3, 4)[:, 0])
    np.testing.assert_array_equal(everything.of_cells(["b"]).stacked, kept.stacked[1:])
    with h5py.File(tmp_path / "p.h5", "a") as file:
        file["features"][1, 2, 3] = 0  # of a view
    with pytest.raises(FeaturesRefused, match="changed"):
        Features.load(tmp_path / "p.h5")


def test_slides_keep_their_views_and_one_cell_is_a_bag_of_one(kept, tmp_path):
    for name in ("a", "b"):
        kept.of_cells([name]).save(tmp_path / f"{name}.h5")
    joined = load_bag([tmp_path / "a.h5", tmp_path / "b.h5"], views=True)
    np.testing.assert_array_equal(joined.stacked, kept.stacked)
    dataclasses.replace(kept, values=kept.values, views=None, origin=FeatureOrigin(encoder="tiny")).save(
        tmp_path / "c.h5"
    )
    with pytest.raises(FeaturesRefused, match=r"c\.h5"):
        load_bag([tmp_path / "a.h5", tmp_path / "c.h5"], views=True)
    assert len(load_bag([tmp_path / "a.h5", tmp_path / "c.h5"])) == 3


def test_a_view_that_is_not_finite_is_refused(kept):
    values = kept.stacked.copy()
    values[1, 2, 0] = np.nan
    with pytest.raises(FeaturesRefused, match="1 of 2"):
        dataclasses.replace(kept, values=values, views=None)


def test_predictions_and_others_reuse_only_features_made_alike(viewing, tiny, make_cell, tmp_path):
    smear = smear_from_array(np.stack([make_cell(seed) for seed in range(3)]), "p", 0.2)
    for encoder in (viewing, load_encoder(tiny), viewing):
        assert (encode(smear, encoder=encoder, cache=tmp_path).views is not None) == bool(encoder.views)
    assert len(list(tmp_path.glob("*/*.h5"))) == 2


def test_a_cohorts_options_are_those_of_its_encoder():
    assert EncodeCohortOptions(views=4, crop_um=18).model_dump(include=set(Preparation.model_fields)) == {
        "views": 4,
        "crop_um": 18,
    }
