"""What peers read of our features, by their own lines."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from napari_caltomorph.cohort.peer_files import write_as
from napari_caltomorph.encoding import FeatureOrigin, Features

VALUES = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)


@pytest.fixture
def file(tmp_path):
    origin = FeatureOrigin(encoder="dinobloom-b", field_of_view_um=25.0)
    Features("P 1", VALUES, tuple("abcdefg"), origin).save(tmp_path / "P 1.h5")
    return tmp_path / "P 1.h5"


def is_grid(coords, step):
    """Whether each cell has its own place, at the distances that a peer computes."""
    xs, ys = (np.unique(coords[:, axis]) for axis in (0, 1))
    return len(np.unique(coords, axis=0)) == len(coords) and {*np.diff(xs), *np.diff(ys)} == {step}


def test_stamp_reads_features_and_places(file, tmp_path):
    bag_file = write_as("stamp", [file], tmp_path) / "P 1.h5"
    # KatherLab/STAMP, src/stamp/modeling/data.py, `BagDataset.__getitem__` and `get_coords`
    with h5py.File(bag_file, "r") as h5:
        feats = torch.from_numpy(h5["feats"][:])
        coords = h5["coords"][:]
        tile_size = h5.attrs.get("tile_size_um", None)
        tile_size_px = int(h5.attrs["tile_size_px"])
        feat_type = str(h5.attrs.get("feat_type"))
        assert (h5.attrs["extractor"], h5.attrs["unit"]) == ("dinobloom-b", "um")
        assert "no place on a slide" in h5.attrs["coords_are"]
    assert np.array_equal(feats.float().numpy(), VALUES)
    assert (tile_size, tile_size_px, feat_type) == (25.0, 224, "tile")
    assert is_grid(coords, 25.0)


def test_stamp_is_told_where_the_scale_is_not_known(file, tmp_path):
    Features("P 1", VALUES, tuple("abcdefg"), FeatureOrigin()).save(file)
    with h5py.File(write_as("stamp", [file], tmp_path) / "P 1.h5", "r") as h5:
        assert h5.attrs["tile_size_um"] == 1
        assert "unknown" in h5.attrs["scale"]


def test_clam_reads_tensors_and_h5_files(file, tmp_path):
    data_dir = write_as("clam", [file], tmp_path)
    # mahmoodlab/CLAM, dataset_modules/dataset_generic.py, `Generic_MIL_Dataset.__getitem__`
    features = torch.load(data_dir / "pt_files" / "P 1.pt", weights_only=True)
    assert np.array_equal(features.numpy(), VALUES)
    with h5py.File(data_dir / "h5_files" / "P 1.h5", "r") as hdf5_file:
        features = hdf5_file["features"][:]
        coords = hdf5_file["coords"][:]
    assert np.array_equal(features, VALUES)
    assert is_grid(coords, 224)


def test_trident_reads_features_places_and_their_attributes(file, tmp_path):
    patch_features_path = write_as("trident", [file], tmp_path) / "features_dinobloom-b" / "P 1.h5"
    # mahmoodlab/TRIDENT, trident/wsi_objects/WSI.py, `extract_slide_features`
    with h5py.File(patch_features_path, "r") as f:
        coords = f["coords"][:]
        patch_features = f["features"][:]
        coords_attrs = dict(f["coords"].attrs)
    assert np.array_equal(patch_features, VALUES)
    assert is_grid(coords, coords_attrs["patch_size_level0"])
    assert "no place on a slide" in coords_attrs["coords_are"]


@pytest.mark.parametrize(("form", "place"), [("stamp", "."), ("clam", "h5_files"), ("trident", "features_dinobloom-b")])
def test_what_is_written_for_peers_comes_back(file, tmp_path, form, place):
    again = Features.load(write_as(form, [file], tmp_path) / place / "P 1.h5")
    assert np.array_equal(again.values, VALUES)
    assert again.origin.encoder == (None if form == "clam" else "dinobloom-b")
