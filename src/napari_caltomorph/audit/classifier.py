"""One simple classifier, out of fold: how well traits predict the label, and what a model's predictions add.

Each set of traits is scored next to shuffled labels, or next to a model. Predictions of a model are added to routine
data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.audit.columns import routine_columns, routine_table
from napari_caltomorph.audit.image_traits import ImageTraits
from napari_caltomorph.audit.patients import AuditedPatients, AuditOptions, Predicted, audited_patients
from napari_caltomorph.audit.result import Added, TraitRow
from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.smear.image_traits import BACKGROUND
from napari_caltomorph.statistics.interval import Interval
from napari_caltomorph.statistics.permutation import chance_of, share_as_large, shuffled_within
from napari_caltomorph.statistics.roc import gain


def trait_row(
    name: str, sees: str, values: pd.DataFrame, patients: AuditedPatients, options: AuditOptions, progress: OnProgress
) -> TraitRow | str:
    """Return how well a set of traits predicts the label, or a sentence why that cannot be measured."""
    values = values.reindex(patients.table["patient_id"].astype(str))
    is_in = values.notna().any(axis=1).to_numpy()
    values, patients = values.loc[is_in], patients.of(is_in)
    values = values.loc[:, values.nunique() > 1]  # without what is the same for all patients
    title = sees.rstrip(",")
    if values.empty:
        return f"Nothing differs in {title} between patients, or none could be measured."
    if len(np.unique(patients.classes)) < len(patients.names):
        return f"A class has no patient with {title}: not tested."
    if not any(len(np.unique(patients.classes[patients.folds == fold])) > 1 for fold in np.unique(patients.folds)):
        return f"Every fold has one class only (groups are classes), so {title} cannot be tested."
    model = OutOfFold.of(values.to_numpy(dtype=float), patients.folds)
    rng = np.random.default_rng([options.seed, len(name)])
    truth = patients.score(model.probabilities(patients.classes, len(patients.names)))
    by_chance: dict[str, list[float]] = {metric: [] for metric in truth}
    for number in range(options.shufflings):
        if number % 10 == 0:
            progress(Progress(f"Shuffling labels, {name}", number, options.shufflings, "shufflings"))
        shuffled = replace(patients, classes=shuffled_within(patients.classes, patients.folds, rng))
        once = shuffled.score(model.probabilities(shuffled.classes, len(patients.names)))
        for metric, interval in once.items():
            by_chance[metric].append(interval.value)
    progress(Progress(f"Shuffling labels, {name}", options.shufflings, options.shufflings, "shufflings"))
    p = share_as_large(truth[patients.metric].value, by_chance[patients.metric])
    return TraitRow(
        name=name,
        sees=sees,
        patients=len(patients),
        traits=values.shape[1],
        metric=patients.metric,
        estimates=truth,
        chance={metric: chance_of(found) for metric, found in by_chance.items()},
        p=p,
        p_corrected=p,
    )


@dataclass(frozen=True)
class OutOfFold:
    """Standardised traits of P patients, fold by fold: what does not depend on labels, computed once."""

    parts: tuple[tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]], ...]

    @classmethod
    def of(cls, values: NDArray[np.float64], folds: NDArray[np.intp]) -> OutOfFold:
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        parts = []
        for fold in np.unique(folds):
            own = folds == fold
            # Gaps get the training patients' median.
            scale = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
            parts.append((own, scale.fit_transform(values[~own]), scale.transform(values[own])))
        return cls(tuple(parts))

    def probabilities(self, classes: NDArray[np.intp], count: int) -> NDArray[np.float64]:
        """(P, count) out-of-fold probabilities of classifiers trained on these labels."""
        from sklearn import config_context
        from sklearn.linear_model import LogisticRegression

        probabilities = np.zeros((len(classes), count))
        for own, train, test in self.parts:
            known = np.unique(classes[~own])
            if len(known) == 1:
                probabilities[own, known[0]] = 1.0
                continue
            # C = 0.1 suits some 30 traits of some 60 patients; it was fixed before any cohort was seen.
            model = LogisticRegression(C=0.1, class_weight="balanced", tol=1e-3, max_iter=5000)
            with config_context(skip_parameter_validation=True, assume_finite=True):
                probabilities[np.ix_(own, known)] = model.fit(train, classes[~own]).predict_proba(test)
        return probabilities


def traits_alone(cohort: Cohort, table: pd.DataFrame, traits: ImageTraits) -> dict[str, Interval]:
    """Return the out-of-fold AUROC of a simple classifier of patients, from the background and from colours alone."""
    patients = audited_patients(cohort, AuditOptions(), among=table)
    if len(patients.names) < 2:
        return {}
    found = {}
    for name, values in (("background", traits.borders.filter(BACKGROUND)), ("colours", traits.colours)):
        values = values.reindex(patients.table["patient_id"].astype(str))
        is_in = values.notna().any(axis=1).to_numpy()
        some = patients.of(is_in)
        if len(np.unique(some.classes)) == len(some.names):
            model = OutOfFold.of(values.loc[is_in].to_numpy(dtype=float), some.folds)
            scores = some.score(model.probabilities(some.classes, len(some.names)))
            found[name] = scores[some.metric]
    return found


def added_by_images(cohort: Cohort, predicted: Predicted, options: AuditOptions) -> tuple[Added | None, str]:
    """Return what predictions add to routine data, and a sentence where that cannot be measured."""
    patients = audited_patients(cohort, options, among=predicted.table)
    if len(patients.names) < 2 or not len(patients):
        return None, "Too few patients were predicted to measure what the images add."
    probabilities = predicted.among(patients)
    model = patients.score(probabilities)
    columns = routine_columns(patients.table, options.routine)
    if not columns:
        return Added(len(patients), patients.metric, model), ""
    routine = routine_table(patients.table, columns).to_numpy(dtype=float)
    logs = np.log(np.maximum(probabilities, 1e-6))
    together = np.hstack([logs - logs.mean(axis=1, keepdims=True), routine])
    count = len(patients.names)
    alone, both = (
        OutOfFold.of(values, patients.folds).probabilities(patients.classes, count) for values in (routine, together)
    )
    return Added(
        patients=len(patients),
        metric=patients.metric,
        model=model,
        routine=patients.score(alone),
        both=patients.score(both),
        gain=gain(patients.classes, alone, both),
    ), ""
