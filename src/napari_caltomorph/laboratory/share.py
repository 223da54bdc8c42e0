"""What of a result may leave the laboratory: pseudonyms by a key, and predictions without what identifies.

What stays is a list of names (`KEPT`). A field that is in no list does not go out, so that a new one cannot leak; a
test fails until it is in one. Everything that is exported is made of the prediction that `shared` returns, and of
nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.errors import ExportRefused, counted
from napari_caltomorph.laboratory.review import Review, Reviews, fingerprint, seen
from napari_caltomorph.reading import SMALL, explained, read_bytes
from napari_caltomorph.storage import StrPath

KEY_BYTES = 32
_DIGITS = 32  # 128 bits: among a billion patients, two share a pseudonym with a probability of 1e-21
_DIFFERENT = 8  # Fewer different bytes in a key are a text such as "0000..."
HOW_TO_MAKE_A_KEY = "python -c \"import secrets; open('key.txt', 'x').write(secrets.token_hex(32))\""

_SHA256 = r"[0-9a-f]{64}"
_VERSION = r"\d+(\.\d+)*((a|b|rc|\.post|\.dev)\d+)*"  # Without the part after "+", which may name a machine

_NAMES = """
    schema_version synthetic member_probabilities member_hemoglobin
    taxonomy taxonomy.classes
    taxonomy.classes.slug taxonomy.classes.name taxonomy.classes.malignant taxonomy.classes.color
    hemoglobin_error hemoglobin_error.level hemoglobin_error.low hemoglobin_error.high hemoglobin_error.patients
    hemoglobin_error.stopped_training hemoglobin_error.bands
    hemoglobin_error.bands.start hemoglobin_error.bands.end hemoglobin_error.bands.low hemoglobin_error.bands.high
    hemoglobin_error.bands.patients hemoglobin_error.bands.covered
    threshold threshold.value
    calibration calibration.temperature calibration.alpha calibration.quantiles calibration.patients
    prevalence prevalence.trained prevalence.of_equal_classes prevalence.stated
    policy policy.schema_version policy.min_cells policy.refuse_outside_domain policy.must_stand_out policy.min_lead
    policy.max_classes_in_set policy.max_left_out_share
    domain domain.p_value domain.patients domain.cell_tails domain.level domain.aspects
    domain.aspects.aspect domain.aspects.p_value domain.aspects.score domain.aspects.reference
    review.schema_version review.verdict review.prediction review.predicted review.diagnosis
"""
KEPT: Mapping[str, str | None] = {
    **dict.fromkeys(_NAMES.split()),
    "model_fingerprint": _SHA256,
    "library_version": _VERSION,
}
"""Fields of `Prediction`, `Review` and what is in them that stay; a text stays only in the form that is given here.

