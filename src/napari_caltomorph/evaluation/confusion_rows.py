"""The rows of confusion matrices: classes of the model, sets of right answers, and classes that it does not know.

Other classes and sets have a row each while they are few; the rarest share one, or a figure could not be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_caltomorph.evaluation.confusion_matrix import Confusion, ConfusionRow, RowKind

if TYPE_CHECKING:
    from napari_caltomorph.evaluation.evaluation import Evaluation

MOST_ROWS = 10
"""Of other classes, and of sets of right answers; from the next on, the rarest share the last row."""


def coarse_confusion(evaluation: Evaluation) -> Confusion:
    """Return coarse classes (paper, figure 2B), then sets of right answers and other classes (figure 4D)."""
    names = dict(zip(evaluation.taxonomy.slugs, evaluation.taxonomy.names, strict=True))
    rows = {slug: ConfusionRow(name, "class", (slug,)) for slug, name in names.items()}
    return _count(
        evaluation, list(rows.values()), [rows.get(truth) for truth in evaluation.patients["truth"].fillna("")]
    )


def detailed_confusion(evaluation: Evaluation) -> Confusion:
    """Return detailed classes of the cohort by the model's coarse ones (paper, figure 3A), then the same other rows."""
    names = {d.slug: d.name for c in evaluation.cohort_taxonomy.classes for d in c.detailed}
    truth: list[ConfusionRow | None] = []
    places: dict[ConfusionRow, tuple[int, int]] = {}
    for slug, fine in zip(
        evaluation.patients["truth"].fillna(""), evaluation.patients["detailed"].fillna(""), strict=True
    ):
        if not slug:
            truth.append(None)
            continue
        name = names.get(fine, fine) or f"{evaluation.taxonomy.coarse(slug).name}, not detailed"
        row = ConfusionRow(name, "class", (slug,))
        places[row] = evaluation.taxonomy.slugs.index(slug), list(names).index(fine) if fine in names else len(names)
        truth.append(row)
    return _count(evaluation, sorted(places, key=places.__getitem__), truth)


def _count(evaluation: Evaluation, rows: list[ConfusionRow], truth: list[ConfusionRow | None]) -> Confusion:
    """Count patients of one class by the rows given, and all others in rows below."""
    patients = evaluation.patients
    names = dict(zip(evaluation.taxonomy.slugs, evaluation.taxonomy.names, strict=True))
    sets, classes = Counter(patients["coarse_set"].dropna()), Counter(patients["row"].dropna())
    several = _own_or_shared(sets, "several", lambda one: " or ".join(names[s] for s in one.split("|")), "other sets")
    others = _own_or_shared(classes, "other", str, "other classes")
    below = [
        several.get(one) or others.get(name)
        for one, name in zip(patients["coarse_set"].fillna(""), patients["row"].fillna(""), strict=True)
    ]
    return Confusion.of(
        list(dict.fromkeys([*rows, *several.values(), *others.values()])),
        evaluation.taxonomy.slugs,
        [mine or other for mine, other in zip(truth, below, strict=True)],
        evaluation.predicted,
        list(patients["patient_id"]),
    )


def _own_or_shared(
    patients: Counter[str], kind: RowKind, name: Callable[[str], str], rest: str
) -> dict[str, ConfusionRow]:
    """Return a row for each key of a count of patients, the largest first; beyond `MOST_ROWS` the rarest share one."""
    ordered = [one for one, _ in patients.most_common()]
    own = ordered if len(ordered) <= MOST_ROWS else ordered[: MOST_ROWS - 1]
    shared = ConfusionRow(f"{len(ordered) - len(own)} {rest}", kind)
    rows = {one: ConfusionRow(name(one), kind, tuple(one.split("|")) if kind == "several" else ()) for one in own}
    return rows | {one: shared for one in ordered[len(own) :]}
