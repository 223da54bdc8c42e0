"""What a result shows where the model has no attention, or a policy withholds the prediction."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from tests.report.factories import make_prediction

from napari_caltomorph.cli.predict import _sentences
from napari_caltomorph.diagnosis import NO_ATTENTION, Policy
from napari_caltomorph.jobs import PatientResult
from napari_caltomorph.plugin.inspect.plot_tab import PlotTab
from napari_caltomorph.plugin.patients.table import COLUMNS, PatientRow, described
from napari_caltomorph.plugin.predict.result_view import ResultView
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.report import draw_attention_swarm


def without_attention():
    return make_prediction(12, attention=np.ones(12), attention_kind="none")


def test_swarm_without_numbers_has_a_note_and_no_dot():
    axes = Figure().add_subplot()
    draw_attention_swarm(axes, without_attention())
    assert not axes.collections
    assert [text.get_text() for text in axes.texts] == [NO_ATTENTION]


def test_terminal_shows_a_note():
    assert ("Attention", NO_ATTENTION) in _sentences(without_attention())
    assert "Attention" not in dict(_sentences(make_prediction(12)))


def test_panel_shows_a_note_and_still_shows_cells_and_other_predictions(qtbot):
    view = ResultView()
    qtbot.addWidget(view)
    view.show()
    without = Inspection(without_attention())
    view.show_inspection(without)
    assert view.swarm.isHidden()
    assert "no attention" in view._swarm_title.text()
    without.cells.select([3])
    assert "#4" in view.card_text
    assert "the model has no attention" in view.card_text
    usual = Inspection(make_prediction(12))
    view.show_inspection(usual)
    assert not view.swarm.isHidden()
    usual.cells.select([3])
    assert "of an average cell" in view.card_text


def test_a_withheld_prediction_shows_its_cells_and_no_class_or_number_as_a_result(qtbot):
    view = ResultView()
    qtbot.addWidget(view)
    view.show()
    usual = make_prediction(12)
    withheld = usual.under(Policy(name="Clinic A", version="1", min_cells=100))
    view.show_inspection(Inspection(usual))
    assert not view.bars.isHidden()
    view.show_inspection(Inspection(withheld))
    assert view.bars.isHidden()
    assert not view.bars.figure.axes
    texts = [view._headline.text(), view._second.text(), view._notes.text(), view._warnings.text()]
    row = PatientRow("a", None, result=PatientResult("a", None, withheld))
    texts += [described(row), *(str(column.value(row)) for column in COLUMNS)]
    assert not [name for name in usual.taxonomy.names if name in " ".join(texts)]
    assert f"{usual.malignancy:.2f}" not in " ".join(texts)
    assert "12 cells, fewer than 100" in texts[1]
    assert "Clinic A" in texts[2]
    assert not view.swarm.isHidden()
    view.show_inspection(inspection := Inspection(usual))
    assert view.bars.figure.axes
    inspection.cells.select([3])
    shown = Inspection(withheld)
    shown.cells.select([3])
    assert len(set(inspection.colors)) > 1
    plot = PlotTab()
    qtbot.addWidget(plot)
    plot.show()
    plot.show_inspection(inspection)
    assert any(name in plot._legend.text() for name in usual.taxonomy.names)
    for one in (shown, inspection):
        inspection.set_result(withheld)
        view.show_inspection(one)
        assert len(set(one.colors)) == 1
        assert not one.legend
        cell_texts = " ".join([view.card_text, *one.caption])
        assert not [name for name in usual.taxonomy.names if name in cell_texts]
        assert not plot._legend.text()
