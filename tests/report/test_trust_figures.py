"""Figures of trust: what stands in them is what the objects say."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from tests.diagnosis.factories import make_ensemble, make_features

from napari_caltomorph.diagnosis.domain import AspectResult, DomainResult
from napari_caltomorph.explanation.trust import HeldOutCertainty, Trust
from napari_caltomorph.report.drawing import PlotStyle
from napari_caltomorph.report.explanation_figures import INSIDE, OUTSIDE, draw_certainty, draw_domain, draw_members

__all__ = ["make_ensemble", "make_features"]

DARK = PlotStyle(text="#f0f1f2", background="#262930", faint="#5a626c")


@pytest.fixture
def axes():
    return Figure(figsize=(3.6, 1.6)).subplots()


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


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_a_smear_stands_at_its_score_among_the_held_out_certainty(axes):
    draw_domain(axes, domain((0.5, 0.4), (2.9, 0.02), (-1.0, 0.9)), DARK)
    marks = [one for one in axes.collections if len(one.get_offsets()) == 1]
    assert [mark.get_offsets()[0][0] for mark in marks] == pytest.approx([0.5, 2.9, -1.0])
    colors = [to_hex(mark.get_facecolor()[0]) for mark in marks]
    assert colors == [INSIDE, OUTSIDE, INSIDE]
    assert {"39 of 99", "1 of 99", "89 of 99"} <= set(words(axes))
    strokes = [one for one in axes.collections if len(one.get_offsets()) == 41]
    assert len(strokes) == 3


def test_a_smear_far_beyond_all_is_drawn_at_the_edge_with_its_number(axes):
    draw_domain(axes, domain((80.0, 0.01), (0.0, 0.5), (0.0, 0.5)))
    assert "80" in words(axes)
    marks = [one for one in axes.collections if len(one.get_offsets()) == 1]
    assert marks[0].get_offsets()[0][0] < axes.get_xlim()[1] < 10


def test_every_member_and_the_answer_is_a_bar_of_the_classes(axes, prediction):
    draw_members(axes, prediction)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["member 1", "member 2", "member 3", "together"]
    widths = np.array([bar.get_width() for bar in axes.patches]).reshape(4, 8)
    assert widths[:3] == pytest.approx(prediction.shown_member_probabilities)
    assert widths[3] == pytest.approx(prediction.probabilities)
    assert words(axes)[-1] == f"{prediction.predicted_class} {prediction.probabilities.max():.2f}"


def test_patients_named_right_and_wrong_are_counted_and_the_smear_is_marked(axes, prediction):
    found = Trust(prediction, held_out=HeldOutCertainty(np.linspace(0, 1, 50), np.arange(50) < 30))
    draw_certainty(axes, found, DARK)
    heights = [bar.get_height() for bar in axes.patches]
    assert sum(heights) == 50
    assert sum(heights[:12]) == 30
    assert axes.lines[0].get_xdata()[0] == pytest.approx(found.member_entropy)


def test_where_nothing_is_known_of_held_out_certainty_there_is_no_such_figure(axes, prediction):
    with pytest.raises(ValueError, match="held-out"):
        draw_certainty(axes, Trust(prediction))
