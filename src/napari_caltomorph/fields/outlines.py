"""How far a cell reaches around its nucleus: the ellipse that has the most of the cell and the least of anything else.

A linear model gives every place near a nucleus its log-odds of being inside the cell; the ellipse is moved and
stretched until their sum in it is largest. The model learnt from boxes: what is inside one's ellipse is cell, what is
outside the box is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_caltomorph.fields.nuclei import PX_PER_UM, Nucleus, Stained

_ANGLES = np.arange(32) * 2 * np.pi / 32
_RADII_UM = np.arange(0.5, 13.5, 0.5)
_MARGIN = int(15 * PX_PER_UM)
_SMOOTH_UM = 1.2
_EXTREME = 3.0  # Log-odds of one place beyond this count as this
_RIM_UM = 1.5  # Of cytoplasm, where the search begins
_STEPS_UM = (2.0, 1.0, 0.5, 0.25)
# Centre and half axes (y, x, height, width) change one at a time, or a single side of the box moves.
_MOVES = np.array(
    [move * sign for move in np.eye(4) for sign in (1, -1)]
    + [np.array([a, 0, b, 0]) / 2 for a, b in product((1, -1), repeat=2)]
    + [np.array([0, a, 0, b]) / 2 for a, b in product((1, -1), repeat=2)]
)

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Surroundings:
    """Places around a nucleus, along rays from its middle."""

    nucleus: Nucleus
    y: _Floats  # (places,), working pixels
    x: _Floats
    features: _Floats  # (places, 4)
    is_outside: NDArray[np.bool_]  # Of the image
    shape: tuple[int, int]  # Of the image

    def box(self, log_odds: _Floats, others: Sequence[Nucleus] = ()) -> _Floats:
        """Return top, left, bottom and right of the cell, within the image; `others` are nuclei of other cells."""
        weight = np.clip(log_odds, -_EXTREME, _EXTREME) * np.tile(_RADII_UM, len(_ANGLES))
        if others:
            places = np.stack([self.y, self.x], axis=-1)
            own = cKDTree(self.nucleus.pixels).query(places)[0]
            nearer = cKDTree(np.concatenate([other.pixels for other in others])).query(places)[0] < own
            weight = np.where(nearer, -_EXTREME * np.tile(_RADII_UM, len(_ANGLES)), weight)
        weight[self.is_outside] = 0
        first, last = self.nucleus.box
        ellipse = self._fit(weight, np.concatenate([(first + last) / 2, (last - first) / 2 + _RIM_UM * PX_PER_UM]))
        upper, lower = ellipse[:2] - ellipse[2:], ellipse[:2] + ellipse[2:]
        return np.concatenate(
            [np.maximum(np.minimum(upper, first), 0), np.minimum(np.maximum(lower, last + 1), self.shape)]
        )

    def _fit(self, weight: _Floats, ellipse: _Floats) -> _Floats:
        """Climb to the ellipse with the largest sum, by ever smaller steps."""
        best = self._sum(weight, ellipse)
        for step in _STEPS_UM:
            for _ in range(8):
                tried = [one for one in ellipse + _MOVES * step * PX_PER_UM if one[2:].min() > 2 * PX_PER_UM]
                sums = [self._sum(weight, one) for one in tried]
                if not sums or max(sums) <= best:
                    break
                best = max(sums)
                ellipse = tried[sums.index(best)]
        return ellipse

    def _sum(self, weight: _Floats, ellipse: _Floats) -> float:
        y, x = (self.y - ellipse[0]) / ellipse[2], (self.x - ellipse[1]) / ellipse[3]
        cover = np.clip(3.5 - 3 * (y * y + x * x), 0, 1)  # A soft edge, so that every small step counts
        return float(cover @ weight)


def survey(nucleus: Nucleus, stained: Stained) -> Surroundings:
    """Measure what is around a nucleus: red, green, nuclear stain, and the distance from the nucleus."""
    first, last = nucleus.box
    centre = (first + last) / 2
    y = (centre[0] + PX_PER_UM * np.outer(np.sin(_ANGLES), _RADII_UM)).ravel()
    x = (centre[1] + PX_PER_UM * np.outer(np.cos(_ANGLES), _RADII_UM)).ravel()
    height, width = stained.stain.shape
    corner = np.maximum(centre.astype(int) - _MARGIN, 0)
    window = np.s_[corner[0] : int(centre[0]) + _MARGIN, corner[1] : int(centre[1]) + _MARGIN]
    density, stain = stained.density[window], stained.stain[window]
    is_other = np.ones(stain.shape, bool)
    inside = nucleus.pixels - corner
    inside = inside[((inside >= 0) & (inside < stain.shape)).all(axis=1)]
    is_other[tuple(inside.T)] = False
    sigma = _SMOOTH_UM * PX_PER_UM
    maps = (
        ndimage.gaussian_filter(density[..., 0], sigma),
        ndimage.gaussian_filter(density[..., 1], sigma),
        ndimage.gaussian_filter(stain, sigma) / nucleus.peak,
        np.log1p(ndimage.distance_transform_edt(is_other) / PX_PER_UM),
    )
    places = [y - corner[0], x - corner[1]]
    features = [ndimage.map_coordinates(one, places, order=1, mode="nearest") for one in maps]
    outside = (y < 0) | (x < 0) | (y > height - 1) | (x > width - 1)
    return Surroundings(nucleus, y, x, np.stack(features, axis=-1), outside, (height, width))
