"""Can the label be told without the cells? Shortcuts are looked for in stain, background, number, size and site.

Each set of traits gets the same simple classifier, judged out of fold and against shuffled labels. A set that tells the
label is no proof that a model uses it; but then a model that does would look as good as one that reads cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, Field, NonNegativeInt, PositiveInt
from scipy.stats import chi2_contingency, fisher_exact

from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.cohort.splits import deal_out
from napari_caltomorph.evaluate.audit_columns import origin_columns, origins, routine_columns, routine_table
from napari_caltomorph.evaluate.audit_result import Added, Audit, Chance, ColumnRow, ColumnValue, TraitRow
from napari_caltomorph.evaluate.image_traits import ImageTraits, OpenSmear, image_traits
from napari_caltomorph.evaluate.metrics import Interval, classification_metrics
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.taxonomy import Taxonomy

# A class with fewer cannot be in every fold's training patients and be judged too.
MIN_CLASS = 5
# Values of a column with fewer patients are shown, but not tested.
_MIN_VALUE = 5
_SHUFFLINGS_OF_COLUMNS = 2000
_RESAMPLES_OF_GAIN = 400

_SEES = {
    "borders": "the borders of the images, without what is stained like a cell,",
    "colours": "colour statistics of whole images",
    "sizes": "number of usable cells and size of their images",
}


class AuditOptions(BaseModel, frozen=True, extra="forbid"):
    """How shortcuts are looked for."""

    cells: PositiveInt = Field(60, description="Images looked at of each patient, drawn at random.")
    shufflings: int = Field(300, ge=20, description="How often labels are shuffled; p is at least 1 / (this + 1).")
    folds: int = Field(5, ge=2, description="Folds to deal out where the cohort has none.")
    columns: tuple[str, ...] = Field(
        (), description="Columns such as site, scanner or year; by default those whose names look like it."
    )
    routine: tuple[str, ...] = Field(
        (), description="Columns of routine data; by default age, sex, hemoglobin and what looks like a blood count."
    )
    seed: NonNegativeInt = Field(0, description="The same seed gives the same audit.")


def audit(
    cohort: Cohort,
    options: AuditOptions | None = None,
    *,
    predictions: pd.DataFrame | None = None,
    open_smear: OpenSmear | None = None,
    progress: OnProgress = ignore,
) -> Audit:
    """Find out how well labels are told by what is not the cell.

    Parameters
    ----------
    cohort : Cohort
        Its training patients are audited in their own folds; all patients, dealt out anew, where there are no folds.
    options : AuditOptions
    predictions : pandas.DataFrame, optional
        patient_id and ``p_<slug>`` of a model that has not seen these patients: out-of-fold ones, or those of another
        cohort's model. They tell by which columns accuracy differs, and what the images add to routine data.
    open_smear : callable, optional
        Gives a patient's smear by id, in place of what lies at the table's paths.
    progress : callable
        Called with a `Progress` for each patient and each few shufflings; raising `Cancelled` in it stops cleanly.

    Returns
    -------
    Audit
        Also of a cohort in which there is nothing to audit, such as one with a single class; its findings say so.

    Notes
    -----
    Labels are shuffled within the folds. The folds were dealt out by label, so only that leaves their make-up alone;
    shuffled over all patients, a stratified cross-validation would be compared with ones that are not (and pooled
    out-of-fold AUROC lies below 0.5 without any effect). The interval is over patients and p is over labels; with few
    patients one may exclude 0.5 where the other is not small.
    """
    options = options or AuditOptions()
    patients = _patients(cohort, options)
    if len(patients.names) < 2 or not len(patients):
        note = f"fewer than two classes have {MIN_CLASS} patients or more that can be dealt into folds."
        return Audit(cohort.name, patients.counts, patients.how, notes=(*patients.notes, note))
    traits = image_traits(
        patients.table, cells=options.cells, seed=options.seed, open_smear=open_smear, progress=progress
    )
    return audit_of_traits(cohort, traits, options, predictions=predictions, progress=progress)


def audit_of_traits(
    cohort: Cohort,
    traits: ImageTraits,
    options: AuditOptions | None = None,
    *,
    predictions: pd.DataFrame | None = None,
    progress: OnProgress = ignore,
) -> Audit:
    """Audit a cohort whose images were measured already; `audit` tells the rest."""
    options = options or AuditOptions()
    patients = _patients(cohort, options)
    predicted = None if predictions is None else _Predicted.of(cohort, predictions)
    notes = list(patients.notes)
    if traits.unreadable:
        patient, why = next(iter(traits.unreadable.items()))
        notes.append(f"Of {len(traits.unreadable)} patients no image could be measured (first: {patient}, {why}).")
    routine = routine_columns(patients.table, options.routine)
    sets = {"borders": traits.borders, "colours": traits.colours, "sizes": traits.sizes}
    sees = dict(_SEES)
    if routine:
        sets["routine"] = routine_table(patients.table, routine)
        sees["routine"] = f"routine data ({', '.join(routine)})"
        notes.append(f"Routine data are {', '.join(routine)}.")
    else:
        notes.append("The table has no age, sex or blood counts.")
    rows = []
    for name, values in sets.items():
        judged = _judge(name, sees[name], values, patients, options, progress)
        if isinstance(judged, str):
            notes.append(judged)
        else:
            rows.append(judged)
    columns, said = _columns(
        cohort.table if predicted is None else predicted.table, cohort.taxonomy, predicted, options
    )
    added = None
    if predicted is not None:
        added, why = _added(cohort, predicted, options, progress)
        notes += [why] if why else []
    return Audit(
        cohort=cohort.name,
        classes=patients.counts,
        folds=patients.how,
        rows=tuple(replace(row, p_corrected=p) for row, p in zip(rows, _holm([row.p for row in rows]), strict=True)),
        columns=tuple(columns),
        added=added,
        notes=(*notes, *said),
    )


@dataclass(frozen=True)
class _Patients:
    """Who is audited: P patients with one class each, and in which fold."""

    table: pd.DataFrame
    classes: NDArray[np.intp]  # (P,) indices into names
    folds: NDArray[np.intp]  # (P,)
    names: tuple[str, ...]
    slugs: tuple[str, ...]
    malignant: NDArray[np.bool_]
    how: str
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def metric(self) -> str:
        return "auroc" if len(self.names) == 2 else "macro_auroc"

    @property
    def counts(self) -> dict[str, int]:
        return {name: int((self.classes == c).sum()) for c, name in enumerate(self.names)}

    def of(self, is_in: NDArray[np.bool_]) -> _Patients:
        return replace(self, table=self.table.loc[is_in], classes=self.classes[is_in], folds=self.folds[is_in])

    def score(self, said: NDArray[np.float64], resamples: int, seed: int) -> dict[str, Interval]:
        """Return the metric and balanced accuracy of (P, C) probabilities."""
        found = classification_metrics(self.classes, said, self.malignant, seed=seed, resamples=resamples)
        return {name: found[name] for name in (self.metric, "balanced_accuracy") if name in found}


def _patients(cohort: Cohort, options: AuditOptions, *, among: pd.DataFrame | None = None) -> _Patients:
    """Choose who is audited: of these patients, or of those with folds, who have one class that others have too."""
    table, notes = cohort.table if among is None else among, []
    own = table["fold"].notna()
    is_own = (among is None or bool(own.all())) and table["fold"].nunique() >= 2
    if among is None and is_own:
        if left := int((~own).sum()):
            notes.append(f"{left} patients without a fold, such as those held out, are not audited.")
        table = table.loc[own]
    is_one = table["coarse"].notna()
    if unclear := int((~is_one).sum()):
        notes.append(f"{unclear} patients without a single class are left out.")
    sizes = table["coarse"].value_counts()
    kept = [one for one in cohort.taxonomy.classes if sizes.get(one.slug, 0) >= MIN_CLASS]
    few = [
        f"{one.name} ({sizes[one.slug]})" for one in cohort.taxonomy.classes if 0 < sizes.get(one.slug, 0) < MIN_CLASS
    ]
    if few:
        notes.append(f"Classes with fewer than {MIN_CLASS} patients are left out: {', '.join(few)}.")
    slugs = tuple(one.slug for one in kept)
    table = table.loc[is_one & table["coarse"].isin(slugs)].reset_index(drop=True)
    folds = table["fold"].to_numpy(dtype=np.intp) if is_own and len(table) else _deal(table, options)
    how = "the cohort's own folds" if is_own else "folds dealt out for the audit"
    is_dealt = folds >= 0
    return _Patients(
        table=table.loc[is_dealt].reset_index(drop=True),
        classes=np.array([slugs.index(slug) for slug in table["coarse"][is_dealt]], dtype=np.intp),
        folds=folds[is_dealt],
        names=tuple(one.name for one in kept),
        slugs=slugs,
        malignant=np.array([one.malignant for one in kept], dtype=bool),
        how=how,
        notes=tuple(notes),
    )


def _deal(table: pd.DataFrame, options: AuditOptions) -> NDArray[np.intp]:
    """Return the fold of each patient; -1 for all where there are no two independent ones."""
    folds = np.full(len(table), -1, dtype=np.intp)
    for count in range(options.folds, 1, -1):
        for fold, rows in enumerate(deal_out(table, count, options.seed)):
            folds[rows] = fold
        if (folds >= 0).any():
            break
    return folds


def _judge(
    name: str, sees: str, values: pd.DataFrame, patients: _Patients, options: AuditOptions, progress: OnProgress
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
    model = _Folded.of(values.to_numpy(dtype=float), judged.folds)
    rng = np.random.default_rng([options.seed, len(name)])
    truth = judged.score(model.said(judged.classes, len(judged.names)), 1000, options.seed)
    by_chance: dict[str, list[float]] = {metric: [] for metric in truth}
    for number in range(options.shufflings):
        if number % 10 == 0:
            progress(Progress(f"Shuffling labels, {name}", number, options.shufflings, "shufflings"))
        shuffled = replace(judged, classes=_shuffled(judged.classes, judged.folds, rng))
        once = shuffled.score(model.said(shuffled.classes, len(judged.names)), 0, 0)
        for metric, interval in once.items():
            by_chance[metric].append(interval.value)
    progress(Progress(f"Shuffling labels, {name}", options.shufflings, options.shufflings, "shufflings"))
    p = _share_as_large(truth[judged.metric].value, by_chance[judged.metric])
    return TraitRow(
        name=name,
        sees=sees,
        patients=len(judged),
        traits=values.shape[1],
        metric=judged.metric,
        estimates=truth,
        chance={metric: _chance(found) for metric, found in by_chance.items()},
        p=p,
        p_corrected=p,
    )


@dataclass(frozen=True)
class _Folded:
    """Standardised traits of P patients, fold by fold: what does not depend on labels, and is done once."""

    parts: tuple[tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]], ...]

    @classmethod
    def of(cls, values: NDArray[np.float64], folds: NDArray[np.intp]) -> _Folded:
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


@dataclass(frozen=True)
class _Predicted:
    """Patients of a cohort who were predicted: their rows, and (P, S) probabilities of S slugs."""

    table: pd.DataFrame
    slugs: tuple[str, ...]
    said: NDArray[np.float64]

    @classmethod
    def of(cls, cohort: Cohort, predictions: pd.DataFrame) -> _Predicted:
        columns = [str(column) for column in predictions.columns if str(column).startswith("p_")]
        table = cohort.table.loc[cohort.table["coarse"].notna()]
        by_id = predictions.set_index(predictions["patient_id"].astype(str))[columns].astype(float)
        if by_id.index.has_duplicates:
            raise ValueError(f"two predictions of one patient: {by_id.index[by_id.index.duplicated()][0]}")
        by_id = by_id.reindex(table["patient_id"].astype(str))
        is_known = by_id.notna().all(axis=1).to_numpy() if columns else np.zeros(len(table), dtype=bool)
        slugs = tuple(column.removeprefix("p_") for column in columns)
        return cls(table.loc[is_known].reset_index(drop=True), slugs, by_id.to_numpy()[is_known])

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """(P,) whether the most probable class is the patient's."""
        if not len(self.table):
            return np.zeros(0, dtype=bool)
        said = np.array(self.slugs)[self.said.argmax(axis=1)]
        return np.asarray(said == self.table["coarse"].to_numpy(dtype=str), dtype=bool)

    def among(self, patients: _Patients) -> NDArray[np.float64]:
        """(P, C) probabilities of some of these patients among their classes alone."""
        rows = pd.Index(self.table["patient_id"]).get_indexer(pd.Index(patients.table["patient_id"]))
        said = np.zeros((len(patients), len(patients.slugs)))
        for c, slug in enumerate(patients.slugs):
            if slug in self.slugs:
                said[:, c] = self.said[rows, self.slugs.index(slug)]
        total = said.sum(axis=1, keepdims=True)
        return np.where(total > 0, said / np.where(total > 0, total, 1), 1 / said.shape[1])


