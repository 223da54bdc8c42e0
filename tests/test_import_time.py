"""Opening the library, or its rooms that need no network to compute, loads no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["napari_caltomorph", "napari_caltomorph.smear", "napari_caltomorph.encoding"])
def test_importing_loads_no_torch(module):
    script = f"import sys, {module}; print('torch' in sys.modules, 'napari' in sys.modules, 'timm' in sys.modules)"
    command = [sys.executable, "-c", script]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.split() == ["False", "False", "False"]


def test_every_public_name_is_there_however_often_it_is_asked_for():
    import napari_caltomorph

    for name in napari_caltomorph.__all__ * 2:
        assert callable(getattr(napari_caltomorph, name))
    with pytest.raises(AttributeError, match="nothing"):
        _ = napari_caltomorph.nothing
