"""Screening for malignancy: the curve, false discovery, and prevalence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from tests.evaluation.factories import MALIGNANT, SLUGS, evaluation_of, predictions, simulated

from napari_caltomorph.statistics import Metric


@settings(deadline=None, max_examples=25)
@given(predictions())
def test_every_row_of_the_curve_is_what_that_threshold_does(predicted_patients):
    evaluation = evaluation_of(*predicted_patients)
    curve = evaluation.screened.curve()
    for row in curve.itertuples(index=False):
        point = evaluation.at(row.threshold)
        pairs = [(row.sensitivity, point.sensitivity), (row.specificity, point.specificity)]
        if not np.isnan(row.fdr):
            pairs += [(row.fdr, point.fdr if point.fdr.is_defined else Metric(0.0))]
        for number, metric in pairs:
            assert (None if np.isnan(number) else pytest.approx(number)) == metric.value
    for slug in MALIGNANT & set(predicted_patients[0]):
        assert curve[f"sensitivity_{slug}"].iloc[-1] == 1


def test_why_there_is_no_false_discovery_rate_is_reported():
    def reasons(*truth):
        point = evaluation_of(list(truth), np.eye(4)[[SLUGS.index(t) for t in truth]]).at(0.5)
        return point.fdr.remark, point.fdr_without_healthy.remark

    assert reasons("acute") == ("no patient that is not malignant",) * 2
    assert reasons("acute", "healthy") == ("", "all patients that are not malignant are healthy donors")
    assert reasons("reactive") == ("no patient is called malignant",) * 2


def test_where_all_are_punctured_the_fdr_is_the_share_that_is_not_malignant():
    truth, probabilities = simulated((20, 10, 15, 55), seed=2)
    everyone = evaluation_of(truth, probabilities).screened.everyone
    assert (everyone.fdr.value, everyone.fdr.patients) == (0.7, 100)
    assert (everyone.fdr_without_healthy.value, everyone.fdr_without_healthy.patients) == (15 / 45, 45)
    for healthy in (True, False):
        assert everyone.fdr_at(0.2, healthy=healthy).value == pytest.approx(0.8)


def test_fdr_at_a_prevalence_is_bayes_rule():
    truth, probabilities = simulated((40, 0, 30, 30), seed=2)
    point = evaluation_of(truth, probabilities).at(0.5)
    sensitivity, specificity = point.sensitivity.value, point.specificity.value
    for share in (0.01, 0.4):
        expected = (1 - share) * (1 - specificity) / ((1 - share) * (1 - specificity) + share * sensitivity)
        rate = point.fdr_at(share)
        assert rate.value == pytest.approx(expected)
        assert rate.low < rate.value < rate.high
    assert point.fdr_at(0.4).value == pytest.approx(point.fdr.value)  # 40 of these 100 are malignant
    assert (point.fdr_at(1.0).value, point.fdr_at(1.0).low) == (0, None)
    assert point.fdr_at(0.1, healthy=False).value != point.fdr_at(0.1).value
    assert (point.fdr_at(0.1).patients, point.fdr_at(0.1, healthy=False).patients) == (100, 70)
    assert point.others_in_words == "60 not malignant: 30 reactive, 30 healthy"
    assert point.screened.at(2.0).fdr_at(0.1).remark == "no patient is called malignant"
    with pytest.raises(ValueError, match="prevalence"):
        point.fdr_at(2)
