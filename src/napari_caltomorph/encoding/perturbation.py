"""Cells as another laboratory could have stained, lit, focused and cropped them; only the cell itself stays.

Changes are drawn per cell, on tensors, so that a training on the CPU spends little time here. Stain and white balance
change in optical density, where dyes add up (Beer and Lambert). The views of a cell are drawn from its own pixels, so
that they are the same in any batch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_KERNEL = 9  # Pixels of the blur's kernel
_STRONGEST = 1.6


@dataclass(frozen=True)
class Perturbation:
    """How much is changed: standard deviations, or shares of the cells that are changed."""

    turn: float = 1.0  # Largest angle as a share of a full turn; half of that share of cells are mirrored
    zoom: float = 0.35  # Largest change of the logarithm of the scale
    stretch: float = 0.06  # Of the logarithm of height by width
    shift: float = 0.05  # Of the field's width
    surroundings: float = 0.4  # Share of cells around which the slide is replaced
    dyes: float = 0.12  # Mixing of the three channels' densities
    stain: float = 0.25  # Of the logarithm of the whole density
    channel: float = 0.25  # Of the logarithm of each channel's density
    white: float = 0.12  # White balance, in density
    hue: float = 0.3  # Radians around the grey axis
    saturation: float = 0.5  # Of its logarithm
    gamma: float = 0.2  # Of its logarithm
    gradient: float = 0.1  # Light, from the centre to the border
    blur: float = 1.6  # Pixels; half of the cells
    noise: float = 0.02  # Of white

    def __str__(self) -> str:
        return ",".join(f"{name}{value:g}" for name, value in asdict(self).items() if value)


STAIN_VIEWS = Perturbation(
    turn=0,
    zoom=0.06,
    stretch=0,
    shift=0,
    surroundings=0,
    dyes=0.04,
    stain=0.15,
    channel=0.08,
    white=0.04,
    hue=0.08,
    saturation=0.15,
    gamma=0.1,
    gradient=0.05,
    blur=0.8,
    noise=0,
)
"""Of the views of `encode --views`: milder than what an encoder is trained on, so that a cell keeps its type."""


def with_views(cells: Tensor, images: Sequence[NDArray[np.uint8]], count: int) -> Tensor:
    """Return B cells (B, 3, size, size), RGB in 0...1, each with so many views: (B, 1 + count, 3, size, size).

    A view is drawn from the pixels of the cell's image and the number of the view. It zooms in only, by at most twice
    the zoom of `STAIN_VIEWS`, since there is nothing around an image.
    """
    digests = [hashlib.sha256(np.ascontiguousarray(image).data) for image in images]
    generators = [_generator(digest.copy(), view) for digest in digests for view in range(1, count + 1)]
    field, repeated = math.exp(-STAIN_VIEWS.zoom), cells.repeat_interleave(count, dim=0)
    views = perturb(repeated, cells.shape[-1], field, STAIN_VIEWS, generators).view(len(cells), count, *cells.shape[1:])
    return torch.cat([cells[:, None], views], dim=1)


def _generator(digest: hashlib._Hash, view: int) -> torch.Generator:
    digest.update(view.to_bytes(4, "big"))
    return torch.Generator().manual_seed(int.from_bytes(digest.digest()[:7], "big"))


def perturb(
    cells: Tensor,
    size: int,
    field: float,
    how: Perturbation = Perturbation(),
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
) -> Tensor:
    """Return each cell changed at random: (B, 3, size, size), RGB in 0...1.

    Parameters
    ----------
    cells : Tensor
        (B, 3, S, S), RGB in 0...1, wider than the field so that turned and zoomed cells have no empty corners.
    size : int
        Pixels of the result.
    field : float
        Width of the encoder's field as a share of S.
    how : Perturbation
    generator : torch.Generator, optional
        The same one gives the same changes; with one for each cell, these do not depend on the other cells, unless
        `how` changes surroundings.
    """
    draw = _Draw(cells, generator)
    turned = _turned(cells, size, field, how, draw)
    stained = _stained(_other_surroundings(turned, how, draw), how, draw)
    return _focused(_lit(stained, how, draw), how, draw)


class _Draw:
    """Random numbers, one or more a cell, shaped (B, 1, 1, 1) or (B, n, 1, 1).

    Some cells are hardly changed and some strongly: `normal` is scaled by a number of the cell.
    """

    def __init__(self, cells: Tensor, generator: torch.Generator | Sequence[torch.Generator] | None) -> None:
        self.cells, self.device, self.generator = len(cells), cells.device, generator
        self.strength = self.uniform(0, _STRONGEST)

    def normal(self, count: int = 1) -> Tensor:
        return self.strength * self.numbers(torch.randn, count, 1, 1)

    def uniform(self, low: float = 0, high: float = 1) -> Tensor:
        return low + (high - low) * self.numbers(torch.rand, 1, 1, 1)

    def happens(self, share: float) -> Tensor:
        return self.uniform() < share

    def order(self) -> Tensor:
        if isinstance(self.generator, Sequence):
            raise TypeError("the surroundings of other cells have one generator for all")
        return torch.randperm(self.cells, generator=self.generator).to(self.device)

    def numbers(self, source: Callable[..., Tensor], *shape: int) -> Tensor:
        """(B, *shape) from `torch.rand` or `torch.randn`, drawn on the CPU: any device gets the same."""
        if isinstance(self.generator, Sequence):
            drawn = torch.stack([source(shape, generator=one) for one in self.generator])
        else:
            drawn = source((self.cells, *shape), generator=self.generator)
        return drawn.to(self.device)


def _turned(cells: Tensor, size: int, field: float, how: Perturbation, draw: _Draw) -> Tensor:
    angle = how.turn * draw.uniform(0, 2 * math.pi).view(-1)
    wide = field * draw.uniform(-how.zoom, how.zoom).exp().view(-1)
    high = wide * (how.stretch * draw.normal()).exp().view(-1)
    mirror = torch.where(draw.happens(1 - 0.5 * how.turn), 1.0, -1.0).view(-1)
    shift = field * how.shift * draw.normal(2).view(-1, 2, 1)
    rows = [[angle.cos() * wide * mirror, -angle.sin() * high], [angle.sin() * wide * mirror, angle.cos() * high]]
    matrix = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)  # (B, 2, 2)
    grid = functional.affine_grid(torch.cat([matrix, shift], dim=2), [len(cells), 3, size, size], align_corners=False)
    return functional.grid_sample(cells, grid, padding_mode="reflection", align_corners=False)


def _other_surroundings(cells: Tensor, how: Perturbation, draw: _Draw) -> Tensor:
    """Outside a disc, show another cell's surroundings, or the plain background."""
    if not how.surroundings:
        return cells
    axis = torch.linspace(-1, 1, cells.shape[-1], device=cells.device)
    radius = (axis[:, None].square() + axis[None, :].square()).sqrt()
    inside = ((draw.uniform(0.7, 1.1) - radius) / 0.05).sigmoid()  # (B, 1, size, size)
    background = functional.avg_pool2d(cells, 8).amax(dim=(-2, -1), keepdim=True)
    outside = torch.where(draw.happens(0.5), cells[draw.order()], background)
    return torch.where(draw.happens(how.surroundings), inside * cells + (1 - inside) * outside, cells)


