"""Coverage against error: how often the predicted class is wrong among patients who are predicted, and withheld.

Patients count whose diagnosis is known; of a class that the model does not know, any prediction is wrong. The curve
withholds those with the smallest lead first, so that every limit `min_lead` of a policy is a point on it; a limit that
is chosen on these patients is optimistic for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.policy import Policy, Quantities
from napari_caltomorph.errors import EvaluationRefused
from napari_caltomorph.evaluation.patients import EvaluatedPatients
from napari_caltomorph.statistics.metric import Metric

LIMITS = (0.1, 0.2, 0.4, 0.6, 0.8)
"""Limits of the lead that tables and figures name."""

_NOT_KNOWN = "no patient with a known diagnosis"
# What an evaluation keeps of no patient, and what is not measured out of fold.
_NEVER_KNOWN, _NOT_OUT_OF_FOLD = ("must_stand_out", "max_left_out_share"), ("refuse_outside_domain",)


@dataclass(frozen=True)
class Withholding:
    """What a policy does to P patients of an evaluation."""

    policy: Policy
    reasons: tuple[tuple[str, ...], ...]  # (P,): why each is withheld; empty where it is not
    not_checked: tuple[str, ...]  # Rules whose quantity the evaluation does not know: in use, they withhold more
    error: dict[str, Metric]  # Share of wrong classes: ``"all"``, ``"predicted"`` and ``"withheld"`` patients


@dataclass(frozen=True)
class CoveragePoint:
    """What a limit of the lead does."""

    min_lead: float
    predicted: Metric  # Share of the patients whose lead is at least that
    wrong: Metric  # Share of wrong classes among them


@dataclass(frozen=True)
class CoverageCurve:
    """Shares of wrong classes among the K patients with the largest leads, for each K that a limit can separate."""

    coverage: NDArray[np.float64]  # Share of the patients who are predicted, ascending
    limit: NDArray[np.float64]  # The smallest lead among them
    error: tuple[Metric, ...]


def withholding(evaluated: EvaluatedPatients, policy: Policy) -> Withholding:
    """Apply a policy to an evaluation; `EvaluationRefused` where it can check none of the rules."""
    out_of_fold = evaluated.patients["fold"].notna().any()
    unknown = _NEVER_KNOWN + (_NOT_OUT_OF_FOLD if out_of_fold else ())
    not_checked = tuple(name for name in policy.rules if name in unknown)
    if len(not_checked) == len(policy.rules):
        raise EvaluationRefused(
            f"{policy.name}: an evaluation cannot check {', '.join(not_checked)}; give the policy another rule."
        )
    checked = policy.model_copy(update={name: Policy.model_fields[name].default for name in not_checked})
    outside, sets = evaluated.patients["is_outside_domain"], evaluated.prediction_sets
    reasons = tuple(
        checked.reasons(
            Quantities(
                cells=int(cells),
                lead=float(lead),
                is_outside_domain=None if outside.isna().iloc[i] else bool(outside.iloc[i]),
                classes_in_set=None if sets is None or (found := sets[i]) is None else len(found),
            )
        )
        for i, (cells, lead) in enumerate(zip(evaluated.patients["n_cells"], evaluated.delta_probability, strict=True))
    )
    is_withheld = np.array([bool(one) for one in reasons], dtype=bool)
    groups = {"all": np.ones_like(is_withheld), "predicted": ~is_withheld, "withheld": is_withheld}
    return Withholding(policy, reasons, not_checked, {name: _error(evaluated, who) for name, who in groups.items()})


def coverage_points(evaluated: EvaluatedPatients) -> tuple[CoveragePoint, ...]:
    """Return what some limits of the lead do, and what no limit does; none without known classes."""
    known, leads = _is_known(evaluated), evaluated.delta_probability
    return tuple(
        CoveragePoint(
            limit,
            Metric.of_counts(int((known & (leads >= limit)).sum()), int(known.sum()), _NOT_KNOWN),
            _error(evaluated, leads >= limit),
        )
        for limit in ((0.0, *LIMITS) if known.any() else ())
    )


def coverage_curve(evaluated: EvaluatedPatients) -> CoverageCurve | None:
    """Return the shares of wrong classes as fewer patients are predicted; None without known classes."""
    known = _is_known(evaluated)
    if not known.any():
        return None
    leads, order = evaluated.delta_probability[known], np.argsort(-evaluated.delta_probability[known], kind="stable")
    wrong = np.cumsum(~evaluated.is_right[known][order])
    limits = leads[order]
    last = np.flatnonzero(np.append(np.diff(limits) < 0, True))  # patients with equal leads are withheld together
    errors = tuple(Metric.of_counts(int(wrong[i]), int(i) + 1, _NOT_KNOWN) for i in last)
    return CoverageCurve((last + 1) / len(limits), limits[last], errors)


def _error(evaluated: EvaluatedPatients, who: NDArray[np.bool_]) -> Metric:
    among = who & _is_known(evaluated)
    return Metric.of_counts(int((among & ~evaluated.is_right).sum()), int(among.sum()), _NOT_KNOWN)


def _is_known(evaluated: EvaluatedPatients) -> NDArray[np.bool_]:
    """(P,) patients with a diagnosis."""
    return np.asarray(evaluated.has_one_class | evaluated.has_several | evaluated.is_other)
