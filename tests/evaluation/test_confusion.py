"""Rows of confusion matrices, and the confusion of held-out training patients."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.evaluation.factories import SLUGS, evaluation_of, simulated

from napari_caltomorph.evaluation import out_of_fold_confusion
from napari_caltomorph.taxonomy import Taxonomy, caltomorph_taxonomy


def test_rows_stay_few_however_many_classes_the_model_does_not_know():
    names = [f"disease {i}" for i in range(30) for _ in range(1 + (i < 9))]
    sets = [f"{one}|{other}" for one in SLUGS for other in SLUGS if one < other]
    several = [None] * len(names) + sets * 2
    row = names + [None] * (2 * len(sets))
    probabilities = np.tile([0.4, 0.3, 0.2, 0.1], (len(row), 1))
    confusion = evaluation_of([None] * len(row), probabilities, row=row, coarse_set=several).confusion
    others = [one for one in confusion.rows if one.kind == "other"]
    assert [one.name for one in others] == [*(f"disease {i}" for i in range(9)), "21 other classes"]
    assert confusion.counts[-1].sum() == len(confusion.patients(len(confusion.rows) - 1)) == 21
    assert confusion.counts.sum() == len(row)
    assert sum(one.kind == "several" for one in confusion.rows) == len(sets)


def test_detailed_rows_are_sorted_by_their_coarse_class():
    _, probabilities = simulated((2, 1, 1, 0))
    evaluation = evaluation_of(["acute", "mds", "acute", "acute"], probabilities, detailed=["all", None, "aml", "aml"])
    confusion = evaluation.detailed_confusion
    assert [row.name for row in confusion.rows] == ["AML", "ALL", "MDS, not detailed"]
    assert confusion.counts.sum(axis=1).tolist() == [2, 1, 1]
    assert confusion.fractions.sum(axis=1) == pytest.approx(1)


def two_classes() -> Taxonomy:
    taxonomy = caltomorph_taxonomy()
    return taxonomy.model_copy(update={"classes": taxonomy.classes[:2]})


def test_patients_are_counted_by_class_and_prediction_and_those_of_untrained_folds_left_out() -> None:
    taxonomy = two_classes()
    first, second = taxonomy.slugs
    member_probabilities = {
        first: [0.9, 0.2, 0.7, np.nan, 0.1],
        second: [0.1, 0.8, 0.3, np.nan, 0.9],
    }
    table = pd.DataFrame(
        {
            "coarse": pd.array([first, first, second, second, second], dtype="string"),
            **{f"out_of_fold_p_{slug}": values for slug, values in member_probabilities.items()},
        }
    )
    assert out_of_fold_confusion(table, taxonomy).tolist() == [[1, 1], [1, 1]]