def _stained(cells: Tensor, how: Perturbation, draw: _Draw) -> Tensor:
    density = -(cells * 255 / 256 + 1 / 256).log()
    dyes = torch.eye(3, device=cells.device) + how.dyes * draw.normal(9).view(-1, 3, 3)
    density = torch.einsum("bij,bjhw->bihw", dyes, density)
    density = density * (how.stain * draw.normal() + how.channel * draw.normal(3)).exp()
    return (-(density + how.white * (draw.normal(3) + draw.normal()))).exp().clamp(0, 1)


def _lit(cells: Tensor, how: Perturbation, draw: _Draw) -> Tensor:
    axis = torch.linspace(-1, 1, cells.shape[-1], device=cells.device)
    light = 1 + how.gradient * (draw.normal() * axis.view(1, 1, 1, -1) + draw.normal() * axis.view(1, 1, -1, 1))
    cells = (cells * light).clamp(1e-3, 1) ** (how.gamma * draw.normal()).exp()
    grey = cells.mean(dim=1, keepdim=True)
    colour = cells - grey
    # Around the grey axis: c cos(a) + (k x c) sin(a), with k = (1, 1, 1) / sqrt(3)
    angle = how.hue * draw.normal()
    across = (colour.roll(1, dims=1) - colour.roll(-1, dims=1)) / math.sqrt(3)
    colour = colour * angle.cos() + across * angle.sin()
    return grey + colour * (how.saturation * draw.normal()).exp()


def _focused(cells: Tensor, how: Perturbation, draw: _Draw) -> Tensor:
    """Blur half of the cells, sharpen some of the others, add noise."""
    sigma = (how.blur * draw.normal().abs()).clamp(0.3, 3)
    offsets = torch.arange(_KERNEL, device=cells.device).view(1, 1, 1, -1) - _KERNEL // 2
    kernel = (-offsets.square() / (2 * sigma.square())).exp()
    kernel = (kernel / kernel.sum(dim=-1, keepdim=True)).repeat_interleave(3, dim=0)  # (3 B, 1, 1, _KERNEL)
    flat = functional.pad(cells.reshape(1, -1, *cells.shape[-2:]), (_KERNEL // 2,) * 4, mode="reflect")
    flat = functional.conv2d(functional.conv2d(flat, kernel, groups=len(kernel)), kernel.mT, groups=len(kernel))
    blurred = flat.view(cells.shape)
    weight = torch.where(draw.happens(0.5), 1.0, torch.where(draw.happens(0.4), -draw.uniform(0, 1), 0.0))
    focused = cells + weight * (blurred - cells)
    if how.noise:
        focused = focused + how.noise * draw.normal().abs() * draw.numbers(torch.randn, *cells.shape[1:])
    return focused.clamp(0, 1)