def _added(
    cohort: Cohort, predicted: _Predicted, options: AuditOptions, progress: OnProgress
) -> tuple[Added | None, str]:
    """Return what predictions add to routine data, and a sentence where that cannot be said."""
    patients = _patients(cohort, options, among=predicted.table)
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
    alone, both = (_Folded.of(values, patients.folds).said(patients.classes, count) for values in (routine, together))
    return Added(
        patients=len(patients),
        metric=patients.metric,
        model=model,
        routine=patients.score(alone, 1000, options.seed),
        both=patients.score(both, 1000, options.seed),
        gain=_gain(patients, alone, both, options.seed, progress),
    ), ""


def _gain(
    patients: _Patients,
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
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, float(min(low, value)), float(max(high, value)))


def _columns(
    table: pd.DataFrame, taxonomy: Taxonomy, predicted: _Predicted | None, options: AuditOptions
) -> tuple[list[ColumnRow], list[str]]:
    """Compare patients by where they come from; also return which columns were taken, in words."""
    table = table.loc[table["coarse"].notna()].reset_index(drop=True)
    names = dict(zip(taxonomy.slugs, taxonomy.names, strict=True))
    classes = table["coarse"].map(names).to_numpy(dtype=str)
    is_right = None if predicted is None else predicted.is_right
    rows = []
    notes = [f"The table has no column {name!r}." for name in (*options.columns, *options.routine) if name not in table]
    for column in origin_columns(table, options.columns):
        values = origins(table[column]).to_numpy(dtype=str)
        rows.append(_column(column, values, classes, is_right, options))
    tested = [row.p_accuracy_within_classes for row in rows if row.p_accuracy_within_classes is not None]
    corrected = iter(_holm(tested))
    rows = [
        row if row.p_accuracy_within_classes is None else replace(row, p_accuracy_corrected=next(corrected))
        for row in rows
    ]
    if not rows:
        notes.append("No column looks like a site, a scanner or a year; name one if there is.")
    elif not options.columns:
        notes.append(f"Compared by {', '.join(row.column for row in rows)}: found by their names.")
    return rows, notes


