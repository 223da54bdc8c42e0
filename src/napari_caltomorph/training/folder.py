"""The folder of a training: one run at a time writes to it, and it resumes with the options and patients it began with.

It is next to the model's folder while members are trained, and is removed when the model is complete.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from napari_caltomorph.errors import OutputRefused, TrainingRefused, shortened
from napari_caltomorph.reading import flag_of, read_as
from napari_caltomorph.storage import StrPath, only_run, refuse_unwritable, replacing
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.options import TrainOptions

_LOCK = ".caltomorph-train.lock"
_FILE = "training.json"
# These options choose the machine that computes, or add an estimate, and do not change the members beyond rounding.
_MAY_DIFFER = {"device", "workers", "scheduler", "elsewhere"}
# Of what a checkpoint contains. 2: members have the classes' shares, so losses of 1 cannot be compared with those now.
_FORMAT = 2


def training_folder(model_folder: StrPath) -> Path:
    """Return the folder of the training of a model."""
    model_folder = Path(model_folder)
    return model_folder.with_name(f"{model_folder.name}.training")


@contextmanager
def open_training(out: StrPath | None, *, resume: bool) -> Iterator[tuple[Path | None, Path]]:
    """Yield the model folder and the folder of its training, which is removed at the end without an error.

    `OutputRefused` where the model exists, or another or a stopped training is there.
    """
    if out is None:
        with tempfile.TemporaryDirectory(prefix="caltomorph-") as scratch:
            yield None, Path(scratch)
        return
    model_folder = Path(out).absolute()
    work = training_folder(model_folder)
    if model_folder.exists():
        raise OutputRefused(f"{model_folder} exists already; choose another name, or remove it first.")
    refuse_unwritable(model_folder.parent)
    with only_run(work, _LOCK, "another folder for the model"):
        _refuse_used(work, resume)
        try:
            yield model_folder, work
        except BaseException:
            if not any(work.glob("fold_*.state.safetensors")):  # no epoch to resume from
                shutil.rmtree(work, ignore_errors=True)
            raise
    shutil.rmtree(work, ignore_errors=True)


def _refuse_used(work: Path, resume: bool) -> None:
    """Overwrite, and remove at the end, no files but those of the training that is resumed."""
    if not any(not path.name.startswith(".") for path in work.iterdir()):  # a lock, and partial files
        return
    if not (work / _FILE).is_file():
        raise OutputRefused(f"{work} is not the folder of a training; choose another name for the model.")
    if not resume:
        raise OutputRefused(
            f"{work} contains a training that was stopped; continue it with --resume, or remove it to start again."
        )


def begin_or_resume(work: Path, bags: LabelledBags, options: TrainOptions, *, resume: bool) -> None:
    """Write the options and patients that a training begins with, or check them against those of the one to resume."""
    mine: dict[str, Any] = {
        "format": _FORMAT,
        "options": options.model_dump(mode="json", exclude=_MAY_DIFFER),
        "bags": bags.fingerprint,
    }
    if (published := options.published()) is not None:  # wherever the file is now
        mine["options"]["aggregator_weights"] = published.options.weights_sha256
    path = work / _FILE
    if not (resume and path.is_file()):
        with replacing(path) as partial:
            partial.write_text(json.dumps(mine, indent=1), "utf-8")
        return
    theirs = read_as(_Begun, path, "the begin of a training", TrainingRefused, f"remove {work} to start again")
    if theirs.format != _FORMAT:
        raise TrainingRefused(
            f"{work} was begun by another version, whose losses cannot be compared with those of this one; remove that "
            "folder to start again, or resume with the version that began it."
        )
    # An earlier version lacks options that came later.
    began = {name: field.default for name, field in TrainOptions.model_fields.items()} | theirs.options
    differences = [
        f"{flag_of(TrainOptions, name)} {shortened(str(began[name]), 60)} then, {value} now"
        for name, value in mine["options"].items()
        if began[name] != value
    ]
    if differences:
        raise TrainingRefused(
            f"{work} began with other options ({'; '.join(differences)}); resume with those, or remove the folder."
        )
    if theirs.bags != mine["bags"]:
        raise TrainingRefused(
            f"{work} began with other patients, labels, folds or features; resume with those, or remove the folder."
        )


class _Begun(BaseModel):
    """In which format, and with which options and patients, a training began."""

    format: int = 1
    options: dict[str, Any]
    bags: str
