"""Labelled cells belong to the bytes of their smear, and every change returns another table."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.differential.factories import features, labelled

from napari_caltomorph.differential import CELL_TYPES, CellLabel, CellLabels, cell_type, read_labels, save_labels
from napari_caltomorph.errors import LabelsUnreadable
from napari_caltomorph.smear import check_smear, read_smear

CELLS = st.sampled_from([f"cell_{i:03d}" for i in range(6)])
NAMES = st.sampled_from([*list(CELL_TYPES)[:5], "my own type"])


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("Segmented neutrophils", "segmented neutrophil"),
        ("neutrophil_segmented", "segmented neutrophil"),
        ("Blast, no lineage spec", "blast"),
        ("myeloblast", "blast"),
        ("Lymphocyte, variant", "reactive lymphocyte"),
        ("Smudge cells", "smudge cell"),
        ("Giant thrombocyte", "platelet"),
        ("hairy_cell", "hairy cell"),
        ("Chargenstern 7", "Chargenstern 7"),
    ],
)
def test_a_type_is_known_by_its_usual_spellings_and_others_are_ones_own(spelling, name):
    assert cell_type(spelling).name == name
    assert cell_type(cell_type(spelling).name) == cell_type(spelling)


def test_each_key_labels_one_type():
    keys = [one.key for one in CELL_TYPES.values() if one.key]
    assert len(set(keys)) == len(keys)
    assert {"n", "b", "l", "m", "e", "a", "k", "p", "y", "t", "r", "x", "u", "z"} <= set(keys)


def test_what_is_no_leukocyte_is_not_counted():
    uncounted = {one.name for one in CELL_TYPES.values() if not one.is_counted}
    assert uncounted == {"erythroblast", "smudge cell", "platelet", "artefact", "megakaryocyte"}
    assert cell_type("my own type").is_counted


@given(st.lists(st.tuples(CELLS, st.none() | NAMES), max_size=12))
def test_a_table_holds_the_last_label_of_each_cell_and_earlier_tables_are_as_they_were(actions):
    smear, tables, expected = features(), [CellLabels()], {}
    states = [{}]
    for cell, name in actions:
        last = tables[-1]
        tables.append(last.without(smear, [cell]) if name is None else last.labelled(smear, {cell: name}))
        expected = {k: v for k, v in expected.items() if k != cell} | ({} if name is None else {cell: name})
        states.append(expected)
    assert [table.of(smear) for table in tables] == states  # so undo is to take the table before
    assert sum(tables[-1].counts.values()) == len(tables[-1]) == len(expected)


def test_labels_belong_to_the_bytes_and_not_to_the_name():
    labels = labelled(features())
    moved = replace(features(), patient_id="called otherwise")
    assert len(labels.of(moved)) == 70
    other = replace(features(), origin=replace(features().origin, smear_fingerprint="other bytes"))
    assert labels.of(other) == {}


def test_without_fingerprint_the_patients_id_is_compared():
    labels = CellLabels((CellLabel("p1", "cell_001", "blast"),))
    assert labels.of(features(patient="p1")) == {"cell_001": "blast"}
    assert labels.of(features(patient="p2")) == {}
    assert labels.labelled(features(), {"cell_001": "monocyte"}).of(features()) == {"cell_001": "monocyte"}


def test_names_of_sub_folders_are_labels_that_labels_by_hand_replace(tmp_path, make_export):
    exported = make_export(tmp_path / "export", cells=4)
    for number, name in enumerate(("Blast, no lineage spec", "Monocytes"), start=1):
        folder = tmp_path / "smear" / name
        folder.mkdir(parents=True)
        shutil.copy(exported / f"Gal-{number:06d}.RGB.TIF", folder)
    smear = check_smear(read_smear(tmp_path / "smear"))
    of_folders = CellLabels.of_folders(smear)
    assert of_folders.counts == {"blast": 1, "monocyte": 1}
    assert not any(row.is_by_hand for row in of_folders.rows)
    by_hand = CellLabels().labelled(smear, {smear.cells[0]: "promyelocyte"}, by="me")
    for merged in (of_folders.merged(by_hand), by_hand.merged(of_folders)):
        assert merged.counts == {"promyelocyte": 1, "monocyte": 1}


def test_a_saved_table_comes_back(tmp_path):
    labels = labelled(features(), features(patient="p, 2"))
    save_labels(labels, tmp_path / "labels.csv")
    assert read_labels(tmp_path / "labels.csv") == labels


def test_several_tables_are_read_as_one_and_the_later_wins(tmp_path):
    for name, label in (("a", "blast"), ("b", "Monocytes")):
        (tmp_path / f"{name}.csv").write_text(f"patient_id,cell,label\np1,c1,{label}\n")
    (row,) = read_labels([tmp_path / "a.csv", tmp_path / "b.csv"]).rows
    assert row.label == "monocyte"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("patient_id,cell\np1,c1\n", "has no column 'label'"),
        ("patient_id,cell,label\np1,c1,blast\np1,c2,\n", "line 3: label is empty"),
        ("patient_id,cell,label\np1,c1,blast\np1,c1,monocyte\n", "line 3: c1 of p1 is in line 2 already"),
        ("", "is an empty file"),
        ("\0\0\n", "label"),
        ("patient_id,cell,label\np1,c1,blast,me\n", "bad.csv: rows have more cells"),
    ],
)
def test_a_bad_table_is_refused_with_the_line_to_fix(tmp_path, text, complaint):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(LabelsUnreadable, match=complaint):
        read_labels(tmp_path / "bad.csv")


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LabelsUnreadable, match=r"none\.csv cannot be read"):
        read_labels(tmp_path / "none.csv")
