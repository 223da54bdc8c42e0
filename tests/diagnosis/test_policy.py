"""A prediction that a laboratory's policy withholds has no diagnosis in any text, table or report."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.factories import make_prediction

from napari_caltomorph.cli.predict import show_known, show_prediction
from napari_caltomorph.diagnosis import Policy, Prediction, Quantities, read_policy
from napari_caltomorph.diagnosis.prediction_fields import LeftOutCell
from napari_caltomorph.diagnosis.prediction_files import patient_row
from napari_caltomorph.errors import PolicyUnreadable
from napari_caltomorph.report.patient_report import patient_report
from napari_caltomorph.report.patient_texts import what_if_lines

RULES = {"min_cells": 20, "min_lead": 0.2, "max_classes_in_set": 3, "max_left_out_share": 0.3}
LOOSER = {"min_cells": -1, "min_lead": -0.01, "max_classes_in_set": 1, "max_left_out_share": 0.01}


def policy(**rules):
    return Policy(name="Clinic A", version="1", **rules)


quantities = st.builds(
    Quantities,
    cells=st.integers(1, 40),
    lead=st.floats(0, 1),
    is_outside_domain=st.none() | st.booleans(),
    lead_spread=st.none() | st.floats(0, 0.5),
    classes_in_set=st.none() | st.integers(0, 8),
    left_out_share=st.none() | st.floats(0, 0.99),
)


@given(quantities, st.sampled_from(sorted(RULES)), st.integers(0, 15))
def test_a_looser_limit_never_withholds_more(of, rule, steps):
    strict, loose = policy(**RULES), policy(**RULES | {rule: RULES[rule] + steps * LOOSER[rule]})
    assert len(loose.reasons(of)) <= len(strict.reasons(of))
    assert len(policy(refuse_outside_domain=True, must_stand_out=True, **RULES).reasons(of)) >= len(strict.reasons(of))


@pytest.mark.parametrize(
    ("rule", "unknown"),
    [("refuse_outside_domain", "domain"), ("must_stand_out", "member"), ("max_classes_in_set", "calibration")],
)
def test_a_rule_that_cannot_be_checked_withholds_and_says_why(rule, unknown):
    one = make_prediction(member_probabilities=[[0.86, *[0.02] * 7]], member_hemoglobin=None)
    (reason,) = one.under(policy(**{rule: True if rule != "max_classes_in_set" else 8})).withheld
    assert unknown in reason


def test_reasons_have_the_number_and_the_limit_and_cells_left_out_by_hand_count_as_missing():
    by = [LeftOutCell(cell=f"x{i}", reason="blurred", note="", by="rule") for i in range(10)]
    before = make_prediction(cells=30, left_out=tuple(by)).under(policy(min_cells=30, max_left_out_share=0.2))
    assert before.withheld == ("25 % of the cells were left out, more than 20 %",)
    hand = LeftOutCell(cell="0.tif", reason="by hand", note="", by="user")
    fewer = make_prediction(cells=30).under(policy(min_cells=30))
    parts = {"cells": fewer.cells[1:], "labels": fewer.labels[1:], "attention": fewer.attention[1:]}
    now = fewer.model_copy(update=parts | {"alone": fewer.alone[1:], "left_out": (hand,), "original": fewer})
    assert not fewer.withheld
    assert now.withheld == ("29 cells, fewer than 30",)
    assert now.under(None).original == fewer.under(None)
    with pytest.raises(ValueError, match="another policy"):
        now.model_copy(update={"policy": policy(min_cells=31)})
    texts = " ".join([*what_if_lines(now), str(now.original_in_words)])
    assert all(text not in texts for text in (fewer.predicted_class, f"{fewer.malignancy:.2f}"))
    strict = policy(min_cells=31)
    back = now.model_copy(update={"policy": strict, "original": fewer.under(strict)})
    assert fewer.predicted_class not in " ".join([*what_if_lines(back), str(back.original_in_words)])


def test_a_withheld_prediction_has_no_diagnosis_in_any_text_table_or_report(capsys):
    shown = make_prediction(warnings=("Too dark",))
    withheld = shown.under(policy(min_cells=100))
    names, reason = shown.taxonomy.names, "30 cells, fewer than 100"
    numbers = [f"{value:.2f}" for value in (*shown.probabilities, shown.malignancy)] + [f"{shown.hemoglobin:.1f} g"]
    show_prediction(withheld)
    show_known(withheld, None)
    printed = capsys.readouterr().out
    page = patient_report(withheld)
    texts = (withheld.diagnosis_in_words, withheld.call_in_words, withheld.lead_in_words, printed, page)
    for text in texts:
        assert reason in " ".join(text.split())
        assert "refer" in text
        assert not [name for name in names if name in text]
        assert not [number for number in numbers if number in text]
    assert "No prediction" in page.partition("</section>")[0]
    assert withheld.malignancy_in_words == "withheld"
    assert withheld.class_color is withheld.hemoglobin_in_words is withheld.prediction_set_in_words is None
    row, usual = patient_row(withheld), patient_row(shown)
    assert row["withheld"] == reason
    assert "withheld" not in usual
    emptied = {name for name in usual if row[name] is None and usual[name] is not None}
    assert {"predicted_class", "second_class", "malignancy", "hemoglobin_g_dl", "p_mds"} <= emptied
    assert all(name in page for name in ("Too dark", str(withheld.policy)))
    cells = withheld.cell_table()
    assert list(cells) == list(shown.cell_table())
    assert not [name for name in names if name in cells.to_csv()]
    assert cells.filter(like="alone_p_").isna().all(axis=None)
    assert any(name in patient_report(shown) for name in names)


def test_a_saved_prediction_keeps_its_policy_and_one_without_is_never_withheld(tmp_path):
    one = make_prediction().under(policy(min_cells=100))
    one.save(tmp_path / "new.json")
    assert Prediction.load(tmp_path / "new.json") == one
    old = json.loads((tmp_path / "new.json").read_text())
    del old["policy"]
    (tmp_path / "old.json").write_text(json.dumps(old))
    loaded = Prediction.load(tmp_path / "old.json")
    assert loaded.withheld == ()
    assert loaded == one.under(None)
    assert np.array_equal(loaded.probabilities, one.probabilities)


def test_a_policy_is_read_from_toml_and_json_and_has_one_fingerprint(tmp_path):
    toml, as_json = tmp_path / "p.toml", tmp_path / "p.json"
    toml.write_text('name = "Clinic A"\nversion = "1"\nmin_cells = 20\n')
    as_json.write_text('{"name": "Clinic A", "version": "1", "min_cells": 20}')
    assert read_policy(toml) == read_policy(as_json) == policy(min_cells=20)
    assert read_policy(toml).fingerprint != policy(min_cells=21).fingerprint


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('name = "A"\nversion = "1"', "no rule"),
        ('name = "A"\nversion = "1"\nmin_cell = 3', "min_cell"),
        ('name = "A"\nversion = "1"\nmin_cells = 0', "min_cells"),
        ('name = "A"\nmin_cells = 3', "version"),
        ('schema_version = 2\nname = "A"\nversion = "1"\nmin_cells = 3', "schema version 2"),
        ("min_cells", "Expected"),
    ],
)
def test_a_file_that_is_no_policy_is_one_sentence(tmp_path, text, fault):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(PolicyUnreadable, match=fault) as error:
        read_policy(tmp_path / "p.toml")
    assert "p.toml" in str(error.value)
    assert "\n" not in str(error.value)
