"""A prediction with its reviews as HL7 FHIR: a Bundle of one DiagnosticReport, its Observations, and the Device.

Only elements are used that are the same in R4 (4.0.1) and R4B (4.3.0). They are written as plain JSON:
classes of all resources would be filled with the same few fields, and the package that has them checks the result in
the tests. What is empty is left out at the end, since FHIR has no empty values.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.prediction import NO_CLASS
from napari_caltomorph.errors import visible
from napari_caltomorph.laboratory.review import Reviews, fingerprint

SYSTEM = "https://pypi.org/project/napari-caltomorph/fhir"
"""Begins the URIs of our own codes and identifiers; nothing needs to be at that address."""

STATUS = {
    "agreed": "final",
    "other diagnosis": "amended",
    "diagnosis stated": "amended",
}
"""State of the reviews -> status of the report; it is preliminary in all other states."""

# Display of each code, by the code
_CODES = {
    "report": "Blood smear, diagnosis by a model from single-cell images",
    "predicted-class": "Predicted diagnosis class",
    "class-probabilities": "Probability of each diagnosis class",
    "malignancy": "Probability of malignancy",
    "malignancy-threshold": "Threshold from which a patient counts as malignant",
    "at-or-above-threshold": "Whether the probability is at or above the threshold",
    # No LOINC code: those of hemoglobin, such as 718-7, are of measurements, and this must not be taken for one.
    "hemoglobin-estimate": "Hemoglobin, estimated from images of cells",
    "interval-low": "Lowest value that is not excluded",
    "interval-high": "Highest value that is not excluded",
    "cells": "Number of cells on which the prediction rests",
    "outside-training-domain": "Whether the smear is unlike the training cohort of the model",
    "reviewer-diagnosis": "Diagnosis by a reviewer who saw the prediction",
    "no-class-stands-out": NO_CLASS,
    "withheld": "Withheld by the laboratory's policy",
    "research-use-only": RESEARCH_USE,
}
_TERMS = "http://terminology.hl7.org/CodeSystem"


def status_of(reviews: Reviews) -> str:
    """Return the status of a patient's report: ``preliminary`` until reviews agree, or state another diagnosis."""
    return STATUS.get(reviews.state, "preliminary")


def bundle(prediction: Prediction, reviews: Reviews, *, is_pseudonym: bool = False) -> dict[str, Any]:
    """Return the FHIR Bundle of a patient, as plain JSON; the same of the same prediction and reviews.

    `is_pseudonym` tells that the patient's id is one of ours, and not the laboratory's.
    """
    key = fingerprint(prediction)
    patient = {"identifier": {"system": f"{SYSTEM}/pseudonym" if is_pseudonym else "", "value": prediction.patient_id}}
    observations = [*_of_prediction(prediction, reviews), *_of_reviews(prediction, reviews)]
    device = _url(key, "device")
    for one in observations:
        of_model = {"device": {"reference": device}, "issued": _instant(prediction.created)}
        one |= {"subject": {"type": "Patient", **patient}} | ({} if "performer" in one else of_model)
    urls = [_url(key, f"observation {number}") for number in range(len(observations))]
    report = {
        "resourceType": "DiagnosticReport",
        "identifier": [{"system": f"{SYSTEM}/prediction", "value": key}],
        "status": status_of(reviews),
        "category": [{"coding": [{"system": f"{_TERMS}/v2-0074", "code": "HM", "display": "Hematology"}]}],
        "code": _concept("report"),
        "subject": {"type": "Patient", **patient},
        "issued": _instant(prediction.created),
        "resultsInterpreter": [{"type": "Practitioner", "display": one.reviewer} for one in reviews.of_this],
        "result": [{"reference": url} for url in urls],
        "conclusion": _conclusion(prediction, reviews),
        "conclusionCode": _conclusion_code(prediction, reviews),
    }
    resources = {device: _device(prediction), **dict(zip(urls, observations, strict=True)), _url(key, "report"): report}
    tag = {"meta": {"tag": [_coding("research-use-only")]}}
    entries = [{"fullUrl": url, "resource": one | tag} for url, one in resources.items()]
    found: dict[str, Any] = _filled({"resourceType": "Bundle", "type": "collection", "entry": entries} | tag)
    return found


def _of_prediction(prediction: Prediction, reviews: Reviews) -> Iterator[dict[str, Any]]:
    """Yield what the model has found; where it is withheld, why there are no values."""
    status = "final" if reviews.state == "agreed" else "preliminary"
    results = list(_results(prediction))
    if prediction.withheld:
        results = [(code, {"dataAbsentReason": _withheld(prediction)}) for code, _ in results]
    for code, content in results:
        notes = [*prediction.warnings, prediction.original_in_words] if code == "predicted-class" else []
        yield _observation(code, status, content, notes)
    yield _observation("cells", status, {"valueInteger": len(prediction.cells)}, [])
    if prediction.domain is not None:
        yield _observation("outside-training-domain", status, {"valueBoolean": prediction.is_outside_domain}, [])


