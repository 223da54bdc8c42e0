"""Figures of one patient show the numbers of prediction, what-if and differential: read back from the drawing."""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from tests.differential.factories import features, labelled
from tests.report.factories import COLORS, DARK, drawn, make_prediction, texts

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.diagnosis.prediction_fields import LeftOutCell
from napari_caltomorph.differential import Differential, Probe, train_probe
from napari_caltomorph.differential.count import ALL_BLASTS
from napari_caltomorph.report.drawing import PAPER
from napari_caltomorph.report.patient_texts import what_if_lines
from napari_caltomorph.report.prediction_figures import (
    draw_attention_swarm,
    draw_differential,
    draw_hemoglobin,
    draw_malignancy,
    draw_probabilities,
    draw_probe_confusion,
    draw_what_if,
)
from napari_caltomorph.taxonomy import Taxonomy, caltomorph_taxonomy


def certain_of(index):
    return np.eye(8)[[index] * 5]


def test_bars_are_as_long_as_the_probabilities_and_in_the_classes_colours():
    prediction = make_prediction()
    axes, _ = drawn(draw_probabilities, prediction)
    bars = axes.containers[-1]
    assert [bar.get_width() for bar in bars] == pytest.approx(prediction.probabilities.tolist())
    assert [bar.get_x() for bar in bars] == [0] * 8
    assert [to_hex(bar.get_facecolor()) for bar in bars] == COLORS
    assert [label.get_text() for label in axes.get_yticklabels()] == prediction.taxonomy.names
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the taxonomy's first class on top


def test_each_member_is_a_dot_on_the_bar_of_its_class():
    prediction = make_prediction()
    axes, _ = drawn(draw_probabilities, prediction)
    (dots,) = axes.collections
    result = {(round(x, 12), int(y)) for x, y in dots.get_offsets()}
    members = prediction.member_probabilities
    assert result == {(round(members[m, c], 12), c) for m in range(5) for c in range(8)}


def test_members_of_a_calibrated_model_are_drawn_at_its_temperature():
    slugs = caltomorph_taxonomy().slugs
    calibration = Calibration(
        temperature=3.0, quantiles=dict.fromkeys(slugs), patients=dict.fromkeys(slugs, 30), source="a split"
    )
    prediction = make_prediction(member_probabilities=0.9 * certain_of(2) + 0.1 / 8, calibration=calibration)
    axes, _ = drawn(draw_probabilities, prediction)
    # Members that agree stand where their bar ends, as they do without a calibration.
    ends = [bar.get_width() for bar in axes.containers[-1]]
    assert ends[2] < 0.5
    (dots,) = axes.collections
    assert dots.get_offsets()[:8, 0].tolist() == pytest.approx(ends)


@pytest.mark.parametrize("winner", range(8))
def test_predicted_class_alone_is_bold(winner):
    prediction = make_prediction(member_probabilities=0.9 * certain_of(winner) + 0.1 / 8)
    axes, _ = drawn(draw_probabilities, prediction)
    assert prediction.predicted_class == prediction.taxonomy.names[winner]
    for labels in (axes.get_yticklabels(), axes.texts):
        assert [i for i, t in enumerate(labels) if t.get_fontweight() == "bold"] == [winner]


def test_where_no_class_stands_out_none_is_bold():
    for members in (np.full((5, 8), 0.125), np.eye(8)[[0, 1, 2, 3, 0]]):
        axes, _ = drawn(draw_probabilities, make_prediction(member_probabilities=members))
        for labels in (axes.get_yticklabels(), axes.texts):
            assert not any(t.get_fontweight() == "bold" for t in labels)


@settings(max_examples=25)
@given(st.floats(0, 1))
def test_written_probability_is_the_number_to_two_digits(share):
    prediction = make_prediction(1, member_probabilities=[[share, 1 - share, 0, 0, 0, 0, 0, 0]] * 5)
    figure = Figure()
    axes = figure.add_subplot()
    draw_probabilities(axes, prediction)
    name = prediction.top(1)[0][0]
    assert f"{name} {texts(axes)[prediction.taxonomy.names.index(name)]}" in prediction.diagnosis_in_words  # the same
    assert texts(axes)[0] == f"{prediction.probabilities[0]:.2f}"


