"""What the tests of smears share."""

from __future__ import annotations

import pytest

from napari_caltomorph.smear import find_candidates


@pytest.fixture
def patients_in():
    """Return the function that finds the patients in a folder."""

    def find(folder):
        return [one.path for one in find_candidates(folder) if one.levels is not None]

    return find
