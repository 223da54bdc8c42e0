"""The slide's own look: how light, dye and microscope turn optical densities into a picture.

A cell is painted as optical density (Beer-Lambert: densities of a dye scale, colours do not), and the
patient's `Stain` develops it. The stain varies from patient to patient and knows nothing of the disease.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_caltomorph.synthetic.shapes import Grid
from napari_caltomorph.synthetic.texture import Field, clouds

Color = tuple[int, int, int]

REFERENCE_LIGHT: Color = (
    252,
    227,
    201,
)  # Empty glass of the reference stain; the tables' colours are seen on it.


def density(color: Color) -> Field:
    """Return the optical density (3,) of a table's colour, as the reference stain shows it."""
    return -np.log(np.array(color, np.float32) / np.array(REFERENCE_LIGHT, np.float32))


@dataclass(frozen=True)
class Stain:
    """How one patient's slide was stained, lit and focused.

    Attributes
    ----------
    light : (3,) floats
        RGB of empty glass.
    gain : (3,) floats
        Strength of the dye as each channel sees it; 1 is the reference.
    blur : float
        Defocus, micrometres.
    unevenness : float
        Fall of the light across the image, as a fraction.
    noise : float
        Standard deviation of the camera's noise, grey values.
    crowding : float
        How densely red cells lie, 0 to 1.
    """

    light: tuple[float, float, float]
    gain: tuple[float, float, float]
    blur: float
    unevenness: float
    noise: float
    crowding: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Stain:
        """Draw the stain of one patient."""
        warmth, brightness = rng.uniform(0, 1), rng.uniform(-6, 2)
        light = np.array([244.0, 235.0, 218.0]) * (1 - warmth) + np.array([253.0, 226.0, 199.0]) * warmth
        gain = rng.normal(1.0, 0.09) * rng.normal(1.0, 0.05, 3)
        red, green, blue = np.clip(light + brightness, 0, 254)
        return cls(
            light=(float(red), float(green), float(blue)),
            gain=(float(gain[0]), float(gain[1]), float(gain[2])),
            blur=float(rng.uniform(0.03, 0.12)),
            unevenness=float(rng.uniform(0.0, 0.05)),
            noise=float(rng.uniform(0.8, 2.0)),
            crowding=float(rng.uniform(0.3, 1.0)),
        )

    def develop(self, rng: np.random.Generator, grid: Grid, densities: Field) -> NDArray[np.uint8]:
        """Turn optical densities (3, size, size) into the picture (size, size, 3) that the camera saw."""
        sigma = self.blur / grid.pixel * rng.uniform(0.7, 1.5)
        blurred = ndimage.gaussian_filter(densities, (0, sigma, sigma), truncate=2.5, mode="nearest")
        picture = np.exp(blurred * -np.array(self.gain, np.float32)[:, None, None])
        tilt = grid.z.real / (grid.pixel * grid.size)
        light = np.array(self.light, np.float32)[:, None, None]
        picture *= light * (1 + np.float32(self.unevenness) * tilt)
        picture += np.float32(self.noise) * clouds(rng, grid.size, 0.5)
        return np.ascontiguousarray(np.clip(picture + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0))
