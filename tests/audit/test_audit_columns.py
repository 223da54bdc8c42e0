"""Columns of routine data and of origins, found by their names and tested."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact
from tests.audit.factories import (
    QUICK,
    QUICKER,
    cohort_of,
    halves,
    nothing_measured,
    predictions_of,
    row_of,
)

from napari_caltomorph.audit.columns import origin_columns, origins, routine_columns, routine_table
from napari_caltomorph.audit.run import audit_of_traits
from napari_caltomorph.cohort import with_types


def test_columns_are_found_by_their_names() -> None:
    table = with_types(
        pd.DataFrame(
            {
                "patient_id": ["a", "b", "c"],
                "age": [30, 40, 50],
                "sex": ["female", "male", None],
                "leucocytes_per_µl": ["1000", "2000", "99"],
                "pb_myeloblast": [1, 2, 3],
                "pb_total": [99, 98, 97],
                "comment": ["x", "y", "z"],
                "Blast type": ["x", "y", "z"],
                "Scanner": ["one", "two", "two"],
                "Year of sampling": [2019, 2020, None],
                "site visits": ["only"] * 3,
            }
        )
    )
    assert routine_columns(table) == ("age", "sex", "leucocytes_per_µl", "pb_myeloblast")
    assert routine_columns(table, ["comment", "nothing"]) == ("comment",)
    assert origin_columns(table) == ("Scanner", "Year of sampling")
    assert origins(table["Year of sampling"]).tolist() == ["2019", "2020", "(not given)"]
    numbers = routine_table(table, ("age", "sex", "leucocytes_per_µl"))
    assert numbers["age"].tolist() == [30, 40, 50]
    assert numbers["leucocytes_per_µl"].tolist() == pytest.approx(np.log1p([1000, 2000, 99]))
    assert numbers["sex is missing"].tolist() == [0, 0, 1]


def test_many_dates_are_compared_by_year() -> None:
    dates = pd.Series([f"{2018 + i % 2}-0{1 + i % 9}-{10 + i}" for i in range(21)])
    assert set(origins(dates)) == {"2018", "2019"}


def test_an_age_that_predicts_the_class_is_found_also_when_missing_values_predict_it() -> None:
    for ages in ([30, 70] * 20, [50, None] * 20):
        cohort = cohort_of(halves(40), age=ages)
        result = audit_of_traits(cohort, nothing_measured(cohort), QUICK)
        assert row_of(result, "routine").is_found
        assert result.shortcuts == ()
        assert result.findings[0].startswith("Routine data (age) alone predict")


def test_a_scanner_on_which_the_model_fails_is_found() -> None:
    scanners = ["old"] * 20 + ["new"] * 20
    cohort = cohort_of(halves(40), scanner=scanners, n_visits=range(40))
    predictions_table = pd.DataFrame(
        {
            "patient_id": cohort.table["patient_id"],
            "p_acute_leukemia": [0.9, 0.1] * 10 + [0.9, 0.9, 0.1, 0.1] * 5,  # right for all, then for half of each
            "p_lymphoma": [0.1, 0.9] * 10 + [0.1, 0.1, 0.9, 0.9] * 5,
        }
    )
    result = audit_of_traits(cohort, nothing_measured(cohort), QUICKER, predictions=predictions_table)
    (column,) = result.columns
    accuracies = {one.value: one.accuracy for one in column.values}
    assert {value: accuracy.value for value, accuracy in accuracies.items() if accuracy} == {"new": 0.5, "old": 1.0}
    old = accuracies["old"]
    assert old is not None
    assert old.low == pytest.approx(20 / (20 + 1.959964**2), abs=1e-4)  # Wilson's bound where all are right
    assert column.p_accuracy == pytest.approx(fisher_exact([[10, 10], [20, 0]])[1])
    assert column.p_accuracy_corrected is not None
    assert column.p_accuracy_corrected < 0.01
    assert column.p_classes == pytest.approx(1)
    assert any("Accuracy differs by 'scanner' beyond what the classes explain" in one for one in result.findings)


def test_a_site_with_the_harder_class_is_no_worse_for_that() -> None:
    # Leukemia is always right and lymphoma never, wherever it comes from; site b has more lymphoma.
    classes = ["acute_leukemia"] * 20 + ["lymphoma"] * 20
    cohort = cohort_of(classes, site=["a"] * 16 + ["b"] * 4 + ["a"] * 4 + ["b"] * 16)
    predictions_table = pd.DataFrame(
        {"patient_id": cohort.table["patient_id"], "p_acute_leukemia": 1.0, "p_lymphoma": 0.0}
    )
    result = audit_of_traits(cohort, nothing_measured(cohort), QUICKER, predictions=predictions_table)
    (column,) = result.columns
    assert column.p_accuracy is not None
    assert column.p_accuracy < 0.01
    assert column.p_accuracy_within_classes == 1
    assert any("classes are spread unevenly over 'site'" in one for one in result.findings)
    assert not any("Accuracy differs" in one for one in result.findings)


def test_columns_with_few_patients_a_value_are_shown_and_not_tested() -> None:
    cohort = cohort_of(halves(20), site=["a"] * 17 + ["b", "c", "d"])
    predictions_table = predictions_of(cohort, np.random.default_rng(15), 1.0)
    result = audit_of_traits(cohort, nothing_measured(cohort), QUICKER, predictions=predictions_table)
    (column,) = result.columns
    assert [one.patients for one in column.values] == [17, 1, 1, 1]
    assert column.p_accuracy is None
    assert column.note == "Not tested: fewer than two values have 5 patients."
