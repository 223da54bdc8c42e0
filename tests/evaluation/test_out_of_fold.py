"""Out-of-fold confusion, counted from the table of a model's training patients."""

from __future__ import annotations

import numpy as np
import pandas as pd

from napari_caltomorph.evaluation import out_of_fold_confusion
from napari_caltomorph.taxonomy import Taxonomy, caltomorph_taxonomy


def two_classes() -> Taxonomy:
    taxonomy = caltomorph_taxonomy()
    return taxonomy.model_copy(update={"classes": taxonomy.classes[:2]})


def test_patients_are_counted_by_class_and_prediction_and_those_of_untrained_folds_left_out() -> None:
    taxonomy = two_classes()
    first, second = taxonomy.slugs
    said = {
        first: [0.9, 0.2, 0.7, np.nan, 0.1],
        second: [0.1, 0.8, 0.3, np.nan, 0.9],
    }
    table = pd.DataFrame(
        {
            "coarse": pd.array([first, first, second, second, second], dtype="string"),
            **{f"out_of_fold_p_{slug}": values for slug, values in said.items()},
        }
    )
    assert out_of_fold_confusion(table, taxonomy).tolist() == [[1, 1], [1, 1]]
