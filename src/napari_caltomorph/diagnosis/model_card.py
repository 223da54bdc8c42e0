"""The model card: a folder's README.md, made from its description whenever a model is saved."""

from __future__ import annotations

import yaml

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.diagnosis.domain import FALSE_WARNING_RATE
from napari_caltomorph.diagnosis.hemoglobin_error import ErrorBand, band_name, own_fold_patients
from napari_caltomorph.diagnosis.model_file import ModelDescription
from napari_caltomorph.diagnosis.prevalence import ASSUMPTION, UNKNOWN
from napari_caltomorph.diagnosis.training_record import TrainingRecord
from napari_caltomorph.progress import format_seconds
from napari_caltomorph.statistics.interval import percent, proportion

# Training writes it next to the card.
TRAINING_CURVES = "training_curves.png"


def model_card(model: ModelDescription) -> str:
    """Return the card as Markdown."""
    training = model.training
    classes = _table(
        ["class", "", "made of", "training patients"],
        [
            [
                c.name,
                "malignant" if c.malignant else "not malignant",
                ", ".join(d.name for d in c.detailed),
                str(training.patients.get(c.slug, "not recorded")),
            ]
            for c in model.taxonomy.classes
        ],
    )
    versions = ", ".join(f"{name} {number}" for name, number in model.library_versions.items())
    return f"""# {model.name}

{model.description}
{_SYNTHETIC if model.synthetic else ""}
**{RESEARCH_USE}**

## What it takes and gives

- Input: one patient's single-leukocyte images, encoded with {_encoder(model)};
  field of view {_field_of_view(model)}.
- Output: probabilities of {len(model.taxonomy.classes)} classes, malignancy (the sum of the malignant classes;
  threshold {model.threshold.value:g}: {model.threshold.in_words}){_hemoglobin(model)}.
- Probabilities are {_calibration(model)}.
- {_prevalence(model)}.
- {_domain(model)}.

{classes}

## What it is for

- {_INTENDED_SYNTHETIC if model.synthetic else _INTENDED}

## How it was trained

- {model.members_in_words}, each {model.aggregator}{_reference(model)},
  and heads with {model.classifier_width} hidden units.
- Recipe: {training.recipe}. Cohort: {training.cohort}.
- Options: {_options(training)}.
- Training took {format_seconds(training.seconds)} on {training.machine}.
- Created {model.created}; {versions}.
{_folds(training)}{_out_of_fold(training)}{_hemoglobin_bands(model)}{_elsewhere(training)}{_notes(training)}
## Limits

- {_NO_ATTENTION if model.aggregator.attention_kind == "none" else _ATTENTION}
  The response to a cell alone is not a probability that the cell is a blast.
- A smear from another scanner, stain or laboratory may be predicted wrongly without a warning.
"""


def hub_metadata(model: ModelDescription, licence: str) -> str:
    """Return the head of a card on the Hugging Face Hub: what its search and its pages show."""
    tags = ["caltomorph", "hematology", "blood-smear", "multiple-instance-learning", "research-use-only"]
    if model.encoder.name is not None:
        tags.append(model.encoder.name)
    if model.synthetic:
        tags.append("synthetic")
    fields = {"license": licence, "library_name": "napari-caltomorph", "tags": tags}
    return f"---\n{yaml.safe_dump(fields, sort_keys=False)}---\n\n"


_SYNTHETIC = """
**Synthetic: it was trained on synthetic cells only and cannot be used for real blood. It shows how the software
works.**
"""
_INTENDED_SYNTHETIC = "Showing and testing the software with synthetic smears. It must not be used on real blood."
_INTENDED = (
    "Research on smears like those it was trained on: the same kind of images, the same classes. It always predicts "
    "one of its own classes, also for a smear of another disease."
)
_ATTENTION = "Attention shows what the network attends to, not what causes the disease."
_NO_ATTENTION = "It has no attention, so cells have no order of importance."


def _options(training: TrainingRecord) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in training.options.items()) or "not recorded"


def _folds(training: TrainingRecord) -> str:
    if not training.folds:
        return ""
    rows = [
        [str(k + 1), *map(str, (f.patients, f.validation_patients, f.epochs, f.best_epoch)), f.stopped_by]
        for k, f in enumerate(training.folds)
    ]
    heads = ["member", "patients", "validation patients", "epochs", "best epoch", "stopped by"]
    has_curves = any(fold.train_loss for fold in training.folds)
    curves = f"\n![Loss of each member after each epoch]({TRAINING_CURVES})\n" if has_curves else ""
    return f"\n{_table(heads, rows)}\n{curves}"


def _out_of_fold(training: TrainingRecord) -> str:
    rows = [list(row) for row in training.out_of_fold.rows()]
    if not rows:
        return ""
    return f"\n## {training.out_of_fold_title}\n\n{_table(['', 'all folds (95 %)', 'fold by fold'], rows)}\n"