Without a form are numbers, closed lists, names of classes, and those of a review that `_shared_review` sets.
"""


class _Stripped(NamedTuple):
    what: str  # In words
    instead: Callable[[Any], Any]  # What is put in its place, of the object that has the field


def _none(_: Any) -> None:
    return None


STRIPPED: Mapping[str, _Stripped] = {
    "patient_id": _Stripped("ids of patients", lambda _: "patient"),
    # Whether it was predicted from features decides what a policy withholds.
    "smear_path": _Stripped("paths", lambda p: "features.h5" if p.feature_files else None),
    "smear_fingerprint": _Stripped("fingerprints of images", _none),
    "quality_rules": _Stripped("how images were read", _none),
    "field_of_view_um": _Stripped("how images were read", _none),
    "assumed_export": _Stripped("how images were read", _none),
    "averaged_views": _Stripped("how images were read", _none),
    "encoder": _Stripped("names of models and cohorts", _none),
    "encoder_weights_sha256": _Stripped("fingerprints of encoders", _none),
    "model_name": _Stripped("names of models and cohorts", lambda _: ""),
    "taxonomy.name": _Stripped("names of models and cohorts", lambda _: "classes"),
    "taxonomy.classes.detailed": _Stripped("detailed classes", lambda _: ()),
    "threshold.rule": _Stripped("names of models and cohorts", lambda _: "not shared"),
    "threshold.cohort": _Stripped("names of models and cohorts", lambda t: t.cohort and "a cohort"),
    "calibration.source": _Stripped("names of models and cohorts", lambda _: "a cohort"),
    "policy.name": _Stripped("names of policies", lambda _: "a policy"),
    "policy.version": _Stripped("names of policies", lambda _: "not shared"),
    "image_traits": _Stripped("measurements of images", lambda _: {}),
    "cells": _Stripped("file names of cells", lambda p: tuple(map(str, range(len(p.cells))))),
    "labels": _Stripped("labels of cells", lambda p: (None,) * len(p.cells)),
    "attention": _Stripped("numbers of single cells", lambda p: [1.0] * len(p.cells)),
    "attention_kind": _Stripped("numbers of single cells", lambda _: "none"),
    "alone": _Stripped(
        "numbers of single cells", lambda p: [[1 / len(p.taxonomy.classes)] * len(p.taxonomy.classes)] * len(p.cells)
    ),
    "left_out": _Stripped("cells left out, but their number", lambda p: tuple(_left_out(p))),
    "passed_over": _Stripped("number of other files", lambda _: 0),
    "warnings": _Stripped("warnings, but their number", lambda p: _counted_warnings(p)),
    "created": _Stripped("dates", lambda _: ""),
    "original": _Stripped("predictions before cells were left out by hand", _none),
    "review.patient_id": _Stripped("ids of patients", lambda _: "patient"),
    "review.comment": _Stripped("comments of reviewers", lambda _: ""),
    "review.reviewer": _Stripped("names of reviewers", lambda _: "reviewer"),
    "review.at": _Stripped("dates", lambda _: ""),
    "review.labels": _Stripped("labels of cells", lambda _: {}),
}
"""Fields that do not go out, with what is put in their place."""


def read_key(path: StrPath) -> bytes:
    """Return the secret in a file: its bytes without line ends at the end.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    bytes
        At least `KEY_BYTES`.

    Raises
    ------
    ExportRefused
        The file is missing, cannot be read, or is no secret: too short, or the same few characters.
    """
    with explained(Path(path), "a key", ExportRefused, f"make one: {HOW_TO_MAKE_A_KEY}"):
        key = read_bytes(Path(path), SMALL).rstrip(b"\r\n")
        if len(key) < KEY_BYTES:
            raise ValueError(f"it has {counted(len(key), 'byte')}, fewer than {KEY_BYTES}")
        if len(set(key)) < _DIFFERENT:
            raise ValueError(f"it has only {len(set(key))} different bytes, so it can be guessed")
    return key


def pseudonym(patient_id: str, key: bytes) -> str:
    """Return what stands for a patient: the same of the same id and key; without the key, no one finds the id.

    HMAC-SHA-256 of the id (UTF-8, composed), its first 128 bits as digits. The letter in front keeps spreadsheet
    programs from reading it as a number.
    """
    text = unicodedata.normalize("NFC", patient_id).encode("utf-8", "surrogatepass")
    return f"P{hmac.new(key, text, hashlib.sha256).hexdigest()[:_DIGITS]}"


def renamed(prediction: Prediction, reviews: Reviews, alias: str) -> tuple[Prediction, Reviews]:
    """Return a prediction and its reviews under another id; everything else stays."""
    named = prediction.model_copy(update={"patient_id": alias})
    moved = (
        one.model_copy(update={"patient_id": alias, "prediction": _moved(one, reviews, named)})
        for one in reviews.reviews
    )
    return named, Reviews(seen(named), tuple(moved))


def shared(prediction: Prediction, reviews: Reviews, alias: str) -> tuple[Prediction, Reviews, tuple[str, ...]]:
    """Return a prediction and its reviews without what identifies, under another id, and what was stripped, in words.

    Its numbers, and whether a policy withholds it, are those of the prediction.
    """
    stripped = list[str]()
    one = Prediction.model_validate(_kept(prediction, "", stripped) | {"patient_id": alias})
    if one.withheld != prediction.withheld:
        raise AssertionError("a stripped field decides what is withheld: keep it")
    others = dict[str, str]()
    said = [
        _shared_review(review, _moved(review, reviews, one), f"reviewer {number}", one, others, stripped)
        for number, review in enumerate(reviews.reviews, start=1)
    ]
    return one, Reviews(seen(one), tuple(said)), tuple(dict.fromkeys(stripped))


def _kept(model: BaseModel, prefix: str, stripped: list[str]) -> dict[str, Any]:
    """Return what stays of a model's fields; what was in the others is added to `stripped`."""
    found = dict[str, Any]()
    for name in type(model).model_fields:
        value, path = getattr(model, name), prefix + name
        if path in STRIPPED:
            what, instead = STRIPPED[path]
            found[name] = instead(model)
            if not _is_empty(value):
                stripped.append(what)
        elif path in KEPT:
            found[name] = _whole(value, path, KEPT[path], stripped)
    return found


def _whole(value: Any, path: str, form: str | None, stripped: list[str]) -> Any:
    if isinstance(value, BaseModel):
        return _kept(value, f"{path}.", stripped)
    if isinstance(value, tuple):
        return tuple(_whole(one, path, form, stripped) for one in value)
    if form is not None and not re.fullmatch(form, value):
        stripped.append(f"{path.replace('_', ' ')} of another form")
        return ""
    return value


def _is_empty(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(one is None for one in value)
    return value is None or (isinstance(value, str | dict | int) and not value)


def _moved(review: Review, reviews: Reviews, to: Prediction) -> str:
    """Return the fingerprint of the renamed prediction where the review is of it; of another one, none."""
    return fingerprint(to) if review.prediction == reviews.of["fingerprint"] else ""


def _shared_review(
    review: Review, of: str, reviewer: str, to: Prediction, others: dict[str, str], stripped: list[str]
) -> Review:
    """Return a review whose diagnosis stays where it is a class; `others` numbers other ones, so that they differ."""
    fields = _kept(review, "review.", stripped)
    for name in ("predicted", "diagnosis"):
        if fields[name] and fields[name] not in to.taxonomy.names:
            number = len(others) + 1
            fields[name] = others.setdefault(fields[name].casefold(), f"another diagnosis ({number}), not shared")
            stripped.append("diagnoses that are no class of the model")
    return Review.model_validate(fields | {"patient_id": to.patient_id, "reviewer": reviewer, "prediction": of})


def _left_out(prediction: Prediction) -> Iterator[dict[str, str]]:
    for number, one in enumerate(prediction.left_out):
        yield {"cell": f"left out {number}", "reason": "", "note": "", "by": one.by}


def _counted_warnings(prediction: Prediction) -> tuple[str, ...]:
    count = len(prediction.warnings)
    return (f"{counted(count, 'warning')}, not shared",) if count else ()
