"""What a laboratory demands of a model before it looks at the results: a file of limits, which are checked.

Its fingerprint and its date are part of the record, so that limits that were written afterwards can be recognised.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from napari_caltomorph.about import library_version
from napari_caltomorph.diagnosis.options import FrozenModel, share_within
from napari_caltomorph.errors import EvaluationRefused
from napari_caltomorph.evaluation.decisions import Rule, rule_from
from napari_caltomorph.reading import SMALL, explained, read_document, validated
from napari_caltomorph.storage import StrPath
from napari_caltomorph.taxonomy import Taxonomy

Share = Annotated[float, Field(ge=0, le=1), share_within("from 0 to 1")]

MALIGNANT, OTHERS = "malignant", "not_malignant"
"""Keys of `Criteria.cases_at_least` next to the model's classes."""

_EXAMPLE = 'write e.g. judged_by = "bound" and sensitivity_at_least = 0.9'


class Criteria(FrozenModel):
    """Limits that a model must keep on a laboratory's own patients; None: not checked."""

    judged_by: Literal["bound", "point"] = Field(
        description="bound: the whole 95 % interval must be within the limit; point: the number alone."
    )
    sensitivity_at_least: Share | None = Field(None, description="Of malignant patients, at the threshold.")
    specificity_at_least: Share | None = Field(None, description="Of all others, at the threshold.")
    auroc_at_least: Share | None = Field(None, description="AUROC of malignancy.")
    missed_at_most: dict[str, Share] = Field({}, description="Class of the model -> share of its patients missed.")
    share_outside_domain_at_most: Share | None = Field(
        None, description="Share of the patients whose smear is unlike the training cohort."
    )
    coverage_at_least: Share | None = Field(None, description="Share of the patients that a policy does not withhold.")
    cases_at_least: dict[str, PositiveInt] = Field(
        {}, description="malignant, not_malignant, or a class of the model -> patients."
    )
    choose_by: str | None = Field(
        None, description="Rule that chooses another threshold where the model's fails; None: no other is tried."
    )

    @model_validator(mode="after")
    def _something_is_checked(self) -> Criteria:
        others = {"judged_by", "coverage_at_least", "cases_at_least", "choose_by"}
        checked = self.model_dump(exclude=others, exclude_none=True)
        if not any(value != {} for value in checked.values()):
            raise ValueError("it has no limit of performance")
        return self

    @property
    def rule(self) -> Rule | None:
        return None if self.choose_by is None else rule_from(self.choose_by)

    @property
    def slugs(self) -> set[str]:
        """The classes that it names."""
        return {*self.missed_at_most, *self.cases_at_least} - {MALIGNANT, OTHERS}


DEFAULTS = Criteria(
    judged_by="bound",
    sensitivity_at_least=0.85,
    specificity_at_least=0.5,
    auroc_at_least=0.8,
    missed_at_most={"acute_leukemia": 0.15},
    share_outside_domain_at_most=0.25,
    cases_at_least={MALIGNANT: 30, OTHERS: 20},
    choose_by="sensitivity=0.97",
)
"""Ours, for a laboratory without criteria of its own: what 50 to 200 patients can show of a good model."""


class StatedCriteria(FrozenModel):
    """Criteria, and where they come from."""

    criteria: Criteria
    source: str
    sha256: str
    changed: str | None = None  # When the file was last written; None for the defaults
    is_ours: bool = False

    @classmethod
    def read(cls, path: StrPath | None) -> StatedCriteria:
        """Read a file of criteria.

        Parameters
        ----------
        path : str or Path or None
            TOML or JSON; without one, the defaults are returned.

        Raises
        ------
        EvaluationRefused
            The file is damaged, names an unknown criterion, or has no limit.
        """
        if path is None:
            content = DEFAULTS.model_dump_json().encode()
            source = f"defaults of napari-caltomorph {library_version()}, not the laboratory's"
            return cls(criteria=DEFAULTS, source=source, sha256=hashlib.sha256(content).hexdigest(), is_ours=True)
        path = Path(path)
        with explained(path, "a file of acceptance criteria", EvaluationRefused, _EXAMPLE):
            content, changed = path.read_bytes(), datetime.fromtimestamp(path.stat().st_mtime, UTC)
            document = read_document(path, otherwise=".toml", at_most=SMALL)
            criteria = validated(Criteria, document, path, EvaluationRefused)
        try:
            criteria.rule  # noqa: B018 (refused here, where the file is known)
        except EvaluationRefused as error:
            raise EvaluationRefused(f"{path}, choose_by: {error}") from error
        return cls(
            criteria=criteria,
            source=str(path),
            sha256=hashlib.sha256(content).hexdigest(),
            changed=changed.isoformat(timespec="seconds"),
        )

    def of(self, taxonomy: Taxonomy) -> Criteria:
        """Return the criteria for a model.

        Parameters
        ----------
        taxonomy : Taxonomy
            The model's classes. Our defaults lose the classes that it lacks.

        Raises
        ------
        EvaluationRefused
            A laboratory's own file names a class that the model does not have.
        """
        unknown = self.criteria.slugs - set(taxonomy.slugs)
        if unknown and not self.is_ours:
            raise EvaluationRefused(
                f"{self.source}: {min(unknown)!r} is no class of the model; its classes are "
                f"{', '.join(taxonomy.slugs)}."
            )
        changed = {
            name: {slug: value for slug, value in getattr(self.criteria, name).items() if slug not in unknown}
            for name in ("missed_at_most", "cases_at_least")
        }
        return self.criteria.model_copy(update=changed)