def _results(prediction: Prediction) -> Iterator[tuple[str, dict[str, Any]]]:
    predicted, taxonomy = prediction.predicted_class, prediction.taxonomy
    yield "predicted-class", {"valueCodeableConcept": _class(prediction, predicted if prediction.stands_out else None)}
    each = zip(taxonomy.names, prediction.probabilities, strict=True)
    shares = [{"code": _class(prediction, name), "valueQuantity": _quantity(p, "1")} for name, p in each]
    yield "class-probabilities", {"component": shares}
    threshold = [
        {"code": _concept("malignancy-threshold"), "valueQuantity": _quantity(prediction.shown_threshold.value, "1")},
        {"code": _concept("at-or-above-threshold"), "valueBoolean": prediction.is_malignant},
    ]
    yield "malignancy", {"valueQuantity": _quantity(prediction.malignancy, "1"), "component": threshold}
    if prediction.hemoglobin is not None:
        bounds = zip(("interval-low", "interval-high"), prediction.hemoglobin_range or (), strict=False)
        interval = [{"code": _concept(code), "valueQuantity": _quantity(value, "g/dL")} for code, value in bounds]
        yield "hemoglobin-estimate", {"valueQuantity": _quantity(prediction.hemoglobin, "g/dL"), "component": interval}


def _of_reviews(prediction: Prediction, reviews: Reviews) -> Iterator[dict[str, Any]]:
    """Yield what each reviewer of this prediction has stated."""
    for one in reviews.of_this:
        value = (
            {"dataAbsentReason": {**_absent("unknown"), "text": "the reviewer cannot tell"}}
            if one.opinion is None
            else {"valueCodeableConcept": _class(prediction, one.opinion)}
        )
        by = {"performer": [{"type": "Practitioner", "display": one.reviewer}], "issued": _instant(one.at)}
        yield _observation("reviewer-diagnosis", "final", value | by, [one.comment])


def _observation(code: str, status: str, content: Mapping[str, Any], notes: Iterable[str | None]) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": status,
        "category": [{"coding": [{"system": f"{_TERMS}/observation-category", "code": "laboratory"}]}],
        "code": _concept(code),
        **content,
        "note": [{"text": note} for note in notes if note],
    }


def _device(prediction: Prediction) -> dict[str, Any]:
    return {
        "resourceType": "Device",
        "identifier": [{"system": f"{SYSTEM}/model-fingerprint", "value": prediction.model_fingerprint}],
        "deviceName": [{"name": prediction.model_name, "type": "model-name"}] if prediction.model_name else [],
        "version": [{"value": prediction.library_version}],
    }


def _conclusion(prediction: Prediction, reviews: Reviews) -> str:
    """Return the report in words; what reviewers have decided goes first."""
    said = f"Diagnosis by review: {reviews.diagnosis}" if reviews.diagnosis else f"Review: {reviews.state}"
    model = f"Model {prediction.model_name}".strip()
    synthetic = "The model was trained on synthetic cells only" if prediction.synthetic else ""
    about = [] if prediction.withheld else [prediction.probabilities_in_words]
    policy = "" if prediction.policy is None else f"Policy: {prediction.policy}"
    parts = [RESEARCH_USE.rstrip("."), said, f"{model}: {prediction.call_in_words}", *about, synthetic, policy]
    return " ".join(f"{part.rstrip('.')}." for part in (*parts, *prediction.warnings) if part)


def _conclusion_code(prediction: Prediction, reviews: Reviews) -> list[dict[str, Any]]:
    """Return the diagnosis of the report; none where reviewers differ, no class stands out, or it is withheld."""
    if reviews.diagnosis is not None:
        return [_class(prediction, reviews.diagnosis)]
    is_shown = prediction.stands_out and not prediction.withheld and not reviews.reviewers_differ
    return [_class(prediction, prediction.predicted_class)] if is_shown else []


def _class(prediction: Prediction, name: str | None) -> dict[str, Any]:
    """Return a class of the model by its slug, free text as text; of None, that no class stands out."""
    if name is None:
        return _concept("no-class-stands-out")
    slugs = {one.name: one.slug for one in prediction.taxonomy.classes}
    coding = {"system": f"{SYSTEM}/class", "code": slugs.get(name), "display": name}
    return {"coding": [coding] if name in slugs else [], "text": name}


def _withheld(prediction: Prediction) -> dict[str, Any]:
    return {
        "coding": [*_absent("unknown")["coding"], _coding("withheld")],
        "text": f"Withheld: {prediction.withheld_in_words}",
    }


def _absent(code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"{_TERMS}/data-absent-reason", "code": code}]}


def _coding(code: str) -> dict[str, Any]:
    return {"system": f"{SYSTEM}/code", "code": code, "display": _CODES[code]}


def _concept(code: str) -> dict[str, Any]:
    return {"coding": [_coding(code)], "text": _CODES[code]}


def _quantity(value: float, unit: str) -> dict[str, Any]:
    return {
        "value": round(float(value), 6),
        "unit": "" if unit == "1" else unit,  # 1 is UCUM's code of what has no unit
        "system": "http://unitsofmeasure.org",
        "code": unit,
    }


def _url(key: str, what: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{SYSTEM}/{key}/{what}").urn


def _instant(text: str) -> str:
    """Return a time as FHIR writes it; empty where it is none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return ""
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat(timespec="seconds")


def _filled(value: Any) -> Any:
    """Return a value without what is empty, its texts without control characters."""
    if isinstance(value, str):
        return visible(value) if value.strip() else ""
    if isinstance(value, dict):
        found = {key: _filled(one) for key, one in value.items()}
        return {key: one for key, one in found.items() if one not in (None, "", [], {})}
    if isinstance(value, list):
        return [one for one in map(_filled, value) if one not in (None, "", [], {})]
    return value
