"""How much each cell increases or decreases the log-odds of a class: gradient times input, with its sign.

A few backward passes a member give the numbers of all cells at once. Where a model is certain, its gradient is flat and
explains little. So the gradient is averaged along the path from average cells to these (integrated gradients).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_caltomorph.diagnosis.ensemble import Ensemble
from napari_caltomorph.diagnosis.inference import NOT_FINITE, member_log_odds
from napari_caltomorph.diagnosis.member import Member
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.errors import FeaturesRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore

# Points on the path; `unaccounted` is the error that 12 of them leave.
_POINTS = 12


@dataclass(frozen=True)
class Contributions:
    """What N cells of one patient add to the log-odds of a class."""

    # The patient of the cells, and the class
    patient_id: str
    slug: str
    cells: tuple[str, ...]
    values: NDArray[np.float64]  # (N,): in log-odds (natural): positive where the cell increases them
    # Of this bag, and of a bag of as many average cells; means over the members of each member's own log-odds
    log_odds: float
    baseline_log_odds: float
    # False: cells of a model of an earlier version, without scales, are counted from features of 0, which are no cells
    is_from_average: bool = True

    @property
    def baseline_in_words(self) -> str:
        """What the cells are counted from, after "one of"."""
        if self.is_from_average:
            return "average cells"
        return "cells whose features are all 0, which no cell has: this model was trained by an earlier version"

    @property
    def unaccounted(self) -> float:
        """What the sum of the cells leaves unexplained: little along the path, more with the gradient at the bag."""
        return self.log_odds - self.baseline_log_odds - float(self.values.sum())

    def strongest(self, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return indices of at most `count` cells that support the class, and that oppose it; strongest first."""
        order = np.argsort(-self.values, kind="stable")
        supporting = order[self.values[order] > 0][:count]
        opposing = order[::-1][self.values[order[::-1]] < 0][:count]
        return supporting, opposing


def contributions(
    ensemble: Ensemble, features: Features, slug: str, *, along_path: bool = True, progress: OnProgress = ignore
) -> Contributions:
    """Return each cell's signed contribution to a class.

    With `along_path`, the gradient is averaged along the path from average cells to these; otherwise it is taken at
    these cells only. Raises `FeaturesRefused` where the features are of another encoder, or an output is not finite.

    For each member, z = x - average are the cell's features, counted from the average training cell of the member,
    which therefore contributes nothing, and L is the log-odds of the class under that member's softmax,
    log p / (1 - p). The contribution of a cell is sum_d z_d g_d, which no scale of the features changes. g is the mean
    of dL / dz over the bags a z of all cells, a from 0 to 1 (integrated gradients; Sundararajan, Taly and Yan 2017), so
    that the contributions add up to L(z) - L(0) except for the error of the sum over 12 points (Gauss-Legendre).
    Without the path, g is dL / dz at the bag (gradient times input; Shrikumar et al. 2016). Members are averaged.

    On one CPU with one thread the numbers are reproducible. The gradient of a maximum goes to the cells that have it,
    in equal parts where several do.
    """
    index = ensemble.class_index(slug)
    bag = ensemble.bag(features)
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS)
    points = list(zip((nodes + 1) / 2, weights / 2, strict=True)) if along_path else [(1.0, 1.0)]
    values, ends = [], []
    total = len(ensemble.members) * len(points)
    for number, member in enumerate(ensemble.members):
        own = np.zeros(len(features))
        ends.append(_at_ends(member, bag, index))
        for step, (point, weight) in enumerate(points):
            progress(Progress("Contributions", number * len(points) + step, total, "passes"))
            own += weight * _gradient_times_input(member, bag, index, float(point))
        values.append(own)
    if not (np.isfinite(values).all() and np.isfinite(ends).all()):
        raise FeaturesRefused(f"{features.patient_id}: {NOT_FINITE}")
    progress(Progress("Contributions", total, total, "passes"))
    at_bag, at_mean = np.mean(ends, axis=0)
    mean = np.mean(values, axis=0)
    return Contributions(
        features.patient_id,
        slug,
        features.cells,
        mean,
        float(at_bag),
        float(at_mean),
        all(member.knows_average_cell for member in ensemble.members),
    )


@torch.inference_mode()
def _at_ends(member: Member, bag: Tensor, index: int) -> tuple[float, float]:
    """Log-odds of the bag, and of as many average cells."""
    average = member.average_cell.expand(len(bag), -1)
    bags = torch.stack([bag.to(average.device), average])
    at_bag, at_mean = member_log_odds(member.eval()(bags).logits, index).tolist()
    return at_bag, at_mean


def _gradient_times_input(member: Member, bag: Tensor, index: int, point: float) -> NDArray[np.float64]:
    """(N,) by the gradient at a point between average cells (0) and these (1)."""
    member = member.eval()
    with torch.inference_mode(False), torch.enable_grad():
        away = bag.to(member.average_cell.device) - member.average_cell  # (N, D)
        cells = (member.average_cell + point * away).requires_grad_()
        odds = member_log_odds(member(cells[None]).logits, index)[0]
        (gradient,) = torch.autograd.grad(odds, cells)
        return np.asarray((away * gradient).cpu().double().sum(1).numpy())  # MPS has no float64
