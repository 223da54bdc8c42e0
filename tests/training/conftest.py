"""Small cohorts on disk, as feature folders with a table."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.training.factories import bags_of, write_cohort

from napari_caltomorph.training.bags import LabelledBags

# Two of torch's threads on a machine that does other work as well wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 patients of 3 classes: too few to stop on."""
    return write_cohort(tmp_path_factory.mktemp("cohorts") / "few", {"aml": 10, "cll": 10, "stem_cell_donor": 10})


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """520 patients of 3 classes: enough to stop on, and to calibrate on."""
    sizes = {"aml": 180, "cll": 170, "stem_cell_donor": 170}
    return write_cohort(tmp_path_factory.mktemp("cohorts") / "many", sizes, cells=(2, 5))


@pytest.fixture(scope="session")
def many_bags(many: Path) -> LabelledBags:
    """The bags of `many`, loaded once."""
    return bags_of(many)


@pytest.fixture
def own(few: Path, tmp_path: Path) -> Path:
    """A copy of `few` that a test may change."""
    return shutil.copytree(few, tmp_path / "own")
