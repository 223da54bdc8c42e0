"""Cells x features for the scverse, of one prediction and of a cohort."""

from __future__ import annotations

import numpy as np
import pytest
from tests.diagnosis.factories import WIDTH

from napari_caltomorph.cohort import CohortOptions, feature_files, read_cohort
from napari_caltomorph.errors import FeaturesRefused

anndata = pytest.importorskip("anndata")


@pytest.fixture(scope="module")
def bags(make_features):
    return [make_features(cells=5 + seed, seed=seed, patient_id=f"p{seed}") for seed in range(3)]


@pytest.fixture(scope="module")
def prediction(make_ensemble, bags):
    return make_ensemble(members=1).predict(bags[0]).model_copy(update={"labels": ("blast", *[None] * 4)})


@pytest.fixture
def cohort(bags, tmp_path):
    for number, bag in enumerate(bags):
        bag.save(tmp_path / "features" / ("AML" if number else "MDS") / f"{bag.patient_id}.h5")
    return read_cohort(tmp_path / "features", CohortOptions(min_cells=1, min_patients=1))


def test_a_prediction_has_its_cells_with_what_was_measured_of_them(prediction, bags, tmp_path):
    shuffled = bags[0].of_cells(bags[0].cells[::-1])
    prediction.to_anndata(shuffled).write_h5ad(tmp_path / "p.h5ad")
    found = anndata.read_h5ad(tmp_path / "p.h5ad")
    assert tuple(found.obs_names) == prediction.cells
    assert np.array_equal(found.X, bags[0].values)
    assert np.allclose(found.obs["attention"], prediction.attention)
    assert list(found.obs["alone_class"]) == [prediction.taxonomy.names[i] for i in prediction.alone_class]
    assert found.obs["label"].iloc[0] == "blast"
    assert found.obs["label"].isna().sum() == 4
    assert found.uns["encoder"] == "demo-vit"
    assert set(found.obs["patient_id"]) == {"p0"}
    with pytest.raises(FeaturesRefused, match="1 of its cells"):
        prediction.to_anndata(bags[0].of_cells(bags[0].cells[1:]))


def test_a_cohort_has_the_cells_of_all_patients(cohort, prediction, bags, tmp_path):
    cohort.to_anndata(feature_files(cohort, None), [prediction]).write_h5ad(tmp_path / "c.h5ad")
    found = anndata.read_h5ad(tmp_path / "c.h5ad")
    assert found.shape == (18, WIDTH)
    assert found.obs_names.is_unique
    by_patient = {bag.patient_id: bag.values for bag in bags}
    for patient, rows in found.obs.groupby("patient_id", observed=True).indices.items():
        assert np.array_equal(found.X[rows], by_patient[patient])
    assert set(found.obs.loc[found.obs["patient_id"] == "p0", "raw_label"]) == {"MDS"}
    assert found.obs["attention"].notna().sum() == 5


def test_features_of_two_encoders_are_refused(cohort, make_features):
    files = feature_files(cohort, None)
    make_features(cells=5, patient_id="p1", encoder="another").save(files["p1"][0])
    with pytest.raises(FeaturesRefused, match="another encoder"):
        cohort.to_anndata(files)
