"""How many patients of an evaluation a policy withholds, and how often the others are predicted wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.evaluation.factories import evaluation_of, simulated

from napari_caltomorph.diagnosis import Policy
from napari_caltomorph.errors import EvaluationRefused
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.evaluation.coverage import coverage_curve, withholding


@pytest.fixture(scope="module")
def evaluation():
    truth, probabilities = simulated((24, 14, 18, 22), separation=2.0)
    return evaluation_of([*truth, None], np.concatenate([probabilities, probabilities[:1]]))


def policy(**rules):
    return Policy(name="Clinic A", version="1", **rules)


def test_errors_of_the_predicted_and_of_the_withheld_are_counted_apart(evaluation):
    found = withholding(evaluation, policy(min_lead=0.3, must_stand_out=True))
    is_withheld = np.array([bool(one) for one in found.reasons])
    assert np.array_equal(is_withheld, evaluation.delta_probability < 0.3)
    assert found.not_checked == ("must_stand_out",)
    known = np.arange(len(evaluation)) < 78
    for name, who in {"all": known, "predicted": known & ~is_withheld, "withheld": known & is_withheld}.items():
        assert found.error[name].patients == who.sum()
        assert found.error[name].value == pytest.approx((~evaluation.is_right[who]).mean())
    assert found.error["predicted"].value < found.error["withheld"].value
    none = withholding(evaluation, policy(max_classes_in_set=8))
    assert none.error["predicted"].value is None
    assert all("calibration" in reason for (reason,) in none.reasons)


def test_each_point_of_the_curve_is_what_that_limit_withholds(evaluation):
    curve = coverage_curve(evaluation)
    assert curve.coverage[-1] == 1
    assert (np.diff(curve.coverage) > 0).all()
    for i in range(0, len(curve.limit), 9):
        assert withholding(evaluation, policy(min_lead=curve.limit[i])).error["predicted"] == curve.error[i]
    assert coverage_curve(evaluation_of([None, None], np.full((2, 4), 0.25))) is None


def test_the_saved_evaluation_has_the_table_and_the_policy(evaluation, tmp_path):
    rules = policy(min_lead=0.4)
    evaluation.under(rules).save(tmp_path)
    numbers = json.loads((tmp_path / "evaluation.json").read_text("utf-8"))["numbers"]
    at = {one["min_lead"]: one for one in numbers["coverage"]}
    assert at[0]["predicted"]["value"] == 1
    assert at[0.4]["wrong"] == numbers["policy"]["wrong"]["predicted"]
    assert numbers["policy"]["withheld"] == (evaluation.delta_probability < 0.4).sum()
    assert Evaluation.load(tmp_path).withholding.policy == rules
    assert evaluation.withholding is None
    assert [one.min_lead for one in evaluation_of([None, None], np.full((2, 4), 0.25)).coverage] == []


def test_a_policy_that_no_evaluation_can_check_is_refused(evaluation):
    with pytest.raises(EvaluationRefused, match="must_stand_out"):
        evaluation.under(policy(must_stand_out=True))
