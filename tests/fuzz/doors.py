"""Every way in which a file from elsewhere gets into the program, and what is done with it first.

A door opens a path, and uses what it got as a person would: a file that is read must also be usable.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_caltomorph.cli.options import options_in, read_config
from napari_caltomorph.cohort import Cohort, CohortOptions, find_patients, read_cohort
from napari_caltomorph.cohort.feature_folder import Journal
from napari_caltomorph.diagnosis import Ensemble, Prediction, add_model
from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.differential import Probe, read_labels
from napari_caltomorph.encoding import Features
from napari_caltomorph.encoding.checkpoints import read_checkpoint
from napari_caltomorph.errors import CaltomorphError, CellUnreadable
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.evaluation.truth import ClassesMap
from napari_caltomorph.jobs import import_label_folder
from napari_caltomorph.smear import check_smear, read_smear
from napari_caltomorph.smear.smear import Reason
from napari_caltomorph.taxonomy import caltomorph_taxonomy, load_label_map

NOTE_LENGTH = 400
"""Most characters of what is said about one cell, patient or column of a file that is read all the same."""

_COHORT = CohortOptions(min_cells=1, names_only=True, min_patients=1, folds=2)


def _smear(path: Path) -> None:
    checked = check_smear(read_smear(path))
    for index, grade in enumerate(checked.grades or ()):
        assert len(grade.note) <= NOTE_LENGTH, grade.note
        assert "\n" not in grade.note, grade.note
        try:
            checked.on_canvas(index)
        except CellUnreadable:
            assert grade.reason is Reason.UNREADABLE, "the check took a cell that cannot be decoded"
    assert len(checked.usable) + len(checked.left_out) == len(checked)


def _patients(path: Path) -> None:
    for patient in find_patients(path).values():
        with suppress(CaltomorphError):
            read_smear(patient.path)


def _cohort(path: Path, options: CohortOptions = _COHORT) -> None:
    cohort = read_cohort(path, options)
    for note in cohort.notes:
        assert len(note) <= 10 * NOTE_LENGTH, note
    _use_cohort(cohort)


def _checked_cohort(path: Path) -> None:
    _cohort(path, _COHORT.model_copy(update={"names_only": False}))


def _saved_cohort(path: Path) -> None:
    _use_cohort(Cohort.load(path))


def _use_cohort(cohort: Cohort) -> None:
    cohort.counts()
    cohort.left_out_counts()


def _features(path: Path) -> None:
    features = Features.load(path)
    features.of_cells(features.cells[:1])


def _ensemble(folder: Path) -> None:
    ensemble = Ensemble.load(folder)
    model_card(ensemble.description)
    with suppress(CaltomorphError):
        ensemble.training_patients()
    width = ensemble.description.encoder.width
    cells = np.random.default_rng(0).normal(size=(3, width)).astype(np.float32)
    with suppress(CaltomorphError):  # of weights so large that no output is finite
        _use_prediction(ensemble.predict(Features("patient", cells, ("a", "b", "c"))))


def _add_model(folder: Path) -> None:
    shutil.rmtree(add_model(folder))


def _training_patients(folder: Path) -> None:
    Ensemble.load(folder).training_patients()


def _prediction(path: Path) -> None:
    prediction = Prediction.load(path)
    _use_prediction(prediction)
    if prediction.original is not None:
        _use_prediction(prediction.original)


def _use_prediction(prediction: Prediction) -> None:
    assert np.isfinite(prediction.probabilities).all()
    prediction.top(2)
    _ = prediction.malignancy, prediction.delta_probability, prediction.hemoglobin_range, prediction.order
    _ = prediction.calibration_in_words, prediction.prediction_set_in_words, prediction.original_in_words
    _ = prediction.alone_class, prediction.shown_member_probabilities, prediction.ranks
    if prediction.domain is not None:
        _ = prediction.domain.in_words, prediction.domain.unusual_cells


def _evaluation(path: Path) -> None:
    evaluation = Evaluation.load(path)
    quick = replace(evaluation, options=evaluation.options.model_copy(update={"resamples": 2, "bins": 5}))
    quick.table()
    _ = quick.headline, quick.by_class, quick.confusion, quick.detailed_confusion, quick.covariate_associations
    _ = quick.hemoglobin, quick.malignancy_reliability, quick.statements


def _probe(path: Path) -> None:
    probe = Probe.load(path)
    _ = probe.description.recalls, probe.description.accuracy, probe.description.warnings
    cells = np.random.default_rng(0).normal(size=(3, probe.description.width)).astype(np.float32)
    probe.differential(Features("patient", cells, ("a", "b", "c"))).table()


def _labels(path: Path) -> None:
    _ = read_labels(path).counts


def _label_table(path: Path) -> None:
    _ = import_label_folder(path.parent, table=path).labels.counts


def _type_map(path: Path) -> None:
    _ = import_label_folder(path.parent, types=path).labels.counts


def _label_map(path: Path) -> None:
    label_map = load_label_map(str(path))
    assert label_map is not None
    label_map.match("AML")


def _classes_map(path: Path) -> None:
    ClassesMap.load(path, caltomorph_taxonomy(), caltomorph_taxonomy())


DOORS: dict[str, Callable[[Path], object]] = {
    "smear": _smear,
    "patients": _patients,
    "cohort": _cohort,
    "checked cohort": _checked_cohort,
    "saved cohort": _saved_cohort,
    "features": _features,
    "ensemble": _ensemble,
    "training patients": _training_patients,
    "added model": _add_model,
    "journal": lambda path: Journal(path.parent),
    "prediction": _prediction,
    "evaluation": _evaluation,
    "probe": _probe,
    "labels": _labels,
    "label table": _label_table,
    "type map": _type_map,
    "label map": _label_map,
    "classes map": _classes_map,
    "options": lambda path: options_in(read_config(path), ("train",), frozenset({"train"})),
    "weights": read_checkpoint,
}
