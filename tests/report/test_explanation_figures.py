"""Figures of explanations and of trust show the numbers of the results: read back from the drawing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from tests.report.factories import DARK, texts

from napari_caltomorph.diagnosis import MeanOptions
from napari_caltomorph.diagnosis.domain import AspectResult, DomainResult
from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness
from napari_caltomorph.explanation.contribution import contributions
from napari_caltomorph.explanation.faithfulness import cell_scores, faithfulness
from napari_caltomorph.explanation.trust import HeldOutCertainty, Trust
from napari_caltomorph.report.evaluation_tables import faithfulness_table
from napari_caltomorph.report.explanation_figures import (
    INSIDE,
    OUTSIDE,
    contribution_plot,
    draw_certainty,
    draw_curves,
    draw_domain,
    draw_members,
    faithfulness_figure,
)
from napari_caltomorph.report.plot import draw_plot

SLUG = "mds"


@pytest.fixture
def axes():
    figure = Figure(figsize=(4, 3))
    FigureCanvasAgg(figure)
    yield figure.subplots()
    figure.canvas.draw()  # whatever was drawn can be rendered


@pytest.fixture(scope="module")
def ensemble(make_ensemble):
    return make_ensemble()


@pytest.fixture(scope="module")
def features(make_features):
    return make_features(cells=30)


@pytest.fixture(scope="module")
def result(ensemble, features):
    return contributions(ensemble, features, SLUG)


def test_dots_are_placed_at_attention_and_contribution(axes, ensemble, features, result):
    prediction = ensemble.predict(features)
    plot = contribution_plot(prediction, result, DARK)
    (dots,) = plot.dots
    assert 10 ** dots.places[:, 0] == pytest.approx(np.maximum(prediction.attention, 1e-3))
    assert dots.places[:, 1] == pytest.approx(result.values)
    assert list(dots.faces) == [prediction.taxonomy.colors[i] for i in prediction.alone_class]
    assert plot.y.low < result.values.min() < result.values.max() < plot.y.high
    assert plot.y.low == -plot.y.high
    draw_plot(axes, plot, DARK)
    assert np.allclose(axes.collections[0].get_offsets(), dots.places)
    assert "1x" in [label.get_text() for label in axes.get_xticklabels()]


def test_without_attention_the_response_alone_takes_its_place(axes, make_ensemble, features):
    ensemble = make_ensemble(aggregator=MeanOptions())
    prediction = ensemble.predict(features)
    plot = contribution_plot(prediction, contributions(ensemble, features, SLUG))
    index = prediction.taxonomy.slugs.index(SLUG)
    assert plot.dots[0].places[:, 0] == pytest.approx(prediction.alone[:, index])
    assert "no attention" in plot.x.name


def test_curves_are_the_results_with_the_random_band(axes, ensemble, features):
    result = faithfulness(ensemble, features, SLUG, cell_scores(ensemble, features, SLUG), random_orders=4)
    draw_curves(axes, result, "insertion", DARK)
    by_label = {line.get_label().split()[0]: line for line in axes.lines}
    assert set(by_label) == {"their", "attention", "contribution", "alone"}
    assert by_label["alone"].get_ydata() == pytest.approx(result.orders["alone"].insertion)
    assert by_label["alone"].get_xdata() == pytest.approx(result.shares("insertion"))
    assert axes.collections[0].get_label() == "4 random orders"


def test_cohort_figure_and_table_hold_the_gains():
    rng = np.random.default_rng(0)
    areas = {
        f"{kind}_{order}": rng.uniform(size=25) for kind in ("deletion", "insertion") for order in ("alone", "random")
    }
    curves = {(kind, order): rng.uniform(size=5) for kind in ("deletion", "insertion") for order in ("alone", "random")}
    result = CohortFaithfulness(pd.DataFrame(areas), np.linspace(0, 1, 5), curves, 10, ())
    figure = faithfulness_figure(result)
    figure.canvas.draw()
    labels = [line.get_label() for line in figure.axes[1].lines]
    assert labels == ["random", f"alone {result.gain('insertion', 'alone').value:+.2f}"]
    (row,) = faithfulness_table(result).rows
    assert [cell.text for cell in row[:2]] == [
        "response to the cell alone",
        f"{result.gain('deletion', 'alone').value:+.3f}",
    ]
    assert " to " in row[1].below


@pytest.fixture(scope="module")
def prediction(make_ensemble, make_features):
    return make_ensemble().predict(make_features(60))


def domain(*scores_and_p):
    reference = tuple(np.linspace(-2, 3, 41).tolist())
    names = ("cells", "smear", "embedding")
    aspects = [
        AspectResult(aspect=name, score=score, p_value=p, reference=reference)
        for name, (score, p) in zip(names, scores_and_p, strict=True)
    ]
    return DomainResult(p_value=0.5, patients=99, aspects=tuple(aspects), cell_tails=(0.5,))


def test_a_smear_is_placed_at_its_score_among_held_out_patients(axes):
    draw_domain(axes, domain((0.5, 0.4), (2.9, 0.02), (-1.0, 0.9)), DARK)
    marks = [one for one in axes.collections if len(one.get_offsets()) == 1]
    assert [mark.get_offsets()[0][0] for mark in marks] == pytest.approx([0.5, 2.9, -1.0])
    colors = [to_hex(mark.get_facecolor()[0]) for mark in marks]
    assert colors == [INSIDE, OUTSIDE, INSIDE]
    assert {"39 of 99", "1 of 99", "89 of 99"} <= set(texts(axes))
    strokes = [one for one in axes.collections if len(one.get_offsets()) == 41]
    assert len(strokes) == 3


def test_a_score_beyond_the_axis_is_drawn_at_the_edge_with_its_number(axes):
    draw_domain(axes, domain((80.0, 0.01), (0.0, 0.5), (0.0, 0.5)))
    assert "80" in texts(axes)
    marks = [one for one in axes.collections if len(one.get_offsets()) == 1]
    assert marks[0].get_offsets()[0][0] < axes.get_xlim()[1] < 10


def test_every_member_and_the_answer_is_a_bar_of_the_classes(axes, prediction):
    draw_members(axes, prediction)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["member 1", "member 2", "member 3", "together"]
    widths = np.array([bar.get_width() for bar in axes.patches]).reshape(4, 8)
    assert widths[:3] == pytest.approx(prediction.shown_member_probabilities)
    assert widths[3] == pytest.approx(prediction.probabilities)
    assert texts(axes)[-1] == f"{prediction.predicted_class} {prediction.probabilities.max():.2f}"


def test_patients_named_right_and_wrong_are_counted_and_the_smear_is_marked(axes, prediction):
    result = Trust(prediction, held_out=HeldOutCertainty(np.linspace(0, 1, 50), np.arange(50) < 30))
    draw_certainty(axes, result, DARK)
    heights = [bar.get_height() for bar in axes.patches]
    assert sum(heights) == 50
    assert sum(heights[:12]) == 30
    assert axes.lines[0].get_xdata()[0] == pytest.approx(result.member_entropy)


def test_where_nothing_is_known_of_held_out_certainty_there_is_no_such_figure(axes, prediction):
    with pytest.raises(ValueError, match="held-out"):
        draw_certainty(axes, Trust(prediction))
