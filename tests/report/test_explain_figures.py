"""Figures of explanations hold the numbers of the results: read back from what was drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from tests.diagnosis.factories import make_ensemble, make_features  # noqa: F401 (fixtures)

from napari_caltomorph.diagnosis import MeanOptions
from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness
from napari_caltomorph.explanation.changed_bags import leave_one_out
from napari_caltomorph.explanation.contribution import Contributions, contributions
from napari_caltomorph.explanation.faithfulness import cell_scores, faithfulness
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.evaluation_tables import faithfulness_table
from napari_caltomorph.report.explanation_figures import (
    OPPOSES,
    SUPPORTS,
    draw_contributions,
    draw_curves,
    draw_leave_one_out,
    draw_strongest,
    faithfulness_figure,
)

DARK = PlotStyle(text="#e0e0e0", background="#262930", faint="#5a626c")
SLUG = "mds"


@pytest.fixture
def axes():
    figure = Figure(figsize=(4, 3))
    FigureCanvasAgg(figure)
    yield figure.subplots()
    figure.canvas.draw()  # whatever was drawn can be rendered


@pytest.fixture
def ensemble(make_ensemble):  # noqa: F811
    return make_ensemble()


@pytest.fixture
def features(make_features):  # noqa: F811
    return make_features(cells=30)


@pytest.fixture
def found(ensemble, features):
    return contributions(ensemble, features, SLUG)


def test_dots_stand_at_attention_and_contribution(axes, ensemble, features, found):
    prediction = ensemble.predict(features)
    dots = draw_contributions(axes, prediction, found, DARK)
    places = np.asarray(dots.get_offsets())
    assert 10 ** places[:, 0] == pytest.approx(np.maximum(prediction.attention, 1e-3))
    assert places[:, 1] == pytest.approx(found.values)
    colors = [to_rgba(prediction.taxonomy.colors[i]) for i in prediction.alone_class]
    assert dots.get_facecolors() == pytest.approx(np.array(colors))
    low, high = axes.get_ylim()
    assert low < found.values.min() < found.values.max() < high
    assert low == -high


def test_without_attention_the_response_alone_takes_its_place(axes, make_ensemble, features):  # noqa: F811
    ensemble = make_ensemble(aggregator=MeanOptions())
    prediction = ensemble.predict(features)
    dots = draw_contributions(axes, prediction, contributions(ensemble, features, SLUG))
    index = prediction.taxonomy.slugs.index(SLUG)
    assert np.asarray(dots.get_offsets())[:, 0] == pytest.approx(prediction.alone[:, index])
    assert "no attention" in axes.get_xlabel()


def test_bars_are_the_strongest_for_and_against(axes, ensemble, features, found):
    prediction = ensemble.predict(features)
    cells = draw_strongest(axes, prediction, found, DARK, count=4)
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == pytest.approx(found.values[cells])
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == found.values.max()
    assert widths[-1] == found.values.min()
    for bar in axes.patches:
        assert bar.get_facecolor() == to_rgba(SUPPORTS if bar.get_width() > 0 else OPPOSES)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0].startswith(f"#{prediction.ranks[cells[0]]} ")


def test_cells_that_say_nothing_are_said_so(axes, ensemble, features):
    nothing = Contributions("patient", SLUG, features.cells, np.zeros(30), 0.0, 0.0)
    assert len(draw_strongest(axes, ensemble.predict(features), nothing)) == 0
    assert "No cell" in axes.texts[0].get_text()


def test_leave_one_out_shows_the_largest_changes_first(axes, ensemble, features):
    found = leave_one_out(ensemble, features, SLUG, range(25))
    draw_leave_one_out(axes, ensemble.predict(features), found, DARK, count=10)
    widths = np.array([bar.get_width() for bar in axes.patches])
    assert len(widths) == 10
    assert np.abs(widths) == pytest.approx(np.sort(np.abs(found.change))[::-1][:10])
    # The colour says what the cell spoke for, and so turns with the sign of its loss.
    assert axes.patches[0].get_facecolor() == to_rgba(SUPPORTS if widths[0] < 0 else OPPOSES)


def test_curves_are_the_results_with_the_random_band(axes, ensemble, features):
    found = faithfulness(ensemble, features, SLUG, cell_scores(ensemble, features, SLUG), random_orders=4)
    draw_curves(axes, found, "insertion", DARK)
    by_label = {line.get_label().split()[0]: line for line in axes.lines}
    assert set(by_label) == {"their", "attention", "contribution", "alone"}
    assert by_label["alone"].get_ydata() == pytest.approx(found.orders["alone"].insertion)
    assert by_label["alone"].get_xdata() == pytest.approx(found.shares("insertion"))
    assert axes.collections[0].get_label() == "4 random orders"


def test_cohort_figure_and_table_hold_the_gains():
    rng = np.random.default_rng(0)
    areas = {
        f"{kind}_{order}": rng.uniform(size=25) for kind in ("deletion", "insertion") for order in ("alone", "random")
    }
    curves = {(kind, order): rng.uniform(size=5) for kind in ("deletion", "insertion") for order in ("alone", "random")}
    found = CohortFaithfulness(pd.DataFrame(areas), np.linspace(0, 1, 5), curves, 10, ())
    figure = faithfulness_figure(found)
    figure.canvas.draw()
    labels = [line.get_label() for line in figure.axes[1].lines]
    assert labels == ["random", f"alone {found.gain('insertion', 'alone').value:+.2f}"]
    (row,) = faithfulness_table(found).rows
    assert [cell.text for cell in row[:2]] == [
        "response to the cell alone",
        f"{found.gain('deletion', 'alone').value:+.3f}",
    ]
    assert " to " in row[1].below