def _elsewhere(training: TrainingRecord) -> str:
    if not training.elsewhere_in_words:
        return ""
    return "\n## In other laboratories\n\n" + "".join(f"- {one}\n" for one in training.elsewhere_in_words)


def _notes(training: TrainingRecord) -> str:
    if not training.remarks:
        return ""
    return "\n## Notes\n\n" + "".join(f"- {note}\n" for note in training.remarks)


def _encoder(model: ModelDescription) -> str:
    need = model.encoder
    if need.name is None:
        return f"an encoder that the feature files (width {need.width}) do not record"
    views = f", views `{need.views}`" if need.views else ""
    return f"**{need.name}** (weights SHA-256\n  `{need.weights_sha256}`, preprocessing `{need.preprocessing}`{views})"


def _field_of_view(model: ModelDescription) -> str:
    return "unknown" if model.field_of_view_um is None else f"{model.field_of_view_um:.1f} µm"


def _reference(model: ModelDescription) -> str:
    number = model.reference
    return "" if number is None else f" (no cell is evidence for {model.taxonomy.names[number]})"


def _calibration(model: ModelDescription) -> str:
    calibration = model.calibration
    if calibration is None:
        return f"the mean of the members, not calibrated on patients set aside{_recalibration(model.training)}"
    unclaimed = [one.name for one in model.taxonomy.classes if one.slug in calibration.without_claim]
    exceptions = f"; no such guarantee for {', '.join(unclaimed)}: too few calibration patients" if unclaimed else ""
    counts = ", ".join(f"{one.name} {calibration.patients[one.slug]}" for one in model.taxonomy.classes)
    return (
        f"calibrated: {calibration.in_words}. It gives sets of classes that cannot be excluded. "
        f"{calibration.claim_in_words} (n: {counts}){exceptions}. Both hold only for patients like the calibration "
        f"patients{_recalibration(model.training)}"
    )


def _recalibration(training: TrainingRecord) -> str:
    scales = [fold.recalibration for fold in training.folds if fold.recalibration is not None]
    if not scales:
        return ""
    odds, shifts, within = (", ".join(f"{one:.2f}" for one in column) for column in zip(*scales, strict=True))
    return (
        ". Each member is recalibrated by what the other members predicted for their own folds: its log-odds of "
        f"malignancy are multiplied by {odds} and moved by {shifts}, the logits within malignant and within other "
        f"classes multiplied by {within}"
    )


def _prevalence(model: ModelDescription) -> str:
    if model.prevalence is None:
        return UNKNOWN
    return f"{model.prevalence.in_words} (`--prevalence`): {ASSUMPTION}"


def _domain(model: ModelDescription) -> str:
    if model.domain is None:
        return "It does not detect smears unlike those that it was trained on"
    patients = own_fold_patients(model.domain.patients, model.training.stops_on_own_fold)
    return (
        f"It warns of smears unlike those that it was trained on, scaled on {patients}; "
        f"about {percent(FALSE_WARNING_RATE, 0)} of smears like those in training have a warning as well"
    )


def _hemoglobin(model: ModelDescription) -> str:
    if model.hemoglobin is None:
        return ""
    error = model.hemoglobin_error
    if error is None:
        return ", hemoglobin in g/dl without an interval"
    return (
        f", hemoglobin in g/dl (measured minus estimated was {error.low:+.1f} to {error.high:+.1f} for "
        f"{percent(error.level, 0)} of {own_fold_patients(error.patients, error.stopped_training)})"
    )


def _hemoglobin_bands(model: ModelDescription) -> str:
    error = model.hemoglobin_error
    if error is None or not error.bands:
        return ""
    rows = [
        [band_name(b.start, b.end), str(b.patients), f"{b.low:+.1f} to {b.high:+.1f}", _covered(b)] for b in error.bands
    ]
    who = own_fold_patients(error.patients, error.stopped_training)
    error_head = f"measured minus estimated, {percent(error.level, 0)}"
    heads = ["measured, g/dl", "patients", error_head, "in their interval (95 %)"]
    joined = ""
    if error.joined:
        joined = f"\nToo few were measured {error.joined}: their neighbours' errors are included there.\n"
    return f"""
## Hemoglobin's interval

It contains each value that the errors of patients with such a measured value allow, known from {who}. The last
column is cross-validated: the patients of other folds set the interval.
{joined}
{_table(heads, rows)}
"""


def _covered(band: ErrorBand) -> str:
    if band.covered is None or not band.patients:
        return "-"
    share = proportion(band.covered, band.patients)
    return f"{share.value:.2f} ({share.low:.2f} to {share.high:.2f})"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; bars in cells are escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
