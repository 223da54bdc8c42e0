"""The truth of each patient in the classes of the model: one class, a set of right answers, or a row of its own.

A class of the cohort is the model's class of the same slug, unless a file says otherwise; what is neither becomes a
row of its own, which is counted and shown and is not part of any accuracy. Rows are detailed classes, then labels in
one of their spellings, and the file may put several under one name (paper, figure 4D).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from napari_caltomorph.cohort.cleaning import LEFT_OUT_BY
from napari_caltomorph.errors import EvaluationRefused
from napari_caltomorph.reading import SMALL, explained, read_document
from napari_caltomorph.taxonomy import Taxonomy
from napari_caltomorph.taxonomy.label_text import key

OUTSIDE = "none"
"""What a classes map writes for a class that is none of the model's; ``"none: NAME"`` says what its row is called."""


@dataclass(frozen=True)
class ClassesMap:
    """From the classes and labels of a cohort to the classes of a model, or to rows of their own."""

    cohort: Taxonomy
    model: Taxonomy
    # Slug of a class of the cohort, coarse or detailed, or a label of no class -> slug of the model, or `OUTSIDE`
    explicit: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | None, cohort: Taxonomy, model: Taxonomy, labels: Iterable[str] = ()) -> ClassesMap:
        """Read a JSON or TOML file of ``cohort slug = model slug``; several may lead to one.

        `labels` are those of the cohort's patients: a label of no class of the cohort may be used as a slug.

        Raises `EvaluationRefused` where the file cannot be read, or names a class that there is not.
        """
        if path is None:
            return cls(cohort, model)
        explicit = _read(path)
        slugs = {slug for c in cohort.classes for slug in (c.slug, *(d.slug for d in c.detailed))}
        given = {key(label) for label in labels}
        for slug, target in explicit.items():
            if slug not in slugs and key(slug) not in given:
                raise EvaluationRefused(
                    f"{path}: {slug!r} is no class of the cohort and no patient's label; its classes are "
                    f"{', '.join(cohort.slugs)}."
                )
            if not _is_outside(target) and target not in model.slugs:
                raise EvaluationRefused(
                    f"{path}: {target!r} is no class of the model; its classes are {', '.join(model.slugs)}, or "
                    f'"{OUTSIDE}", or "{OUTSIDE}: NAME" for a row of that name.'
                )
        return cls(cohort, model, explicit)

    def of(self, coarse: str, detailed: str | None = None) -> str | None:
        """Return the model's class, or None; a detailed class that the file names goes before its coarse one."""
        for slug in (detailed, coarse):
            if slug is not None and slug in self.explicit:
                target = self.explicit[slug]
                return None if _is_outside(target) else target
        return coarse if coarse in self.model.slugs else None

    def apply(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return truth, coarse_set (slugs joined with ``|``) and row of each patient of a cohort's table.

        `row` is how patients are called that have neither, and missing for all others and for those without a label.
        """
        columns = table[["coarse", "detailed", "coarse_set", "raw_label"]].itertuples(index=False)
        found = [self._truth(*(None if pd.isna(value) else str(value) for value in row)) for row in columns]
        names = ["truth", "coarse_set", "row"]
        truth = pd.DataFrame(found, columns=names, index=table.index).astype("string")
        spellings = Counter(truth["row"].dropna())
        commonest: dict[str, str] = {}
        for row, _ in spellings.most_common():
            commonest.setdefault(key(row), row)
        truth["row"] = truth["row"].map(lambda row: commonest[key(row)], na_action="ignore").astype("string")
        return _of_extended(truth, table[LEFT_OUT_BY]) if LEFT_OUT_BY in table else truth

    def _truth(
        self, coarse: str | None, detailed: str | None, coarse_set: str | None, label: str | None
    ) -> tuple[str | None, str | None, str | None]:
        if coarse is not None:
            target = self.of(coarse, detailed)
            return (target, None, None) if target else (None, None, self._name(coarse, detailed))
        if coarse_set is not None:
            slugs = coarse_set.split("|")
            targets = [self.of(slug) for slug in slugs]
            right = [slug for slug in self.model.slugs if slug in targets]
            if None in targets:  # the model cannot give one of the answers
                return None, None, " or ".join(self._name(slug, None) for slug in slugs)
            return (right[0], None, None) if len(right) == 1 else (None, "|".join(right), None)
        if label is None:
            return None, None, None
        target = next((to for name, to in self.explicit.items() if key(name) == key(label)), f"{OUTSIDE}: {label}")
        return (None, None, _row_of(target) or label) if _is_outside(target) else (target, None, None)

    def _name(self, coarse: str, detailed: str | None) -> str:
        for slug in (detailed, coarse):
            if slug is not None and (name := _row_of(self.explicit.get(slug, ""))):
                return name
        for one in self.cohort.classes:
            if one.slug == coarse:
                return next((d.name for d in one.detailed if d.slug == detailed), one.name)
        return detailed or coarse


def _of_extended(truth: pd.DataFrame, left_out_by: pd.Series[str]) -> pd.DataFrame:
    """Return the truth of patients that the cohort leaves out: right answers, which enter no number of a class.

    The diagnosis before a therapy is no right answer after it.
    """
    answers = truth["coarse_set"].fillna(truth["truth"]).mask(left_out_by == "follow-up after therapy")
    row = truth["row"].fillna(left_out_by).where(answers.isna())
    return truth.assign(truth=pd.array([None] * len(truth), dtype="string"), coarse_set=answers, row=row)


def _is_outside(target: str) -> bool:
    return target.partition(":")[0].strip() == OUTSIDE


def _row_of(target: str) -> str:
    """Return the name that a target gives a row; empty where it gives none."""
    return target.partition(":")[2].strip() if _is_outside(target) else ""


def _read(path: Path) -> dict[str, str]:
    with explained(path, "a classes map", EvaluationRefused, "write it as JSON or TOML"):
        content = read_document(path, at_most=SMALL)
    if not isinstance(content, dict) or not all(isinstance(value, str | None) for value in content.values()):
        raise EvaluationRefused(f"{path}: a classes map is one object, class of the cohort -> class of the model.")
    return {slug: OUTSIDE if target is None else target for slug, target in content.items()}
