"""What a patient's report says in words and numbers: every entry as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from napari_caltomorph.about import library_version
from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.differential import Differential
from napari_caltomorph.report.drawing import short

One = TypeVar("One")


@dataclass(frozen=True)
class Listed(Generic[One]):
    """The first of many things, and how many more there are."""

    shown: tuple[One, ...]
    more: int


@dataclass(frozen=True)
class Headline:
    """The diagnosis as it is read first."""

    name: str
    color: str
    probability: str
    second: str
    malignancy: str


@dataclass(frozen=True)
class LeftOutRow:
    """Cells that are not in the bag for one reason, by whom, and one of them."""

    count: int
    reason: str
    by: str
    example: str


@dataclass(frozen=True)
class TypeRow:
    """A cell type of the differential, in percent of the leukocytes; what is no leukocyte, for each 100 of them."""

    name: str
    cells: int
    by_hand: int
    percent: str
    interval: str
    is_counted: bool


def listed(things: Sequence[One], most: int) -> Listed[One]:
    """Return the first so many; one more is shown rather than counted."""
    most = most + 1 if len(things) == most + 1 else most
    return Listed(tuple(things[:most]), max(len(things) - most, 0))


def headline(prediction: Prediction) -> Headline:
    """Return what stands largest."""
    (first, p), (second, q) = prediction.top(2)
    side = "at or above" if prediction.is_malignant else "below"
    return Headline(
        name=first,
        color=prediction.taxonomy.colors[prediction.taxonomy.names.index(first)],
        probability=f"{p:.2f}",
        second=f"then {second} {q:.2f} (difference {prediction.delta_probability:.2f})",
        malignancy=f"Malignant {prediction.malignancy:.2f}, {side} the threshold {prediction.threshold.value:g}",
    )


def notes(prediction: Prediction) -> list[tuple[str, str]]:
    """Return what must be known to read the figure: heading and sentence."""
    threshold = prediction.threshold
    where = f", on {threshold.cohort}" if threshold.cohort else ""
    outline = " Outline: with all cells." if prediction.original is not None else ""
    others = [one.name for one in prediction.taxonomy.classes if not one.malignant]
    said = [
        ("Bars", f"The mean of the members. Each dot is one of them.{outline}"),
        ("Probabilities", f"{prediction.calibration_in_words}."),
        (
            "Malignant",
            f"Sum of all classes{' but ' if others else ''}{' and '.join(others)}. Threshold {threshold.value:g}: "
            f"{threshold.rule}{where}.",
        ),
    ]
    if prediction.prediction_set_in_words is not None:
        said.insert(2, ("Not excluded", f"{prediction.prediction_set_in_words}."))
    said.append(("Hemoglobin", _hemoglobin(prediction)))
    return said


def left_out_rows(prediction: Prediction) -> Listed[LeftOutRow]:
    """Return what is not in the bag, the most frequent reason first."""
    counts = Counter((cell.reason, cell.by) for cell in prediction.left_out)
    examples = {(cell.reason, cell.by): cell.cell for cell in reversed(prediction.left_out)}
    rows = [
        LeftOutRow(count, reason, {"rule": "a rule", "user": "a person"}[by], short(examples[reason, by], 36))
        for (reason, by), count in counts.most_common()
    ]
    return listed(rows, 5)


def differential_rows(differential: Differential) -> list[TypeRow]:
    """Return the types that were found, in the order in which a differential is read, and all blasts last."""
    return [
        TypeRow(
            name=str(row["type"]),
            cells=int(row["cells"]),
            by_hand=int(row["by_hand"]),
            percent=f"{row['percent']:.1f}",
            interval=f"{row['percent_low']:.1f} to {row['percent_high']:.1f}",
            is_counted=bool(row["is_counted"]),
        )
        for row in differential.table().to_dict("records")
        if row["cells"] or row["type"] == "all blasts"
    ]


def provenance(prediction: Prediction) -> list[tuple[str, str]]:
    """Return what made the prediction, of what."""
    members = len(prediction.member_probabilities)
    made = " It was trained on drawn cells only: it knows nothing about real blood." if prediction.synthetic else ""
    return [
        ("patient", short(prediction.patient_id, 100)),
        ("images", short(prediction.smear_path or "a layer, not on disk", 180)),
        ("smear fingerprint", prediction.smear_fingerprint or "unknown"),
        ("model", f"{short(prediction.model_name, 60)}, {members} member{'s' * (members != 1)}.{made}"),
        ("model fingerprint", prediction.model_fingerprint),
        ("encoder", f"{prediction.encoder or 'not named'}, weights {prediction.encoder_weights_sha256 or 'unknown'}"),
        ("predicted", f"{prediction.created} by napari-caltomorph {prediction.library_version}"),
        ("report made", f"{datetime.now(UTC).isoformat(timespec='seconds')} by napari-caltomorph {library_version()}"),
    ]


def _hemoglobin(prediction: Prediction) -> str:
    if prediction.hemoglobin is None:
        return "The model was not trained to estimate it."
    text = f"{prediction.hemoglobin:.1f} g/dl, estimated from the cells."
    error, reach = prediction.hemoglobin_error, prediction.hemoglobin_range
    if error is not None and reach is not None:
        return (
            f"{text} If it is as far off as on {error.level:.0%} of {error.patients} unseen patients, the measured "
            f"value lies between {reach[0]:.1f} and {reach[1]:.1f}."
        )
    if error is not None:
        return f"{text} The smear is unlike the training cohort, so how far off it may be is not known."
    return f"{text} How far off it may be was not measured."
