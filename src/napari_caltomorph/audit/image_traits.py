"""Image traits of the patients of a cohort: tables with a row a patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import Smear, open_place
from napari_caltomorph.smear.image_traits import APPEARANCE, SIZES, Traits, smear_traits

OpenSmear = Callable[[str], Smear]


@dataclass(frozen=True)
class ImageTraits:
    """Traits of patients, each table with one row a patient, indexed by patient_id; NaN without a measured image."""

    borders: pd.DataFrame
    colours: pd.DataFrame
    sizes: pd.DataFrame  # Has the number of cells of patients without images too
    unreadable: dict[str, str]  # Patient -> why its images could not be read
    passed_over: dict[str, int] = field(default_factory=dict)  # Patient -> its unreadable single images

    @property
    def appearance(self) -> pd.DataFrame:
        """Borders and sizes as means over images: no trait in it is of nucleated cells, or of their number."""
        return pd.concat([self.borders.filter(APPEARANCE), self.sizes.filter(SIZES)], axis=1)


def image_traits(
    table: pd.DataFrame,
    *,
    cells: int = 60,
    seed: int = 0,
    open_smear: OpenSmear | None = None,
    progress: OnProgress = ignore,
) -> ImageTraits:
    """Measure the images of the patients in a cohort's table; where n_cells is missing, all images are counted.

    So many `cells`, different images without whole fields and unreadable ones, are chosen of each patient at random.
    `open_smear` returns a patient's smear by id, in place of the path.
    """
    found: dict[str, tuple[Traits, Traits, Traits]] = {}
    unreadable: dict[str, str] = {}
    passed_over: dict[str, int] = {}
    places = zip(table["patient_id"], table["path"], table["n_cells"], strict=True)
    for number, (patient, path, n_cells) in enumerate(places):
        progress(Progress("Measuring images", number, len(table), "patients"))
        borders, colours, sizes = Traits(), Traits(), Traits()
        try:
            if open_smear is not None or pd.notna(path):
                smear = open_smear(patient) if open_smear is not None else open_place(path)
                n_cells = len(smear) if pd.isna(n_cells) else n_cells
                borders, colours, sizes, bad = smear_traits(smear, cells, seed, patient)
                if bad:
                    passed_over[patient] = bad
            else:
                unreadable[patient] = "no images, only features"
        except SmearUnreadable as error:
            unreadable[patient] = str(error)
        if pd.notna(n_cells):
            sizes["log cells"] = float(np.log1p(n_cells))
        found[patient] = borders, colours, sizes
    progress(Progress("Measuring images", len(table), len(table), "patients"))
    of_borders, of_colours, of_sizes = (
        pd.DataFrame.from_dict({patient: parts[i] for patient, parts in found.items()}, orient="index", dtype=float)
        for i in range(3)
    )
    return ImageTraits(of_borders, of_colours, of_sizes, unreadable, passed_over)
