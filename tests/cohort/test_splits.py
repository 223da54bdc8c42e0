"""Splits are by patient, stratified and repeatable; what belongs together stays on one side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from napari_caltomorph.cohort import Cohort, CohortOptions, with_types
from napari_caltomorph.cohort.splits import leak, split
from napari_caltomorph.taxonomy import caltomorph_taxonomy

CLASSES = {"aml": "acute_leukemia", "cll": "lymphoma", "mm": "plasma_cell_neoplasm"}


def make_cohort(detailed: list[str], groups: list[str | None] | None = None, **options: object) -> Cohort:
    table = pd.DataFrame({"patient_id": [f"p{i}" for i in range(len(detailed))], "detailed": detailed})
    table["coarse"] = table["detailed"].map(CLASSES)
    table["group"] = groups
    return Cohort(
        "made", Path("made"), "table", caltomorph_taxonomy(), with_types(table), options=CohortOptions(**options)
    )


def test_a_fifth_of_every_class_is_held_out_and_the_rest_dealt_into_folds() -> None:
    table = split(make_cohort(["aml"] * 50 + ["cll"] * 25 + ["mm"] * 10)).table
    assert (table["split"] == "test").sum() == 17
    held_out = table[table["split"] == "test"]["detailed"].value_counts()
    assert held_out.to_dict() == {"aml": 10, "cll": 5, "mm": 2}
    train = table[table["split"] == "train"]
    assert set(train["fold"]) == set(range(5))
    per_fold = pd.crosstab(train["detailed"], train["fold"])
    assert (per_fold.max(axis=1) - per_fold.min(axis=1) <= 1).all()
    assert table.loc[table["split"] == "test", "fold"].isna().all()


@given(
    st.lists(st.sampled_from(list(CLASSES)), min_size=4, max_size=60), st.integers(0, 5), st.integers(2, 6), st.data()
)
def test_every_patient_has_one_side_and_groups_stay_together(
    detailed: list[str], seed: int, folds: int, data: st.DataObject
) -> None:
    groups = data.draw(st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=len(detailed), max_size=len(detailed)))
    cohort = split(make_cohort(detailed, groups, seed=seed, folds=folds))
    assert leak(cohort) == ""
    assert set(cohort.table["split"]) <= {"train", "test"}
    again = split(make_cohort(detailed, groups, seed=seed, folds=folds))
    pd.testing.assert_frame_equal(cohort.table, again.table)


def test_a_class_with_fewer_patients_than_folds_is_said() -> None:
    cohort = split(make_cohort(["aml"] * 30 + ["cll"]))
    assert any("fewer training patients than folds" in note and "Lymphoma (1)" in note for note in cohort.notes)


def test_patients_that_share_an_image_stand_on_one_side() -> None:
    cohort = make_cohort(["aml"] * 40)
    table = cohort.table.assign(twin=pd.array([None, "p0"] + [None] * 38, dtype="string"))
    for seed in range(8):
        options = CohortOptions(seed=seed)
        made = split(Cohort("made", Path("made"), "table", cohort.taxonomy, table, options=options))
        one, other = made.table.iloc[0], made.table.iloc[1]
        assert one["split"] == other["split"]
        assert str(one["fold"]) == str(other["fold"])


def test_a_split_that_the_table_brings_is_kept_and_its_leaks_are_said() -> None:
    cohort = make_cohort(["aml"] * 10, ["g"] * 10)
    table = cohort.table.assign(split=pd.array(["train", "test"] * 5, dtype="string"))
    made = split(Cohort("made", Path("made"), "table", cohort.taxonomy, table))
    assert list(made.table["split"]) == ["train", "test"] * 5
    assert any("leaks: group g stands on two sides" in note for note in made.notes)


def test_no_test_part_leaves_everybody_to_train() -> None:
    table = split(make_cohort(["aml"] * 10, test_fraction=0.0)).table
    assert set(table["split"]) == {"train"}
    assert np.isfinite(table["fold"].astype(float)).all()
