"""Figures of a prediction hold the numbers of the prediction: read back from what was drawn."""

from __future__ import annotations

import io
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure

from napari_caltomorph.cohort import Cohort, with_types
from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.model_file import ErrorInterval, Threshold
from napari_caltomorph.report import (
    PAPER,
    PlotStyle,
    draw_attention_swarm,
    draw_hemoglobin,
    draw_malignancy,
    draw_probabilities,
)
from napari_caltomorph.report.cohort_figures import (
    draw_cells,
    draw_classes,
    draw_flow,
    draw_measured_hemoglobin,
    has_hemoglobin,
)
from napari_caltomorph.taxonomy import Taxonomy, caltomorph_taxonomy

DARK = PlotStyle(text="#e0e0e0", background="#262930", faint="#5a626c")
COLORS = [c.lower() for c in caltomorph_taxonomy().colors]


def make_prediction(cells=30, seed=0, **update):
    rng = np.random.default_rng(seed)
    attention = rng.lognormal(size=cells)
    fields = {
        "patient_id": "smear_a",
        "encoder": "demo-vit",
        "encoder_weights_sha256": "a" * 64,
        "model_name": "tiny",
        "model_fingerprint": "f" * 64,
        "synthetic": True,
        "taxonomy": caltomorph_taxonomy(),
        "member_probabilities": rng.dirichlet(np.full(8, 0.4), size=5),
        "member_hemoglobin": rng.normal(11, 0.5, size=5),
        "hemoglobin_error": ErrorInterval(level=0.9, low=-2.5, high=3.0, patients=100),
        "threshold": Threshold(value=0.37, rule="ours"),
        "cells": tuple(f"{i}.tif" for i in range(cells)),
        "labels": (None,) * cells,
        "attention": attention / attention.mean(),
        "alone": rng.dirichlet(np.full(8, 0.4), size=cells),
        "created": "2026-01-01T00:00:00+00:00",
        "library_version": "0",
    }
    return Prediction(**fields | update)


def drawn(draw, prediction, style=PAPER):
    """The axes after drawing, rendered once so that nothing is left undecided; and what `draw` returned."""
    figure = Figure(figsize=(4, 3))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    returned = draw(axes, prediction, style)
    figure.savefig(io.BytesIO(), format="png")
    return axes, returned


def texts(axes):
    return [text.get_text() for text in axes.texts]


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
    found = {(round(x, 12), int(y)) for x, y in dots.get_offsets()}
    members = prediction.member_probabilities
    assert found == {(round(members[m, c], 12), c) for m in range(5) for c in range(8)}


def test_members_of_a_calibrated_model_stand_at_its_temperature():
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


def test_of_equal_probabilities_the_predicted_class_is_bold():
    prediction = make_prediction(member_probabilities=np.full((5, 8), 0.125))
    axes, _ = drawn(draw_probabilities, prediction)
    bold = [t.get_text() for t in axes.get_yticklabels() if t.get_fontweight() == "bold"]
    assert bold == [prediction.predicted_class]


def test_certainty_is_never_written():
    axes, _ = drawn(draw_probabilities, make_prediction(member_probabilities=certain_of(0)))
    assert texts(axes) == [">.99"] + ["<.01"] * 7


@settings(deadline=None)
@given(st.floats(0, 1))
def test_written_probability_is_the_number_to_two_digits(share):
    prediction = make_prediction(1, member_probabilities=[[share, 1 - share, 0, 0, 0, 0, 0, 0]] * 5)
    figure = Figure()
    axes = figure.add_subplot()
    draw_probabilities(axes, prediction)
    written = texts(axes)[0]
    value = prediction.probabilities[0]
    if written == "<.01":
        assert value < 0.005
    elif written == ">.99":
        assert value > 0.995
    else:
        assert written.startswith(".")
        assert float(written) == pytest.approx(value, abs=0.005 + 1e-9)


def test_malignancy_bar_and_threshold_stand_where_they_must():
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


def test_hemoglobin_without_interval_draws_none_and_not_the_members():
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
    _, dots = drawn(draw_attention_swarm, prediction)
    assert np.asarray(dots.get_offsets())[:, 0] == pytest.approx(np.log10(prediction.attention))


def test_swarm_dots_have_the_colour_of_the_class_that_the_model_answers_with():
    prediction = make_prediction(200)
    _, dots = drawn(draw_attention_swarm, prediction)
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
def test_extreme_attention_is_drawn_in_sight(attention):
    count = len(attention)
    axes, dots = drawn(draw_attention_swarm, make_prediction(count, attention=attention))
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
    _, dots = drawn(draw_attention_swarm, make_prediction(40, attention=attention))
    assert len({round(y, 6) for y in dots.get_offsets()[:, 1]}) == 40


def test_swarm_labels_do_not_overlap():
    for decades in (0.1, 1, 1.9, 2.1, 4, 6):
        attention = np.logspace(-decades / 2, decades / 2, 60)
        axes, _ = drawn(draw_attention_swarm, make_prediction(60, attention=attention))
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes)), decades