def test_malignancy_bar_and_threshold_are_placed_correctly():
    prediction = make_prediction()
    axes, _ = drawn(draw_malignancy, prediction)
    (bar,) = axes.containers[-1]
    assert bar.get_width() == pytest.approx(prediction.malignancy)
    (tick,) = axes.lines
    assert set(tick.get_xdata()) == {0.37}
    assert axes.get_xticks().tolist() == [0.37]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["threshold 0.37"]


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_threshold_is_in_sight_wherever_it_is(value):
    axes, _ = drawn(draw_malignancy, make_prediction(threshold=Threshold(value=value, rule="ours")))
    low, high = axes.get_xlim()
    assert low <= axes.lines[0].get_xdata()[0] <= high


def test_malignancy_bar_changes_colour_at_the_threshold():
    half = make_prediction(member_probabilities=[[0.5, 0, 0, 0, 0, 0, 0, 0.5]] * 5)
    colors = []
    for value in (0.5, 0.51):
        axes, _ = drawn(draw_malignancy, half.model_copy(update={"threshold": Threshold(value=value, rule="ours")}))
        colors.append(axes.containers[-1][0].get_facecolor())
    assert colors[0] != colors[1]


def test_hemoglobin_dot_number_and_interval_are_the_predictions():
    prediction = make_prediction()
    axes, _ = drawn(draw_hemoglobin, prediction)
    (dot,) = axes.collections
    assert dot.get_offsets()[0, 0] == pytest.approx(prediction.hemoglobin)
    (interval,) = axes.lines
    assert tuple(interval.get_xdata()) == pytest.approx(prediction.hemoglobin_range)
    assert texts(axes) == [f"{prediction.hemoglobin:.1f}"]
    assert axes.get_xticks().tolist() == [4, 8, 12, 16, 20]


def test_hemoglobin_without_interval_has_no_interval_and_no_members():
    axes, _ = drawn(draw_hemoglobin, make_prediction(hemoglobin_error=None))
    assert len(axes.lines) == 0
    assert len(axes.collections[0].get_offsets()) == 1


@pytest.mark.parametrize("value", [-3.0, 2.0, 4.0, 12.0, 20.0, 23.5, 60.0])
def test_hemoglobin_is_in_sight_however_far_off(value):
    prediction = make_prediction(member_hemoglobin=[value] * 5)
    axes, _ = drawn(draw_hemoglobin, prediction)
    low, high = axes.get_xlim()
    assert low <= min(value, 4, prediction.hemoglobin_range[0])
    assert max(value, 20, prediction.hemoglobin_range[1]) <= high
    assert axes.texts[0].get_position()[0] > high  # beside the scale, not on it


@pytest.mark.parametrize("value", [-95.0, 2.0, 12.0, 60.0, 900.0])
def test_labels_of_the_hemoglobin_scale_do_not_overlap(value):
    axes, _ = drawn(draw_hemoglobin, make_prediction(member_hemoglobin=[value] * 5, hemoglobin_error=None))
    places = np.diff(axes.get_xticks()) / np.diff(axes.get_xlim())
    assert 3 <= len(axes.get_xticks()) <= 6
    assert places.min() > 0.1


def test_names_of_classes_are_no_formulas():
    prediction = make_prediction()
    first, *others = prediction.taxonomy.classes
    odd = Taxonomy(name="odd", classes=(first.model_copy(update={"name": "$_{AML}$"}), *others))
    axes, _ = drawn(draw_probabilities, prediction.model_copy(update={"taxonomy": odd}))
    label = axes.get_yticklabels()[0]
    assert label.get_text() == "$_{AML}$"
    assert not label.get_parse_math()


