"""What a model's predictions add to routine data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.audit.columns import routine_columns, routine_table
from napari_caltomorph.audit.options import AuditOptions
from napari_caltomorph.audit.patients import AuditedPatients, Predicted, audited_patients
from napari_caltomorph.audit.result import Added
from napari_caltomorph.audit.traits import OutOfFold
from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.statistics.interval import TAILS, Interval

_RESAMPLES_OF_GAIN = 400


def added_by_images(
    cohort: Cohort, predicted: Predicted, options: AuditOptions, progress: OnProgress
) -> tuple[Added | None, str]:
    """Return what predictions add to routine data, and a sentence where that cannot be said."""
    patients = audited_patients(cohort, options, among=predicted.table)
    if len(patients.names) < 2 or not len(patients):
        return None, "Too few patients were predicted to say what the images add."
    said = predicted.among(patients)
    model = patients.score(said, 1000, options.seed)
    columns = routine_columns(patients.table, options.routine)
    if not columns:
        return Added(len(patients), patients.metric, model), ""
    routine = routine_table(patients.table, columns).to_numpy(dtype=float)
    logs = np.log(np.maximum(said, 1e-6))
    together = np.hstack([logs - logs.mean(axis=1, keepdims=True), routine])
    count = len(patients.names)
    alone, both = (OutOfFold.of(values, patients.folds).said(patients.classes, count) for values in (routine, together))
    return Added(
        patients=len(patients),
        metric=patients.metric,
        model=model,
        routine=patients.score(alone, 1000, options.seed),
        both=patients.score(both, 1000, options.seed),
        gain=_gain(patients, alone, both, options.seed, progress),
    ), ""


def _gain(
    patients: AuditedPatients,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    seed: int,
    progress: OnProgress,
) -> Interval:
    """Return how much a metric gains, and percentile bounds over patients, resampled in pairs within classes."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(patients.classes == c) for c in range(len(patients.names))]

    def gained(rows: NDArray[np.intp]) -> float:
        drawn = replace(patients, classes=patients.classes[rows])
        first, second = (drawn.score(said[rows], 0, 0)[patients.metric].value for said in (before, after))
        return second - first

    value, drawn = gained(np.arange(len(patients))), []
    for number in range(_RESAMPLES_OF_GAIN):
        if number % 20 == 0:
            progress(Progress("Resampling patients", number, _RESAMPLES_OF_GAIN, "samples"))
        drawn.append(gained(np.concatenate([rng.choice(rows, len(rows)) for rows in groups])))
    progress(Progress("Resampling patients", _RESAMPLES_OF_GAIN, _RESAMPLES_OF_GAIN, "samples"))
    low, high = np.quantile(drawn, TAILS)
    return Interval(value, float(min(low, value)), float(max(high, value)))
