"""The words and numbers of a patient's report: every entry as text, long lists cut to fit on a page of paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from napari_caltomorph.about import RESEARCH_USE, library_version
from napari_caltomorph.diagnosis import NO_ATTENTION, NO_CLASS, NO_PREDICTION, Prediction
from napari_caltomorph.differential import Differential
from napari_caltomorph.explanation.trust import Trust
from napari_caltomorph.report.drawing import short
from napari_caltomorph.statistics.metric import signed

Item = TypeVar("Item")

_WARNINGS_ON_FIRST_PAGE, _WARNINGS_ON_SECOND = 3, 4
# Headings of a `Trust`.
_ON_FIRST_PAGE_ALREADY = ("Warning", "Probabilities")


@dataclass(frozen=True)
class Excerpt(Generic[Item]):
    """The first of many items, and how many more there are."""

    shown: tuple[Item, ...]
    more: int

    @classmethod
    def of(cls, items: Sequence[Item], most: int) -> Excerpt[Item]:
        """Return the first `most` items; a single further one is shown rather than counted."""
        most = most + 1 if len(items) == most + 1 else most
        return cls(tuple(items[:most]), max(len(items) - most, 0))


@dataclass(frozen=True)
class LeftOutRow:
    """Cells left out for one reason, by a rule or a person, with one example."""

    count: int
    reason: str
    by: str
    example: str


def patient_texts(
    prediction: Prediction, trust: Trust, differential: Differential | None, metadata: Mapping[str, str]
) -> dict[str, object]:
    """Return what the template ``patient.html.j2`` writes, by the names that it uses."""
    first_warnings = Excerpt.of(prediction.warnings, _WARNINGS_ON_FIRST_PAGE)
    more_warnings = Excerpt.of(prediction.warnings[len(first_warnings.shown) :], _WARNINGS_ON_SECOND)
    # In the usual order of a differential, and all blasts last.
    types = [] if differential is None else differential.table().to_dict("records")
    types = [row for row in types if row["cells"] or row["type"] == "all blasts"]
    return {
        "research_use": RESEARCH_USE,
        "title": short(prediction.patient_id, 60),
        "model": short(prediction.model_name, 40),
        "metadata": Excerpt.of([(short(name), short(value, 60)) for name, value in metadata.items()], 6),
        "headline": _headline(prediction),
        "notes": _notes(prediction),
        "no_attention": NO_ATTENTION,
        "warnings": first_warnings,
        "more_warnings": more_warnings,
        "statements": [one for one in trust.statements if one.about not in _ON_FIRST_PAGE_ALREADY],
        "similar": None if prediction.withheld else trust.similar,
        "left_out": _left_out_rows(prediction),
        "changes": what_if_lines(prediction),
        "differential": differential,
        "differential_rows": Excerpt.of(types, 16),
        "provenance": _provenance(prediction),
    }


def what_if_lines(prediction: Prediction) -> list[str]:
    """Return the changes as lines of text: diagnosis, malignancy, hemoglobin; none where nothing was left out."""
    if (before := prediction.original) is None:
        return []
    if prediction.shown_original is None:
        return [f"Now: {prediction.diagnosis_in_words}", str(prediction.original_in_words)]
    is_same = before.predicted_class == prediction.predicted_class and before.stands_out and prediction.stands_out
    lines = [
        f"Diagnosis: {prediction.diagnosis_in_words}, as before ({before.top(1)[0][1]:.2f})"
        if is_same
        else f"Diagnosis: {prediction.diagnosis_in_words} instead of {before.diagnosis_in_words}",
        f"Malignant: {before.malignancy:.2f} to {prediction.malignancy:.2f} "
        f"({signed(before.malignancy, prediction.malignancy)})"
        + ("" if before.is_malignant == prediction.is_malignant else ", on the other side of the threshold"),
    ]
    if prediction.hemoglobin is not None and before.hemoglobin is not None:
        change = signed(before.hemoglobin, prediction.hemoglobin, 1)
        lines.append(f"Hemoglobin: {before.hemoglobin:.1f} to {prediction.hemoglobin:.1f} g/dl ({change})")
    return lines


def _headline(prediction: Prediction) -> dict[str, str]:
    """Return the diagnosis, which is written largest, or why there is none."""
    if prediction.withheld:
        words = prediction.withheld_in_words
        return {"name": NO_PREDICTION, "color": "gray", "second": f"{words[:1].upper()}{words[1:]}.", "malignancy": ""}
    first, p = prediction.top(1)[0]
    return {
        "name": f"{first} {p:.2f}" if prediction.stands_out else NO_CLASS,
        "color": prediction.class_color or "gray",
        "second": prediction.lead_in_words,
        "malignancy": f"Malignant {prediction.malignancy_in_words}",
    }


def _notes(prediction: Prediction) -> list[tuple[str, str]]:
    """Return the explanations of the figure: heading and sentence; none without a figure."""
    if prediction.withheld:
        return []
    threshold = prediction.shown_threshold
    outline = " Outline: with all cells." if prediction.original is not None else ""
    others = [one.name for one in prediction.taxonomy.classes if not one.malignant]
    sentences = [
        ("Bars", f"The mean of the members. Each dot is one of them.{outline}"),
        ("Probabilities", f"{prediction.probabilities_in_words}."),
        (
            "Malignant",
            f"Sum of all classes{' but ' if others else ''}{' and '.join(others)}. Threshold "
            f"{threshold.value:.3g}: {threshold.in_words}.",
        ),
    ]
    if prediction.prediction_set_in_words is not None:
        sentences.insert(2, ("Not excluded", f"{prediction.prediction_set_in_words}."))
    hemoglobin = prediction.hemoglobin_in_words or "The model was not trained to estimate it"
    sentences.append(("Hemoglobin", f"{hemoglobin}."))
    return sentences


def _left_out_rows(prediction: Prediction) -> Excerpt[LeftOutRow]:
    """Return the cells that are not in the bag, the most frequent reason first."""
    counts = Counter((cell.reason, cell.by) for cell in prediction.left_out)
    examples = {(cell.reason, cell.by): cell.cell for cell in reversed(prediction.left_out)}
    rows = [
        LeftOutRow(count, reason, {"rule": "a rule", "user": "a person"}[by], short(examples[reason, by], 36))
        for (reason, by), count in counts.most_common()
    ]
    return Excerpt.of(rows, 5)


def _provenance(prediction: Prediction) -> list[tuple[str, str]]:
    """Return the origin of the prediction: images, model, encoder, dates."""
    members = len(prediction.member_probabilities)
    trained = " It was trained on synthetic cells only and has seen no real blood." if prediction.synthetic else ""
    return [
        ("patient", short(prediction.patient_id, 100)),
        (
            "features" if prediction.feature_files else "images",
            short(prediction.smear_path or "a layer, not on disk", 180),
        ),
        ("smear fingerprint", prediction.smear_fingerprint or "unknown"),
        ("model", f"{short(prediction.model_name, 60)}, {members} member{'s' * (members != 1)}.{trained}"),
        ("model fingerprint", prediction.model_fingerprint),
        *([] if prediction.policy is None else [("policy", str(prediction.policy))]),
        ("encoder", f"{prediction.encoder or 'not named'}, weights {prediction.encoder_weights_sha256 or 'unknown'}"),
        ("predicted", f"{prediction.created} by napari-caltomorph {prediction.library_version}"),
        ("report made", f"{datetime.now(UTC).isoformat(timespec='seconds')} by napari-caltomorph {library_version()}"),
    ]