def test_swarm_dots_are_in_the_order_of_cells_at_their_attention():
    prediction = make_prediction(200)
    axes, _ = drawn(draw_attention_swarm, prediction)
    (dots,) = axes.collections
    assert np.asarray(dots.get_offsets())[:, 0] == pytest.approx(np.log10(prediction.attention))


def test_swarm_dots_have_the_colour_of_the_class_that_the_model_answers_with():
    prediction = make_prediction(200)
    axes, _ = drawn(draw_attention_swarm, prediction)
    (dots,) = axes.collections
    expected = [COLORS[answers.tolist().index(max(answers))] for answers in prediction.alone]
    assert [to_hex(color) for color in dots.get_facecolors()] == expected
    assert len(set(expected)) > 4


@pytest.mark.parametrize(
    "attention",
    [
        np.ones(5000),
        np.ones(40) + np.linspace(-1, 1, 40) * 1e-12,
        np.ones(1),
        np.zeros(30),
        np.array([30.0] + [0.0] * 29),
        np.array([5000.0] + [1e-9] * 4999),
        np.logspace(-6, 3, 50),
    ],
    ids=["equal", "equal to rounding", "one cell", "nothing", "one takes all", "one of 5,000", "nine decades"],
)
def test_extreme_attention_is_drawn_within_the_axes(attention):
    count = len(attention)
    axes, _ = drawn(draw_attention_swarm, make_prediction(count, attention=attention))
    (dots,) = axes.collections
    offsets = dots.get_offsets()
    assert offsets.shape == (count, 2)
    assert np.isfinite(offsets).all()
    for values, (low, high) in ((offsets[:, 0], axes.get_xlim()), (offsets[:, 1], axes.get_ylim())):
        assert low < values.min()
        assert values.max() < high
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert "1x" in ticks
    assert len(ticks) <= 9


@pytest.mark.parametrize("spread", [0.0, 1e-12, 1e-3])
def test_equally_attended_cells_do_not_hide_each_other(spread):
    attention = 1 + spread * np.linspace(-1, 1, 40)
    (dots,) = drawn(draw_attention_swarm, make_prediction(40, attention=attention))[0].collections
    assert len({round(y, 6) for y in dots.get_offsets()[:, 1]}) == 40


def test_swarm_labels_do_not_overlap():
    for decades in (0.1, 1, 1.9, 2.1, 4, 6):
        attention = np.logspace(-decades / 2, decades / 2, 60)
        axes, _ = drawn(draw_attention_swarm, make_prediction(60, attention=attention))
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes)), decades


