"""A number with its 95 % interval, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Confidence level of every interval."""

TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
"""Quantiles that bound an interval."""

Z = NormalDist().inv_cdf(TAILS[1])
"""Standard errors from the middle of an interval to its bounds."""


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % interval; the bounds are None where it cannot be computed. Never NaN."""

    value: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if any(number is not None and not np.isfinite(number) for number in (self.value, self.low, self.high)):
            raise ValueError(f"no finite numbers: {self.value}, {self.low}, {self.high}")
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has both bounds or none")


def percent(share: float, decimals: int | None = None) -> str:
    """Return a share as every screen and page shows it: "75 %"; without `decimals`, its first three digits."""
    number = 100 * share
    return f"{number:.3g} %" if decimals is None else f"{number:.{decimals}f} %"


def wilson(share: float, patients: float) -> Interval:
    """Return a share of so many patients, more than 0, with Wilson's interval (1927); they need not be whole."""
    square = Z**2 / patients
    center, reach = share + square / 2, float(np.sqrt(share * (1 - share) * square + square**2 / 4))
    low, high = (center - reach) / (1 + square), (center + reach) / (1 + square)
    return Interval(share, max(0.0, min(low, share)), min(1.0, max(high, share)))


def proportion(right: int, patients: int) -> Interval:
    """Return a share of at least one patient, with Wilson's interval."""
    return wilson(right / patients, patients)


def like_share(value: float, parts: NDArray[np.float64], strata: NDArray[np.integer], *, at_most: float) -> Interval:
    """Return a number from 0 to 1 with Wilson's interval at its effective number of patients.

    That is how many patients a share of the same value and variance would be of (Kott and Carr, J. Off. Stat. 13,
    1997; Franco et al., J. Surv. Stat. Methodol. 7, 2019). The variance is that of the sum of `parts` (P,), how much
    the number changes with each patient, within `strata` (P,).

    `at_most` so many: on few patients the variance may be 0 by chance.
    """
    variance = float((centred_in_strata(parts, strata) ** 2).sum())
    is_known = variance > 1e-15 and 0 < value < 1
    effective = value * (1 - value) / variance if is_known else at_most
    return wilson(min(max(value, 0.0), 1.0), min(effective, at_most))


def mean(values: NDArray[np.floating], strata: NDArray[np.integer], *, least: float = -np.inf) -> Interval:
    """Return the mean of P >= 1 values with Student's interval, by their variance within strata (P,).

    No value is below `least`, nor is the interval. It has no bounds where values do not differ within strata.
    """
    value, patients = float(np.mean(values)), len(values)
    error = float(np.sqrt((centred_in_strata(np.asarray(values, float), strata) ** 2).sum())) / patients
    freedom = patients - len(np.unique(_several(strata)))
    if freedom < 1 or error < 1e-12:
        return Interval(value)
    from scipy.stats import t

    reach = float(t.ppf(TAILS[1], freedom)) * error
    return Interval(value, max(least, value - reach), value + reach)


def root_mean_square(errors: NDArray[np.floating]) -> Interval:
    """Return the root of the mean square of P >= 2 errors; no bounds where all are of one size.

    The mean square is taken as chi-square with the degrees of freedom that its variance gives (Satterthwaite, Biometr.
    Bull. 2, 1946), but at most P / 2: a few patients seldom include the large errors of which it is mostly made.
    """
    from scipy.stats import chi2

    squares = np.asarray(errors, float) ** 2
    value, variance = float(squares.mean()), float(squares.var(ddof=1)) / len(squares)
    if variance <= (1e-12 * value) ** 2:
        return Interval(float(np.sqrt(value)))
    freedom = min(2 * value**2 / variance, len(squares) / 2)
    high, low = np.sqrt(value * freedom / chi2.ppf(TAILS, freedom))
    return Interval(float(np.sqrt(value)), float(low), float(high))


