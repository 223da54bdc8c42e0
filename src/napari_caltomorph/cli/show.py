"""A prediction as a person reads it in the terminal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from napari_caltomorph.cli.console import console, say, say_line
from napari_caltomorph.diagnosis import NO_ATTENTION, Prediction

_BAR_WIDTH = 32


def show_prediction(prediction: Prediction) -> None:
    """Write one patient's result: the bag, a bar for each class, and what follows from them."""
    say()
    say(_bag(prediction), style="bold")
    console.print(_bars(prediction))
    rows = Table.grid(padding=(0, 2, 0, 0))
    for name, value in _sentences(prediction):
        rows.add_row(Text(name, "dim"), Text(value))
    rows.add_row(Text("Model", "dim"), _model(prediction))
    for warning in prediction.warnings:
        rows.add_row(Text("Warning", "yellow"), Text(f"{warning}.", "yellow"))
    console.print(rows)


def show_known(prediction: Prediction, file: Path | None) -> None:
    """Write in one line that a patient was done before, and what to do to have it computed again."""
    name, probability = prediction.top(1)[0]
    say_line(
        f"{prediction.patient_id}: {name} {probability:.2f}, as predicted on {prediction.created[:10]}; to predict it "
        f"again, remove {file}"
    )


def _bag(prediction: Prediction) -> str:
    text = f"{prediction.patient_id}: {len(prediction.cells)} cells"
    if prediction.left_out:
        counts = Counter(cell.reason for cell in prediction.left_out).most_common()
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts)
        text += f"; {len(prediction.left_out)} left out ({reasons})"
    if prediction.passed_over:
        text += f"; {prediction.passed_over} other file{'s' * (prediction.passed_over > 1)} passed over"
    return text


def _bars(prediction: Prediction) -> Table:
    bars = Table.grid(padding=(0, 2, 0, 0))
    for one, probability in zip(prediction.taxonomy.classes, prediction.probabilities, strict=True):
        is_first = one.name == prediction.predicted_class
        style = "bold" if is_first else ""
        bars.add_row(
            Text(one.name, style),
            Text(f"{probability:.2f}", style),
            ProgressBar(1.0, probability, width=_BAR_WIDTH, complete_style=one.color, finished_style=one.color),
        )
    return bars


def _sentences(prediction: Prediction) -> list[tuple[str, str]]:
    (first, p_first), (second, p_second) = prediction.top(2)
    threshold = prediction.threshold
    side = "at or above" if prediction.is_malignant else "below"
    who = f"{threshold.rule}, on {threshold.cohort}" if threshold.cohort else threshold.rule
    then = f"then {second} {p_second:.2f} (difference {prediction.delta_probability:.2f})"
    found = [
        ("Diagnosis", f"{first} {p_first:.2f}, {then}"),
        *([("Not excluded", words)] if (words := prediction.prediction_set_in_words) else []),
        ("Malignant", f"{prediction.malignancy:.2f}, {side} the threshold {threshold.value:g} ({who})"),
    ]
    if prediction.hemoglobin is not None:
        text = f"{prediction.hemoglobin:.1f} g/dl"
        if prediction.hemoglobin_range is not None and prediction.hemoglobin_error is not None:
            low, high = prediction.hemoglobin_range
            text += f" ({prediction.hemoglobin_error.level:.0%} of unseen patients: {low:.1f} to {high:.1f})"
        found.append(("Hemoglobin", text))
    if not prediction.has_attention:
        found.append(("Attention", NO_ATTENTION))
    return found


def _model(prediction: Prediction) -> Text:
    name = prediction.model_name
    text = Text(name if "synthetic" in name or not prediction.synthetic else f"{name} (synthetic)")
    text.append(f"; {prediction.calibration_in_words[0].lower()}{prediction.calibration_in_words[1:]}")
    if prediction.synthetic:
        text.append("\nSynthetic: trained on drawn cells, it knows nothing about real blood.", "yellow")
    return text
