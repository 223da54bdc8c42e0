"""A differential: its denominator, its two errors, and types by hand, which replace those of the probe."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from tests.differential.factories import TYPES, features, labelled, truth

from napari_caltomorph.differential import Differential, Probe, train_probe
from napari_caltomorph.differential.run import save_differentials


@pytest.fixture(scope="module")
def probe() -> Probe:
    training = [features(patient=f"p{i}", seed=i, shift=0.2) for i in range(3)]
    return train_probe(training, labelled(*training))


@pytest.fixture(scope="module")
def counted(probe) -> Differential:
    return probe.differential(features((30, 10, 40, 20), patient="new", seed=8))


def test_smudge_cells_are_in_no_denominator(counted):
    rows = counted.table().set_index("type")
    leukocytes = rows[rows["is_counted"]].drop("all blasts")
    assert leukocytes["percent"].sum() == pytest.approx(100)
    assert leukocytes["percent_called"].sum() == pytest.approx(100)
    assert leukocytes["cells"].sum() == counted.leukocytes == 100 - rows.loc["smudge cell", "cells"]
    assert rows.loc["smudge cell", "percent_called"] == pytest.approx(
        100 * rows.loc["smudge cell", "cells"] / counted.leukocytes
    )


def test_stages_are_shown_below_what_they_are_together(probe):
    hand = {f"cell_{i:03d}": ("band neutrophil", "metamyelocyte")[i % 2] for i in range(4)}
    rows = probe.differential(features((30, 10, 40, 20), patient="new", seed=8), hand).shown_rows
    assert [(row.name, row.is_part) for row in rows[:4]] == [
        ("neutrophils", False),
        ("segmented neutrophil", True),
        ("band neutrophil", True),
        ("metamyelocyte", False),  # the only stage of its group
    ]
    assert rows[0].share.cells == rows[1].share.cells + rows[2].share.cells
    assert not rows[-1].is_counted


def test_intervals_hold_the_truth_that_was_put_in(counted):
    for name, share in zip(TYPES[:3], (30 / 80, 10 / 80, 40 / 80), strict=True):
        result = counted.share_of(name)
        assert result.classifier[0] <= share <= result.classifier[1]
        assert result.low <= result.classifier[0] <= result.value <= result.classifier[1] <= result.high


def test_counting_alone_is_wilsons_interval(counted):
    result = counted.share_of("lymphocyte")
    bounds = binomtest(result.cells, counted.leukocytes).proportion_ci(method="wilson")
    assert result.counting == pytest.approx((bounds.low, bounds.high))


def test_when_all_is_by_hand_only_the_counting_error_is_left(probe):
    new = features((30, 10, 40, 20), patient="new", seed=8)
    by_hand = probe.differential(new, truth((30, 10, 40, 20)))
    blasts = by_hand.blasts
    assert blasts.value == blasts.called == 10 / 80
    assert blasts.classifier == (10 / 80, 10 / 80)
    assert (blasts.low, blasts.high) == pytest.approx(blasts.counting, abs=0.01)
    nothing = by_hand.share_of("monocyte")
    assert (nothing.value, nothing.low) == (0, 0)
    assert 0 < nothing.high < 0.05


@settings(max_examples=15)
@given(st.dictionaries(st.sampled_from([f"cell_{i:03d}" for i in range(100)]), st.sampled_from(TYPES), max_size=30))
def test_types_by_hand_replace_those_of_the_probe(probe, by_hand):
    result = probe.differential(features((30, 10, 40, 20), patient="new", seed=8), by_hand)
    types = dict(zip(result.cells, result.cell_types, strict=True))
    assert all(types[cell] == name for cell, name in by_hand.items())
    called = dict(zip(result.cells, result.called, strict=True))
    assert all(types[cell] == called[cell] for cell in result.cells if cell not in by_hand)
    drawn = result._draws
    assert (drawn.sum(axis=1) == 100).all()
    for name in TYPES:
        assert drawn[:, result.all_types.index(name)].min() >= sum(given == name for given in by_hand.values())


def test_a_type_of_ones_own_counts_though_the_probe_does_not_know_it(probe):
    result = probe.differential(features(), {"cell_000": "faggot of rods", "cell_001": "Promonocytes"})
    assert result.share_of("faggot of rods").cells == 1
    assert "promonocyte" in result.all_types
    assert result.blasts.cells == result.share_of("blast").cells + 1


def test_blasts_are_not_counted_by_a_probe_that_never_saw_one(counted):
    names = tuple("monocyte" if name == "blast" else name for name in counted.types)
    without = replace(counted, types=names, called=tuple(names[counted.types.index(one)] for one in counted.called))
    assert without.blasts is None
    assert "never saw" in without.blasts_in_words
    assert "all blasts" not in set(without.table()["type"])
    some = replace(without, by_hand=dict.fromkeys(without.cells[:3], "blast"))
    assert some.blasts is None  # among the others, nobody has looked for blasts
    every = replace(without, by_hand=dict.fromkeys(without.cells, "blast"))
    assert every.blasts.value == 1


def test_other_cells_are_in_the_denominator_and_a_few_are_expected_of_learnt_types(counted):
    names = [TYPES[i // 20] if i < 80 else "other" for i in range(100)]
    some = replace(counted, called=tuple(names))
    assert some.leukocytes == 20 + 60  # 20 smudge cells are none
    other = some.share_of("other")
    assert other.called == 20 / 80
    assert other.classifier[0] < 20 / 80 < other.classifier[1]
    few = replace(counted, called=(*names[:80], *names[:16], *["other"] * 4))
    assert few.share_of("other").classifier[0] == pytest.approx(0, abs=0.01)
    assert not few.smear_warnings


def test_a_smear_of_cells_that_are_mostly_other_cannot_be_typed(counted):
    most = replace(counted, called=(*["other"] * 60, *counted.called[60:]))
    (warning,) = most.smear_warnings
    assert warning.startswith("60 of 100 cells are unlike every type")
    assert most.warnings == (warning, *counted.probe_warnings)


def test_a_few_cells_are_no_differential(probe):
    few = probe.differential(features((10, 10, 2, 5), patient="few"), truth((10, 10, 2, 5)))
    assert any(one.startswith("22 leukocytes are no differential") for one in few.warnings)


def test_what_only_a_person_has_seen_is_said(probe):
    result = probe.differential(features(patient="new"), {"cell_000": "monocyte"})
    assert any(one.endswith("never saw: monocyte") for one in result.smear_warnings)


def test_labels_of_cells_that_are_left_out_change_nothing(probe, counted):
    result = probe.differential(features((30, 10, 40, 20), patient="new", seed=8), {"not there": "blast"})
    assert result.table().equals(counted.table())


def test_a_confused_probe_is_less_sure(counted):
    blurred = replace(counted, confusion=tuple(tuple(c // 2 + 8 for c in row) for row in counted.confusion))
    assert np.ptp(blurred.blasts.classifier) > np.ptp(counted.blasts.classifier)


def test_a_smear_of_smudge_cells_alone_has_the_widest_interval(probe):
    result = probe.differential(features((0, 0, 0, 6)), dict.fromkeys(features((0, 0, 0, 6)).cells, "smudge cell"))
    assert result.leukocytes == 0
    assert result.blasts.high - result.blasts.low > 0.9
    assert np.isfinite(result.table().drop(columns=["patient_id", "type"]).to_numpy(float)).all()


def test_one_cell_has_a_differential(probe):
    result = probe.differential(features((1, 0, 0, 0)))
    assert len(result) == 1
    assert 0 <= result.blasts.low <= result.blasts.value <= result.blasts.high <= 1


def test_tables_hold_one_row_a_type_and_one_row_a_cell(counted, probe, tmp_path):
    other = probe.differential(features(patient="other"), {"cell_000": "blast"})
    types, cells = save_differentials([counted, other], tmp_path)
    lines = types.read_text().splitlines()
    assert lines[0].startswith("patient_id,type,is_counted,cells,by_hand,percent_called,percent,percent_low")
    assert len(lines) == 1 + 6 + 6  # four types, other, all blasts
    assert len(cells.read_text().splitlines()) == 1 + 100 + 70
    assert "other,cell_000,blast,True" in cells.read_text()
