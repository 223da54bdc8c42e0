"""How much each cell speaks for or against a class, to first order: gradient times input, with its sign.

One backward pass a member gives the number for all cells at once. It describes the network at this bag; what happens
when a cell is really taken out, `leave_one_out` measures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_caltomorph.diagnose.ensemble import Ensemble
from napari_caltomorph.diagnose.member import Member
from napari_caltomorph.encode.features import Features
from napari_caltomorph.errors import FeaturesRefused
from napari_caltomorph.explain.asking import as_bag, class_index, member_log_odds
from napari_caltomorph.progress import OnProgress, Progress, ignore


@dataclass(frozen=True)
class Contributions:
    """What N cells of one patient add to the log-odds of a class.

    Attributes
    ----------
    patient_id, slug : str
        Whose cells, and the class.
    cells : tuple of str
    values : (N,)
        In log-odds (natural), positive for the class, negative against it.
    log_odds, baseline_log_odds : float
        Of this bag, and of a bag of as many average cells; means over the members of each member's own log-odds.
    """

    patient_id: str
    slug: str
    cells: tuple[str, ...]
    values: NDArray[np.float64]
    log_odds: float
    baseline_log_odds: float

    @property
    def unaccounted(self) -> float:
        """What the cells' sum leaves unexplained; 0 only if the network were linear."""
        return self.log_odds - self.baseline_log_odds - float(self.values.sum())

    def strongest(self, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return indices of at most so many cells that speak for the class, and against it; strongest first."""
        order = np.argsort(-self.values, kind="stable")
        speak_for = order[self.values[order] > 0][:count]
        against = order[::-1][self.values[order[::-1]] < 0][:count]
        return speak_for, against


def contributions(ensemble: Ensemble, features: Features, slug: str, *, progress: OnProgress = ignore) -> Contributions:
    """Return each cell's signed contribution to a class.

    Parameters
    ----------
    ensemble : Ensemble
        With or without attention.
    features : Features
        N cells.
    slug : str
        The class that is asked about.
    progress : callable
        Called with a `Progress` before each member; raising `Cancelled` in it stops cleanly.

    Raises
    ------
    FeaturesRefused
        They come from another encoder, or a member has no finite answer to them.

    Notes
    -----
    For each member, z = (x - mean) / std are the cell's features on the member's own scales, and L the log-odds of the
    class under that member's softmax, log p / (1 - p). The contribution of a cell is sum_d z_d dL / dz_d: gradient
    times input (Shrikumar et al. 2016), where the input is counted from the average training cell of the member
    (z = 0), which therefore contributes nothing. Members are averaged.

    On one CPU with one thread the same numbers come out each time. Taking the maximum passes the gradient to the cells
    that hold it, in equal parts where several do.
    """
    index = class_index(ensemble, slug)
    bag = as_bag(ensemble, features)
    values, odds, baselines = [], [], []
    for number, member in enumerate(ensemble.members):
        progress(Progress("Contributions", number, len(ensemble.members), "members"))
        own, at_bag, at_mean = _of_member(member, bag, index)
        if not (np.isfinite(own).all() and np.isfinite(at_bag)):
            raise FeaturesRefused(
                f"{features.patient_id}: a member answers these features with no numbers; encode the smear again."
            )
        values.append(own)
        odds.append(at_bag)
        baselines.append(at_mean)
    progress(Progress("Contributions", len(ensemble.members), len(ensemble.members), "members"))
    return Contributions(
        features.patient_id,
        slug,
        features.cells,
        np.mean(values, axis=0),
        float(np.mean(odds)),
        float(np.mean(baselines)),
    )


def _of_member(member: Member, bag: Tensor, index: int) -> tuple[NDArray[np.float64], float, float]:
    """Contributions (N,), log-odds of the bag, and of N average cells."""
    member = member.eval()
    with torch.inference_mode(False), torch.enable_grad():
        cells = bag.to(member.feature_mean.device).clone().requires_grad_()  # (N, D)
        odds = member_log_odds(member(cells[None]).logits, index)[0]
        (gradient,) = torch.autograd.grad(odds, cells)
        # d/dx is d/dz over std, and z times std is x less the mean: the scales cancel.
        values = ((cells - member.feature_mean) * gradient).detach().cpu().double().sum(1)  # MPS has no float64
        with torch.no_grad():
            average = member.feature_mean.expand_as(cells)[None]
            baseline = member_log_odds(member(average).logits, index)[0]
    return values.numpy(), float(odds.detach()), float(baseline)
