"""Ways of training are compared on the same folds, once each, and fold by fold."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.metrics import balanced_accuracy_score, f1_score
from tests.training.factories import FOLDS, ORIGIN, bags_of, names, read, save_features, tiny

from napari_caltomorph.encoding import Features
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.progress import Cancelled
from napari_caltomorph.training import TrainOptions, train
from napari_caltomorph.training.compare import CompareProgress, compare
from napari_caltomorph.training.comparison import Comparison, Spread, VariantResult
from napari_caltomorph.training.folds import member_split
from napari_caltomorph.training.options import AggregatorName
from napari_caltomorph.training.variants import CompareOptions, Variant, variants

SMALL = CompareOptions(what=("aggregators", "sizes"), shares=(0.5,))
AGGREGATORS = CompareOptions(what=("aggregators",))


def comparing(
    folder: Path, out: Path, options: CompareOptions = SMALL, progress=lambda p: None, **changes
) -> Comparison:
    return compare(read(folder), folder / "features", out, options, tiny(**changes), progress=progress)


class Stop:
    """Stops at the first report of which something holds."""

    def __init__(self, when) -> None:
        self.when = when
        self.reports = []

    def __call__(self, progress) -> None:
        self.reports.append(progress)
        if self.when(progress):
            raise Cancelled


@pytest.fixture(scope="module")
def compared(few, tmp_path_factory) -> tuple[Comparison, Path, list[CompareProgress]]:
    """A comparison, its folder and its reports."""
    out, watch = tmp_path_factory.mktemp("compared") / "out", Stop(lambda p: False)
    comparison = comparing(few, out, progress=watch)
    return comparison, out, [report for report in watch.reports if isinstance(report, CompareProgress)]


@pytest.fixture(scope="module")
def done(compared) -> tuple[Comparison, Path]:
    return compared[:2]


def test_the_variants_are_the_papers():
    rows = variants(Path("f"), CompareOptions(), tiny(depth=10))
    assert [r.slug for r in rows if r.group == "aggregators"] == [
        "transformer-cls-10",
        "abmil",
        "wbcmil",
        "concepts",
        "mean",
        "max",
    ]
    depths = [r for r in rows if r.group == "depths"]
    assert {(r.options.pooling, r.options.depth) for r in depths} == {
        (pooling, depth) for pooling in ("cls", "mean") for depth in (2, 4, 6, 8, 10, 12)
    }
    assert [r.share for r in rows if r.group == "sizes"] == [0.1, 0.25, 0.5, 0.75, 1.0]
    assert [r.slug for r in rows if r.is_reference] == ["transformer-cls-10"] * 3


def test_a_variant_differs_from_the_reference_in_one_thing():
    chosen = tiny(depth=3, seed=4)
    for row in variants(Path("f"), CompareOptions(), chosen):
        differing = {n for n, v in row.options.model_dump().items() if v != chosen.model_dump()[n]}
        assert differing <= {"aggregators": {"aggregator"}, "depths": {"depth", "pooling"}}.get(row.group, set())


def test_each_aggregator_has_its_own_learning_rate_unless_one_is_given():
    def rates(chosen):
        rows = variants(Path("f"), AGGREGATORS, chosen)
        return {row.options.aggregator: row.options.learning_rate for row in rows}

    assert rates(TrainOptions(seed=1)) == {
        name: TrainOptions(aggregator=name).learning_rate
        for name in get_args(AggregatorName)
        if not name.startswith("genbloom")  # they need published weights, and are not compared
    }
    assert set(rates(TrainOptions(learning_rate=2e-4)).values()) == {2e-4}
    assert set(rates(TrainOptions(recipe="paper")).values()) == {5e-5}


def test_rates_and_members_that_barely_learned_are_in_the_notes_and_other_rates_are_not_read_again(few, tmp_path):
    chosen = {name: value for name, value in tiny(epochs=1).given.items() if name != "learning_rate"}
    cohort, place, out = read(few), few / "features", tmp_path / "out"
    comparison = compare(cohort, place, out, AGGREGATORS, TrainOptions(**chosen))
    assert any("mean 0.0003" in note and "learning rate" in note for note in comparison.notes)
    (little,) = [note for note in comparison.notes if "barely moved" in note]  # one for all variants
    assert all(f"{name}: folds 1, " in little for name in ("mean", "transformer, cls, depth 1"))
    # The same rate for the reference, but given: the others are to have it too.
    again = compare(cohort, place, out, AGGREGATORS, TrainOptions(**chosen, learning_rate=3e-5))
    assert set(again.results) >= {"transformer-cls-1", "max"}
    assert "--learning-rate" in again.failed["mean"]
    assert "mean.json" in again.failed["mean"]


def test_each_group_holds_what_was_chosen_though_it_was_not_listed():
    options = CompareOptions(what=("depths", "sizes"), depths=(1,), shares=(0.5,), encoders=("b=other",))
    rows = variants(Path("a"), options, tiny(depth=3, pooling="mean"))
    assert [(r.group, r.name) for r in rows if r.is_reference] == [
        ("depths", "mean, depth 3"),
        ("sizes", "100 %"),
        ("encoders", "a"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"what": ("colours",)},
        {"what": ()},
        {"what": ("encoders",)},
        {"shares": (0.0,)},
        {"shares": (1.5,)},
        {"encoders": ("folder",)},
        {"encoders": ("a/b=folder",)},
        {"encoders": ("a=one", "A=two")},
    ],
)
def test_options_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        CompareOptions(**wrong)


def test_numbers_are_those_of_trains_members_on_their_own_folds(few, done):
    comparison, _ = done
    cohort = read(few)
    patients = train(cohort, few / "features", tiny()).patients.table
    classes = sorted(set(patients["coarse"]))
    predicted = patients[[f"out_of_fold_p_{slug}" for slug in classes]].to_numpy().argmax(axis=1)
    truth = np.array([classes.index(slug) for slug in patients["coarse"]])
    result = comparison.results["transformer-cls-1"]
    for position, fold in enumerate(result.folds):
        own = (patients["fold"] == fold).to_numpy()
        for metric, expected in (
            ("balanced_accuracy", balanced_accuracy_score(truth[own], predicted[own])),
            ("weighted_f1", f1_score(truth[own], predicted[own], average="weighted")),
        ):
            assert result.metrics[metric][position] == pytest.approx(expected)


def test_a_variant_of_two_groups_is_trained_once(compared):
    comparison, _, reports = compared
    trained = list(dict.fromkeys(r.name for r in reports))
    assert trained[0] == "transformer-cls-1"
    assert sorted(trained) == sorted(comparison.results) == sorted({v.slug for v in comparison.variants})
    assert len(comparison.variants) == len(trained) + 1
    whole = [r.done / r.total for r in reports]
    assert whole == sorted(whole)
    assert whole[-1] == 1
    assert reports[-1].in_words.startswith("7/7 ")


def test_the_table_holds_paired_differences(done):
    _, out = done
    table = pd.read_csv(out / "comparison.csv")
    folds = pd.read_csv(out / "folds.csv")
    assert len(table) == 6 + 2
    assert len(folds) == FOLDS * len(table)
    values = folds.pivot(index=["group", "variant"], columns="fold", values="balanced_accuracy").loc["aggregators"]
    differences = values.loc["abmil"] - values.loc["transformer, cls, depth 1"]
    row = table[table["variant"] == "abmil"].iloc[0]
    assert row["balanced_accuracy_mean"] == pytest.approx(values.loc["abmil"].mean())
    assert row["balanced_accuracy_sd_over_folds"] == pytest.approx(values.loc["abmil"].std())
    assert row["balanced_accuracy_difference_mean"] == pytest.approx(differences.mean())
    assert row["balanced_accuracy_difference_sd_over_folds"] == pytest.approx(differences.std())
    assert row["balanced_accuracy_folds_better"] == (differences > 0).sum()
    assert table.loc[table["is_reference"], "balanced_accuracy_difference_mean"].isna().all()
    assert not any("error" in column or "_se" in column for column in table)


def test_a_fold_that_does_not_define_a_metric_is_left_out_of_its_mean():
    def result(*values):
        numbers = {"malignant_auroc": values}
        return VariantResult(
            folds=(0, 1, 2), patients=(9,) * 3, own_patients=(3,) * 3, epochs=(1,) * 3, metrics=numbers, seconds=1
        )

    one, other = (
        Variant("aggregators", name, tiny(aggregator=name), is_reference=name == "mean") for name in ("mean", "max")
    )
    comparison = Comparison((one, other), {"mean": result(0.5, 0.7, None), "max": result(0.6, None, None)}, {})
    assert comparison.spread(one, "malignant_auroc") == Spread(pytest.approx(0.6), pytest.approx(0.1 * 2**0.5))
    difference = comparison.difference(other, "malignant_auroc")
    assert difference.spread == Spread(pytest.approx(0.1), None)
    assert (difference.better, difference.folds) == (1, 1)
    assert comparison.metrics == ["malignant_auroc"]


@pytest.mark.parametrize("fold", range(FOLDS))
def test_smaller_shares_lie_within_larger_ones_and_hold_every_class(few, fold):
    bags, options = bags_of(few), tiny()
    whole = member_split(bags, fold, options)
    before = np.array([], dtype=int)
    for share in (0.1, 0.25, 0.5, 0.75, 1.0):
        split = member_split(bags, fold, options, share=share)
        assert set(before) <= set(split.train) <= set(whole.train)
        assert set(bags.classes[split.train]) == set(bags.classes)
        assert len(split.train) == pytest.approx(share * len(whole.train), abs=len(set(bags.classes)) / 2 + 1)
        steps = [one.epochs(options) * one.steps_per_epoch(options) for one in (split, whole)]
        assert abs(steps[0] - steps[1]) < whole.steps_per_epoch(options)  # whole epochs
        assert np.array_equal(split.own, whole.own)
        assert np.array_equal(split.validation, whole.validation)
        before = split.train


def test_what_is_done_is_not_done_again(few, done, tmp_path):
    comparison, out = done
    copy = shutil.copytree(out, tmp_path / "out")
    watch = Stop(lambda p: False)
    again = comparing(few, copy, progress=watch)
    assert again.results == comparison.results
    assert not any(isinstance(report, CompareProgress) for report in watch.reports)
    assert all(name.endswith(".json") for name in names(copy / "variants"))


def test_a_stopped_comparison_goes_on_and_reaches_the_same_end(few, done, tmp_path):
    out = tmp_path / "out"
    stop = Stop(lambda p: p.stage == "Training" and (p.variant, p.fold, p.epoch) == (1, 1, 2))
    with pytest.raises(Cancelled):
        comparing(few, out, progress=stop)
    assert [n for n in names(out / "variants") if n.endswith(".json")] == ["transformer-cls-1.json"]
    assert len(pd.read_csv(out / "comparison.csv")) == 2  # the reference, in both groups
    watch = Stop(lambda p: False)
    again = comparing(few, out, progress=watch)
    first = next(p for p in watch.reports if p.stage == "Training")
    assert (first.variant, first.fold, first.epoch) == (1, 0, 3)
    for slug, result in done[0].results.items():
        assert again.results[slug].metrics == result.metrics


def test_another_training_or_other_patients_are_refused(few, own, done, tmp_path):
    copy = shutil.copytree(done[1], tmp_path / "out")
    with pytest.raises(TrainingRefused, match="--seed 0 then, 1 now"):
        comparing(few, copy, seed=1)
    save_features(own, "aml-000", np.zeros((4, 8)))
    with pytest.raises(TrainingRefused, match="other patients, labels, folds or features"):
        comparing(own, copy)


def test_a_damaged_result_is_named_and_the_others_stay(few, done, tmp_path):
    copy = shutil.copytree(done[1], tmp_path / "out")
    (copy / "variants" / "abmil.json").write_text("{")
    again = comparing(few, copy)
    assert list(again.failed) == ["abmil"]
    assert "remove it to train this variant again" in again.failed["abmil"]
    assert len(again.results) == len(done[0].results) - 1


def test_variants_that_fail_are_named_with_the_reason(few, tmp_path):
    # A rate beyond what the options allow, which `model_copy` does not check.
    hopeless = tiny().model_copy(update={"learning_rate": 1e30})
    options = CompareOptions(what=("sizes",), shares=(0.5,))
    comparison = compare(read(few), few / "features", tmp_path / "out", options, hopeless)
    assert not comparison.results
    assert list(comparison.failed) == ["transformer-cls-1", "transformer-cls-1-share-0.5"]
    assert all("--learning-rate" in reason for reason in comparison.failed.values())


def test_a_share_without_hemoglobin_values_fails_alone(few, tmp_path):
    cohort = read(few)
    table = cohort.table.copy()
    is_kept = table.groupby("fold").cumcount() < 3
    table.loc[~is_kept, "hemoglobin_g_dl"] = np.nan
    options = CompareOptions(what=("sizes",), shares=(0.1,))
    comparison = compare(
        replace(cohort, table=table), few / "features", tmp_path / "out", options, tiny(hemoglobin=True)
    )
    assert list(comparison.results) == ["transformer-cls-1"]
    assert "hemoglobin value" in comparison.failed["transformer-cls-1-share-0.1"]


def test_encoders_are_compared_on_the_same_patients(own, tmp_path):
    other = tmp_path / "half"
    for path in sorted((own / "features").glob("*.h5")):
        bag = Features.load(path)
        Features(bag.patient_id, bag.values[:, :4], bag.cells, ORIGIN).save(other / path.name)
    options = CompareOptions(what=("encoders",), encoders=(f"half={other}", f"gone={tmp_path / 'gone'}"))
    comparison = comparing(own, tmp_path / "out", options)
    assert list(comparison.results) == ["transformer-cls-1", "transformer-cls-1-features-half"]
    assert "30 of 30 patients have no features in" in comparison.failed["transformer-cls-1-features-gone"]
    assert comparison.results["transformer-cls-1"].own_patients == (10, 10, 10)
    save_features(own, "aml-000", np.zeros((4, 8)))  # of the shared ones
    shutil.copy(own / "features" / "aml-000.h5", other / "aml-000.h5")
    with pytest.raises(TrainingRefused, match="other patients"):
        comparing(own, tmp_path / "out", options)


def test_the_papers_recipe_is_called_optimistic(few, tmp_path):
    comparison = comparing(few, tmp_path / "out", CompareOptions(what=("sizes",), shares=(1.0,)), recipe="paper")
    assert "All numbers are those of single members on their own folds, not of ensembles." in comparison.notes
    assert any("optimistic" in note for note in comparison.notes)


def test_heads_that_divide_no_transformers_width_are_one_sentence(few, tmp_path):
    with pytest.raises(TrainingRefused, match="change --width or --heads"):
        comparing(few, tmp_path / "out", AGGREGATORS, aggregator="abmil", width=15)


@pytest.mark.parametrize("given", [{"workers": 2}, {"elsewhere": True}])
def test_what_a_comparison_does_not_do_is_refused(few, tmp_path, given):
    with pytest.raises(TrainingRefused, match=f"--{next(iter(given))}"):
        comparing(few, tmp_path / "out", **given)


def test_missing_features_are_refused_before_anything_is_trained(own, tmp_path):
    cohort = read(own)
    next((own / "features").glob("*.h5")).unlink()
    with pytest.raises(TrainingRefused, match="1 of 30 training patients have no features"):
        compare(cohort, own / "features", tmp_path / "out", SMALL, tiny())
    assert not (tmp_path / "out" / "variants").exists()
