"""Errors because of what a user gave us; each message is one sentence that names the fix.

Everything else is a bug and may crash loudly.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


# C0, C1, line separators, and what changes the direction of writing.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_WORD, _MESSAGE = 300, 1000
_LONG_WORD = re.compile(rf"\S{{{_WORD + 1},}}")


def printable(name: str) -> str:
    """Return a file name as text, its undecodable bytes percent-escaped, as cells are named everywhere."""
    # Python keeps such a byte as one of these code points (PEP 383), which no file, terminal or window takes.
    return re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", name)


def visible(text: str) -> str:
    """Return text that a terminal only shows: control characters and marks of writing direction as escapes.

    Names of files and patients come from others. One with an escape sequence would move the cursor or clear the screen,
    one with a line break would look like two messages.
    """
    return _CONTROLS.sub(lambda control: control[0].encode("unicode_escape").decode(), printable(text))


def bounded(text: str) -> str:
    """Return a message of at most some 1,000 characters; the middle of long words, then of the whole, is left out.

    Names of files end their paths, and fixes end messages, so both stay readable.
    """
    return _shortened(_LONG_WORD.sub(lambda word: _shortened(word[0], _WORD), text), _MESSAGE)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length // 2]} ... {text[-length // 2 :]}"


class CaltomorphError(Exception):
    """Base of all errors that terminal and panels show as a sentence instead of a traceback.

    The message is `visible` and `bounded`, so that any terminal, log or window can show it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(bounded(visible(message)))


class SmearUnreadable(CaltomorphError):
    """The path contains no readable smear."""


class LooksLikeCohort(SmearUnreadable):
    """The path contains several patients, not one."""


class CellUnreadable(CaltomorphError):
    """One image of a smear could not be decoded; the others are not affected."""


class FieldUnreadable(CaltomorphError):
    """A microscope field cannot be decoded, or is of a kind in which no cells can be found."""


class ScaleUnknown(CaltomorphError):
    """Nothing says how large a pixel of a field is, or its red cells contradict those of other fields."""


class NoCellsFound(CaltomorphError):
    """Fields were searched, and no white cell is in them that could be cut out whole."""


class WeightsMissing(CaltomorphError):
    """The encoder's weights are not on this machine; the message says how to get them."""


class WeightsRefused(CaltomorphError):
    """A weights file is unsafe, damaged, or of another architecture."""


class DownloadRefused(CaltomorphError):
    """The network, a server or a repository does not give what was asked for; the message says what to do."""


class DeviceMissing(CaltomorphError):
    """The requested device or precision does not exist on this machine."""


class FeaturesRefused(CaltomorphError):
    """A feature file is damaged, or comes from another encoder than the requested one."""


class ModelRefused(CaltomorphError):
    """A model folder is incomplete, changed, newer than this version, or not a model."""


class PredictionUnreadable(CaltomorphError):
    """A saved prediction is damaged, or newer than this version."""


class PolicyUnreadable(CaltomorphError):
    """A policy file, which says when predictions are withheld, is damaged, or no policy."""


class OutputRefused(CaltomorphError):
    """Results cannot be written to the requested place."""


class DiskFull(OutputRefused):
    """The disk, or the user's share of it, is full: nothing that follows can be written either."""


class CohortUnreadable(CaltomorphError):
    """The path contains no readable cohort, or its table cannot be understood."""


class TaxonomyUnreadable(CaltomorphError):
    """A taxonomy file is damaged, or gives one label to two classes."""


class PackageMissing(CaltomorphError):
    """A package that only an extra installs is missing; the message gives the pip command."""


class ClusterMissing(CaltomorphError):
    """The Dask scheduler does not answer."""


class OptionsRefused(CaltomorphError):
    """A file or a variable with options names none that there is, or cannot be read."""


class TrainingRefused(CaltomorphError):
    """There is nothing to train on, or a training cannot continue; the message says what to change."""


class CalibrationRefused(CaltomorphError):
    """Too few patients to calibrate on."""


class EvaluationRefused(CaltomorphError):
    """No patient can be evaluated, or only with bias: the model was trained on them; the message says what to do."""


class TrainingPatientsFound(EvaluationRefused):
    """The model was trained on some of the patients; out-of-fold predictions would be unbiased."""


class FeaturesMissing(EvaluationRefused):
    """Some of the patients to evaluate have no features yet."""


class EvaluationUnreadable(CaltomorphError):
    """A saved evaluation is damaged, or newer than this version."""


class JournalUnreadable(CaltomorphError):
    """A file of records, such as the ledger of a watched folder, cannot be read, or a newer version wrote it."""


class ReviewRefused(CaltomorphError):
    """A review does not fit the prediction that it is of."""


class ExportRefused(CaltomorphError):
    """Results cannot be exported as asked: the key is no secret, or the file's name does not fit."""


class FolderLost(CaltomorphError):
    """A watched folder cannot be listed: its drive may be gone, and may come back."""


class ExplanationRefused(CaltomorphError):
    """An explanation does not exist, e.g. a prediction without the only cell of a smear."""


class LabelsUnreadable(CaltomorphError):
    """A table of labelled cells is damaged, or its columns are others."""


class ProbeRefused(CaltomorphError):
    """A file is not a probe, is damaged, or was written by a newer version."""


def first_line(error: Exception) -> str:
    """Return the first line of another library's error, at most 160 characters; its type where it has no text."""
    return shortened((str(error).splitlines() or [type(error).__name__])[0], 160)


def invalid_field(error: ValidationError, whole: str = "the file") -> str:
    """Return the first problem that pydantic found, as ``"field.name: message"``; `whole` where it is in no field.

    It has at most some 240 characters: names and values in a file are anyone's.
    """
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(shortened(str(part), 30) for part in first["loc"]) or whole
    return f"{shortened(field, 80)}: {shortened(first['msg'].removeprefix('Value error, '), 160)}"


def shortened(text: str, length: int) -> str:
    """Return a text of at most this length; what is left out is marked."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def counted(count: int, noun: str) -> str:
    """Return e.g. ``"1 cell"`` or ``"3 cells"``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def refuse_newer_schema(path: Path, version: object, newest: int, refusal: type[CaltomorphError]) -> None:
    """Raise `refusal` where a file's ``schema_version`` is above the newest one that this version reads."""
    if isinstance(version, int) and version > newest:
        raise refusal(
            f"{path} has schema version {version}, this version reads {newest}; "
            "run `pip install --upgrade napari-caltomorph`."
        )


def import_optional(name: str, extra: str, purpose: str) -> ModuleType:
    """Import a module that only an extra of this package installs; `PackageMissing` where it is missing.

    `purpose` begins the message, e.g. ``"A UMAP of cells"``.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise PackageMissing(
            f"{purpose} needs the package {error.name}, which is not installed: "
            f"run `pip install 'napari-caltomorph[{extra}]'`."
        ) from error
