"""Labelled cells -> a probe, with its errors on held-out patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from napari_caltomorph.about import library_version
from napari_caltomorph.differential.cell_types import OTHER, in_reading_order
from napari_caltomorph.differential.corrected_count import correlation_within_patients
from napari_caltomorph.differential.labels import CellLabels
from napari_caltomorph.differential.other import TypeClouds, distance_limit
from napari_caltomorph.differential.probe import OtherRule, Probe, ProbeDescription, ProbeOptions
from napari_caltomorph.encoding import Features
from napari_caltomorph.errors import FeaturesRefused, TrainingRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore

STAGE = "Training the probe"


def train_probe(
    features: Sequence[Features],
    labels: CellLabels,
    options: ProbeOptions | None = None,
    *,
    held_out: Sequence[Features] = (),
    progress: OnProgress = ignore,
) -> Probe:
    """Train a probe on the labelled cells of some smears, and count its errors on others.

    Parameters
    ----------
    features : sequence of Features
        One per smear, all of one encoder; cells without a label are ignored.
    labels : CellLabels
        Labels of other smears are ignored.
    options : ProbeOptions, optional
    held_out : sequence of Features, optional
        Labelled smears on which errors are counted, and not trained on; without them, the probe is cross-validated.
    progress : callable

    Raises
    ------
    TrainingRefused
        No cell is labelled, all are of one type, or only one type has enough of them.
    FeaturesRefused
        The smears were encoded with different encoders.

    Notes
    -----
    Multinomial logistic regression with an L2 penalty on standardised features, as encoders are probed (DinoBloom,
    Koch et al. 2024). Cross-validation holds out whole patients, since cells of one patient share their stain; with one
    patient, and for types that one patient only has, it holds out cells.
    """
    options = options or ProbeOptions()
    _refuse_mixed([*features, *held_out])
    cells = _gather(features, held_out, labels, options)
    folds = _folds(cells, options)
    calls = []
    for number, (training, judged) in enumerate(folds):
        progress(Progress(STAGE, number, len(folds) + 1, "fits"))
        calls.append(_Calls.of(*_fit(cells, training, options), cells, judged))
    progress(Progress(STAGE, len(folds), len(folds) + 1, "fits"))
    weights, bias, clouds = _fit(cells, np.flatnonzero(cells.is_training), options)
    progress(Progress(STAGE, len(folds) + 1, len(folds) + 1, "fits"))
    description = _describe(features, cells, _Calls.joined(calls), options)
    return Probe(description, weights, bias, clouds if description.other else None)


@dataclass(frozen=True)
class _Cells:
    """N labelled cells: features (N, D), type (N,) as a place in `types`, patient (N,)."""

    values: NDArray[np.float64]
    type: NDArray[np.intp]
    patient: NDArray[np.intp]
    is_training: NDArray[np.bool_]  # (N,); the others are only judged
    types: tuple[str, ...]
    left_out: dict[str, int]

    @property
    def by_cell(self) -> NDArray[np.bool_]:
        """(K,) whether only one patient has the type, so that its cells are held out one by one."""
        if not self.is_training.all():
            return np.zeros(len(self.types), dtype=bool)
        return np.array([len(np.unique(self.patient[self.type == one])) < 2 for one in range(len(self.types))])


@dataclass(frozen=True)
class _Calls:
    """What M held-out cells are called, each (M,): with all types, and where the cell's own type is left out."""

    rows: NDArray[np.intp]  # Of the `_Cells`
    called: NDArray[np.intp]
    distance: NDArray[np.float64]  # To the nearest type
    called_without: NDArray[np.intp]
    distance_without: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        weights: NDArray[np.float64],
        bias: NDArray[np.float64],
        clouds: TypeClouds,
        cells: _Cells,
        rows: NDArray[np.intp],
    ) -> _Calls:
        values, own = cells.values[rows], (np.arange(len(rows)), cells.type[rows])
        scores, distances = values @ weights.T + bias, clouds.distances(values)
        with_own = scores.argmax(axis=1), distances.min(axis=1)
        scores[own], distances[own] = -np.inf, np.inf
        return cls(rows, *with_own, scores.argmax(axis=1), distances.min(axis=1))

    @classmethod
    def joined(cls, parts: Sequence[_Calls]) -> _Calls:
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def _gather(
    features: Sequence[Features], held_out: Sequence[Features], labels: CellLabels, options: ProbeOptions
) -> _Cells:
    values, names, patients = [], [], []
    for number, one in enumerate([*features, *held_out]):
        known = labels.of(one)
        rows = [row for row, cell in enumerate(one.cells) if cell in known]
        values.append(one.values[rows])
        names += [known[one.cells[row]] for row in rows]
        patients += [number] * len(rows)
    patient = np.array(patients, dtype=np.intp)
    is_training = patient < len(features)
    counts = Counter(name for name, is_learnt in zip(names, is_training, strict=True) if is_learnt)
    if not counts:
        raise TrainingRefused("No cell of these smears is labelled; label some cells of at least two types.")
    # Cells labelled `OTHER` are of many types, and what is unlike all types needs no example.
    types = in_reading_order({name for name, count in counts.items() if count >= options.min_cells and name != OTHER})
    if len(types) < 2:
        found = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        raise TrainingRefused(
            f"A probe distinguishes types, and only {found} are labelled: label at least {options.min_cells} cells of "
            "each of two types or more."
        )
    place = {name: i for i, name in enumerate(types)}
    kept = np.array([name in place for name in names])
    if held_out and not (kept & ~is_training).any():
        raise TrainingRefused(f"Of the smears to judge the probe on, no cell is labelled {' or '.join(types)}.")
    return _Cells(
        values=np.concatenate(values).astype(np.float64)[kept],
        type=np.array([place[name] for name in names if name in place], dtype=np.intp),
        patient=patient[kept],
        is_training=is_training[kept],
        types=types,
        left_out={name: counts[name] for name in in_reading_order(counts.keys() - place.keys())},
    )


