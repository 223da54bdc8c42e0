"""Directories and tables become cohorts; patients that are left out are counted, with the reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cohort.conftest import CELLS, PATIENTS
from tests.cohort.factories import CHECKED, FEW, cohort_from, edit, rules, with_options

from napari_caltomorph.cohort import Cohort, CohortOptions, read_cohort
from napari_caltomorph.errors import CohortUnreadable
from napari_caltomorph.progress import Cancelled, Progress


def test_label_folders_are_read_with_the_table_next_to_them(drawn: Path) -> None:
    cohort = read_cohort(drawn, CHECKED)
    truth = pd.read_csv(drawn / "patients.csv").set_index("patient_id")
    assert cohort.layout == "folders"
    assert len(cohort) == PATIENTS
    assert set(cohort.table["n_cells"]) == {CELLS}
    names = dict(zip(cohort.taxonomy.slugs, cohort.taxonomy.names, strict=True))
    for row in cohort.table.itertuples():
        assert names[row.coarse] == truth.loc[row.patient_id, "coarse_class"]
        assert row.hemoglobin_g_dl == truth.loc[row.patient_id, "hemoglobin_g_dl"]
        assert row.split == truth.loc[row.patient_id, "split"]


def test_patients_next_to_a_table_get_its_detailed_diagnoses(flat: Path) -> None:
    cohort = read_cohort(flat, FEW)
    truth = pd.read_csv(flat / "diagnoses.csv").set_index("patient_id")
    names = {d.slug: d.name for c in cohort.taxonomy.classes for d in c.detailed}
    assert len(cohort) == PATIENTS
    assert all(names[row.detailed] == truth.loc[row.patient_id, "diagnosis"] for row in cohort.table.itertuples())
    assert any("label = 'diagnosis'" in note for note in cohort.notes)


def test_ids_without_a_folder_are_reported_with_an_example_of_both(flat: Path) -> None:
    edit(flat / "diagnoses.csv", lambda t: t.assign(patient_id="x" + t["patient_id"]))
    with pytest.raises(CohortUnreadable, match=r"no id matches a folder or file .first id 'xsynthetic"):
        read_cohort(flat, FEW)


def test_rows_without_folder_and_folders_without_row_are_counted(flat: Path) -> None:
    shutil.rmtree(flat / "synthetic_001")
    edit(flat / "diagnoses.csv", lambda t: t[t["patient_id"] != "synthetic_002"])
    cohort = read_cohort(flat, FEW)
    assert rules(cohort) == {"missing files": 1, "no row": 1}
    assert len(cohort) == PATIENTS - 2


def test_two_rows_of_one_patient_with_different_labels_are_left_out(flat: Path) -> None:
    def twice(table: pd.DataFrame) -> pd.DataFrame:
        first = table[table["patient_id"] == "synthetic_001"].assign(diagnosis="CML")
        second = table[table["patient_id"] == "synthetic_002"]
        return pd.concat([table, first, second])

    edit(flat / "diagnoses.csv", twice)
    cohort = read_cohort(flat, FEW)
    assert "synthetic_001" not in set(cohort.table["patient_id"])
    assert list(cohort.table["patient_id"]).count("synthetic_002") == 1
    assert set(rules(cohort)) == {"the same patient twice"}


def test_unmatched_labels_are_listed_and_left_out_or_kept_as_other(flat: Path) -> None:
    edit(
        flat / "diagnoses.csv",
        lambda t: t.assign(diagnosis=t["diagnosis"].where(t["patient_id"] != "synthetic_001", "Gaucher's xyz")),
    )
    cohort = read_cohort(flat, FEW)
    assert rules(cohort) == {"label of no class": 1}
    assert any("'Gaucher's xyz' (1)" in note or '"Gaucher\'s xyz" (1)' in note for note in cohort.notes)
    kept = read_cohort(flat, with_options(keep_unmatched=True)).table.set_index("patient_id")
    assert pd.isna(kept.loc["synthetic_001", "coarse"])


def test_without_a_taxonomy_each_label_is_a_class(flat: Path) -> None:
    cohort = read_cohort(flat, with_options(taxonomy="none", min_patients=1))
    assert set(cohort.taxonomy.names) == set(pd.read_csv(flat / "diagnoses.csv")["diagnosis"])
    assert cohort.table["coarse"].notna().all()


def test_few_cells_and_classes_of_one_patient_are_left_out(flat: Path) -> None:
    for cell in sorted((flat / "synthetic_001").glob("*.TIF"))[2:]:
        cell.unlink()
    assert rules(read_cohort(flat, CHECKED))["few cells"] == 1
    assert len(read_cohort(flat, with_options(min_cells=2, names_only=False))) == PATIENTS


def test_the_same_cells_under_two_patients_are_found(flat: Path) -> None:
    shutil.rmtree(flat / "synthetic_002")
    shutil.copytree(flat / "synthetic_001", flat / "synthetic_002")
    cohort = read_cohort(flat, CHECKED)
    assert rules(cohort) == {"the same cells under two patients": 1}
    assert cohort.left_out["reason"].iloc[0] == "has the images of synthetic_001"


def test_a_guess_about_images_is_a_note_with_the_number_of_patients(flat: Path) -> None:
    for patient in ("synthetic_001", "synthetic_002"):
        for path in (flat / patient).glob("*.TIF"):
            tifffile.imwrite(path, tifffile.imread(path) * np.uint16(16), photometric="rgb")
    (note,) = (note for note in read_cohort(flat, CHECKED).notes if "12 bits" in note)
    assert "patients: 2, first: synthetic_001" in note


def test_a_cohort_is_saved_and_read_again(flat: Path, tmp_path: Path) -> None:
    shutil.rmtree(flat / "synthetic_001")
    cohort = read_cohort(flat, CHECKED)
    cohort.save(tmp_path / "cohort.json")
    again = read_cohort(tmp_path / "cohort.json")
    pd.testing.assert_frame_equal(again.table, cohort.table, check_dtype=False)
    pd.testing.assert_frame_equal(again.left_out, cohort.left_out, check_dtype=False)
    assert (again.taxonomy, again.options, again.notes) == (cohort.taxonomy, cohort.options, cohort.notes)
    (tmp_path / "cohort.json").write_text("{}")
    with pytest.raises(CohortUnreadable, match=r"cohort\.json .*inspect the data again"):
        read_cohort(tmp_path / "cohort.json")


def test_checking_cells_can_be_cancelled(flat: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        read_cohort(flat, CHECKED, progress=stop)


def test_an_empty_cohort_names_the_reasons(flat: Path) -> None:
    with pytest.raises(
        CohortUnreadable, match=f"left of {PATIENTS}: {PATIENTS} few cells .first: synthetic_001.*--min-cells"
    ):
        read_cohort(flat, CohortOptions(min_cells=500))


def test_names_only_counts_files_without_opening_them(flat: Path) -> None:
    (flat / "synthetic_001" / "Gal-000001.RGB.TIF").write_bytes(b"damaged")
    assert read_cohort(flat, CHECKED).table.set_index("patient_id").loc["synthetic_001", "n_cells"] == CELLS - 1
    quick = read_cohort(flat, FEW).table.set_index("patient_id")
    assert quick.loc["synthetic_001", "n_cells"] == CELLS
    assert quick["fingerprint"].isna().all()


def test_folders_without_row_are_counted_when_rows_are_chosen_too(flat: Path) -> None:
    edit(
        flat / "diagnoses.csv",
        lambda t: t.assign(Site=["A", "B"] * (PATIENTS // 2))[t["patient_id"] != "synthetic_002"],
    )
    cohort = read_cohort(flat, with_options(where=("Site=A",)))
    assert rules(cohort) == {"no row": 1}
    assert len(cohort) == PATIENTS // 2


def test_a_class_of_one_patient_is_left_out_or_kept_by_option(make_bags, tmp_path: Path) -> None:
    make_bags(tmp_path / "bags" / "AML", {f"p{i}": 60 for i in range(6)})
    make_bags(tmp_path / "bags" / "CLL", {"c": 60})
    assert rules(read_cohort(tmp_path / "bags")) == {"other or rare diagnosis": 1}
    kept = read_cohort(tmp_path / "bags", CohortOptions(min_patients=1))
    assert len(kept) == 7
    assert any("fewer training patients than folds" in note for note in kept.notes)


def test_one_path_under_two_patients_is_found_by_names_alone(flat: Path) -> None:
    table = pd.read_csv(flat / "diagnoses.csv").assign(folder=lambda t: t["patient_id"])
    table.loc[1, "folder"] = f"../{flat.name}/{table.loc[0, 'folder']}"
    table.to_csv(flat / "paths.csv", index=False)
    for names_only in (True, False):
        cohort = read_cohort(flat / "paths.csv", with_options(names_only=names_only))
        assert rules(cohort) == {"the same cells under two patients": 1}


def test_the_same_features_under_two_patients_are_found(make_bags, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for label in ("AML", "CLL"):
        folder = make_bags(tmp_path / "bags" / label, {})
        for number in range(4):
            with h5py.File(folder / f"{label}{number}.h5", "w") as file:
                file["features"] = rng.normal(size=(60, 8)).astype(np.float16)
    shutil.copy(folder / "CLL0.h5", folder / "again.h5")
    cohort = read_cohort(tmp_path / "bags")
    assert rules(cohort) == {"the same cells under two patients": 1}


def test_images_shared_with_a_removed_patient_still_connect_the_others(flat: Path) -> None:
    edit(
        flat / "diagnoses.csv",
        lambda t: t.assign(
            diagnosis=[
                "AML in remission" if p == "synthetic_001" else d
                for p, d in zip(t.patient_id, t.diagnosis, strict=True)
            ]
        ),
    )
    cell = sorted((flat / "synthetic_001").glob("*.TIF"))[0]
    for other in ("synthetic_004", "synthetic_009", "synthetic_015"):
        shutil.copy(cell, flat / other / "stray.TIF")
    for seed in range(5):
        cohort = read_cohort(flat, with_options(split_seed=seed, names_only=False))
        assert rules(cohort) == {"follow-up after therapy": 1}
        three = cohort.table.set_index("patient_id").loc[["synthetic_004", "synthetic_009", "synthetic_015"]]
        assert three["split"].nunique() == 1
        assert three["fold"].nunique(dropna=False) == 1
        assert any("3 patients share images" in note for note in cohort.notes)


KINDS = ("AML", "CLL", "AML in remission", "AML/CLL", "suspected AML", "nonsense xyz", None)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 11), st.sampled_from(KINDS), st.sampled_from([3, 60])), min_size=1, max_size=14
    ),
    on_disk=st.sets(st.integers(0, 11), min_size=1),
)
def test_every_patient_that_was_found_is_in_or_left_out_under_one_rule(
    make_bags, tmp_path_factory, rows: list[tuple[int, str | None, int]], on_disk: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("bags")
    sizes = {number: size for number, _, size in rows}
    make_bags(folder, {"always": 60, "also": 60} | {f"p{n}": sizes.get(n, 60) for n in on_disk})
    labels = [("always", "AML"), ("also", "AML"), *((f"p{n}", label) for n, label, _ in rows)]
    pd.DataFrame(labels, columns=["patient_id", "diagnosis"]).to_csv(folder / "t.csv", index=False)
    cohort = read_cohort(folder)
    without_row = {f"p{n}" for n in on_disk} - {patient for patient, _ in labels}
    assert len(cohort) + len(cohort.left_out) == len(labels) + len(without_row)
    assert sum(cohort.left_out_counts().values()) == len(cohort.left_out)
    everybody = set(cohort.table["patient_id"]) | set(cohort.left_out["patient_id"])
    assert everybody == {patient for patient, _ in labels} | without_row
    assert cohort.table["patient_id"].is_unique
    for patient, rule in zip(cohort.left_out["patient_id"], cohort.left_out["rule"], strict=True):
        if rule == "missing files":
            assert int(patient[1:]) not in on_disk


def test_a_saved_cohort_can_be_used_from_another_folder(
    flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(flat.parent)
    read_cohort(flat.name, FEW).save(tmp_path / "cohort.json")
    monkeypatch.chdir("/")
    assert all(Path(path).is_dir() for path in read_cohort(tmp_path / "cohort.json").table["path"])


def test_saving_changes_no_column_of_the_table(flat: Path, tmp_path: Path) -> None:
    edit(flat / "diagnoses.csv", lambda t: t.assign(sampled_at="2020-01-01", **{"17": "007"}))
    cohort = read_cohort(flat, FEW)
    cohort.save(tmp_path / "cohort.json")
    again = read_cohort(tmp_path / "cohort.json").table
    assert list(again.columns) == list(cohort.table.columns)
    assert set(again["sampled_at"]) == {"2020-01-01"}
    assert set(again["17"]) == {"007"}


def test_options_that_a_saved_cohort_ignores_are_reported(flat: Path, tmp_path: Path) -> None:
    read_cohort(flat, FEW).save(tmp_path / "cohort.json")
    again = read_cohort(tmp_path / "cohort.json", CohortOptions(min_cells=70, folds=3))
    assert len(again) == PATIENTS
    assert any("taken as it is" in note and "--min-cells, --folds" in note for note in again.notes)
    assert read_cohort(tmp_path / "cohort.json").notes == read_cohort(flat, FEW).notes


@pytest.mark.parametrize("content", ["[]", "null", '{"schema_version": 1}', "{", "\xff"])
def test_what_is_no_saved_cohort_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "cohort.json").write_text(content, "latin-1")
    with pytest.raises(CohortUnreadable, match=r"cohort\.json .*inspect the data again"):
        read_cohort(tmp_path / "cohort.json")


def _put(column: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        table = content["table"]
        table["data"][1][table["columns"].index(column)] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _put("patient_id", None),
        _put("coarse", "nonsense"),
        _put("detailed", "nonsense"),
        _put("split", "third"),
        _put("fold", -1),
        _put("fold", "first"),
        _put("n_cells", 1.5),
        _put("age", 1e999),
        _put("age", [61]),
        lambda content: content["table"]["data"][1].append(1),
        lambda content: content["table"]["columns"].append("patient_id"),
        lambda content: content["left_out"].update(columns=["patient_id"], data=[]),
        lambda content: content.update(taxonomy={"name": "x", "classes": []}),
        lambda content: content.update(notes="none"),
        lambda content: content.pop("options"),
    ],
)
def test_a_saved_cohort_with_impossible_values_is_refused_when_it_is_read(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    path = tmp_path / "cohort.json"
    cohort_from({"patient_id": ["a", "b"], "coarse": ["mds", "mds"]}).save(path)
    assert len(Cohort.load(path)) == 2
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(CohortUnreadable, match=r"cohort\.json .*inspect the data again"):
        Cohort.load(path)
