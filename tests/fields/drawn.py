"""Drawn fields: red cells, white cells and platelets at known places, as optical densities under a known light."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

RED_CELL, NUCLEUS = np.array([0.10, 0.24, 0.14]), np.array([0.55, 0.72, 0.05])
CYTOPLASM, PLATELET = np.array([0.14, 0.16, 0.04]), np.array([0.22, 0.30, 0.06])
LIGHT = np.array([225.0, 222.0, 218.0])


def draw_field(
    cells=(), platelets=(), *, size_um=(90, 110), pixel_um=0.25, light=LIGHT, red_cells=True, seed=0
) -> np.ndarray:
    """Return (H, W, 3) uint8; `cells` and `platelets` are (y, x) in micrometres."""
    rng = np.random.default_rng(seed)
    density = np.zeros((*(round(n / pixel_um) for n in size_um), 3), np.float32)

    def paint(place, radius, color):
        reach = radius + 1
        top, left = (max(int((n - reach) / pixel_um), 0) for n in place)
        window = density[top : int((place[0] + reach) / pixel_um), left : int((place[1] + reach) / pixel_um)]
        y, x = (np.arange(n) + 0.5 for n in window.shape[:2])
        away = np.hypot((y[:, None] + top) * pixel_um - place[0], (x + left) * pixel_um - place[1])
        window += np.clip((radius - away) / 0.4 + 0.5, 0, 1)[..., None] * (color - window)

    if red_cells:
        for top in np.arange(5, size_um[0], 9.5):
            for left in np.arange(5, size_um[1], 9.5):
                place = np.array([top, left]) + rng.uniform(-0.7, 0.7, 2)
                if all(np.hypot(*(place - cell)) > 10.5 for cell in cells):
                    paint(place, rng.normal(3.75, 0.12), RED_CELL)
                    paint(place, 1.6, 0.55 * RED_CELL)
    for place in platelets:
        paint(place, 1.1, PLATELET)
    for place in cells:
        paint(place, 6.2, CYTOPLASM)
        paint(place, 4.2, NUCLEUS * rng.uniform(0.9, 1.1))
    density = ndimage.gaussian_filter(density, (0.15 / pixel_um, 0.15 / pixel_um, 0))
    noise = rng.normal(0, 1.5, density.shape)
    return np.clip(light * np.exp(-density) + noise, 0, 255).astype(np.uint8)