def _folds(cells: _Cells, options: ProbeOptions) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return pairs of training rows and held-out rows; each cell is held out once, or those that are only judged."""
    if not cells.is_training.all():
        return [(np.flatnonzero(cells.is_training), np.flatnonzero(~cells.is_training))]
    by_cell = cells.by_cell[cells.type]  # (N,)
    folds = []
    for one_patient, parts in ((False, _parts_of_patients), (True, _parts_of_cells)):
        mine = by_cell == one_patient
        if mine.any():
            part = parts(cells, options)
            pairs = ((np.flatnonzero(part != i), np.flatnonzero((part == i) & mine)) for i in range(part.max() + 1))
            folds += [(training, held_out) for training, held_out in pairs if len(held_out)]
    return folds


def _parts_of_patients(cells: _Cells, options: ProbeOptions) -> NDArray[np.intp]:
    """(N,) part of each cell; patients stay whole, and parts are of about one size."""
    part = np.empty_like(cells.type)
    split = GroupKFold(min(options.folds, len(np.unique(cells.patient))))
    for number, (_, held_out) in enumerate(split.split(cells.values, groups=cells.patient)):
        part[held_out] = number
    return part


def _parts_of_cells(cells: _Cells, options: ProbeOptions) -> NDArray[np.intp]:
    """(N,) part of each cell; the cells of one type are assigned in turn."""
    shuffled = np.random.default_rng(options.seed).permutation(len(cells.type))
    order = shuffled[np.argsort(cells.type[shuffled], kind="stable")]
    part = np.empty_like(cells.type)
    part[order] = np.arange(len(order)) % options.folds
    return part


def _fit(
    cells: _Cells, rows: NDArray[np.intp], options: ProbeOptions
) -> tuple[NDArray[np.float64], NDArray[np.float64], TypeClouds]:
    """Return weights (K, D) and bias (K,) for unscaled features, and clouds; a type without cells is never called."""
    values, types, count = cells.values[rows], cells.type[rows], len(cells.types)
    known = np.unique(types)
    weights, bias = np.zeros((count, values.shape[1])), np.full(count, -np.inf)
    bias[known] = 0
    if len(known) > 1:
        mean, scale = values.mean(axis=0), values.std(axis=0)
        scale[scale < 1e-9] = 1.0  # a feature that never varies
        # Divided by the width: wide features separate types with smaller weights.
        model = LogisticRegression(C=options.strength / values.shape[1], max_iter=1000)
        model.fit((values - mean) / scale, types)
        rows = known if len(known) > 2 else known[1:]  # of two types, scikit-learn scores the second against 0
        weights[rows] = model.coef_ / scale
        bias[rows] = model.intercept_ - weights[rows] @ mean
    return weights, bias, TypeClouds.fit(values, types, count)


def _describe(features: Sequence[Features], cells: _Cells, calls: _Calls, options: ProbeOptions) -> ProbeDescription:
    types, true, patient = len(cells.types), cells.type[calls.rows], cells.patient[calls.rows]
    limit = distance_limit(calls.distance)
    called, called_without = calls.called, calls.called_without
    if limit is not None:
        called = np.where(calls.distance > limit, types, called)
        called_without = np.where(calls.distance_without > limit, types, called_without)
    table, without = (_table(true, one, types + 1)[:types] for one in (called, called_without))
    by_cell = cells.by_cell
    shared = ~by_cell[true]
    origin = features[0].origin
    return ProbeDescription(
        encoder=origin.encoder,
        encoder_weights_sha256=origin.weights_sha256,
        preprocessing=origin.preprocessing,
        width=cells.values.shape[1],
        types=cells.types,
        cells=tuple(np.bincount(cells.type[cells.is_training], minlength=types).tolist()),
        left_out=cells.left_out,
        patients=len(np.unique(patient)),
        validation="cell" if by_cell.all() else "patient",
        by_cell=tuple(name for name, alone in zip(cells.types, by_cell, strict=True) if alone),
        confusion=tuple(map(tuple, table[:, :types].tolist())),
        correlation=correlation_within_patients(true[shared], called[shared], patient[shared], types + 1),
        other=None
        if limit is None
        else OtherRule(
            limit=limit,
            false=tuple(table[:, types].tolist()),
            left_out=tuple(map(tuple, without.tolist())),
            # As if each type were a patient: what is unlike all types may be called in one way, or in another.
            correlation=correlation_within_patients(np.zeros_like(true), called_without, true, types + 1) or 0.0,
        ),
        options=options,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        library_version=library_version(),
    )


def _table(true: NDArray[np.intp], called: NDArray[np.intp], types: int) -> NDArray[np.int64]:
    """(types, types) cells by true and called type."""
    table = np.zeros((types, types), dtype=np.int64)
    np.add.at(table, (true, called), 1)
    return table


def _refuse_mixed(features: Sequence[Features]) -> None:
    origins = {(f.values.shape[1], f.origin.encoder, f.origin.weights_sha256, f.origin.preprocessing) for f in features}
    if len(origins) > 1:
        names = " and ".join(sorted({str(encoder or f"{width} numbers a cell") for width, encoder, *_ in origins}))
        raise FeaturesRefused(f"A probe takes features of one encoder, these are of {names}; encode all with one.")