def _column(
    column: str,
    values: NDArray[np.str_],
    classes: NDArray[np.str_],
    is_right: NDArray[np.bool_] | None,
    options: AuditOptions,
) -> ColumnRow:
    found = []
    for value in np.unique(values):
        here = values == value
        kinds, counts = np.unique(classes[here], return_counts=True)
        accuracy = None if is_right is None else _proportion(is_right[here])
        found.append(
            ColumnValue(str(value), int(here.sum()), dict(zip(kinds.tolist(), counts.tolist(), strict=True)), accuracy)
        )
    row = ColumnRow(column, not options.columns, tuple(found))
    large = [one.value for one in found if one.patients >= _MIN_VALUE]
    if len(large) < 2:
        return replace(row, note=f"Not tested: fewer than two values have {_MIN_VALUE} patients.")
    is_in = np.isin(values, large)
    rng = np.random.default_rng(options.seed)
    p_classes, how = _independence(values[is_in], classes[is_in], rng)
    note = f"Classes by {how}"
    if len(large) < len(found):
        note += f"; values with fewer than {_MIN_VALUE} patients are not tested"
    row = replace(row, p_classes=p_classes, note=f"{note}.")
    if is_right is None:
        return row
    p_accuracy, how = _independence(values[is_in], is_right[is_in], rng)
    return replace(
        row,
        p_accuracy=p_accuracy,
        p_accuracy_within_classes=_within(values[is_in], is_right[is_in], classes[is_in], rng),
        note=f"{note}; accuracy by {how}, within classes by shuffling.",
    )


