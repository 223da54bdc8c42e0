"""What single members said of the patients of their own folds, counted from the table that a model keeps of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.statistics.classification import confusion
from napari_caltomorph.taxonomy import Taxonomy


def out_of_fold_confusion(patients: pd.DataFrame, taxonomy: Taxonomy) -> NDArray[np.int64]:
    """Count training patients by their class and by the class that the member of their fold gives them.

    Parameters
    ----------
    patients : pandas.DataFrame
        Of `TrainingPatients`: coarse, and ``out_of_fold_p_<class slug>``, missing where no member said anything.
    taxonomy : Taxonomy
        The model's C classes.

    Returns
    -------
    (C, C) int
        Rows are true classes, columns predicted ones.
    """
    slugs = list(taxonomy.slugs)
    said = patients[[f"out_of_fold_p_{slug}" for slug in slugs]].to_numpy(dtype=float, na_value=np.nan)  # (P, C)
    is_known = np.isfinite(said).all(axis=1)
    classes = np.array([slugs.index(slug) for slug in patients["coarse"][is_known]], dtype=np.int64)
    return confusion(classes, said[is_known].argmax(axis=1), len(slugs))
