"""When a prediction is withheld: a laboratory's own rules, read from a file, and the reasons in words.

A rule compares one quantity of a prediction with a limit. Where the prediction does not know the quantity (its model
has no training domain, no calibration, one member), the rule cannot be met, and the prediction is withheld: a rule that
passed what it cannot check would promise a safety that is not there. The same quantity can be unknown of one patient
only (outside the training domain there is no prediction set), so that no model is refused because of its policy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, PositiveInt, StringConstraints, model_validator

from napari_caltomorph.diagnosis.options import FrozenModel
from napari_caltomorph.errors import PolicyUnreadable
from napari_caltomorph.reading import SMALL, explained, read_document, validated
from napari_caltomorph.storage import StrPath

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]


class Quantities(NamedTuple):
    """What the rules compare; None where a prediction does not know it."""

    cells: int
    lead: float  # First minus second probability
    is_outside_domain: bool | None = None
    lead_spread: float | None = None  # Standard deviation of the lead over the members
    classes_in_set: int | None = None  # Classes that cannot be excluded
    left_out_share: float | None = None  # Of all cells, those that a rule of quality left out


class Policy(FrozenModel):
    """The rules of a laboratory; each is optional, and one of them withholds a prediction."""

    schema_version: Literal[1] = 1
    name: Text
    version: Text
    min_cells: PositiveInt | None = Field(None, description="Fewest usable cells.")
    refuse_outside_domain: bool = Field(False, description="Withhold where the smear is unlike the training cohort.")
    must_stand_out: bool = Field(False, description="Withhold where the members differ by more than the lead.")
    min_lead: float | None = Field(None, gt=0, le=1, description="Smallest lead of the first class on the second.")
    max_classes_in_set: PositiveInt | None = Field(None, description="Most classes that cannot be excluded.")
    max_left_out_share: float | None = Field(None, ge=0, lt=1, description="Largest share of cells left out by a rule.")

    @model_validator(mode="after")
    def _has_a_rule(self) -> Self:
        if not self.rules:
            raise ValueError(f"it has no rule; give at least one of {', '.join(RULES)}")
        return self

    @property
    def rules(self) -> dict[str, Any]:
        """The rules that are given, with their limits."""
        return {name: limit for name in RULES if (limit := getattr(self, name)) is not None and limit is not False}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its name, version and rules, however the file is written."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.name}, version {self.version} ({self.fingerprint[:12]})"

    def reasons(self, of: Quantities) -> tuple[str, ...]:
        """Return why a prediction with these quantities is withheld, a part of a sentence each; empty where it is not.

        A quantity that is not known is a reason.
        """
        found = []
        for name, limit in self.rules.items():
            rule = RULES[name]
            unknown = getattr(of, rule.quantity) is None
            found.append(rule.unknown if unknown else rule.reason(of, limit))
        return tuple(reason for reason in found if reason)


class _Rule(NamedTuple):
    quantity: str  # In `Quantities`
    reason: Callable[[Any, Any], str]  # Of `Quantities` and the limit; empty where the rule is met
    unknown: str = ""  # The reason where the quantity is not known


def _cells(of: Quantities, limit: int) -> str:
    return f"{of.cells} {'cell' if of.cells == 1 else 'cells'}, fewer than {limit}" if of.cells < limit else ""


def _domain(of: Quantities, _: bool) -> str:
    return "the smear is unlike the training cohort" if of.is_outside_domain else ""


def _stands_out(of: Quantities, _: bool) -> str:
    spread = of.lead_spread or 0.0
    if of.lead > spread:
        return ""
    return f"no class stands out: the lead is {of.lead:.2f} and varies by {spread:.2f} between members"


def _lead(of: Quantities, limit: float) -> str:
    # A lead of 0.1999 is not shown as "0.20, below 0.2".
    return f"the lead of the first class is {of.lead:.3g}, below {limit:g}" if of.lead < limit else ""


def _set(of: Quantities, limit: int) -> str:
    count = of.classes_in_set or 0
    if count == 0:
        return "the smear is unlike the calibration patients of every class"
    return f"{count} classes cannot be excluded, more than {limit}" if count > limit else ""


def _left_out(of: Quantities, limit: float) -> str:
    share = of.left_out_share or 0.0
    return f"{100 * share:.3g} % of the cells were left out, more than {100 * limit:.3g} %" if share > limit else ""


RULES = {
    "min_cells": _Rule("cells", _cells),
    "refuse_outside_domain": _Rule("is_outside_domain", _domain, "the model has no training domain to compare with"),
    "must_stand_out": _Rule("lead_spread", _stands_out, "with one member, no disagreement of members is known"),
    "min_lead": _Rule("lead", _lead),
    "max_classes_in_set": _Rule("classes_in_set", _set, "no prediction set: no calibration is in force"),
    "max_left_out_share": _Rule("left_out_share", _left_out, "the features do not tell how many cells were left out"),
}
"""Fields of `Policy` that are rules, in the order in which reasons are given."""


def read_policy(path: StrPath) -> Policy:
    """Read a policy, a TOML or JSON file; `PolicyUnreadable` where it is none."""
    path, fix = Path(path), "write one as in docs/trust.md, or predict without a policy"
    with explained(path, "a policy", PolicyUnreadable, fix):
        return validated(Policy, read_document(path, otherwise=".toml", at_most=SMALL), path, PolicyUnreadable)
