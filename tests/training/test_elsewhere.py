"""The estimate for other laboratories: what it finds in made-up cohorts with and without a shortcut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.training.factories import ORIGIN, are_same_members, read, tiny, with_column, write_cohort

from napari_caltomorph.audit.appearance import image_clusters, independence_weights
from napari_caltomorph.audit.image_traits import ImageTraits
from napari_caltomorph.cohort import Cohort, with_types
from napari_caltomorph.diagnosis.elsewhere import Elsewhere, Estimate
from napari_caltomorph.encoding import Features
from napari_caltomorph.progress import Cancelled, Progress
from napari_caltomorph.smear.image_traits import APPEARANCE
from napari_caltomorph.synthetic import synthesize_patient
from napari_caltomorph.taxonomy import caltomorph_taxonomy
from napari_caltomorph.training import FinishEarly, TrainProgress, plan_training, train
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.elsewhere import measured_elsewhere, plan_of_traits
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import member_splits
from napari_caltomorph.training.members import FoldCheckpoint, trained_member

OPTIONS = tiny(aggregator="mean", epochs=12, learning_rate=1e-2)
CLASSES = ("acute_leukemia", "lymphoma")


def made_up(
    in_second: dict[str, float] | None, *, cells_know: float, stain_seen: float, patients: int = 80, seed: int = 0
):
    """Return a cohort, its bags and traits: with the share of each class that is of the second of two laboratories.

    Without these shares every patient has a stain of their own. Feature 0 is what cells know of the class, feature 1
    the stain as the encoder sees it.
    """
    rng = np.random.default_rng(seed)
    coarse = np.repeat(CLASSES, patients // 2)
    stain = rng.normal(0, 1, patients)
    if in_second is not None:
        is_second = np.concatenate([np.arange(patients // 2) < in_second[one] * patients // 2 for one in CLASSES])
        stain = 0.2 * stain + 2 * is_second - 1
    table = pd.DataFrame({"patient_id": [f"p{i:03d}" for i in range(patients)], "coarse": coarse, "split": "train"})
    table["fold"] = table.groupby("coarse").cumcount() % 3
    cohort = Cohort("made up", Path("/nowhere"), "table", caltomorph_taxonomy(), with_types(table))
    known = tuple(one for one in cohort.taxonomy.classes if one.slug in CLASSES)
    taxonomy = cohort.taxonomy.model_copy(update={"classes": known})
    classes = np.array([taxonomy.slugs.index(one) for one in coarse])
    values = rng.standard_normal((patients, 6, 4)).astype(np.float32)
    values[..., 0] += (cells_know * (2 * classes - 1))[:, None]
    values[..., 1] += (stain_seen * stain)[:, None]
    bags = LabelledBags(
        taxonomy=taxonomy,
        values=tuple(values),
        classes=classes,
        hemoglobin=np.full(patients, np.nan),
        folds=table["fold"].to_numpy(dtype=np.intp),
        table=cohort.table,
        origin=ORIGIN,
    )
    return cohort, bags, traits_of(cohort, stain, rng)


def traits_of(cohort: Cohort, stain: NDArray[np.floating], rng: np.random.Generator) -> ImageTraits:
    noise = rng.normal(0, 0.3, (len(stain), 4))
    borders = pd.DataFrame(noise + stain[:, None], index=cohort.table["patient_id"], columns=APPEARANCE[:4])
    return ImageTraits(borders, borders, pd.DataFrame(index=borders.index), {})


def estimate_of(cohort: Cohort, bags: LabelledBags, traits: ImageTraits, work: Path) -> Elsewhere:
    plan = plan_of_traits(cohort, bags, traits, OPTIONS)
    trained = []
    for split in (*member_splits(bags, OPTIONS), *plan.splits(bags, OPTIONS)):
        fit_member(bags, split, OPTIONS, FoldCheckpoint(work, split.fold))
        trained.append(trained_member(bags, split, OPTIONS, FoldCheckpoint(work, split.fold)))
    return measured_elsewhere(plan, bags, trained[:3], trained[3:], OPTIONS)


def test_it_falls_where_the_stain_tells_much_of_the_class(tmp_path):
    shares = {"acute_leukemia": 0.15, "lymphoma": 0.85}
    found = estimate_of(*made_up(shares, cells_know=0.2, stain_seen=0.5), tmp_path)
    assert found.clusters == (40, 40)
    assert found.fall.low > 0.1
    assert found.expected.high < found.out_of_fold.value


@pytest.mark.parametrize("in_second", [None, {"acute_leukemia": 0.5, "lymphoma": 0.5}])
def test_it_does_not_fall_where_stains_are_the_same_for_all_classes(tmp_path, in_second):
    found = estimate_of(*made_up(in_second, cells_know=0.5, stain_seen=0.2), tmp_path)
    assert found.random.value > 0.75
    assert found.fall.low <= 0 <= found.fall.high
    assert found.fall.value < 0.08


def weighted_of(cohort: Cohort, bags: LabelledBags, traits: ImageTraits, work: Path) -> Elsewhere:
    """Measure with the members of the folds alone."""
    plan, trained = plan_of_traits(cohort, bags, traits, OPTIONS).given_up("of a test"), []
    for split in member_splits(bags, OPTIONS):
        fit_member(bags, split, OPTIONS, FoldCheckpoint(work, split.fold))
        trained.append(trained_member(bags, split, OPTIONS, FoldCheckpoint(work, split.fold)))
    return measured_elsewhere(plan, bags, trained, [], OPTIONS)


@pytest.mark.parametrize("seed", range(3))
def test_weighted_patients_show_a_shortcut_that_members_use(tmp_path, seed):
    shares = {"acute_leukemia": 0.15, "lymphoma": 0.85}
    found = weighted_of(*made_up(shares, cells_know=0.1, stain_seen=0.8, seed=seed), tmp_path)
    assert found.weighted_fall.low > 0.05
    assert found.weighted[0] == 80 > found.weighted[1]
    words = " ".join(found.in_words(None))
    assert f"expect {found.expected}" in words
    assert str(found.weighted_fall) in words
    assert "of a test" in words  # why nobody was held out


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("in_second", [None, {"acute_leukemia": 0.5, "lymphoma": 0.5}])
def test_weighted_patients_show_no_fall_without_a_shortcut(tmp_path, in_second, seed):
    found = weighted_of(*made_up(in_second, cells_know=0.3, stain_seen=0.5, seed=seed), tmp_path)
    assert found.weighted_fall.value < 0.03
    assert "no fall is shown" in found.in_short(None)


def test_weights_are_1_on_average_where_classes_share_their_images_and_less_where_they_do_not():
    folds = np.arange(400) % 5
    for share, least, most in ((0.15, 0.85, 1.15), (0.0, 0.0, 0.7)):
        shares = {"acute_leukemia": share, "lymphoma": 1 - share}
        cohort, bags, traits = made_up(shares, cells_know=0, stain_seen=0, patients=400)
        weights = independence_weights(traits, pd.Index(cohort.table["patient_id"]), bags.classes, folds)
        assert all(least < weights[bags.classes == one].mean() < most for one in (0, 1))
        is_odd = (np.asarray(traits.borders.mean(axis=1)) > 0) != (bags.classes == bags.classes[-1])
        assert not is_odd.any() or weights[is_odd].min() > weights[~is_odd].mean()


def test_the_worse_fall_that_is_shown_makes_the_estimate():
    rows = ((0.1, 0.05, 0.2), (0.2, 0.1, 0.3), (0.15, -1, 1))
    small, large, wide = (Estimate(value=value, low=low, high=high) for value, low, high in rows)
    cases = ((small, large, large), (large, wide, large), (wide, small, small), (None, wide, wide))
    for held_out, weighted, worse in cases:
        found = Elsewhere(out_of_fold=Estimate(value=0.8), clusters=(40, 40), fall=held_out, weighted_fall=weighted)
        assert found.worse_fall == worse
        assert found.expected.value == pytest.approx(0.8 - worse.value)
        assert found.in_short(None)
    assert "by weighted patients" in " ".join(
        Elsewhere(out_of_fold=Estimate(value=0.8), clusters=(40, 40), fall=small, weighted_fall=large).in_words(None)
    )


def test_random_parts_have_the_classes_of_the_clusters():
    cohort, bags, traits = made_up({"acute_leukemia": 0.2, "lymphoma": 0.7}, cells_know=0, stain_seen=0)
    plan = plan_of_traits(cohort, bags, traits, OPTIONS)
    clusters, random = np.array(plan.clusters), np.array(plan.random)
    assert sorted(np.bincount(clusters)) == [36, 44]
    assert (clusters != random).any()
    for parts in (clusters, random):
        np.testing.assert_array_equal(np.bincount(bags.classes[parts == 0]), np.bincount(bags.classes[clusters == 0]))
    for split in plan.splits(bags, OPTIONS):
        assert not set(split.train) & set(split.own)
        assert split.fold not in bags.fold_numbers


def test_patients_who_are_held_out_do_not_stop_a_member_of_the_recipe_paper():
    cohort, bags, traits = made_up(None, cells_know=0, stain_seen=0)
    options = tiny(recipe="paper")
    for split in plan_of_traits(cohort, bags, traits, options).splits(bags, options):
        assert not set(split.validation) & set(split.own)


def test_two_smears_of_a_person_are_in_one_cluster_and_in_one_part():
    cohort, bags, traits = made_up(None, cells_know=0, stain_seen=0)
    persons = [f"g{i // 2}" for i in range(len(bags))]
    bags = replace(bags, table=bags.table.assign(group=pd.array(persons, dtype="string")))
    plan = plan_of_traits(cohort, bags, traits, OPTIONS)
    for parts in (plan.clusters, plan.random):
        assert parts[0::2] == parts[1::2]


def test_classes_whose_images_all_look_different_give_no_estimate_and_a_reason():
    cohort, bags, traits = made_up({"acute_leukemia": 0, "lymphoma": 1}, cells_know=0.5, stain_seen=1)
    plan = plan_of_traits(cohort, bags, traits, OPTIONS)
    found = measured_elsewhere(plan, bags, [], [], OPTIONS)
    assert found.fall is None
    assert plan.splits(bags, OPTIONS) == []
    assert set(found.untested) == {"Acute leukemia", "Lymphoma"}
    assert found.weighted_fall is None
    assert "Lymphoma" in " ".join(found.in_words(Estimate(value=0.95)))
    warning = found.shortcut(Estimate(value=0.95))
    assert "borders of the images alone" in warning


def test_traits_that_tell_little_of_what_the_model_tells_are_no_shortcut():
    found = Elsewhere(why_not="x", traits_alone={"colours": Estimate(value=0.65, low=0.6, high=0.7)})
    assert not found.shortcut(Estimate(value=0.95))
    assert found.shortcut(Estimate(value=0.69))


@pytest.mark.parametrize(
    ("low", "traits", "word"), [(0.05, 0.6, "expect"), (-0.1, 0.6, "no fall"), (-0.1, 0.9, "little")]
)
def test_a_fall_that_is_not_shown_is_no_promise(low, traits, word):
    found = Elsewhere(
        clusters=(40, 40),
        out_of_fold=Estimate(value=0.8),
        fall=Estimate(value=0.1, low=low, high=0.3),
        traits_alone={"borders": Estimate(value=traits, low=traits, high=traits)},
    )
    assert word in found.in_short(Estimate(value=0.95))
    assert "in other laboratories" in found.in_short(Estimate(value=0.95))
    assert "0.500" in found.in_short(Estimate(value=0.95))
    assert found.expected.high <= 0.8


@pytest.mark.parametrize(("low", "is_expected"), [(-0.1, False), (0.05, True)])
def test_where_images_tell_all_classes_only_a_fall_that_is_shown_is_an_estimate(low, is_expected):
    found = Elsewhere(
        clusters=(40, 40),
        out_of_fold=Estimate(value=0.8),
        fall=Estimate(value=0.1, low=low, high=0.3),
        not_weighted=("Acute leukemia", "Lymphoma"),
    )
    assert (found.expected is not None) == is_expected
    assert ("cannot be told" in " ".join(found.in_words(None))) != is_expected


def test_a_cluster_of_few_patients_gets_the_nearest_others():
    values = np.r_[np.zeros(36), 10 + np.arange(4.0)] + np.linspace(0, 1, 40)
    borders = pd.DataFrame({"grain": values}, index=[f"p{i:02d}" for i in range(40)])
    sizes = pd.DataFrame(index=borders.index)
    clusters = image_clusters(
        ImageTraits(borders, borders, sizes, {}), pd.Series(range(41), index=[*borders.index, "x"])
    )
    assert clusters[-1] == -1
    assert np.bincount(clusters[:-1]).tolist() in ([30, 10], [10, 30])
    assert len(set(clusters[30:-1])) == 1


@pytest.fixture(scope="module")
def with_images(tmp_path_factory) -> Cohort:
    """40 patients with features, and two small images each."""
    folder = write_cohort(tmp_path_factory.mktemp("with_images"), {"aml": 20, "cll": 20}, cells=(3, 4))
    cohort = read(folder, folds=2)
    for number, patient in enumerate(cohort.table["patient_id"]):
        (smear := folder / "images" / patient).mkdir(parents=True)
        for cell, image in enumerate(synthesize_patient("cll", cells=2, seed=number).images(48)):
            Image.fromarray(image).save(smear / f"{cell}.png")
    paths = {patient: str(folder / "images" / patient) for patient in cohort.table["patient_id"]}
    return with_column(cohort, "path", paths)


def test_train_records_the_estimate_and_a_resumed_one_the_same(with_images, tmp_path):
    cohort, features = with_images, Path(with_images.source)
    seen: list[Progress] = []
    ensemble = train(cohort, features, tiny(), out=tmp_path / "model", progress=seen.append)
    training = ensemble.description.training
    assert training.elsewhere.fall is not None
    assert sum(training.elsewhere.clusters) == 40
    # As many patients of each class: at the cohort's shares all classes are equally frequent.
    assert training.elsewhere.out_of_fold.value == pytest.approx(training.out_of_fold.pooled["balanced_accuracy"].value)
    card = (tmp_path / "model" / "README.md").read_text("utf-8")
    assert all(sentence in card for sentence in training.elsewhere_in_words)
    assert set(training.elsewhere_in_brief) < set(training.elsewhere_in_words)
    assert f"{training.elsewhere_in_short}." in training.elsewhere_in_brief
    steps = [one for one in seen if isinstance(one, TrainProgress)]
    assert {(one.is_elsewhere, one.folds) for one in steps} == {(False, 2), (True, 4)}
    assert plan_training(cohort, features, tiny()).steps == steps[-1].total == steps[-1].done

    def stop(progress: Progress) -> None:
        if isinstance(progress, TrainProgress) and progress.is_elsewhere and progress.fold == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        train(cohort, features, tiny(), out=tmp_path / "again", progress=stop)
    again = train(cohort, features, tiny(), out=tmp_path / "again", resume=True)
    assert again.description.training.elsewhere == training.elsewhere
    assert are_same_members(again, ensemble)


def test_a_model_without_the_estimate_has_the_same_members_and_names_the_reason(with_images, tmp_path):
    cohort, features = with_images, Path(with_images.source)

    def stop(progress: Progress) -> None:
        if isinstance(progress, TrainProgress) and progress.is_elsewhere:
            raise FinishEarly

    stopped = train(cohort, features, tiny(), progress=stop)
    without = train(cohort, features, tiny(elsewhere=False))
    no_images = with_column(cohort, "path", dict.fromkeys(cohort.table["patient_id"]))
    assert are_same_members(stopped, without)
    reasons = [
        " ".join(one.description.training.elsewhere_in_words)
        for one in (stopped, without, train(no_images, features, tiny()))
    ]
    for reason, word in zip(reasons, ("by hand", "switched off", "images"), strict=True):
        assert word in reason


def test_every_prediction_warns_where_image_traits_come_near_the_model(with_images, tmp_path):
    ensemble = train(with_images, Path(with_images.source), tiny(elsewhere=False))
    training = ensemble.description.training
    found = training.elsewhere.model_copy(update={"traits_alone": {"colours": Estimate(value=0.98, low=0.95, high=1)}})
    description = ensemble.description.model_copy(update={"training": training.model_copy(update={"elsewhere": found})})
    ensemble = replace(ensemble, description=description)
    features = Features.load(next(Path(with_images.source).glob("*.h5")))
    warnings = ensemble.predict(features).warnings
    assert any("colours of whole images alone (0.98)" in one for one in warnings)


def test_classes_that_images_tell_completely_are_not_weighted_and_named(tmp_path):
    found = weighted_of(*made_up({"acute_leukemia": 0, "lymphoma": 1}, cells_know=0.5, stain_seen=1), tmp_path)
    assert found.expected is None
    assert set(found.not_weighted) == {"Acute leukemia", "Lymphoma"}
    assert "weights" in " ".join(found.in_words(Estimate(value=0.95)))
