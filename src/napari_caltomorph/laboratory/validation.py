"""A model validated on a laboratory's own patients: an `Evaluation` read against criteria that were set beforehand.

Nothing here measures anything that the evaluation does not have; it compares, checks and decides. No number is of the
patients that chose what it describes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter

from napari_caltomorph.audit import Audit
from napari_caltomorph.audit.columns import origin_columns, origins
from napari_caltomorph.diagnosis.domain import IN_WORDS
from napari_caltomorph.diagnosis.elsewhere import Estimate
from napari_caltomorph.diagnosis.training_record import TrainingRecord
from napari_caltomorph.errors import EvaluationUnreadable
from napari_caltomorph.evaluation import Evaluation, OperatingPoint, Provenance
from napari_caltomorph.evaluation.malignancy import Screened
from napari_caltomorph.laboratory.criteria import MALIGNANT, OTHERS, Criteria, StatedCriteria
from napari_caltomorph.laboratory.crossfit import (
    CalibrationLine,
    ChangedThreshold,
    calibration_line,
    cross_fitted_threshold,
    folds_of,
)
from napari_caltomorph.laboratory.verdict import Check, Verdict, check_area, check_cases, check_share, decide
from napari_caltomorph.reading import explained, read_document
from napari_caltomorph.statistics.metric import Metric
from napari_caltomorph.statistics.roc import auroc
from napari_caltomorph.storage import StrPath, replacing

FILE_NAME = "validation.json"

_NUMBERS = (
    *("sensitivity", "specificity", "malignant_auroc", "macro_auroc", "balanced_accuracy"),
    *("malignant_ece", "ece", "malignancy_bias"),
)
_OTHERS = "patients that are not malignant"
_AGES = ((0, 17), (18, 39), (40, 64), (65, 150))


@dataclass(frozen=True)
class Compared:
    """A number here, and that of the model's own training: of single members out of fold."""

    name: str  # In `METRICS`
    here: Metric
    trained: Estimate | None = None


@dataclass(frozen=True)
class DomainSummary:
    """How many smears are unlike the training cohort, and along what."""

    outside: Metric
    # Aspect in words -> patients of those outside that are far out in it
    aspects: dict[str, int]
    other_scale: int  # Patients whose images have another scale than those of the training
    images: tuple[str, ...] = ()  # What comparing the images themselves has found, in sentences


@dataclass(frozen=True)
class Subgroup:
    """Patients with one value of a column, at the model's threshold."""

    column: str
    value: str
    patients: int
    sensitivity: Metric
    specificity: Metric
    auroc: Metric