@pytest.mark.parametrize("look", [PAPER, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("draw", [draw_probabilities, draw_malignancy, draw_hemoglobin, draw_attention_swarm])
def test_text_and_background_are_the_looks(draw, look):
    axes, _ = drawn(draw, make_prediction(), look)
    assert to_rgba(look.background) == axes.get_facecolor() == axes.figure.get_facecolor()
    written = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label]
    assert {to_hex(text.get_color()) for text in written} == {look.text}
    assert not any(spine.get_visible() for spine in axes.spines.values())


def test_looks_of_light_and_dark_differ_in_everything():
    assert not set(asdict(DARK).values()) & set(asdict(PAPER).values())


@pytest.mark.parametrize("draw", [draw_probabilities, draw_malignancy, draw_hemoglobin, draw_attention_swarm])
def test_drawing_does_not_change_the_prediction(draw):
    prediction = make_prediction()
    before = prediction.model_dump_json()
    drawn(draw, prediction)
    assert prediction.model_dump_json() == before


def make_cohort(cells, hemoglobin=None, classes=None):
    """Patients with so many cells, dealt out over the classes in turn unless their slugs are given."""
    taxonomy = caltomorph_taxonomy()
    count = len(cells)
    table = pd.DataFrame(
        {
            "patient_id": [f"p{i}" for i in range(count)],
            "coarse": classes or [taxonomy.slugs[i % 8] for i in range(count)],
            "n_cells": cells,
            "hemoglobin_g_dl": hemoglobin or [None] * count,
            "split": ["test" if i % 5 == 0 else "train" for i in range(count)],
        }
    )
    return Cohort("small", Path("small"), "table", taxonomy, with_types(table))


def bars_of(axes, row):
    """The histogram of a class: {place of the middle: height}, where there is any."""
    return {bar.get_x() + bar.get_width() / 2: -bar.get_height() for bar in axes.containers[row] if bar.get_height()}


def test_the_histogram_of_each_class_holds_its_patients():
    rng = np.random.default_rng(0)
    cells = rng.integers(50, 600, 400).tolist()
    axes, _ = drawn(draw_cells, make_cohort(cells))
    assert len(axes.containers) == 8
    for row, color in enumerate(COLORS):
        mine = np.array(cells[row::8])
        assert {to_hex(bar.get_facecolor()) for bar in axes.containers[row]} == {color}
        bars = [(bar.get_x(), bar.get_x() + bar.get_width(), -bar.get_height()) for bar in axes.containers[row]]
        inside = np.array([((mine > left) & (mine < right)).sum() for left, right, _ in bars])
        assert inside.sum() == len(mine)
        assert [height for *_, height in bars] == pytest.approx(0.8 * inside / inside.max())
        assert texts(axes)[row].strip() == f"{sorted(mine)[24] / 2 + sorted(mine)[25] / 2:.0f}"
    assert [label.get_text() for label in axes.get_yticklabels()] == caltomorph_taxonomy().names
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


@pytest.mark.parametrize("cells", [[30] * 16, [0, 0], [1], [1, 100_000], [None, 40], [None]])
def test_extreme_numbers_of_cells_are_drawn_in_sight(cells):
    axes, _ = drawn(draw_cells, make_cohort(cells))
    low, high = axes.get_xlim()
    found = [x for row in range(8) for x in bars_of(axes, row)]
    assert len(found) == len([1 for n in cells[:8] if n is not None])
    assert all(low < x < high for x in found)
    labels = [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    assert labels
    assert all(label.get_text().isdigit() for label in labels)
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_hemoglobin_of_each_class_is_drawn_where_it_was_measured():
    slugs = caltomorph_taxonomy().slugs
    cohort = make_cohort([50] * 4, [8.0, 9.0, None, 14.5], [slugs[i] for i in (0, 0, 1, 2)])
    assert has_hemoglobin(cohort)
    axes, _ = drawn(draw_measured_hemoglobin, cohort)
    assert [text.strip() for text in texts(axes)] == ["8.5", "-", "14.5", "-", "-", "-", "-", "-"]
    assert [len(bars_of(axes, row)) for row in range(3)] == [2, 0, 1]
    assert not has_hemoglobin(make_cohort([50]))


@pytest.mark.parametrize("look", [PAPER, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("draw", [draw_classes, draw_flow, draw_cells, draw_measured_hemoglobin])
def test_text_and_background_of_a_cohort_are_the_looks(draw, look):
    axes, _ = drawn(draw, make_cohort([50, 60, 70], [8.0, 9.0, 14.5]), look)
    assert to_rgba(look.background) == axes.get_facecolor() == axes.figure.get_facecolor()
    written = [*axes.texts, axes.title, *axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label]
    assert {to_hex(text.get_color()) for text in written if text.get_text()} == {look.text}
