"""What a training was begun with, so that it is gone on with as it was begun, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.storage import replacing
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.options import TrainOptions

_FILE = "training.json"
# They change who computes and not what is computed, up to rounding.
_MAY_DIFFER = {"device", "workers", "scheduler"}


def training_folder(model_folder: Path) -> Path:
    """Return where a training keeps what it needs to go on."""
    return model_folder.with_name(f"{model_folder.name}.training")


def begin_or_resume(work: Path, bags: LabelledBags, options: TrainOptions, *, resume: bool) -> None:
    """Note what a training is begun with, or check that the one to be resumed was begun with the same.

    Raises
    ------
    TrainingRefused
        It was begun with other options or other patients; the message says which.
    """
    mine: dict[str, Any] = {"options": options.model_dump(mode="json", exclude=_MAY_DIFFER), "bags": bags.fingerprint}
    path = work / _FILE
    if not (resume and path.is_file()):
        with replacing(path) as part:
            part.write_text(json.dumps(mine, indent=1), "utf-8")
        return
    theirs = _read(path)
    differences = [
        f"--{name.replace('_', '-')} {theirs['options'].get(name)} then, {value} now"
        for name, value in mine["options"].items()
        if theirs["options"].get(name) != value
    ]
    if differences:
        raise TrainingRefused(
            f"{work} was begun with other options ({'; '.join(differences)}); resume with those, or remove the folder."
        )
    if theirs["bags"] != mine["bags"]:
        raise TrainingRefused(
            f"{work} was begun with other patients, labels, folds or features; resume with those, or remove the folder."
        )


def is_training(work: Path) -> bool:
    """Whether a folder is that of a training."""
    return (work / _FILE).is_file()


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
        return {"options": dict(content["options"]), "bags": str(content["bags"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingRefused(f"{path} is damaged ({error}); remove {path.parent} to start anew.") from error
