"""The estimate for other laboratories: what it finds in made-up cohorts with and without a shortcut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.training.factories import ORIGIN, are_same_members, read, tiny, with_column, write_cohort

from napari_caltomorph.audit.image_traits import ImageTraits
from napari_caltomorph.cohort import Cohort, with_types
from napari_caltomorph.diagnosis.elsewhere import Elsewhere, Estimate
from napari_caltomorph.encoding import Features
from napari_caltomorph.progress import Cancelled, Progress
from napari_caltomorph.smear.image_traits import BACKGROUND
from napari_caltomorph.synthetic import synthesize_patient
from napari_caltomorph.taxonomy import caltomorph_taxonomy
from napari_caltomorph.training import FinishEarly, train
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.elsewhere import measured_elsewhere
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import member_splits
from napari_caltomorph.training.members import FoldCheckpoint, trained_member

OPTIONS = tiny(aggregator="mean", epochs=12, learning_rate=1e-2)
CLASSES = ("acute_leukemia", "lymphoma")
SHORTCUT = {"acute_leukemia": 0.15, "lymphoma": 0.85}


def estimate_of(
    in_second: dict[str, float] | None,
    work: Path,
    *,
    cells_know: float,
    stain_seen: float,
    patients: int = 80,
    seed: int = 0,
    without_images: int = 0,
) -> Elsewhere:
    """Train on a made-up cohort with a share of each class that is of the second of two laboratories, and measure.

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
    seen = stain[:, None] + rng.normal(0, 0.3, (patients, 3))
    seen[:without_images] = np.nan
    borders = pd.DataFrame(seen, index=table["patient_id"], columns=list(BACKGROUND))
    traits = ImageTraits(borders, borders, pd.DataFrame(index=borders.index), {})
    trained = []
    for split in member_splits(bags, OPTIONS):
        fit_member(bags, split, OPTIONS, FoldCheckpoint(work, split.fold))
        trained.append(trained_member(bags, split, OPTIONS, FoldCheckpoint(work, split.fold)))
    return measured_elsewhere(cohort, bags, traits, trained, OPTIONS)


@pytest.mark.parametrize("seed", range(3))
def test_it_falls_by_what_the_members_owe_to_a_stain_that_goes_with_the_class(tmp_path, seed):
    found = estimate_of(SHORTCUT, tmp_path, cells_know=0.1, stain_seen=0.8, seed=seed)
    assert found.background_fall.low > 0.05
    assert found.expected.high < found.out_of_fold.value
    assert found.right[0] > found.right[1] + 4
    words = " ".join(found.in_words(Estimate(value=0.95)))
    assert all(str(one) in words for one in (found.expected, found.background_fall, found.patients, found.right[0]))
    assert "may rest on" in words


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("in_second", [None, dict.fromkeys(CLASSES, 0.5)])
def test_it_does_not_fall_where_stains_are_the_same_for_all_classes(tmp_path, in_second, seed):
    found = estimate_of(in_second, tmp_path, cells_know=0.3, stain_seen=0.5, seed=seed)
    assert found.background_fall.low is None or found.background_fall.low <= 0
    assert found.background_fall.value < 0.03
    assert "no effect of the background" in found.in_short(Estimate(value=0.95))
    assert not found.shortcut(Estimate(value=0.95))


def test_it_does_not_fall_where_members_do_not_use_the_stain(tmp_path):
    found = estimate_of(SHORTCUT, tmp_path, cells_know=0.8, stain_seen=0)
    assert not found.is_shown


def test_where_the_stain_hardly_differs_within_classes_no_fall_is_said_to_prove_little(tmp_path):
    found = estimate_of({"acute_leukemia": 0, "lymphoma": 1}, tmp_path, cells_know=0.5, stain_seen=0)
    assert "proves little" in found.in_short(Estimate(value=0.95))


def test_patients_without_images_are_left_out_and_too_few_others_give_a_reason(tmp_path):
    assert estimate_of(None, tmp_path, cells_know=0.3, stain_seen=0.5, without_images=3).patients == 77
    few = estimate_of(None, tmp_path, cells_know=0.3, stain_seen=0.5, without_images=41)
    assert few.expected is None
    assert "40 patients" in " ".join(few.in_words(None))


@pytest.mark.parametrize(
    ("name", "low", "is_near"),
    [("background", 0.62, False), ("background", 0.68, True), ("colours", 0.78, False), ("colours", 0.85, True)],
)
def test_traits_that_tell_much_of_what_the_model_tells_may_be_a_shortcut(name, low, is_near):
    found = Elsewhere(traits_alone={name: Estimate(value=0.9, low=low, high=0.95)})
    assert bool(found.shortcut(Estimate(value=0.95))) == is_near


def test_an_estimate_of_an_earlier_version_is_read_and_only_its_warning_shown():
    found = Elsewhere.model_validate(
        {
            "why_not": "",
            "clusters": [40, 40],
            "out_of_fold": {"value": 0.8, "low": 0.7, "high": 0.9},
            "fall": {"value": 0.1, "low": -0.1, "high": 0.3},
            "weighted": [80, 60.5],
            "traits_alone": {"borders": {"value": 0.9, "low": 0.8, "high": 0.95}},
        }
    )
    assert found.expected is None
    assert "borders" in found.shortcut(Estimate(value=0.9))
    assert "earlier version" in " ".join(found.in_words(Estimate(value=0.9)))


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


def test_train_records_the_estimate_and_one_that_was_stopped_in_it_the_same(with_images, tmp_path):
    cohort, features = with_images, Path(with_images.source)
    ensemble = train(cohort, features, tiny(), out=tmp_path / "model")
    training = ensemble.description.training
    assert training.elsewhere.patients == 40
    # As many patients of each class: at the cohort's shares all classes are equally frequent.
    assert training.elsewhere.out_of_fold.value == pytest.approx(training.out_of_fold.pooled["balanced_accuracy"].value)
    card = (tmp_path / "model" / "README.md").read_text("utf-8")
    assert all(sentence in card for sentence in training.elsewhere_in_words)
    assert set(training.elsewhere_in_brief) < set(training.elsewhere_in_words)
    assert f"{training.elsewhere_in_short}." in training.elsewhere_in_brief

    def stop(progress: Progress) -> None:
        if progress.stage == "Other backgrounds" and progress.done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        train(cohort, features, tiny(), out=tmp_path / "again", progress=stop)
    again = train(cohort, features, tiny(), out=tmp_path / "again", resume=True)
    assert again.description.training.elsewhere == training.elsewhere
    assert are_same_members(again, ensemble)


def test_a_model_without_the_estimate_has_the_same_members_and_names_the_reason(with_images):
    cohort, features = with_images, Path(with_images.source)

    def stop(progress: Progress) -> None:
        if progress.stage == "Measuring images":
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


def test_every_prediction_warns_where_image_traits_come_near_the_model(with_images):
    ensemble = train(with_images, Path(with_images.source), tiny(elsewhere=False))
    training = ensemble.description.training
    found = training.elsewhere.model_copy(update={"traits_alone": {"colours": Estimate(value=0.98, low=0.95, high=1)}})
    description = ensemble.description.model_copy(update={"training": training.model_copy(update={"elsewhere": found})})
    ensemble = replace(ensemble, description=description)
    features = Features.load(next(Path(with_images.source).glob("*.h5")))
    warnings = ensemble.predict(features).warnings
    assert any("colours of whole images alone (0.98)" in one for one in warnings)