@pytest.mark.parametrize("style", [PAPER, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("draw", [draw_probabilities, draw_malignancy, draw_hemoglobin, draw_attention_swarm])
def test_text_and_background_are_those_of_the_style(draw, style):
    axes, _ = drawn(draw, make_prediction(), style)
    assert to_rgba(style.background) == axes.get_facecolor() == axes.figure.get_facecolor()
    written = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label]
    assert {to_hex(text.get_color()) for text in written} == {style.text}
    assert not any(spine.get_visible() for spine in axes.spines.values())


def test_styles_of_light_and_dark_differ_in_everything():
    assert not set(asdict(DARK).values()) & set(asdict(PAPER).values())


@pytest.mark.parametrize("draw", [draw_probabilities, draw_malignancy, draw_hemoglobin, draw_attention_swarm])
def test_drawing_does_not_change_the_prediction(draw):
    prediction = make_prediction()
    before = prediction.model_dump_json()
    drawn(draw, prediction)
    assert prediction.model_dump_json() == before


@pytest.fixture
def changed() -> Prediction:
    """Two of twelve cells left out."""
    before = make_prediction(12)
    out = tuple(LeftOutCell(cell=cell, reason="left out by hand", note="", by="user") for cell in before.cells[:2])
    return before.model_copy(
        update={
            "cells": before.cells[2:],
            "labels": before.labels[2:],
            "attention": before.attention[2:],
            "alone": before.alone[2:],
            "member_probabilities": before.member_probabilities[:, ::-1],
            "left_out": out,
            "original": before,
        }
    )


def outlines(axes) -> list[float]:
    return [bar.get_width() for bar in axes.patches if bar.get_facecolor()[3] == 0]


def test_the_original_is_outlined_in_every_figure(changed: Prediction) -> None:
    before = changed.original
    for draw, values in (
        (draw_probabilities, list(before.probabilities)),
        (draw_malignancy, [before.malignancy]),
        (draw_what_if, [*before.probabilities, before.malignancy]),
    ):
        axes = Figure().subplots()
        draw(axes, changed)
        assert outlines(axes) == pytest.approx(values)
        axes = Figure().subplots()
        draw(axes, before)
        assert not outlines(axes)


def test_hemoglobin_has_a_second_dot_for_the_original(changed: Prediction) -> None:
    axes = Figure().subplots()
    draw_hemoglobin(axes, changed)
    places = {float(dots.get_offsets()[0][0]) for dots in axes.collections}
    assert changed.original.hemoglobin in places


def test_changes_are_described_in_words_and_numbers(changed: Prediction) -> None:
    before = changed.original
    diagnosis, malignancy, *_ = what_if_lines(changed)
    assert before.predicted_class in diagnosis
    assert changed.predicted_class in diagnosis
    assert f"{changed.malignancy - before.malignancy:+.2f}" in malignancy
    assert not what_if_lines(before)


@pytest.fixture(scope="module")
def probe() -> Probe:
    trained = [features(patient=f"p{i}", seed=i, shift=0.2) for i in range(3)]
    return train_probe(trained, labelled(*trained))


@pytest.fixture
def axes() -> Axes:
    return Figure(figsize=(3.6, 3)).add_subplot()


def counted(probe: Probe, by_hand: dict[str, str] | None = None) -> Differential:
    return probe.differential(features((30, 10, 40, 20), patient="new", seed=8), by_hand)


def test_bars_are_the_shares_as_called_and_texts_those_corrected(probe, axes):
    result = counted(probe)
    assert draw_differential(axes, result) == len(result.shown_rows) == 5  # four types, and other
    *_, bars = axes.containers
    shares = [result.share_of(name) for name, *_ in result.shown_rows]
    assert [bar.get_width() for bar in bars] == pytest.approx([100 * share.called for share in shares])
    first = f"{100 * shares[0].value:.0f} ({100 * shares[0].low:.0f}-{100 * shares[0].high:.0f})"
    assert first in [text.get_text() for text in axes.texts]


def test_other_cells_are_below_the_line(probe, axes):
    result = counted(probe)
    draw_differential(axes, result)
    assert [row.name for row in result.shown_rows if not row.is_counted] == ["smudge cell"]
    assert axes.get_yticklabels()[-1].get_text().startswith("smudge cell")


def test_blasts_of_several_types_come_together(probe, axes):
    assert ALL_BLASTS not in [row.name for row in counted(probe).shown_rows]
    both = counted(probe, {"cell_000": "promonocyte"})
    assert ALL_BLASTS in [row.name for row in both.shown_rows]
    draw_differential(axes, both)


def test_the_confusion_has_a_row_a_type_and_its_counts(probe, axes):
    draw_probe_confusion(axes, probe.description)
    counts = probe.description.confusion
    assert len(axes.get_yticklabels()) >= len(counts)
    assert {text.get_text() for text in axes.texts} == {str(c) for row in counts for c in row if c}


def test_a_type_called_with_mathematics_is_shown_as_it_is(probe, axes):
    draw_differential(axes, counted(probe, {"cell_000": "t($8;21$)"}))
    axes.figure.canvas.draw()
    shown = [text for text in axes.findobj(Text) if "t($8;21$)" in text.get_text()]
    assert [text.get_parse_math() for text in shown] == [False] * max(len(shown), 1)
