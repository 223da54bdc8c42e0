"""The rows of confusion matrices: classes of the model, sets of right answers, and classes that it does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_caltomorph.evaluate.confusion_matrix import Confusion, ConfusionRow

if TYPE_CHECKING:
    from napari_caltomorph.evaluate.evaluation import Evaluation


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
    names = dict(zip(evaluation.taxonomy.slugs, evaluation.taxonomy.names, strict=True))
    several = {
        one: ConfusionRow(" or ".join(names[slug] for slug in one.split("|")), "several", tuple(one.split("|")))
        for one in sorted(set(evaluation.patients["coarse_set"].dropna()))
    }
    others = {name: ConfusionRow(str(name), "other") for name in evaluation.patients["row"].value_counts().index}
    below = [
        several.get(one) or others.get(name)
        for one, name in zip(
            evaluation.patients["coarse_set"].fillna(""), evaluation.patients["row"].fillna(""), strict=True
        )
    ]
    return Confusion.of(
        [*rows, *several.values(), *others.values()],
        evaluation.taxonomy.slugs,
        [mine or other for mine, other in zip(truth, below, strict=True)],
        evaluation.predicted,
        list(evaluation.patients["patient_id"]),
    )
