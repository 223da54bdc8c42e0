"""Synthetic patients: a diagnosis, a blood count and a stain, from which every cell follows.

A patient is a mixture of the normal differential and the disease's own cells (``compositions.yaml``). All of it depends
on the diagnosis and the seed alone, and each cell has a seed of its own: any cell can be drawn again, byte for byte.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.synthetic.background import RedCells
from napari_caltomorph.synthetic.canvas import Stain
from napari_caltomorph.synthetic.cells import draw_cell
from napari_caltomorph.taxonomy import CoarseClass, DetailedClass, Taxonomy, caltomorph_taxonomy, load_label_map

GENERATOR_VERSION = "2"
"""Goes up whenever the same seed draws another picture, or another patient."""

# Sum of the Dirichlet parameters of the normal differential: neutrophils vary by 6 percent points between patients.
NORMAL_LIKENESS = 60.0
# How much of a stain that gives the class away is the class's; the rest is the patient's own.
SHORTCUT = 0.85
SEX_SHIFT = 0.5  # g/dl of hemoglobin by which men are above and women below the mean.


class UnknownClass(CaltomorphError):
    """No class with a composition has this slug."""


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Composition:
    """What the blood of one detailed class looks like."""

    cells: dict[str, int]  # Relative frequency of the disease's cells by slug of the cell type
    burden: tuple[float, float]  # Beta distribution of the share of the disease's cells among all
    hemoglobin: tuple[float, float]  # Mean and standard deviation, g/dl, of both sexes together
    age: tuple[float, float]  # Mean and standard deviation, years
    source: str  # Works of `sources` in the file, with the chapter or entity
    # How alike the patients' mixtures of the disease's cells are: sum of the Dirichlet parameters. With 60 a type
    # of 30 % varies by about 6 percent points between patients, with 12 by 13.
    likeness: float = 12.0
    rouleaux: float = 0.02  # Share of patients in which red cells form rolls
    teardrops: float = 0.01  # Share of patients in which many red cells are drawn out into drops


class CompositionTable(BaseModel, frozen=True, extra="forbid"):
    """The content of ``compositions.yaml``."""

    sources: dict[str, str]  # What `Composition.source` names
    normal_cells: dict[str, int]  # Frequency of the cells of healthy blood, per mille
    compositions: dict[str, Composition]  # By detailed class of the caltomorph taxonomy
    aml_hehr_compositions: dict[str, Composition]  # By class of the aml-hehr taxonomy


_FILE = resources.files(__package__).joinpath("compositions.yaml")
TABLE = CompositionTable(**yaml.safe_load(_FILE.read_text("utf-8")))
COMPOSITIONS = TABLE.compositions
"""Detailed class of the caltomorph taxonomy -> what the blood of its patients looks like."""
AML_HEHR_COMPOSITIONS = TABLE.aml_hehr_compositions
"""The same for the classes of the aml-hehr taxonomy."""


@dataclass(frozen=True)
class SyntheticPatient:
    """One patient of known truth."""

    patient_id: str
    detailed: str  # Slug of the class
    coarse: str  # Slug of the class
    hemoglobin_g_dl: float
    rouleaux: float  # Fraction of the red cells that form rolls
    teardrops: float  # Fraction of the red cells that are drawn out into a tail
    age: int  # Years
    sex: str  # "female" or "male"
    cell_types: tuple[str, ...]  # (N,) slugs, in the order in which the scanner found the cells
    stain: Stain  # The look of this patient's slide
    seed: int

    @property
    def red_cells(self) -> RedCells:
        """The surroundings of every cell."""
        return RedCells(self.hemoglobin_g_dl, rouleaux=self.rouleaux, teardrops=self.teardrops)

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.cell_types)

    def image(self, index: int, size: int = 144) -> NDArray[np.uint8]:
        """Draw cell `index`, (size, size, 3) uint8 RGB; always the same for the same patient."""
        rng = np.random.default_rng([self.seed, 1, index])
        return draw_cell(self.cell_types[index], rng, self.stain, self.red_cells, size)

    def images(self, size: int = 144) -> Iterator[NDArray[np.uint8]]:
        """Draw all cells in order, each (size, size, 3) uint8 RGB."""
        return (self.image(index, size) for index in range(len(self)))


def synthesize_patient(
    detailed: str, *, cells: int, seed: int, patient_id: str | None = None, shortcut: bool = False
) -> SyntheticPatient:
    """Synthesize one patient.

    Parameters
    ----------
    detailed : str
        Slug of a detailed class, e.g. ``"cml"``, or of a class of AML-Hehr, e.g. ``"npm1"``.
    cells : int
        How many cells the smear has; one at least.
    seed : int
        Not negative; the same seed gives the same patient, to the byte of every image.
    patient_id : str, optional
        ``<detailed>_<seed>`` where not given.
    shortcut : bool
        Whether the stain gives the class away, as if each disease came from another laboratory; otherwise it does not
        depend on the disease.

    Raises
    ------
    UnknownClass
        The message lists the known ones.
    """
    known = COMPOSITIONS | AML_HEHR_COMPOSITIONS
    if detailed not in known:
        raise UnknownClass(f"{detailed!r} is no detailed class; there are {', '.join(known)}.")
    if cells < 1:
        raise ValueError(f"A smear has one cell at least, not {cells}.")
    row = known[detailed]
    rng = np.random.default_rng([seed, 0])
    is_male = bool(rng.random() < 0.5)
    hemoglobin = rng.normal(*row.hemoglobin) + (SEX_SHIFT if is_male else -SEX_SHIFT)
    age = int(np.clip(rng.normal(*row.age), 18, 95))
    rouleaux = rng.uniform(0.3, 0.9) if rng.random() < row.rouleaux else rng.uniform(0, 0.1)
    teardrops = rng.uniform(0.08, 0.4) if rng.random() < row.teardrops else rng.uniform(0, 0.015)
    coarse = class_of(detailed)[0].slug
    cell_types = _draw_cell_types(rng, row, cells)
    stain = Stain.sample(rng)  # Last: patients stay the same when stains are drawn in another way.
    return SyntheticPatient(
        patient_id=patient_id or f"{detailed}_{seed}",
        detailed=detailed,
        coarse=coarse,
        hemoglobin_g_dl=round(float(np.clip(hemoglobin, 4.5, 21.0)), 1),
        rouleaux=float(rouleaux),
        teardrops=float(teardrops),
        age=age,
        sex="male" if is_male else "female",
        cell_types=cell_types,
        stain=_stain_of_class(coarse, stain) if shortcut else stain,
        seed=seed,
    )


def class_of(detailed: str) -> tuple[CoarseClass, DetailedClass]:
    """Return the coarse and detailed class of a slug with a composition, from the taxonomy of the slug."""
    taxonomy = caltomorph_taxonomy() if detailed in COMPOSITIONS else _aml_hehr_taxonomy()
    return next((coarse, one) for coarse in taxonomy.classes for one in coarse.detailed if one.slug == detailed)


@cache
def _aml_hehr_taxonomy() -> Taxonomy:
    label_map = load_label_map("aml-hehr")
    if label_map is None:
        raise RuntimeError("The shipped label map aml-hehr has no taxonomy.")
    return label_map.taxonomy


def _stain_of_class(coarse: str, own: Stain) -> Stain:
    """Mix a class's stain and a patient's own, number by number."""
    of_class = Stain.sample(np.random.default_rng(zlib.crc32(coarse.encode())))
    mixed: dict[str, Any] = {}
    for one in fields(Stain):
        theirs, ours = (np.array(getattr(stain, one.name)) for stain in (of_class, own))
        value = SHORTCUT * theirs + (1 - SHORTCUT) * ours
        mixed[one.name] = tuple(value.tolist()) if value.ndim else float(value)
    return Stain(**mixed)


def _draw_cell_types(rng: np.random.Generator, row: Composition, cells: int) -> tuple[str, ...]:
    burden = rng.beta(*row.burden)
    types: list[str] = []
    shares: list[float] = []
    for frequencies, likeness, share in (
        (TABLE.normal_cells, NORMAL_LIKENESS, 1 - burden),
        (row.cells, row.likeness, burden),
    ):
        weights = np.array(list(frequencies.values()), float)
        types += list(frequencies)
        shares += list(share * rng.dirichlet(likeness * weights / weights.sum()))
    drawn = rng.choice(len(types), size=cells, p=np.array(shares) / np.sum(shares))
    return tuple(types[index] for index in drawn)
