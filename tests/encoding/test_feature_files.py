"""What must hold for feature files: ours come back as they were, the field's are read, the rest is refused."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.errors import FeaturesRefused

VALUES = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
ORIGIN = FeatureOrigin("dinobloom-b", "ab" * 32, "resize224", "bf16", "cd" * 32, "1", 25.0, "0.1.0")
CELLS = ("Gal-1.tif", "Zelle ä.tif", "a%FF.tif", "x/y.jpg", "5")


def write(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


def test_what_is_saved_comes_back(tmp_path):
    Features("P 1.a", VALUES, CELLS, ORIGIN).save(tmp_path / "new" / "P 1.a.h5")
    result = Features.load(tmp_path / "new" / "P 1.a.h5")
    assert result.patient_id == "P 1.a"
    assert (result.values == VALUES).all()
    assert result.cells == CELLS
    assert result.origin == ORIGIN
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["P 1.a.h5"]


def test_origin_that_is_not_known_stays_unknown(tmp_path):
    Features("p", VALUES, CELLS).save(tmp_path / "p.h5")
    assert Features.load(tmp_path / "p.h5").origin == FeatureOrigin()


@pytest.mark.parametrize("name", ["features", "feats"])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 8), (1, 5, 8)])
def test_files_of_the_field_are_read_as_they_are(tmp_path, name, kind, shape):
    path = write(tmp_path / "p.h5", **{name: VALUES.astype(kind).reshape(shape), "coords": np.zeros((5, 2))})
    result = Features.load(path)
    assert result.values.dtype == np.float32
    assert np.abs(result.values - VALUES).max() < 2e-3
    assert result.cells == ("cell_1", "cell_2", "cell_3", "cell_4", "cell_5")
    assert result.origin == FeatureOrigin()


def test_file_without_features_names_what_it_holds(tmp_path):
    with pytest.raises(FeaturesRefused, match=r"no dataset 'features' or 'feats'; found \['coords'\]"):
        Features.load(write(tmp_path / "p.h5", coords=VALUES))


@pytest.mark.parametrize(
    "values",
    [np.zeros(5), np.float32(3), np.zeros((2, 5, 8)), np.zeros((0, 8)), np.zeros((5, 0)), np.array([b"a", b"b"])],
)
def test_what_is_no_bag_is_refused(tmp_path, values):
    with pytest.raises(FeaturesRefused):
        Features.load(write(tmp_path / "p.h5", features=values))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_features_that_are_not_finite_are_refused_and_counted(tmp_path, bad):
    values = VALUES.astype(np.float64)
    values[1, 2] = values[3] = bad
    with pytest.raises(FeaturesRefused, match="2 of 5 features are not finite"):
        Features.load(write(tmp_path / "p.h5", features=values))


def test_names_that_do_not_match_the_features_are_refused(tmp_path):
    with pytest.raises(FeaturesRefused, match="2 cell names for 5 features"):
        Features("p", VALUES, ("a", "b"))
    with pytest.raises(FeaturesRefused, match="1 cell names for 5 features"):
        Features.load(write(tmp_path / "p.h5", features=VALUES, cells=[b"a"]))
    with pytest.raises(FeaturesRefused):
        Features.load(write(tmp_path / "p.h5", features=VALUES, cells=np.zeros(5)))


def test_group_and_odd_attributes_are_refused_or_read(tmp_path):
    with h5py.File(tmp_path / "group.h5", "w") as file:
        file.create_group("features")
    with pytest.raises(FeaturesRefused):
        Features.load(tmp_path / "group.h5")
    path = write(tmp_path / "odd.h5", features=VALUES)
    with h5py.File(path, "a") as file:
        file.attrs["encoder"] = np.bytes_("uni")
        file.attrs["field_of_view_um"] = "25"
    assert Features.load(path).origin == FeatureOrigin(encoder="uni", field_of_view_um=25.0)
    with h5py.File(path, "a") as file:
        file.attrs["field_of_view_um"] = "wide"
    with pytest.raises(FeaturesRefused):
        Features.load(path)


def test_what_is_no_hdf5_is_refused(tmp_path):
    (tmp_path / "p.h5").write_bytes(b"not HDF5")
    for path in (tmp_path / "p.h5", tmp_path / "absent.h5"):
        with pytest.raises(FeaturesRefused, match="encode the patient again"):
            Features.load(path)
    with pytest.raises(FeaturesRefused, match="name a feature file"):
        Features.load(tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7000), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 8000))
def test_damaged_file_is_refused_or_read_but_never_crashes(tmp_path_factory, edits, length):
    folder = tmp_path_factory.mktemp("damaged")
    Features("p", VALUES, CELLS, ORIGIN).save(folder / "p.h5")
    content = bytearray((folder / "p.h5").read_bytes())
    for place, value in edits:
        content[place % len(content)] = value
    (folder / "p.h5").write_bytes(content[: max(length, 100)])
    with contextlib.suppress(FeaturesRefused):
        assert Features.load(folder / "p.h5").values.ndim == 2


def test_origins_match_across_versions():
    newer = FeatureOrigin(**{**vars(ORIGIN), "library_version": "9"})
    assert ORIGIN.matches(newer)
    for key, value in {"encoder": "x", "precision": "float32", "field_of_view_um": 30.0, "quality_rules": "2"}.items():
        assert not ORIGIN.matches(FeatureOrigin(**{**vars(ORIGIN), key: value}))


def test_patient_named_in_bytes_that_are_no_text_is_saved_and_loaded(tmp_path):
    path = tmp_path / os.fsdecode(b"p\xff.h5")
    Features("p%FF", VALUES, CELLS).save(path)
    assert Features.load(path).patient_id == "p%FF"


def test_an_encoder_named_in_bytes_that_are_no_text_is_escaped(tmp_path):
    with h5py.File(tmp_path / "p.h5", "w") as file:
        file["features"] = np.ones((2, 3), np.float32)
        file.attrs.create("encoder", b"uni\x83", dtype=h5py.string_dtype("utf-8", 4))
    assert Features.load(tmp_path / "p.h5").origin.encoder == "uni%83"


@pytest.mark.parametrize("kilobytes", [0, 1, 4, 20])
def test_a_full_disk_is_reported_and_the_old_features_stay(tmp_path, kilobytes):
    path = tmp_path / "p.h5"
    Features("p", VALUES, CELLS).save(path)
    script = """
        import resource, sys
        from pathlib import Path
        import numpy as np
        from napari_caltomorph.encoding import Features
        from napari_caltomorph.errors import OutputRefused
        features = Features("p", np.ones((500, 800), np.float32), tuple(map(str, range(500))))
        limit = int(sys.argv[2]) * 1000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            features.save(Path(sys.argv[1]))
        except OutputRefused as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(path), str(kilobytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "p.h5 could not be written" in done.stdout
    assert (Features.load(path).values == VALUES).all()
    assert [p.name for p in tmp_path.iterdir()] == ["p.h5"]
