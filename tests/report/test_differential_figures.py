"""Figures of a differential say what its table says."""

from __future__ import annotations

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tests.differential.factories import features, labelled

from napari_caltomorph.differential import Differential, Probe, train_probe
from napari_caltomorph.report.prediction_figures import ALL_BLASTS, draw_differential, draw_probe_confusion, shown_rows


@pytest.fixture(scope="module")
def probe() -> Probe:
    learnt = [features(patient=f"p{i}", seed=i, shift=0.2) for i in range(3)]
    return train_probe(learnt, labelled(*learnt))


@pytest.fixture
def axes() -> Axes:
    return Figure(figsize=(3.6, 3)).add_subplot()


def counted(probe: Probe, by_hand: dict[str, str] | None = None) -> Differential:
    return probe.differential(features((30, 10, 40, 20), patient="new", seed=8), by_hand)


def test_bars_are_the_shares_as_called_and_texts_those_corrected(probe, axes):
    found = counted(probe)
    assert draw_differential(axes, found) == len(shown_rows(found)) == 4
    *_, bars = axes.containers
    shares = [found.share_of(name) for name, _, _ in shown_rows(found)]
    assert [bar.get_width() for bar in bars] == pytest.approx([100 * share.called for share in shares])
    first = f"{100 * shares[0].value:.0f} ({100 * shares[0].low:.0f}-{100 * shares[0].high:.0f})"
    assert first in [text.get_text() for text in axes.texts]


def test_what_is_no_leukocyte_stands_below_the_line(probe, axes):
    found = counted(probe)
    draw_differential(axes, found)
    assert [name for name, _, is_counted in shown_rows(found) if not is_counted] == ["smudge cell"]
    assert axes.get_yticklabels()[-1].get_text().startswith("smudge cell")


def test_blasts_of_several_types_come_together(probe, axes):
    assert ALL_BLASTS not in [name for name, _, _ in shown_rows(counted(probe))]
    both = counted(probe, {"cell_000": "promonocyte"})
    assert ALL_BLASTS in [name for name, _, _ in shown_rows(both)]
    draw_differential(axes, both)


def test_the_confusion_has_a_row_a_type_and_its_counts(probe, axes):
    draw_probe_confusion(axes, probe.description)
    counts = probe.description.confusion
    assert len(axes.get_yticklabels()) >= len(counts)
    assert {text.get_text() for text in axes.texts} == {str(c) for row in counts for c in row if c}


def test_a_type_called_with_mathematics_is_shown_as_it_is(probe, axes):
    draw_differential(axes, counted(probe, {"cell_000": "t($8;21$)"}))
    axes.figure.canvas.draw()
