"""How well a set of traits tells the label: one simple classifier, out of fold, beside shuffled labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.audit.options import AuditOptions
from napari_caltomorph.audit.patients import AuditedPatients
from napari_caltomorph.audit.result import TraitRow
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.statistics.permutation import chance_of, share_as_large, shuffled_within


def judge_traits(
    name: str, sees: str, values: pd.DataFrame, patients: AuditedPatients, options: AuditOptions, progress: OnProgress
) -> TraitRow | str:
    """Return how well a set of traits tells the label, or a sentence why that cannot be said."""
    values = values.reindex(patients.table["patient_id"].astype(str))
    is_in = values.notna().any(axis=1).to_numpy()
    values, judged = values.loc[is_in], patients.of(is_in)
    values = values.loc[:, values.nunique() > 1]  # what is the same of everybody tells nothing
    title = sees.rstrip(",")
    if values.empty:
        return f"Nothing differs in {title} between patients, or none could be measured."
    if len(np.unique(judged.classes)) < len(patients.names):
        return f"A class has no patient with {title}: not judged."
    if not any(len(np.unique(judged.classes[judged.folds == fold])) > 1 for fold in np.unique(judged.folds)):
        return f"Every fold holds one class only (groups are classes), so {title} cannot be judged."
    model = OutOfFold.of(values.to_numpy(dtype=float), judged.folds)
    rng = np.random.default_rng([options.seed, len(name)])
    truth = judged.score(model.said(judged.classes, len(judged.names)), 1000, options.seed)
    by_chance: dict[str, list[float]] = {metric: [] for metric in truth}
    for number in range(options.shufflings):
        if number % 10 == 0:
            progress(Progress(f"Shuffling labels, {name}", number, options.shufflings, "shufflings"))
        shuffled = replace(judged, classes=shuffled_within(judged.classes, judged.folds, rng))
        once = shuffled.score(model.said(shuffled.classes, len(judged.names)), 0, 0)
        for metric, interval in once.items():
            by_chance[metric].append(interval.value)
    progress(Progress(f"Shuffling labels, {name}", options.shufflings, options.shufflings, "shufflings"))
    p = share_as_large(truth[judged.metric].value, by_chance[judged.metric])
    return TraitRow(
        name=name,
        sees=sees,
        patients=len(judged),
        traits=values.shape[1],
        metric=judged.metric,
        estimates=truth,
        chance={metric: chance_of(found) for metric, found in by_chance.items()},
        p=p,
        p_corrected=p,
    )


@dataclass(frozen=True)
class OutOfFold:
    """Standardised traits of P patients, fold by fold: what does not depend on labels, and is done once."""

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

    def said(self, classes: NDArray[np.intp], count: int) -> NDArray[np.float64]:
        """(P, count) out-of-fold probabilities, learnt from these labels."""
        from sklearn import config_context
        from sklearn.linear_model import LogisticRegression

        said = np.zeros((len(classes), count))
        for own, learn, judge in self.parts:
            known = np.unique(classes[~own])
            if len(known) == 1:
                said[own, known[0]] = 1.0
                continue
            # C = 0.1 holds some 30 traits of some 60 patients together; it was fixed before any cohort was looked at.
            model = LogisticRegression(C=0.1, class_weight="balanced", tol=1e-3, max_iter=5000)
            with config_context(skip_parameter_validation=True, assume_finite=True):
                said[np.ix_(own, known)] = model.fit(learn, classes[~own]).predict_proba(judge)
        return said