def _independence(
    rows: NDArray[np.generic], columns: NDArray[np.generic], rng: np.random.Generator
) -> tuple[float | None, str]:
    """Return the p of a test of independence, and which it was; None where one of the two does not vary."""
    row_of, column_of = (np.unique(values, return_inverse=True)[1] for values in (rows, columns))
    height, width = int(row_of.max()) + 1, int(column_of.max()) + 1
    if height < 2 or width < 2:
        return None, "no test, as they do not vary"

    def crossed(those: NDArray[np.intp]) -> NDArray[np.int64]:
        return np.bincount(row_of * width + those, minlength=height * width).reshape(height, width)

    table = crossed(column_of)
    if table.shape == (2, 2):
        return float(fisher_exact(table)[1]), "Fisher's exact test"
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    if expected.min() >= 5:
        return float(chi2_contingency(table)[1]), "chi-square test"

    def distance(those: NDArray[np.intp]) -> float:
        return float(((crossed(those) - expected) ** 2 / expected).sum())

    return _shuffled_p(distance, column_of, lambda: rng.permutation(column_of)), "shuffling, as counts are small"


def _within(
    values: NDArray[np.str_], is_right: NDArray[np.bool_], classes: NDArray[np.str_], rng: np.random.Generator
) -> float | None:
    """Return the p that patients of one class are right as often whatever their value."""
    value_of, class_of = (np.unique(those, return_inverse=True)[1] for those in (values, classes))
    share = np.bincount(class_of, weights=is_right) / np.bincount(class_of)
    sizes = np.bincount(value_of)
    expected = np.bincount(value_of, weights=share[class_of])

    def distance(those: NDArray[np.intp]) -> float:
        return float(((np.bincount(value_of, weights=those) - expected) ** 2 / sizes).sum())

    right = is_right.astype(np.intp)
    if right.min() == right.max():
        return None
    return _shuffled_p(distance, right, lambda: _shuffled(right, class_of, rng))


