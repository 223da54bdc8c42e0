"""Patients that never were: a diagnosis, a blood count and a stain, from which every cell follows.

Everything about a patient follows from the diagnosis and the seed, and each cell has a seed of its own: any
cell can be drawn again, alone and byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.synthetic.background import RedCells
from napari_caltomorph.synthetic.cells import draw_cell
from napari_caltomorph.synthetic.compositions import COMPOSITIONS, NORMAL_CELLS, Composition
from napari_caltomorph.synthetic.stain import Stain
from napari_caltomorph.taxonomy import CoarseClass, DetailedClass, caltomorph_taxonomy

# Sum of the Dirichlet parameters: with 60, a type of 30 % varies by about 6 percent points between patients.
CONCENTRATION = 60.0
SEX_SHIFT = 0.5  # g/dl of hemoglobin that men lie above and women below the mean.


class UnknownClass(CaltomorphError):
    """No detailed class with a composition has this slug."""


@dataclass(frozen=True)
class SyntheticPatient:
    """One patient of known truth.

    Attributes
    ----------
    patient_id : str
    detailed, coarse : str
        Slugs of the classes.
    hemoglobin_g_dl : float
    age : int
        Years.
    sex : str
        ``"female"`` or ``"male"``.
    cell_types : tuple of str
        (N,) slugs, in the order in which the scanner met the cells.
    stain : Stain
        The look of this patient's slide.
    seed : int
    """

    patient_id: str
    detailed: str
    coarse: str
    hemoglobin_g_dl: float
    age: int
    sex: str
    cell_types: tuple[str, ...]
    stain: Stain
    seed: int

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.cell_types)

    def image(self, index: int, size: int = 144) -> NDArray[np.uint8]:
        """Draw cell `index`, (size, size, 3) uint8 RGB; always the same for the same patient."""
        rng = np.random.default_rng([self.seed, 1, index])
        return draw_cell(self.cell_types[index], rng, self.stain, RedCells(self.hemoglobin_g_dl), size)

    def images(self, size: int = 144) -> Iterator[NDArray[np.uint8]]:
        """Draw all cells in order, each (size, size, 3) uint8 RGB."""
        return (self.image(index, size) for index in range(len(self)))


def synthesize_patient(detailed: str, *, cells: int, seed: int, patient_id: str | None = None) -> SyntheticPatient:
    """Invent one patient.

    Parameters
    ----------
    detailed : str
        Slug of a detailed class, e.g. ``"cml"``.
    cells : int
        How many cells the smear has.
    seed : int
        Not negative; the same seed gives the same patient, to the byte of every image.
    patient_id : str, optional
        ``<detailed>_<seed>`` where not given.

    Returns
    -------
    SyntheticPatient

    Raises
    ------
    UnknownClass
        The message lists the known ones.
    """
    if detailed not in COMPOSITIONS:
        raise UnknownClass(f"{detailed!r} is no detailed class; there are {', '.join(COMPOSITIONS)}.")
    row = COMPOSITIONS[detailed]
    rng = np.random.default_rng([seed, 0])
    is_male = bool(rng.random() < 0.5)
    hemoglobin = rng.normal(*row.hemoglobin) + (SEX_SHIFT if is_male else -SEX_SHIFT)
    return SyntheticPatient(
        patient_id=patient_id or f"{detailed}_{seed}",
        detailed=detailed,
        coarse=class_of(detailed)[0].slug,
        hemoglobin_g_dl=round(float(np.clip(hemoglobin, 4.5, 21.0)), 1),
        age=int(np.clip(rng.normal(*row.age), 18, 95)),
        sex="male" if is_male else "female",
        cell_types=_draw_cell_types(rng, row, cells),
        stain=Stain.sample(rng),
        seed=seed,
    )


def class_of(detailed: str) -> tuple[CoarseClass, DetailedClass]:
    """Return the classes of the taxonomy that a detailed slug stands for."""
    return next(
        (coarse, one) for coarse in caltomorph_taxonomy().classes for one in coarse.detailed if one.slug == detailed
    )


def _draw_cell_types(rng: np.random.Generator, row: Composition, cells: int) -> tuple[str, ...]:
    burden = rng.beta(*row.burden)
    types: list[str] = []
    shares: list[float] = []
    for frequencies, share in ((NORMAL_CELLS, 1 - burden), (row.cells, burden)):
        weights = np.array(list(frequencies.values()), float)
        types += list(frequencies)
        shares += list(share * rng.dirichlet(CONCENTRATION * weights / weights.sum()))
    drawn = rng.choice(len(types), size=cells, p=np.array(shares) / np.sum(shares))
    return tuple(types[index] for index in drawn)