@dataclass(frozen=True)
class Validation:
    """The result: everything that the record shows except its figures."""

    provenance: Provenance
    counts: dict[str, int]
    stated: StatedCriteria
    criteria: Criteria  # Those of the stated ones that the model's classes allow
    fixed: tuple[Check, ...]
    at_model: tuple[Check, ...]
    at_changed: tuple[Check, ...] | None
    verdict: Verdict
    numbers: tuple[Compared, ...]
    threshold: ChangedThreshold | None
    calibration: CalibrationLine | None
    domain: DomainSummary
    subgroups: tuple[Subgroup, ...]
    audit: Audit | None = None
    notes: tuple[str, ...] = ()  # Why something is missing, each a sentence
    statements: tuple[str, ...] = ()  # Those of the evaluation
    schema_version: Literal[1] = 1

    def save(self, folder: StrPath) -> Path:
        """Write ``validation.json``; return its path."""
        folder = Path(folder)
        with replacing(folder / FILE_NAME) as part:
            part.write_bytes(_ADAPTER.dump_json(self, indent=1))
        return folder / FILE_NAME

    @classmethod
    def load(cls, path: StrPath) -> Validation:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or Path
            The folder, or its ``validation.json``.

        Raises
        ------
        EvaluationUnreadable
            There is none, or it is damaged.
        """
        path = Path(path)
        path = path / FILE_NAME if path.is_dir() else path
        with explained(path, "a validation", EvaluationUnreadable, "validate again"):
            content: Any = read_document(path)
            return _ADAPTER.validate_python(content)


def validate(
    evaluation: Evaluation,
    stated: StatedCriteria,
    training: TrainingRecord | None = None,
    *,
    groups: NDArray[np.str_] | None = None,
    coverage: Metric | None = None,
    seed: int = 0,
) -> Validation:
    """Check an evaluation against criteria.

    Parameters
    ----------
    evaluation : Evaluation
        Of patients that no member was trained on.
    stated : StatedCriteria
        See `StatedCriteria.read`.
    training : TrainingRecord, optional
        The model's own numbers, to be compared with.
    groups : (P,) str, optional
        Which of the evaluated patients belong together, such as smears of one person; otherwise each is alone.
    coverage : Metric, optional
        Share of the patients of whom `evaluation` is, where a policy withholds the others.
    seed : int
        Splits the patients that choose another threshold.

    Raises
    ------
    EvaluationRefused
        The criteria name a class that the model does not have.
    """
    criteria, screened = stated.of(evaluation.taxonomy), evaluation.screened
    ids = evaluation.patients["patient_id"].to_numpy(dtype=str) if groups is None else groups
    folds = folds_of(screened, ids[evaluation.has_one_class], seed)
    domain, notes = _domain(evaluation), []
    fixed = tuple(_fixed_checks(evaluation, criteria, domain))
    if (limit := criteria.coverage_at_least) is not None:
        share = Metric.of_counts(len(evaluation), len(evaluation), "no patient") if coverage is None else coverage
        fixed += (check_share("coverage", share, limit, "patients", criteria.judged_by),)
    at_model = tuple(_checks_at(evaluation.at(), criteria, evaluation))
    changed, at_changed = None, None
    if criteria.rule is not None:
        found = cross_fitted_threshold(evaluation, criteria.rule, folds)
        if isinstance(found, str):
            notes.append(f"No other threshold: {found}")
        else:
            changed, at_changed = found[0], tuple(_checks_at(found[1], criteria, evaluation))
    line = calibration_line(screened, folds)
    notes += [line] if isinstance(line, str) else []
    return Validation(
        provenance=evaluation.provenance,
        counts=evaluation.counts,
        stated=stated,
        criteria=criteria,
        fixed=fixed,
        at_model=at_model,
        at_changed=at_changed,
        verdict=decide(fixed, at_model, at_changed),
        numbers=tuple(_compared(evaluation, training)),
        threshold=changed,
        calibration=None if isinstance(line, str) else line,
        domain=domain,
        subgroups=tuple(_subgroups(evaluation)),
        notes=tuple(notes),
        statements=evaluation.statements,
    )


def _fixed_checks(evaluation: Evaluation, criteria: Criteria, domain: DomainSummary) -> Iterator[Check]:
    """Yield the checks that no threshold changes."""
    by, screened = criteria.judged_by, evaluation.screened
    if criteria.auroc_at_least is not None:
        area = evaluation.headline["malignant_auroc"]
        yield check_area("AUROC", area, criteria.auroc_at_least, int(screened.is_malignant.sum()), by)
    if (limit := criteria.share_outside_domain_at_most) is not None:
        check = check_share("share outside the domain", domain.outside, limit, "patients", by, is_at_most=True)
        # What cannot be measured is not shown by more cases.
        yield check if domain.outside.is_defined else replace(check, outcome="failed", more=None)
    counts = {MALIGNANT: int(screened.is_malignant.sum()), OTHERS: int((~screened.is_malignant).sum())}
    names = {MALIGNANT: ("malignant", "malignant patients"), OTHERS: ("not malignant", _OTHERS)}
    names |= {one.slug: (one.name, f"patients with {one.name}") for one in evaluation.taxonomy.classes}
    for key, limit in criteria.cases_at_least.items():
        yield check_cases(counts.get(key, int((screened.groups == key).sum())), limit, *names[key])


def _checks_at(point: OperatingPoint, criteria: Criteria, evaluation: Evaluation) -> Iterator[Check]:
    """Yield the checks at a threshold."""
    by = criteria.judged_by
    if (limit := criteria.sensitivity_at_least) is not None:
        yield check_share("sensitivity", point.sensitivity, limit, "malignant patients", by)
    if (limit := criteria.specificity_at_least) is not None:
        yield check_share("specificity", point.specificity, limit, _OTHERS, by)
    for slug, limit in criteria.missed_at_most.items():
        name = evaluation.taxonomy.coarse(slug).name
        share = point.sensitivity_of(slug).complement()
        yield check_share(f"missed {name}", share, limit, f"patients with {name}", by, is_at_most=True)


def _compared(evaluation: Evaluation, training: TrainingRecord | None) -> Iterator[Compared]:
    trained = {} if training is None else training.out_of_fold.pooled
    for name in _NUMBERS:
        here = evaluation.headline[name] if name in evaluation.headline else Metric.undefined("not computed")
        if here.is_defined or name in trained:
            yield Compared(name, here, trained.get(name))


def _domain(evaluation: Evaluation) -> DomainSummary:
    patients = evaluation.patients
    known = patients["is_outside_domain"].dropna()
    outside = Metric.of_counts(
        int(known.astype(bool).sum()),
        len(known),
        "the model has no data on its training domain, or it was not measured",
    )
    words = {str(aspect): words for aspect, words in IN_WORDS.items()}
    far = [words[aspect] for text in patients["far_aspects"].dropna() for aspect in text.split("|") if aspect]
    aspects = {str(name): int(count) for name, count in pd.Series(far, dtype=object).value_counts().items()}
    return DomainSummary(outside, aspects, int(patients["has_other_scale"].fillna(False).sum()))


def _subgroups(evaluation: Evaluation) -> Iterator[Subgroup]:
    """Yield the values of age, sex, and what looks like a site or a scanner; empty where the table has none."""
    table = evaluation.covariates
    values: dict[str, pd.Series[str]] = {}
    if "age" in table and (age := pd.to_numeric(table["age"], errors="coerce")).notna().any():
        bands = [next((f"{low} to {high}" for low, high in _AGES if low <= one < high + 1), "") for one in age]
        bands = ["65 and older" if band.startswith("65") else band or "(not given)" for band in bands]
        values["age"] = pd.Series(bands, index=table.index)
    if "sex" in table and table["sex"].notna().any():
        values["sex"] = origins(table["sex"])
    values |= {name: origins(table[name]) for name in origin_columns(table)} if len(table) else {}
    threshold = evaluation.provenance.threshold.value
    for column, named in values.items():
        known = named.to_numpy(dtype=str)[evaluation.has_one_class]
        for value in np.unique(known):
            yield _subgroup(column, str(value), evaluation.screened.among(known == value), threshold)


def _subgroup(column: str, value: str, some: Screened, threshold: float) -> Subgroup:
    point, area = some.at(threshold), auroc(some.is_malignant, some.malignancy)
    area_here = (
        Metric.undefined("patients of one kind only") if area is None else Metric.of(area, len(some), "Newcombe")
    )
    return Subgroup(column, value, len(some), point.sensitivity, point.specificity, area_here)


_ADAPTER = TypeAdapter(Validation)
