"""Errors and probabilities by a covariate: where its numbers come from, and what is counted by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from tests.conftest import write_cell_tiff
from tests.evaluation.factories import FAST, TAXONOMY, evaluation_of, predictions, simulated

from napari_caltomorph.cohort.cells import cell_shares
from napari_caltomorph.errors import EvaluationRefused
from napari_caltomorph.evaluation.covariates import SHARE, covariate_values, covariates_of


def beside(evaluation, numbers, column="blasts"):
    options = evaluation.options.model_copy(update={"against": (column,)})
    return replace(evaluation, options=options, covariates=pd.DataFrame({column: numbers}))


@settings(deadline=None, max_examples=40)
@given(predictions(least=1, most=40), st.data())
def test_errors_by_a_number_are_those_of_a_loop_over_the_patients(predicted_patients, data):
    truth, probabilities = predicted_patients
    some = st.one_of(st.none(), st.integers(0, 5).map(float))
    numbers = data.draw(st.lists(some, min_size=len(truth), max_size=len(truth)))
    (result,) = beside(evaluation_of(truth, probabilities), numbers).covariate_associations
    right = [TAXONOMY.slugs[p.argmax()] == slug for p, slug in zip(probabilities, truth, strict=True)]
    assert result.patients == sum(number is not None for number in numbers)
    assert sum(part.error.patients for part in result.bins) == result.patients
    for part in result.bins:
        inside = [not r for n, r in zip(numbers, right, strict=True) if n is not None and part.low <= n <= part.high]
        assert len(inside) == part.error.patients
        assert part.error.value == pytest.approx(sum(inside) / len(inside))
        assert part.error.low <= part.error.value <= part.error.high
    assert all(one.high < other.low for one, other in zip(result.bins, result.bins[1:], strict=False))


def test_the_correlation_is_spearmans_within_the_class():
    truth, probabilities = simulated((30, 12, 3, 10))
    numbers = np.random.default_rng(0).random(55)
    (result,) = beside(evaluation_of(truth, probabilities), numbers).covariate_associations
    for number, slug in enumerate(TAXONOMY.slugs):
        mine = np.array(truth) == slug
        if mine.sum() >= 4:
            expected = spearmanr(numbers[mine], probabilities[mine, number]).statistic
            assert result.correlations[slug].value == pytest.approx(expected)
    assert result.correlations["reactive"].remark == "fewer than 4 patients"


def test_numbers_are_saved_and_loaded(tmp_path):
    truth, probabilities = simulated((12, 8, 8, 8))
    evaluation = beside(evaluation_of(truth, probabilities), [*np.linspace(0, 1, 35), None])
    evaluation.save(tmp_path)
    again = type(evaluation).load(tmp_path)
    assert again.covariate_associations == evaluation.covariate_associations
    assert again.covariate_associations[0].patients == 35


def smear_with_types(folder: Path, make_cell, counts: dict[str, int]) -> Path:
    """Cells in labelled sub-folders, and two without a label."""
    number = 0
    for name, count in (counts | {"": 2}).items():
        place = folder / ("Unsigned slides" if not name else f"Signed slides/{name}")
        place.mkdir(parents=True)
        for _ in range(count):
            number += 1
            write_cell_tiff(place / f"{number:03d}.tif", make_cell(number))
    return folder


def test_shares_are_of_the_labelled_cells_that_were_evaluated(tmp_path, make_cell):
    folder = smear_with_types(tmp_path / "p", make_cell, {"Myeloblast": 3, "Lymphocyte": 1})
    assert cell_shares(folder) == {"Myeloblast": 0.75, "Lymphocyte": 0.25}
    evaluated = ["Signed slides/Myeloblast/001.tif", "Signed slides/Lymphocyte/004.tif", "Unsigned slides/005.tif"]
    assert cell_shares(folder, evaluated) == {"Myeloblast": 0.5, "Lymphocyte": 0.5}
    assert cell_shares(folder, ["other names"]) == cell_shares(folder)


def test_a_name_is_a_column_or_a_cell_type_in_any_case():
    table = pd.DataFrame({"wbc": [1, 2, 3], "site": ["a", "b", "c"]})
    shares = [{"Myeloblast": 0.25, "Lymphocyte": 0.75}, {}, {"Lymphocyte": 1.0}]
    result = covariates_of(table, shares, ("wbc", "myeloblast"), "clinic")
    assert list(result.columns) == ["wbc", "site", f"{SHARE}myeloblast"]
    assert result[f"{SHARE}myeloblast"].fillna(-1).tolist() == [0.25, -1, 0]
    for name, why in (("blasts", "labelled are Lymphocyte, Myeloblast"), ("site", "holds no numbers")):
        with pytest.raises(EvaluationRefused, match=why):
            covariates_of(table, shares, (name,), "clinic")


def test_a_column_that_is_not_there_has_no_numbers():
    evaluation = evaluation_of(["acute"], np.array([[0.7, 0.1, 0.1, 0.1]]), options=FAST)
    assert np.isnan(covariate_values(evaluation, "blasts")).all()
    (result,) = replace(evaluation, options=FAST.model_copy(update={"against": ("blasts",)})).covariate_associations
    assert (result.patients, result.bins, result.correlations) == (0, (), {})
