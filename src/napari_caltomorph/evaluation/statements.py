"""The sentences that must be shown with the numbers of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from napari_caltomorph.errors import counted
from napari_caltomorph.evaluation.patients import EvaluatedPatients
from napari_caltomorph.statistics.interval import percent, proportion
from napari_caltomorph.statistics.metric import Metric
from napari_caltomorph.synthetic import SYNTHETIC_COLUMN

INTERVALS = (
    "Intervals (95 %) show how much other patients of the same kind would change a number. They do not include "
    "that the same training, done again, would give another model."
)
_NO_GROUPS = {
    "not in the cohort": "The training patients have groups, these patients have none",
    "not in training": "These patients have groups, the training patients have none",
    "in neither": "Neither these patients nor the training patients have groups",
}


def statements(evaluated: EvaluatedPatients) -> Iterator[str]:
    """Yield them, the weightiest first, each a sentence."""
    yield from _model(evaluated)
    yield from _independence(evaluated)
    yield from _domain(evaluated)
    yield from _prevalence(evaluated)
    yield from _patients(evaluated)
    yield from evaluated.notes
    if evaluated.has_one_class.any():
        yield INTERVALS
        yield from _absent_classes(evaluated)


def _model(evaluated: EvaluatedPatients) -> Iterator[str]:
    provenance = evaluated.provenance
    if provenance.model_synthetic:
        yield "The model was trained on synthetic cells: it knows nothing about real blood."
    synthetic = evaluated.covariates.get(SYNTHETIC_COLUMN)
    if synthetic is not None and synthetic.astype("string").eq("yes").any():
        yield "The patients are synthetic: these numbers show how the software works, and nothing about real blood."
    if evaluated.options.out_of_fold:
        yield (
            "Out of fold: patients that the model was trained on are predicted by the one member that was not trained "
            "on them. These are numbers of single members, not of the ensemble, which is usually better."
        )
        if provenance.training_recipe == "paper":
            yield "They are optimistic: the paper's recipe stops each member on the same fold that it is evaluated on."
        if provenance.calibration is not None:
            yield "The temperature was fitted on the ensemble's mean, and is applied to single members here."


def _domain(evaluated: EvaluatedPatients) -> Iterator[str]:
    if not (outside := int(evaluated.is_outside_domain.sum())):
        return
    raw = (
        ""
        if evaluated.provenance.calibration is None
        else "; their probabilities are not calibrated and they have no set"
    )
    yield f"{outside} of {len(evaluated)} smears are unlike the training cohort{raw}."


def _prevalence(evaluated: EvaluatedPatients) -> Iterator[str]:
    known, classes = evaluated.provenance.prevalence, evaluated.classes[evaluated.has_one_class]
    if known is None or not len(classes):
        return
    share = proportion(int(evaluated.taxonomy.is_malignant[classes].sum()), len(classes))
    assert share.low is not None
    assert share.high is not None
    if not share.low <= known.trained <= share.high:
        yield (
            f"The model's probabilities hold {known}; of these patients {percent(share.value)} are malignant. So "
            "malignancy and its calibration error are off here, even where nothing but the shares differs."
        )


def _independence(evaluated: EvaluatedPatients) -> Iterator[str]:
    options, provenance = evaluated.options, evaluated.provenance
    if provenance.training_check == "not possible":
        yield (
            "Whether the model was trained on any of these patients could not be checked: it does not include the list "
            "of its training patients (private/)."
        )
    elif provenance.training_check == "ids and shared images":
        yield (
            "The model does not know all of its training patients' smears: one of these patients under another id "
            "would not be found."
        )
    if provenance.training_groups in _NO_GROUPS:
        yield (
            f"{_NO_GROUPS[provenance.training_groups]}: another smear of a training patient under another id would not "
            "be found (--group-column)."
        )
    lab = {
        "same": "The smears come from the laboratory of the training; another laboratory's may look different.",
        "other": "The smears come from another laboratory than those of the training.",
        "unknown": "Whether the smears come from the laboratory of the training is unknown (--lab).",
    }
    yield lab[options.lab]
    yield from provenance.training_elsewhere
    overlap = {
        "yes": "The encoder has seen these images in its own training: the numbers may be optimistic.",
        "no": "",
        "unknown": "Whether the encoder has seen these images in its own training is unknown (--encoder-overlap).",
    }
    if overlap[options.encoder_overlap]:
        yield overlap[options.encoder_overlap]


def _patients(evaluated: EvaluatedPatients) -> Iterator[str]:
    counts = evaluated.counts
    if not evaluated.is_labelled:
        yield "The cohort has no labels: there are predictions, and nothing to compare them with."
    elif counts["no label"]:
        yield f"{counted(counts['no label'], 'patient')} without a label: predicted and not evaluated."
    yield from (_extended if evaluated.options.split == "extended" else _rows_of_their_own)(evaluated)
    if counts["not evaluated"]:
        first = evaluated.not_evaluated["reason"].iloc[0]
        yield f"Not evaluated: {counted(counts['not evaluated'], 'patient')} (first: {first})."
    if tied := int((evaluated.delta_probability < 1e-12).sum()):
        yield f"Of {counted(tied, 'patient')} two classes are equally probable: the first in order is taken."


def _rows_of_their_own(evaluated: EvaluatedPatients) -> Iterator[str]:
    counts = evaluated.counts
    if several := counts["several right answers"]:
        yield (
            f"Borderline or double diagnoses with several right answers: {counted(several, 'patient')}, in rows of "
            "their own; they enter no other number than several_right."
        )
    if other := counts["other classes"]:
        yield (
            f"Classes that the model does not know: {counted(other, 'patient')}, in rows of their own; they enter no "
            "number, and every prediction of them is wrong."
        )


def _extended(evaluated: EvaluatedPatients) -> Iterator[str]:
    yield (
        "These are patients that the cohort leaves out, in rows of their own: they enter no number of a class. Right "
        "answers are the classes that a label names."
    )
    has_answer, rules = evaluated.has_several, np.array(evaluated.left_out_by)
    for rule in dict.fromkeys(rules):
        is_of, count = rules == rule, int((rules == rule).sum())
        known = int((is_of & has_answer).sum())
        text = f"Left out as {rule}: {counted(count, 'patient')}"
        if known:
            right = int((is_of & evaluated.is_right).sum())
            share = Metric.of_counts(right, known, "").shown(2)
            text += f"; predicted right of those with a known right answer: {right} of {known}, {share}"
        yield f"{text}."


def _absent_classes(evaluated: EvaluatedPatients) -> Iterator[str]:
    sizes = np.bincount(evaluated.classes[evaluated.has_one_class], minlength=len(evaluated.taxonomy.classes))
    names = evaluated.taxonomy.names
    if absent := [names[c] for c, n in enumerate(sizes) if n == 0]:
        yield f"No patient has {', '.join(absent)}: macro averages are over the other classes."
