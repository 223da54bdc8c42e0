"""Without a package of an extra, what needs it names the pip command, and everything else works."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from napari_caltomorph.cohort import CohortOptions, feature_files, read_cohort
from napari_caltomorph.encoding import Features
from napari_caltomorph.errors import PackageMissing, import_optional
from napari_caltomorph.explanation.cell_map import umap


def test_missing_package_is_one_sentence_with_the_pip_command():
    with pytest.raises(PackageMissing, match=r"no_such_package.*pip install 'napari-caltomorph\[umap\]'"):
        import_optional("no_such_package.part", "umap", "A map")


def test_without_pyarrow_parquet_tables_name_the_extra(tmp_path, monkeypatch):
    pd.DataFrame({"patient_id": ["a"], "diagnosis": ["AML"]}).to_parquet(tmp_path / "patients.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PackageMissing, match=r"napari-caltomorph\[parquet\]"):
        read_cohort(tmp_path / "patients.parquet")


def test_without_anndata_a_cohort_names_the_extra(tmp_path, monkeypatch):
    for name in ("a", "b"):
        Features(name, np.ones((2, 3), np.float32), ("x", "y")).save(tmp_path / "AML" / f"{name}.h5")
    cohort = read_cohort(tmp_path, CohortOptions(min_cells=1, min_patients=1))
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(PackageMissing, match=r"napari-caltomorph\[anndata\]"):
        cohort.to_anndata(feature_files(cohort, None))


def test_without_umap_the_cell_plot_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(PackageMissing, match=r"napari-caltomorph\[umap\]"):
        umap(np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32))
