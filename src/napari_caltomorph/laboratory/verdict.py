"""Criteria -> a verdict in plain words: each criterion is met, failed, or not decided by so few cases.

A limit inside a 95 % interval decides nothing; only more cases do. The verdict is a pure function of the checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from napari_caltomorph.errors import counted
from napari_caltomorph.statistics.metric import Metric
from napari_caltomorph.statistics.sample_size import cases_to_decide_area, cases_to_decide_share

Outcome = Literal["met", "failed", "undecided"]
VerdictKind = Literal["use", "use with changed threshold", "do not use", "too few cases"]


@dataclass(frozen=True)
class Check:
    """One criterion and its number."""

    name: str
    metric: Metric
    limit: float
    outcome: Outcome
    of: str  # Which patients the number is of
    is_at_most: bool = False
    more: int | None = None  # How many more of these would decide it, if the number stayed; None: not known, or met

    @property
    def limit_in_words(self) -> str:
        limit = f"{self.limit:g}" if self.limit <= 1 else f"{self.limit:.0f}"
        return f"{'at most' if self.is_at_most else 'at least'} {limit}"

    @property
    def is_count(self) -> bool:
        """Whether it is about the number of cases, and not about the model."""
        return self.name.startswith("cases")

    @property
    def shown(self) -> str:
        """The number with its interval, as in the table of criteria."""
        value = self.metric.value
        return f"{value:.0f}" if value is not None and value > 1 else self.metric.shown(2)

    @property
    def in_words(self) -> str:
        """The result as a sentence without its full stop."""
        if self.is_count:
            return f"{self.name}: {self.metric.patients}, and {self.limit_in_words} are needed"
        found = self.metric.remark if self.metric.value is None else f"{self.shown} of {self.metric.patients}"
        result = {"met": "is", "failed": "is not", "undecided": "may or may not be"}[self.outcome]
        return f"{self.name} {result} {self.limit_in_words}: {found}"


@dataclass(frozen=True)
class Verdict:
    """What the criteria say about using the model here."""

    kind: VerdictKind
    reasons: tuple[str, ...]  # Each a sentence
    more: dict[str, int | None]  # Of too few cases: which patients -> how many more; None: no number would decide it


def check_share(name: str, metric: Metric, limit: float, of: str, by: str, *, is_at_most: bool = False) -> Check:
    """Check a share against its limit, by the bound of its interval or by the number itself."""
    metric_up = metric.complement() if is_at_most else metric
    up = 1 - limit if is_at_most else limit
    outcome, more = _outcome(metric_up, up, by), None
    if outcome == "undecided":
        value = 1.0 if metric_up.value is None else metric_up.value
        needed = cases_to_decide_share(value, up)
        more = None if needed is None else max(1, needed - metric.patients)
    return Check(name, metric, limit, outcome, of, is_at_most, more)


def check_area(name: str, metric: Metric, limit: float, malignant: int, by: str) -> Check:
    """Check an AUROC, with so many of its patients malignant; more patients would be of the same mix."""
    outcome, more = _outcome(metric, limit, by), None
    if outcome == "undecided" and metric.value is not None and 0 < malignant < metric.patients:
        needed = cases_to_decide_area(metric.value, limit, malignant / metric.patients)
        more = None if needed is None else max(1, needed - metric.patients)
    return Check(name, metric, limit, outcome, "patients of the same mix", False, more)


def check_cases(patients: int, limit: int, name: str, of: str) -> Check:
    """Check how many cases there are; too few are not the model's failure."""
    missing = max(0, limit - patients)
    outcome: Outcome = "undecided" if missing else "met"
    return Check(f"cases, {name}", Metric(float(patients), patients=patients), limit, outcome, of, more=missing or None)


def _outcome(metric: Metric, limit: float, by: str) -> Outcome:
    if metric.value is None:
        return "undecided"
    if by == "point":
        return "met" if metric.value >= limit else "failed"
    if metric.low is None or metric.high is None:
        return "undecided"
    if metric.low >= limit:
        return "met"
    return "failed" if metric.high < limit else "undecided"


def decide(fixed: Sequence[Check], at_model: Sequence[Check], at_changed: Sequence[Check] | None = None) -> Verdict:
    """Return the verdict.

    Parameters
    ----------
    fixed
        Checks that no threshold changes: AUROC, domain, cases.
    at_model, at_changed
        Checks at the model's threshold, and at another one on patients that did not choose it; None where none was
        tried.

    Notes
    -----
    The model's own threshold goes first: another one is taken only where the model's is not shown to meet everything.
    A failure counts only where no choice of the two is left.
    """
    options = [("use", at_model), ("use with changed threshold", at_changed)]
    open_options = [(kind, [*fixed, *checks]) for kind, checks in options if checks is not None]
    for kind, checks in open_options:
        if all(check.outcome == "met" for check in checks):
            why = [f"{_upper(check.in_words)}." for check in checks]
            if kind != "use":
                why = [f"At the model's threshold, {c.in_words}." for c in at_model if c.outcome != "met"] + why
            return Verdict("use" if kind == "use" else "use with changed threshold", tuple(why), {})
    possible = [checks for _, checks in open_options if all(check.outcome != "failed" for check in checks)]
    if not possible:
        failed = [c for c in [*fixed, *at_model] if c.outcome == "failed"]
        why = [f"{_upper(check.in_words)}." for check in failed]
        if at_changed is not None and not any(c.outcome == "failed" for c in fixed):
            why += [f"At another threshold, {c.in_words}." for c in at_changed if c.outcome == "failed"]
        return Verdict("do not use", tuple(why), {})
    missing = [check for check in possible[0] if check.outcome == "undecided"]
    more: dict[str, int | None] = {}
    for check in missing:
        known = more.get(check.of, 0)
        more[check.of] = None if check.more is None or known is None else max(known, check.more)
    return Verdict("too few cases", tuple(f"{_upper(check.in_words)}{_needs(check)}." for check in missing), more)


def _needs(check: Check) -> str:
    if check.is_count:
        return ""
    if check.more is None:
        return "; at this value, no number of cases would decide it"
    return f"; if it stays so, {counted(check.more, 'more case')} ({check.of}) would decide it"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
