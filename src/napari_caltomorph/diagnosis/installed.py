"""Models by name: the shipped demo, and those in the models folder."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from napari_caltomorph.diagnosis.domain import DOMAIN_FILE
from napari_caltomorph.diagnosis.model_card import TRAINING_CURVES, hub_metadata, model_card
from napari_caltomorph.diagnosis.model_file import AGGREGATOR_FILE, read_description
from napari_caltomorph.diagnosis.prediction_files import folder_name
from napari_caltomorph.errors import ModelRefused, OutputRefused
from napari_caltomorph.hub import Repository, downloaded, list_files
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.storage import StrPath, home, replacing_folder

DEMO = "demo"

ORIGIN = "origin.json"
"""Where a downloaded model came from: repository, commit, licence, and the checksum of each file."""

# A model is complete without its card, the figure in it, and its origin.
_OPTIONAL = ("README.md", TRAINING_CURVES, ORIGIN)
# What is downloaded of a repository; nothing else of it comes here.
_NAMES = "|".join(map(re.escape, ("model.json", DOMAIN_FILE, AGGREGATOR_FILE, "README.md", TRAINING_CURVES)))
_OF_A_MODEL = re.compile(rf"{_NAMES}|fold_\d+\.safetensors")


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
    if not name.strip():
        raise ModelRefused(f"No model is named; installed are {', '.join(installed)}. Or name a model folder.")
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


def download_model(address: str, name: str | None = None, *, progress: OnProgress = ignore) -> Path:
    """Download a model from the Hub, check it, and keep it where it is found by its name.

    Parameters
    ----------
    address : str
        ``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION``.
    name : str, optional
        By default that of the repository.
    progress : callable
        See `OnProgress`. A download that was stopped is continued by the next call.

    Returns
    -------
    Path
        Its folder.

    Raises
    ------
    DownloadRefused
        The Hub does not give it; the message says what to do.
    ModelRefused
        The repository holds no model, or one that cannot be used.
    OutputRefused
        There is a model of this name, or the models folder cannot be written.
    """
    repository = Repository.at(address)
    name = repository.name.rpartition("/")[2] if name is None else name
    if place_for(name).exists():
        raise OutputRefused(
            f"There is a model {name} already; choose another with --name, or remove {place_for(name)}."
        )
    listing = list_files(repository, progress=progress)
    files = [file for file in listing.files if _OF_A_MODEL.fullmatch(file.name)]
    if "model.json" not in [file.name for file in files]:
        held = ", ".join(file.name for file in listing.files[:4]) or "nothing"
        raise ModelRefused(f"{repository.page} holds no model of ours: there is no model.json, but {held}.")
    with downloaded(listing, files, progress=progress) as paths, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / name
        folder.mkdir()
        for file, path in paths.items():
            shutil.copyfile(path, folder / file)
        (folder / ORIGIN).write_text(json.dumps(listing.origin(files), indent=1), "utf-8")
        try:
            return add_model(folder, name)
        except ModelRefused as error:  # nothing is at that path afterwards
            raise ModelRefused(str(error).replace(str(folder), address)) from error


def export_model(name: StrPath, target: StrPath, *, hub_licence: str | None = None) -> Path:
    """Copy a model without `private/`, which could identify its patients.

    Parameters
    ----------
    name : str or Path
        Of an installed model, or a model folder.
    target : str or Path
        New folder.
    hub_licence : str, optional
        As the Hub abbreviates it, e.g. ``cc-by-4.0``: the model's card then begins with the Hub's metadata.

    Returns
    -------
    Path
        The new folder.

    Raises
    ------
    ModelRefused
        There is no such model, a file of it is missing, or this is no abbreviation of a licence.
    OutputRefused
        The folder exists, or cannot be written.
    """
    if hub_licence is not None and not re.fullmatch("[a-z0-9][a-z0-9.-]+", hub_licence):
        raise ModelRefused(
            f"{hub_licence!r} is no licence as the Hub abbreviates it; give for example cc-by-4.0 or apache-2.0."
        )
    folder, target = find_model(name), Path(target)
    with replacing_folder(target) as part:
        _copy_public(folder, part)
        if hub_licence is not None:
            description = read_description(folder)
            (part / ORIGIN).unlink(missing_ok=True)  # where the copy here came from is no fact of the new one
            card = hub_metadata(description, hub_licence) + model_card(description)
            (part / "README.md").write_text(card, "utf-8")
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