def _shuffled_p(
    distance: Callable[[NDArray[np.intp]], float], truth: NDArray[np.intp], draw: Callable[[], NDArray[np.intp]]
) -> float:
    return _share_as_large(distance(truth), [distance(draw()) for _ in range(_SHUFFLINGS_OF_COLUMNS)])


def _share_as_large(value: float, by_chance: Sequence[float]) -> float:
    """Return p: the truth counts as one of the shufflings (Phipson and Smyth 2010)."""
    return float((1 + (np.array(by_chance) >= value - 1e-12).sum()) / (1 + len(by_chance)))


def _shuffled(labels: NDArray[np.intp], strata: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    shuffled = labels.copy()
    for stratum in np.unique(strata):
        here = strata == stratum
        shuffled[here] = rng.permutation(labels[here])
    return shuffled


def _chance(values: Sequence[float]) -> Chance:
    low, median, high = (float(value) for value in np.quantile(values, [0.025, 0.5, 0.975]))
    return Chance(low, median, high, len(values))


def _proportion(is_right: NDArray[np.bool_]) -> Interval:
    """Return a share with Wilson's interval."""
    classes = np.where(is_right, 0, 1)
    said = np.tile([1.0, 0.0], (len(classes), 1))
    return classification_metrics(classes, said, np.array([False, False]), resamples=0)["accuracy"]


def _holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number (Holm 1979)."""
    corrected = [0.0] * len(values)
    worst = 0.0
    for rank, index in enumerate(np.argsort(values, kind="stable")):
        worst = max(worst, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = worst
    return corrected
