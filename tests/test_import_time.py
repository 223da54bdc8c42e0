"""Opening the library, its rooms, the plugin's manifest or the terminal's help loads no torch."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources

import pytest
import yaml


def manifest_modules() -> list[str]:
    """The modules that napari imports when it opens something of the plugin's manifest."""
    manifest = yaml.safe_load(resources.files("napari_caltomorph").joinpath("napari.yaml").read_text("utf-8"))
    names = [command["python_name"] for command in manifest["contributions"]["commands"]]
    return sorted({name.partition(":")[0] for name in names})


def heavy_modules_after(script: str) -> set[str]:
    """Run a script in a process of its own, and return which heavy packages it loaded."""
    # A thread that imports them would count, too.
    wait = "for thread in set(threading.enumerate()) - {threading.main_thread()}: thread.join()"
    heavy = "{'torch', 'timm', 'napari', 'umap'}"
    script = f"import sys, threading\n{script}\n{wait}\nprint()\nprint(*{heavy} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    return set(output.splitlines()[-1].split())


def test_importing_and_the_terminals_help_load_no_torch():
    rooms = "napari_caltomorph, napari_caltomorph.smear, napari_caltomorph.encoding"
    script = "from napari_caltomorph.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert heavy_modules_after(f"import {rooms}\n{script}") == set()


def test_modules_of_the_plugins_manifest_load_no_torch():
    modules = manifest_modules()
    assert modules
    assert heavy_modules_after(f"import {', '.join(modules)}") <= {"napari"}


def test_every_public_name_can_be_imported_repeatedly():
    import napari_caltomorph

    for name in napari_caltomorph.__all__ * 2:
        assert callable(getattr(napari_caltomorph, name))
    with pytest.raises(AttributeError, match="nothing"):
        _ = napari_caltomorph.nothing
