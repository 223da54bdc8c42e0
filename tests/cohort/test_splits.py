"""Splits are by patient, stratified and repeatable; what belongs together stays on one side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_caltomorph.cohort import Cohort, CohortOptions, with_types
from napari_caltomorph.cohort.splits import find_leak, split
from napari_caltomorph.taxonomy import caltomorph_taxonomy

CLASSES = {"aml": "acute_leukemia", "cll": "lymphoma", "mm": "plasma_cell_neoplasm"}


def make_cohort(detailed: list[str], groups: list[str | None] | None = None, **options: object) -> Cohort:
    table = pd.DataFrame({"patient_id": [f"p{i}" for i in range(len(detailed))], "detailed": detailed})
    table["coarse"] = table["detailed"].map(CLASSES)
    table["group"] = groups
    return Cohort(
        "made", Path("made"), "table", caltomorph_taxonomy(), with_types(table), options=CohortOptions(**options)
    )


def test_a_fifth_of_every_class_is_held_out_and_the_rest_split_into_folds() -> None:
    table = split(make_cohort(["aml"] * 50 + ["cll"] * 25 + ["mm"] * 10)).table
    assert (table["split"] == "test").sum() == 17
    held_out = table[table["split"] == "test"]["detailed"].value_counts()
    assert held_out.to_dict() == {"aml": 10, "cll": 5, "mm": 2}
    train = table[table["split"] == "train"]
    assert set(train["fold"]) == set(range(5))
    per_fold = pd.crosstab(train["detailed"], train["fold"])
    assert (per_fold.max(axis=1) - per_fold.min(axis=1) <= 1).all()
    assert table.loc[table["split"] == "test", "fold"].isna().all()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(list(CLASSES)), min_size=4, max_size=60), st.integers(0, 5), st.integers(2, 6), st.data()
)
def test_every_patient_has_one_side_and_groups_stay_together(
    detailed: list[str], seed: int, folds: int, data: st.DataObject
) -> None:
    groups = data.draw(st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=len(detailed), max_size=len(detailed)))
    cohort = split(make_cohort(detailed, groups, split_seed=seed, folds=folds))
    assert find_leak(cohort) == ""
    independent = len({group or f"alone {i}" for i, group in enumerate(groups)})
    assert len(cohort.table["fold"].dropna().unique()) in {0, *range(2, min(folds, independent) + 1)}
    assert set(cohort.table["fold"].dropna()) == set(range(cohort.table["fold"].nunique()))
    assert set(cohort.table["split"]) <= {"train", "test"}
    again = split(make_cohort(detailed, groups, split_seed=seed, folds=folds))
    pd.testing.assert_frame_equal(cohort.table, again.table)


def test_a_class_with_fewer_patients_than_folds_is_noted() -> None:
    cohort = split(make_cohort(["aml"] * 30 + ["cll"]))
    assert any("fewer training patients than folds" in note and "Lymphoma (1)" in note for note in cohort.notes)


def test_patients_that_share_an_image_are_in_one_split() -> None:
    cohort = make_cohort(["aml"] * 40)
    # Two with 1, two with 2: three patients; the outer ones have no image in common.
    table = cohort.table.assign(shared_images=pd.array(["1", "1 2", "2"] + [None] * 37, dtype="string"))
    for seed in range(8):
        options = CohortOptions(split_seed=seed)
        result = split(Cohort("made", Path("made"), "table", cohort.taxonomy, table, options=options))
        assert result.table["split"].head(3).nunique() == 1
        assert result.table["fold"].head(3).nunique(dropna=False) == 1
        assert any("3 patients share images" in note for note in result.notes)


def test_a_split_of_the_table_is_kept_and_its_leaks_are_reported() -> None:
    cohort = make_cohort(["aml"] * 10, ["g"] * 10)
    table = cohort.table.assign(split=pd.array(["train", "test"] * 5, dtype="string"))
    result = split(Cohort("made", Path("made"), "table", cohort.taxonomy, table))
    assert list(result.table["split"]) == ["train", "test"] * 5
    assert "The table's own split is kept." in result.notes
    assert any("leaks: group g is in two parts" in note for note in result.notes)


def test_without_a_test_split_all_patients_are_for_training() -> None:
    table = split(make_cohort(["aml"] * 10, test_fraction=0.0)).table
    assert set(table["split"]) == {"train"}
    assert np.isfinite(table["fold"].astype(float)).all()


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.3, 0.4, 0.6, 0.75, 0.9])
def test_the_test_split_has_the_given_size(fraction: float) -> None:
    table = split(make_cohort(["aml"] * 60 + ["cll"] * 30 + ["mm"] * 10, test_fraction=fraction)).table
    held_out = table[table["split"] == "test"]["detailed"].value_counts()
    for name, size in (("aml", 60), ("cll", 30), ("mm", 10)):
        assert abs(held_out[name] - fraction * size) <= 1


def test_a_cohort_without_held_out_patients_is_noted() -> None:
    cohort = split(make_cohort(["aml"] * 10, ["one site"] * 10))
    assert set(cohort.table["split"]) == {"train"}
    assert any("No patient is held out" in note for note in cohort.notes)
    assert any("No folds" in note for note in cohort.notes)


@pytest.mark.parametrize("seed", range(12))
def test_folds_are_of_one_size_where_no_class_fills_them_evenly(seed: int) -> None:
    table = split(make_cohort(["aml"] * 6 + ["cll"] * 6, test_fraction=0.0, split_seed=seed)).table
    assert sorted(table["fold"].value_counts()) == [2, 2, 2, 3, 3]


def test_no_fold_is_preferred_where_all_lack_as_much() -> None:
    tables = [split(make_cohort(["aml"] * 6, test_fraction=0.0, split_seed=seed)).table for seed in range(12)]
    assert len({table["fold"].mode()[0] for table in tables}) > 2


def test_a_seed_gives_the_same_split_for_ever() -> None:
    # A model's own patients are recognised by their folds: a cohort that is read again must be split as before.
    groups = [None, "a", "b", "a", None, "c", "b", None] * 4
    cohort = make_cohort(["aml", "aml", "cll", "mm"] * 8, groups, folds=3, split_seed=1)
    shared = [None] * 32
    shared[4], shared[9], shared[20] = "1", "1 2", "2"
    table = split(replace(cohort, table=cohort.table.assign(shared_images=pd.array(shared, dtype="string")))).table
    assert "".join("t" if pd.isna(fold) else str(fold) for fold in table["fold"]) == "1212201t12121010t212201tt212t011"


@pytest.mark.parametrize("seed", range(8))
def test_small_classes_are_spread_over_the_folds(seed: int) -> None:
    # Together they are one stratum of 8: a fold may get two of them, but not two of one class.
    table = split(make_cohort(["aml"] * 40 + ["cll"] * 4 + ["mm"] * 4, test_fraction=0.0, split_seed=seed)).table
    assert table[table["detailed"] == "cll"]["fold"].is_unique
    assert table[table["detailed"] == "mm"]["fold"].is_unique


def test_patients_that_the_tables_own_split_does_not_name_train() -> None:
    cohort = make_cohort(["aml"] * 10)
    table = cohort.table.assign(split=pd.array(["test"] * 3 + [None] * 7, dtype="string"))
    result = split(Cohort("made", Path("made"), "table", cohort.taxonomy, table))
    assert list(result.table["split"]) == ["test"] * 3 + ["train"] * 7
    assert any("does not name 7 patients" in note for note in result.notes)


def test_every_leak_is_found() -> None:
    cohort = make_cohort(["aml"] * 4)
    sides = {"split": pd.array(["train", "train", "test", "train"], dtype="string"), "fold": [0, 1, None, 1]}
    table = with_types(cohort.table.assign(**sides))

    def leak_with(**columns: list[str | None]) -> str:
        return find_leak(Cohort("made", Path("made"), "table", cohort.taxonomy, with_types(table.assign(**columns))))

    assert leak_with() == ""
    assert leak_with(patient_id=["a", "b", "c", "a"]) == "a occurs twice"
    assert leak_with(shared_images=["1", "2", "3 1", "2"]) == "p0 and p2 share an image and are in two parts"
    assert leak_with(shared_images=["1", "2", "3", "2"]) == ""
    assert leak_with(group=["g", "h", None, "g"]) == "group g is in two parts"
    assert leak_with(slide_of=["p", None, "p", None]) == "p0 and p2 are slides of one patient and are in two parts"