def quantile(values: NDArray[np.floating], share: float) -> Interval:
    """Return the (P + 1) `share`-th smallest of P values, at most the largest, between two others.

    Which two follows from the binomial distribution, whatever that of the values is. On few of them there is no
    interval: for the 5 % quantile, and that of 95 %, below 72.
    """
    from scipy.stats import binom

    ordered, count = np.sort(np.asarray(values, float)), len(values)
    value = float(np.quantile(ordered, share, method="weibull"))
    below, above = (int(bound) for bound in binom.ppf(TAILS, count, share))
    if below < 1 or above >= count:
        return Interval(value)
    return Interval(value, float(ordered[below - 1]), float(ordered[above]))


def centred_in_strata(values: NDArray[np.float64], strata: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return values (P, ...) less the mean of their stratum, so that their squares add up to the variance of the sum.

    Strata of one patient are taken together, as in surveys: alone, they would have no variance.
    """
    strata, centred = _several(strata), np.empty_like(values, dtype=float)
    for stratum in np.unique(strata):
        rows = strata == stratum
        own = values[rows]
        centred[rows] = (own - own.mean(axis=0)) * np.sqrt(len(own) / max(1, len(own) - 1))
    return centred


def _several(strata: NDArray[np.integer]) -> NDArray[np.integer]:
    """(P,) strata, numbered, with those of one patient taken together."""
    _, place, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    return np.where(sizes[place] == 1, len(sizes), place)


def false_discovery_rate(false_alarms: tuple[int, int], found: tuple[int, int], prevalence: float) -> Interval | None:
    """Return the share of positive calls that are false, by Bayes' rule; None where there are no positive calls.

    Parameters
    ----------
    false_alarms, found : (int, int)
        How many are called of how many without the disease, and of how many with it; both at least one.
    prevalence : float
        Share that has the disease of all who are tested, known exactly. At 0 and 1 there is no interval.

    Notes
    -----
    The rate rises with the ratio of the two shares, which has the bounds of Donner and Zou (MOVER; Stat. Methods Med.
    Res. 21, 2012). They are made of the Jeffreys bounds of each share (Brown, Cai and DasGupta, Stat. Sci. 16, 2001):
    with Wilson's, they contain the true rate too seldom where false alarms are rare. Both let no false alarm among few
    patients be no rate of 0.
    """
    (called, others), (right, diseased) = false_alarms, found
    false, true = (1 - prevalence) * called / others, prevalence * right / diseased
    if false + true <= 0:
        return None
    value = false / (false + true)
    if not 0 < prevalence < 1:
        return Interval(value)
    odds = (1 - prevalence) / prevalence
    low, high = (odds * ratio for ratio in _ratio_bounds(_jeffreys(*false_alarms), _jeffreys(*found)))
    return Interval(value, min(low / (1 + low), value), max(1 - 1 / (1 + high), value))


def share_upper_bound(found: int, patients: int) -> float:
    """Return the upper 95 % bound of a share, one-sided (Clopper and Pearson 1934); 1 where there are no patients.

    None of n gives 1 - 0.05^(1/n), of which the rule of three, 3 / n, is the rough form.
    """
    from scipy.stats import beta

    return 1.0 if found >= patients else float(beta.ppf(CONFIDENCE, found + 1, patients - found))


def _jeffreys(found: int, patients: int) -> tuple[float, float, float]:
    """Return a share and its bounds; 0 and 1 where no patient or each of them is found."""
    from scipy.stats import beta

    low, high = beta.ppf(TAILS, found + 0.5, patients - found + 0.5)
    return found / patients, float(low) if found else 0.0, float(high) if found < patients else 1.0


def _ratio_bounds(one: tuple[float, float, float], other: tuple[float, float, float]) -> tuple[float, float]:
    """Return the bounds of one share divided by another, each with its own; infinite where the other may be 0."""
    (p, p_low, p_high), (q, q_low, q_high) = one, other

    def parts(p_bound: float, q_bound: float) -> tuple[float, float, float]:
        top, bottom = p_bound * (2 * p - p_bound), q_bound * (2 * q - q_bound)
        return top, bottom, p * q + float(np.sqrt(max((p * q) ** 2 - top * bottom, 0.0)))

    top, _, root = parts(p_low, q_high)
    low = top / root if top > 0 else 0.0
    _, bottom, root = parts(p_high, q_low)
    return low, root / bottom if bottom > 0 else np.inf
