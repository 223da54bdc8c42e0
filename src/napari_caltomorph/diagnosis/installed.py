"""Models by name: the shipped demo, and those in the models folder."""

from __future__ import annotations

import importlib.resources
import os
import shutil
from pathlib import Path

from napari_caltomorph.diagnosis.domain import DOMAIN_FILE
from napari_caltomorph.diagnosis.model_card import TRAINING_CURVES
from napari_caltomorph.diagnosis.model_file import AGGREGATOR_FILE, read_description
from napari_caltomorph.diagnosis.prediction_files import folder_name
from napari_caltomorph.errors import ModelRefused
from napari_caltomorph.storage import StrPath, home, replacing_folder

DEMO = "demo"

# A model is complete without its card and the figure in it.
_OPTIONAL = ("README.md", TRAINING_CURVES)


def installed_models() -> dict[str, Path]:
    """Return name -> folder of the models that can be named, the demo first."""
    demo = Path(str(importlib.resources.files("napari_caltomorph") / "diagnosis" / "demo"))
    folders = sorted(home("models").iterdir()) if home("models").is_dir() else []
    # A hidden folder is an interrupted copy.
    added = {f.name: f for f in folders if not f.name.startswith(".") and (f / "model.json").is_file()}
    return {DEMO: demo} | added | {DEMO: demo}


def find_model(name: StrPath) -> Path:
    """Return the folder of an installed model, or of a model at a path; `ModelRefused` lists the installed ones."""
    name, installed = os.fspath(name), installed_models()
    if name in installed:
        return installed[name]
    if Path(name).is_dir():
        return Path(name)
    raise ModelRefused(f"There is no model {name!r}; installed are {', '.join(installed)}. Or name a model folder.")


def place_for(name: str) -> Path:
    """Return the folder for a model of this name, which may not exist; `ModelRefused` where it cannot have the name."""
    if name.casefold() == DEMO:
        raise ModelRefused(f"{DEMO!r} is the shipped model's name; choose another name.")
    if not name or name.startswith(".") or name != folder_name(name):
        raise ModelRefused(f"{name!r} cannot be a model's name; choose one without slashes, and no dot in front.")
    return home("models") / name


def add_model(folder: StrPath, name: str | None = None) -> Path:
    """Copy a model folder, with `private/`, to where it is found by its name.

    Parameters
    ----------
    folder : str or Path
    name : str, optional
        By default that of the folder.

    Returns
    -------
    Path
        The copy.

    Raises
    ------
    ModelRefused
        The model cannot be used, or the name is the demo's or cannot be a folder's.
    OutputRefused
        There is a model of this name, or the models folder cannot be written.
    """
    folder = Path(folder)
    target = place_for(folder.resolve().name if name is None else name)
    read_description(folder)  # refuses what is not a model before torch is imported
    from napari_caltomorph.diagnosis.ensemble import Ensemble

    Ensemble.load(folder)
    with replacing_folder(target) as part:
        _copy_public(folder, part)
        if (folder / "private").is_dir():
            shutil.copytree(folder / "private", part / "private")
    return target


def export_model(name: StrPath, target: StrPath) -> Path:
    """Copy a model without `private/`, which could identify its patients.

    Parameters
    ----------
    name : str or Path
        Of an installed model, or a model folder.
    target : str or Path
        New folder.

    Returns
    -------
    Path
        The new folder.

    Raises
    ------
    ModelRefused
        There is no such model, or a file of it is missing.
    OutputRefused
        The folder exists, or cannot be written.
    """
    folder, target = find_model(name), Path(target)
    with replacing_folder(target) as part:
        _copy_public(folder, part)
    return target


def _copy_public(folder: Path, target: Path) -> None:
    """Copy the files that a model consists of, and no others."""
    description = read_description(folder)
    names = ["model.json", *_OPTIONAL, *(m.file for m in description.members)]
    names += [DOMAIN_FILE] if description.domain is not None else []
    names += [AGGREGATOR_FILE] if description.shared_aggregator is not None else []
    for name in names:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
        elif name not in _OPTIONAL:
            raise ModelRefused(f"{folder} lacks {name}; get the model again.")
