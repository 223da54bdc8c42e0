"""Malignancy thresholds: chosen by a rule on one cohort, applied to another, and stored in the model.

A threshold looks better on the patients that chose it than on any others. So a decision reports the number of cases
that it depends on, an upper bound of the share that it misses, and its performance where it was not chosen.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.diagnosis.model_file import ModelDescription, Threshold, read_description
from napari_caltomorph.errors import EvaluationRefused, ModelRefused
from napari_caltomorph.evaluation.evaluation import Evaluation
from napari_caltomorph.evaluation.malignancy import OperatingPoint, Screened
from napari_caltomorph.statistics.interval import percent, share_upper_bound
from napari_caltomorph.storage import replacing
from napari_caltomorph.taxonomy import Taxonomy


class Rule(ABC):
    """What a threshold must achieve on the patients that choose it."""

    @abstractmethod
    def choose(self, screened: Screened) -> float:
        """Return the threshold; `EvaluationRefused` where no patient can choose it, or no threshold achieves it."""

    @abstractmethod
    def in_words(self, taxonomy: Taxonomy) -> str:
        """Return the rule as it is stored and shown."""

    def cases(self, screened: Screened) -> NDArray[np.bool_]:
        """(P,) the malignant patients that the choice depends on: those that must not be missed."""
        return screened.is_malignant


@dataclass(frozen=True)
class NoneMissed(Rule):
    """The highest threshold at which no patient of one class is missed (paper, figure 3D)."""

    group: str = "acute_leukemia"

    def cases(self, screened: Screened) -> NDArray[np.bool_]:
        return np.asarray(screened.is_malignant & (screened.groups == self.group))

    def choose(self, screened: Screened) -> float:
        cases = self.cases(screened)
        if not cases.any():
            raise EvaluationRefused(f"No patient has {self.group}, so none can be missed; choose another class.")
        return float(screened.malignancy[cases].min())

    def in_words(self, taxonomy: Taxonomy) -> str:
        names = dict(zip(taxonomy.slugs, taxonomy.names, strict=True))
        return f"no {names.get(self.group, self.group)} missed"


@dataclass(frozen=True)
class SensitivityAtLeast(Rule):
    """The highest threshold at which at least this share of all malignant patients is called."""

    share: float

    def choose(self, screened: Screened) -> float:
        values = np.sort(screened.malignancy[screened.is_malignant])
        if not len(values):
            raise EvaluationRefused("No patient is malignant, so there is no sensitivity to choose by.")
        may_miss = math.floor((1 - self.share) * len(values) + 1e-9)
        return float(values[min(may_miss, len(values) - 1)])

    def in_words(self, taxonomy: Taxonomy) -> str:
        return f"sensitivity of at least {self.share:g}"


@dataclass(frozen=True)
class FdrAtMost(Rule):
    """The lowest threshold at which at most this share of those called is not malignant.

    `healthy`: whether the cohort's healthy donors count among those; their bone marrow is not punctured.
    """

    share: float
    healthy: bool = True

    def choose(self, screened: Screened) -> float:
        if not screened.is_malignant.any() or screened.is_malignant.all():
            raise EvaluationRefused("A false discovery rate needs malignant patients, and others.")
        curve = screened.curve()
        fits = curve["fdr" if self.healthy else "fdr_without_healthy"] <= self.share + 1e-12
        if not fits.any():
            raise EvaluationRefused(f"No threshold has a false discovery rate of at most {self.share:g} here.")
        return float(curve.loc[fits, "threshold"].min())

    def in_words(self, taxonomy: Taxonomy) -> str:
        return f"false discovery rate of at most {self.share:g}" + ("" if self.healthy else " without healthy donors")


def rule_from(text: str) -> Rule:
    """Return the rule that ``none-missed[=CLASS]``, ``sensitivity=X``, ``fdr=X`` or ``fdr-without-healthy=X`` names.

    Raises `EvaluationRefused` where the text names none.
    """
    name, _, value = text.partition("=")
    if name == "none-missed":
        return NoneMissed(value) if value else NoneMissed()
    try:
        share = float(value)
    except ValueError:
        share = math.nan
    shares = {"sensitivity": SensitivityAtLeast, "fdr": FdrAtMost, "fdr-without-healthy": FdrAtMost}
    if name not in shares or not 0 <= share <= 1:
        raise EvaluationRefused(
            f"{text!r} is no rule; write none-missed=acute_leukemia, sensitivity=0.99, fdr=0.1 or "
            "fdr-without-healthy=0.1 (shares between 0 and 1; 10 % is 0.1)."
        )
    return FdrAtMost(share, healthy=False) if name == "fdr-without-healthy" else shares[name](share)


@dataclass(frozen=True)
class Decision:
    """A threshold, the patients that chose it, and how far it may be trusted."""

    rule: Rule
    threshold: float
    chosen_on: Evaluation  # The numbers of these patients at this threshold are optimistic

    @property
    def point(self) -> OperatingPoint:
        """The threshold on the patients that chose it."""
        return self.chosen_on.at(self.threshold)

    @property
    def cases(self) -> int:
        """Number of malignant patients that the choice depends on."""
        return int(self.rule.cases(self.chosen_on.screened).sum())

    @property
    def missed(self) -> int:
        """Number of these that the threshold misses."""
        return int((self.rule.cases(self.chosen_on.screened) & ~self.point.is_called).sum())

    @property
    def miss_bound(self) -> float:
        """Upper 95 % bound of the share that it misses of other such patients: none of 46 missed still allows 6 %.

        The one-sided bound of Clopper and Pearson. It holds although these patients chose the threshold, for a rule
        that takes one of their own values: the share of others below the (k + 1)-th smallest of n values is
        Beta(k + 1, n - k), whose 95 % quantile is this bound (Wilks 1941). For an FDR rule it is approximate.
        """
        return share_upper_bound(self.missed, self.cases)

    def apply(self, evaluation: Evaluation) -> AppliedDecision:
        """Apply the threshold to another cohort.

        Raises `EvaluationRefused` where another model was evaluated there, or the patients that chose the threshold.
        """
        mine, theirs = self.chosen_on.provenance, evaluation.provenance
        if mine.model_fingerprint != theirs.model_fingerprint:
            raise EvaluationRefused(
                f"The threshold was chosen for {mine.model_name}, and {theirs.model_name} is another model (or the "
                "same one trained or calibrated again); choose a threshold for it."
            )
        shared = _ids(self.chosen_on) & _ids(evaluation)
        if len(shared) == len(evaluation):
            raise EvaluationRefused("These are the patients that chose the threshold; apply it to others.")
        return AppliedDecision(self, evaluation, len(shared))

    @property
    def in_words(self) -> str:
        """The rule, the cases it depends on, and the misses that are still possible."""
        by = ", by single members out of fold and not by the ensemble" if self.chosen_on.options.out_of_fold else ""
        rule = self.rule.in_words(self.chosen_on.taxonomy)
        bound = percent(self.miss_bound, 1)
        return f"{rule}; {self.missed} of {self.cases} were missed{by}, which allows up to {bound} (95 %)"

    def as_threshold(self, applied: AppliedDecision | None = None) -> Threshold:
        """Return the threshold as a model stores it, with its performance on a cohort that did not choose it."""
        elsewhere = "not tested on other patients" if applied is None else applied.in_words
        name = self.chosen_on.provenance.cohort_name
        return Threshold(value=self.threshold, rule=f"{self.in_words}; {elsewhere}", cohort=name)


@dataclass(frozen=True)
class AppliedDecision:
    """A threshold on patients that did not choose it.

    `shared` patients are also among those that chose it: 0 where the cohorts are independent.
    """

    decision: Decision
    evaluation: Evaluation
    shared: int

    @property
    def point(self) -> OperatingPoint:
        return self.evaluation.at(self.decision.threshold)

    @property
    def is_independent(self) -> bool:
        return self.shared == 0

    @property
    def in_words(self) -> str:
        """The performance here, and on which patients."""
        point = self.point
        numbers = (
            f"sensitivity {point.sensitivity.shown(2)}, specificity {point.specificity.shown(2)}, FDR "
            f"{point.fdr.shown(2)}, without healthy donors {point.fdr_without_healthy.shown(2)}; "
            f"{point.others_in_words}"
        )
        who = "which did not choose it" if self.is_independent else f"of which {self.shared} patients chose it too"
        return f"on {self.evaluation.provenance.cohort_name}, {who}: {numbers}"


def choose_threshold(evaluation: Evaluation, rule: Rule) -> Decision:
    """Choose the malignancy threshold by a rule; `EvaluationRefused` where no patient or no threshold allows it."""
    return Decision(rule, rule.choose(evaluation.screened), evaluation)


def store_threshold(model_folder: Path, decision: Decision, applied: AppliedDecision | None = None) -> ModelDescription:
    """Write a threshold into a model's ``model.json`` and its card; members and fingerprint stay as they are.

    Raises `ModelRefused` where the folder is not the model that the threshold was chosen for, and `OutputRefused` where
    it cannot be written; ``model.json`` is then as it was.
    """
    description = read_description(model_folder)
    if description.fingerprint != decision.chosen_on.provenance.model_fingerprint:
        raise ModelRefused(
            f"{model_folder} is not the model that the threshold was chosen for; evaluate this one, and choose again."
        )
    changed = description.model_copy(update={"threshold": decision.as_threshold(applied)})
    with replacing(model_folder / "model.json") as part:
        part.write_text(changed.model_dump_json(indent=1), "utf-8")
    with replacing(model_folder / "README.md") as part:
        part.write_text(model_card(changed), "utf-8")
    return changed


def _ids(evaluation: Evaluation) -> set[str]:
    return set(evaluation.patients["patient_id"])
