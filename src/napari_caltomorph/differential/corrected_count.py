"""The posterior of the true number of cells of each type, from the called numbers and the classifier's confusion.

The model is that of Ziegler and Czyz (Bayesian Quantification with Black-Box Estimators, TMLR 2024), which has the
adjusted count of Rogan and Gladen (1978) and Forman (2008) as its large-sample limit: the smear has unknown shares of
the types, a cell of one type is called another with a probability that the cross-validated confusion estimates. Both
have Dirichlet distributions. It is sampled by Gibbs, where every step has a closed form.

One thing is added. The errors of a probe differ between patients, with their stain, so a confusion of thousands of
cells is less certain for the next patient. `correlation_within_patients` measures this difference, and it limits the
weight of each row of the confusion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CHAINS, _BURN_IN, _KEPT, _EVERY = 100, 200, 20, 5

DRAWS = _CHAINS * _KEPT

# Weight of the prior of a smear's shares: the 82 patients of APL-AML differ like samples of a Dirichlet distribution of
# this weight (3.3 and 4.0 in halves of them, by the estimator below). It is not estimated from the given labels: where
# people label equal numbers of each type in each smear, patients would seem alike.
_PRIOR_CELLS = 4.0


def corrected_counts(
    called: NDArray[np.integer],
    confusion: NDArray[np.number],
    correlation: float | NDArray[np.floating],
    *,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Sample true counts of the K types from their posterior: (DRAWS, K) int, each row with the sum of `called`.

    `called` (K,) are the cells that the probe calls each type, `confusion` (K, K) cells by true and called type, out of
    fold. `correlation`, 0 to 1, is that within patients of how cells of one type are called: one, or (K,) by true type.

    The shares' prior is that of the labelled cells, with the weight of `_PRIOR_CELLS`. It decides what the confusion
    cannot: a type that is never called could have any number of cells, and one that is rare among labelled cells is
    assumed to be rare. A row of n cells has the weight of ``1 / (r + (1 - r) / (n + 1))`` cells, r the correlation: n +
    1 where patients do not differ, never more than 1/r where they do (effective sample size of a cluster sample, Kish
    1965).
    """
    types, rng = len(called), np.random.default_rng(seed)
    size = confusion.sum(axis=1, keepdims=True) + 1.0  # one more cell, spread evenly: nothing is impossible
    correlation = np.broadcast_to(correlation, types)[:, None]
    weight = 1 / (correlation + (1 - correlation) / size)
    rows = np.broadcast_to(weight * (confusion + 1 / types) / size, (_CHAINS, types, types))
    prior = _PRIOR_CELLS * size.ravel() / size.sum()
    shares = rng.dirichlet(np.ones(types), size=_CHAINS)  # dispersed starts
    calls = _dirichlet(rng, rows)
    kept = []
    for sweep in range(_BURN_IN + _KEPT * _EVERY):
        joint = np.swapaxes(shares[:, :, None] * calls, 1, 2) + 1e-300  # (chains, called, true)
        origin = rng.multinomial(called, joint / joint.sum(axis=2, keepdims=True))
        true = origin.sum(axis=1)  # (chains, K)
        shares = _dirichlet(rng, true + prior)
        calls = _dirichlet(rng, rows + np.swapaxes(origin, 1, 2))
        if sweep >= _BURN_IN and (sweep - _BURN_IN) % _EVERY == 0:
            kept.append(true)
    return np.concatenate(kept)


def correlation_within_patients(
    true: NDArray[np.integer], called: NDArray[np.integer], patients: NDArray[np.integer], types: int
) -> float | None:
    """Return the correlation of called types within a patient; None where no type has cells of two patients.

    `true`, `called` and `patients` (N,) are those of each cell. At 0 patients do not differ; at 1 all cells of a type
    and a patient are called the same, whatever that is.

    The analysis-of-variance estimator of the intraclass correlation (Ridout, Demétrio and Firth, Biometrics 55, 1999),
    with indicator vectors of K called types in place of one yes or no, pooled over the true types; negative estimates
    are 0.
    """
    between = within = degrees_between = degrees_within = sizes = 0.0
    for one in range(types):
        mine = true == one
        _, owner = np.unique(patients[mine], return_inverse=True)
        table = np.zeros((owner.max() + 1 if len(owner) else 0, types))
        np.add.at(table, (owner, called[mine]), 1)
        n = table.sum(axis=1)
        if len(n) < 2 or n.sum() == len(n):  # one patient, or one cell each: nothing to compare
            continue
        squares = float((table**2 / n[:, None]).sum())
        between += squares - float((table.sum(axis=0) ** 2).sum() / n.sum())
        within += float(n.sum()) - squares
        degrees_between += len(n) - 1
        degrees_within += n.sum() - len(n)
        sizes += n.sum() - float((n**2).sum() / n.sum())
    if not degrees_between:
        return None
    mean_between, mean_within, size = between / degrees_between, within / degrees_within, sizes / degrees_between
    total = mean_between + (size - 1) * mean_within
    return 0.0 if total <= 0 else float(np.clip((mean_between - mean_within) / total, 0.0, 1.0))


def _dirichlet(rng: np.random.Generator, weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sample from many Dirichlet distributions at once, along the last axis."""
    drawn = rng.standard_gamma(weights) + 1e-300  # weights far below 1 give zeros, which would divide by zero
    return np.asarray(drawn / drawn.sum(axis=-1, keepdims=True))
