"""The audit finds what predicts the label without the cells, and nothing where there is nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.audit.factories import (
    DARK,
    PALE,
    QUICK,
    QUICKER,
    a_cell,
    audit_of_stains,
    cohort_of,
    halves,
    nothing_measured,
    predictions_of,
    row_of,
    traits_of,
)
from tests.stopping import Cancels

from napari_caltomorph.audit.patients import AuditOptions
from napari_caltomorph.audit.result import Audit
from napari_caltomorph.audit.run import audit, audit_of_traits
from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.cohort.synthetic import SyntheticPatients
from napari_caltomorph.progress import Cancelled
from napari_caltomorph.smear import smear_from_array
from napari_caltomorph.synthetic import Stain, SynthOptions


def test_a_stain_that_depends_on_the_class_is_found() -> None:
    outcome = audit_of_stains([PALE, DARK] * 10)
    borders = row_of(outcome, "borders")
    assert borders.is_found
    assert borders.estimates["auroc"].value > 0.95
    assert borders.chance["auroc"].high < 0.9
    assert outcome.shortcuts[0] is borders
    assert outcome.findings[0].startswith(
        "The borders of the images, without what is stained like a cell, alone predict"
    )
    assert "may come from stain, background or red cells" in outcome.findings[0]


def test_no_shortcut_is_found_where_the_stain_knows_nothing_of_the_class() -> None:
    rng = np.random.default_rng(5)
    outcome = audit_of_stains([Stain.sample(rng) for _ in range(20)])
    assert "borders" not in [row.name for row in outcome.shortcuts]
    assert "Nothing differs in number of usable cells and size of their images" in " ".join(outcome.notes)


@pytest.mark.parametrize("shortcut", [True, False])
def test_a_synthetic_cohort_has_the_shortcut_that_it_was_given_and_no_other(shortcut: bool) -> None:
    drawn = SyntheticPatients.synthesize(SynthOptions(patients=40, cells=4, seed=1, shortcut=shortcut))
    cohort = drawn.cohort(CohortOptions(test_fraction=0, folds=4))
    outcome = audit(cohort, QUICK, open_smear=drawn.open_smear)
    assert len(outcome.classes) == 8
    assert [row.name for row in outcome.shortcuts] == (["borders", "colours"] if shortcut else [])
    assert ("The borders of the images" in outcome.findings[0]) == shortcut
    assert any(sentence.startswith("No shortcut was found") for sentence in outcome.findings) != shortcut


def test_the_audit_can_be_cancelled() -> None:
    cohort = cohort_of(halves(20))
    stop = Cancels(lambda now: now.done == 2)
    with pytest.raises(Cancelled):
        audit(cohort, QUICK, open_smear=lambda patient: smear_from_array(np.stack([a_cell()]), patient), progress=stop)
    assert stop.seen[-1].in_words == "Measuring images: 2/20 patients"


def test_nothing_is_found_in_noise_and_that_is_reported_to_prove_nothing_else() -> None:
    cohort = cohort_of(halves(40))
    outcome = audit_of_traits(cohort, traits_of(cohort, np.random.default_rng(1)), QUICK)
    assert outcome.shortcuts == ()
    assert outcome.findings[-1].startswith("No shortcut was found. Tested: the borders of the images")
    assert "Other shortcuts" in outcome.findings[-1]
    assert "is not excluded" in outcome.findings[0]


def test_numbers_are_those_of_scikit_learn() -> None:
    cohort = cohort_of(halves(40))
    traits = traits_of(cohort, np.random.default_rng(2), shift=1.0)
    row = row_of(audit_of_traits(cohort, traits, QUICKER), "borders")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", tol=1e-3, max_iter=5000))
    truth = (cohort.table["coarse"] == "lymphoma").to_numpy(dtype=int)
    folds = PredefinedSplit(cohort.table["fold"].to_numpy(dtype=int))
    predicted = cross_val_predict(model, traits.borders.to_numpy(), truth, cv=folds, method="predict_proba")[:, 1]
    assert row.estimates["auroc"].value == pytest.approx(roc_auc_score(truth, predicted))
    assert row.estimates["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(truth, predicted > 0.5))
    assert (row.patients, row.traits, row.metric) == (40, 4, "auroc")


def test_p_values_are_corrected_for_how_many_were_tested() -> None:
    cohort = cohort_of(halves(40), age=np.arange(40) % 7)
    outcome = audit_of_traits(cohort, traits_of(cohort, np.random.default_rng(3), shift=0.5), QUICKER)
    ordered = sorted(outcome.rows, key=lambda row: row.p)
    assert len(ordered) == 4
    assert ordered[0].p_corrected == pytest.approx(min(1, 4 * ordered[0].p))
    assert ordered[1].p_corrected == pytest.approx(min(1, max(4 * ordered[0].p, 3 * ordered[1].p)))


def test_what_would_be_found_alone_is_called_a_hint() -> None:
    cohort = cohort_of(halves(40))
    outcome = audit_of_traits(cohort, traits_of(cohort, np.random.default_rng(1)), QUICKER)
    row = replace(outcome.rows[0], p=0.04, p_corrected=0.12)
    hinted = replace(outcome, rows=(row, *outcome.rows[1:]))
    assert row.is_hint
    assert "a hint" in hinted.findings[0]
    assert not any("No shortcut was found" in sentence for sentence in hinted.findings)


def test_p_values_spread_evenly_where_there_is_nothing_to_find() -> None:
    cohort = cohort_of(halves(20), folds=3)
    outcome = []
    for seed in range(20):
        borders = traits_of(cohort, np.random.default_rng(100 + seed)).borders
        traits = replace(nothing_measured(cohort), borders=borders)
        audited = audit_of_traits(cohort, traits, AuditOptions(shufflings=24, seed=seed))
        outcome.append(row_of(audited, "borders").p)
    assert kstest(outcome, "uniform").pvalue > 0.001
    assert np.mean(np.array(outcome) < 0.05) <= 0.2


def test_three_classes_are_evaluated_by_macro_auroc_and_small_ones_left_out() -> None:
    classes = ["acute_leukemia", "lymphoma", "mds"] * 8 + ["mpn"] * 2
    cohort = cohort_of(classes, folds=4)
    outcome = audit_of_traits(cohort, traits_of(cohort, np.random.default_rng(4), shift=3.0), QUICK)
    row = row_of(outcome, "borders")
    assert row.metric == "macro_auroc"
    assert row.is_found
    assert outcome.classes == {"Acute leukemia": 8, "Lymphoma": 8, "MDS": 8}
    assert "Classes with fewer than 5 patients are left out: MPN (2)." in outcome.notes
    assert "the 3 classes" in outcome.findings[0]


def test_patients_without_folds_are_split_and_groups_stay_together() -> None:
    cohort = cohort_of(halves(40), folds=None, group=[f"g{i // 2}" for i in range(40)])
    outcome = audit_of_traits(cohort, traits_of(cohort, np.random.default_rng(5)), QUICKER)
    assert outcome.folds == "folds split for the audit"
    assert row_of(outcome, "borders").patients == 40


def test_sites_that_are_classes_cannot_be_evaluated_and_that_is_reported() -> None:
    cohort = cohort_of(halves(20), folds=None, group=halves(20))
    outcome = audit_of_traits(cohort, traits_of(cohort, np.random.default_rng(6)), QUICKER)
    assert outcome.rows == ()
    assert any("Every fold has one class only" in note for note in outcome.notes)
    assert outcome.findings[0].startswith("Nothing could be audited")


@pytest.mark.parametrize("classes", [["lymphoma"] * 12, [], ["lymphoma"], ["lymphoma"] * 8 + ["mds"] * 2])
def test_a_cohort_without_two_classes_is_reported_apart_by_nothing(classes: list[str]) -> None:
    outcome = audit(cohort_of(classes, folds=None), QUICK)
    assert outcome.rows == ()
    assert outcome.findings == (
        "Nothing could be audited: fewer than two classes have 5 patients or more that can be split into folds.",
    )


def test_a_cohort_of_features_is_audited_by_its_table() -> None:
    cohort = cohort_of(halves(20), age=[30, 70] * 10, n_cells=[100, 101] * 10)
    outcome = audit(cohort, QUICK)
    assert [row.name for row in outcome.rows] == ["sizes", "routine"]
    assert all(row.is_found for row in outcome.rows)
    assert any("no images, only features" in note for note in outcome.notes)


def test_a_constant_column_is_not_evaluated() -> None:
    cohort = cohort_of(halves(20))
    sizes = pd.DataFrame({"height": [144.0] * 19 + [np.nan]}, index=cohort.table["patient_id"].astype(str))
    outcome = audit_of_traits(cohort, replace(nothing_measured(cohort), sizes=sizes), QUICK)
    assert outcome.rows == ()
    assert "Nothing differs in number of usable cells and size of their images" in " ".join(outcome.notes)


def test_the_same_seed_gives_the_same_audit_and_json_brings_it_back() -> None:
    cohort = cohort_of(halves(20), age=[30.0, None] * 10, scanner=["a", "b"] * 10)
    traits = replace(nothing_measured(cohort), borders=traits_of(cohort, np.random.default_rng(7)).borders)
    predicted = predictions_of(cohort, np.random.default_rng(8), 1.0)
    first, second = (audit_of_traits(cohort, traits, QUICKER, predictions=predicted) for _ in range(2))
    assert first == second
    written = json.loads(json.dumps(first.to_json(), allow_nan=False))
    assert Audit.from_json(written) == first
    assert written["findings"] == list(first.findings)


def test_images_that_add_to_routine_data_are_reported_to_and_others_not() -> None:
    rng = np.random.default_rng(10)
    cohort = cohort_of(halves(60), age=50 + 10 * rng.standard_normal(60) + np.tile([0, 6], 30))
    traits = nothing_measured(cohort)
    good = audit_of_traits(cohort, traits, QUICKER, predictions=predictions_of(cohort, rng, 1.5))
    poor = audit_of_traits(cohort, traits, QUICKER, predictions=predictions_of(cohort, rng, 0.0))
    assert good.added is not None
    assert good.added.gain is not None
    assert good.added.both is not None
    assert good.added.routine is not None
    assert good.added.gain.low is not None
    assert good.added.gain.low > 0
    assert good.added.gain.value == pytest.approx(good.added.both["auroc"].value - good.added.routine["auroc"].value)
    assert any(sentence.startswith("The images add to routine data: AUROC") for sentence in good.findings)
    assert any(sentence.startswith("It is not shown that the images add") for sentence in poor.findings)
    predicted = predictions_of(cohort, np.random.default_rng(11), 1.5)
    alone = audit_of_traits(cohort, traits, QUICKER, predictions=predicted).added
    assert alone is not None
    truth = cohort.table["coarse"] == "lymphoma"
    assert alone.model["auroc"].value == pytest.approx(roc_auc_score(truth, predicted["p_lymphoma"]))


def test_predictions_are_compared_with_what_shortcuts_reach() -> None:
    cohort, rng = cohort_of(halves(40)), np.random.default_rng(3)
    predicted = rng.random(40)
    predictions = pd.DataFrame(
        {"patient_id": cohort.table["patient_id"], "p_acute_leukemia": predicted, "p_lymphoma": 1 - predicted}
    )
    outcome = audit_of_traits(cohort, traits_of(cohort, rng, shift=3), QUICK, predictions=predictions)
    borders, model = row_of(outcome, "borders").estimates["auroc"].value, outcome.added.model["auroc"].value
    (sentence,) = (one for one in outcome.findings if one.startswith("The given predictions"))
    assert f"reach AUROC {model:.2f}" in sentence
    assert f"the borders alone {borders:.2f} (40 patients)" in sentence
    assert sentence.endswith("a model that reads cells should do better.")


def test_without_routine_data_it_is_reported_that_there_is_nothing_to_add_to() -> None:
    cohort = cohort_of(halves(20))
    rng = np.random.default_rng(12)
    predicted = predictions_of(cohort, rng, 1.0)
    outcome = audit_of_traits(cohort, nothing_measured(cohort), QUICKER, predictions=predicted)
    assert outcome.added is not None
    assert outcome.added.gain is None
    assert "There are no routine data that the images could add to." in outcome.findings


def test_two_predictions_of_one_patient_are_refused() -> None:
    cohort = cohort_of(halves(20))
    predicted = predictions_of(cohort, np.random.default_rng(17), 1.0)
    with pytest.raises(ValueError, match="two predictions of one patient: p000"):
        audit_of_traits(
            cohort,
            nothing_measured(cohort),
            QUICKER,
            predictions=pd.concat([predicted, predicted.iloc[:1]]),
        )
