"""The model card: a folder's README.md, made from its description whenever a model is saved."""

from __future__ import annotations

from napari_caltomorph.diagnose.model_file import ModelDescription


def model_card(model: ModelDescription) -> str:
    """Return the card as Markdown."""
    rows = "\n".join(
        f"| {c.name} | {'malignant' if c.malignant else 'not malignant'} | {', '.join(d.name for d in c.detailed)} |"
        for c in model.taxonomy.classes
    )
    training = "\n".join(f"- {key.replace('_', ' ')}: {value}" for key, value in model.training.items())
    network = model.aggregator
    versions = ", ".join(f"{name} {number}" for name, number in model.library_versions.items())
    return f"""# {model.name}

{model.description}
{_SYNTHETIC if model.synthetic else ""}
**Research use only. Not for diagnosis.**

## What it takes and gives

- Input: one patient's single-leukocyte images, encoded with **{model.encoder.name}** (weights SHA-256
  `{model.encoder.weights_sha256}`, preprocessing `{model.encoder.preprocessing}`);
  field of view {_field_of_view(model)}.
- Output: probabilities of {len(model.taxonomy.classes)} classes, malignancy (the sum of the malignant classes;
  threshold {model.threshold.value:g}: {_rule(model)}){_hemoglobin(model)}.
- Probabilities are {"calibrated" if model.calibration else "raw averaged softmax, not calibrated"}.

| class | | made of |
|---|---|---|
{rows}

## How it was made

- {len(model.members)} members, each a transformer of {network.depth} layers, {network.heads} heads, width
  {network.width}, MLP {network.mlp_width}, and a classifier with {model.classifier_width} hidden units.
{training}
- created {model.created}; {versions}

## Limits

- Attention says what the network looked at, not what made the disease; the response to a cell alone is not a
  probability that the cell is a blast.
- A smear from another scanner, stain or laboratory may be judged wrongly without looking unusual.
"""


_SYNTHETIC = """
**Synthetic: it was trained on drawn cells and knows nothing about real blood. It shows how the software works, and
nothing else.**
"""


def _field_of_view(model: ModelDescription) -> str:
    return "unknown" if model.field_of_view_um is None else f"{model.field_of_view_um:.1f} µm"


def _rule(model: ModelDescription) -> str:
    cohort = model.threshold.cohort
    return model.threshold.rule if cohort is None else f"{model.threshold.rule}, on {cohort}"


def _hemoglobin(model: ModelDescription) -> str:
    if model.hemoglobin is None:
        return ""
    error = model.hemoglobin.error
    if error is None:
        return ", hemoglobin in g/dl without an interval"
    return (
        f", hemoglobin in g/dl ({error.level:.0%} of {error.patients} unseen patients measured between "
        f"{error.low:+.1f} and {error.high:+.1f} of the prediction)"
    )
