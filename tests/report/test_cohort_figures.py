"""Figures of a cohort show its patients: read back from the drawing."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgba
from tests.report.factories import COLORS, DARK, drawn, texts

from napari_caltomorph.cohort import Cohort, with_types
from napari_caltomorph.report import (
    PAPER,
)
from napari_caltomorph.report.cohort_figures import (
    draw_cells,
    draw_classes,
    draw_flow,
    draw_measured_hemoglobin,
    has_hemoglobin,
)
from napari_caltomorph.taxonomy import caltomorph_taxonomy


def make_cohort(cells, hemoglobin=None, classes=None):
    """Patients with so many cells, assigned to the classes in turn unless their slugs are given."""
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


def histogram_of(axes, row):
    """The heights, edges and colour of the histogram of a class."""
    (tops, edges, base), color = axes.patches[row].get_data(), axes.patches[row].get_facecolor()
    return base - tops, edges, to_hex(color)


def bars_of(axes, row):
    """The histogram of a class: {place of the middle: height}, where there is any."""
    heights, edges, _ = histogram_of(axes, row)
    return {x: height for x, height in zip((edges[1:] + edges[:-1]) / 2, heights, strict=True) if height > 1e-9}


def test_the_histogram_of_each_class_holds_its_patients():
    rng = np.random.default_rng(0)
    cells = rng.integers(50, 600, 400).tolist()
    axes, _ = drawn(draw_cells, make_cohort(cells))
    assert len(axes.patches) == 8
    for row, color in enumerate(COLORS):
        mine = np.array(cells[row::8])
        heights, edges, drawn_in = histogram_of(axes, row)
        assert drawn_in == color
        inside = np.array([((mine > left) & (mine < right)).sum() for left, right in pairwise(edges)])
        assert inside.sum() == len(mine)
        assert heights == pytest.approx(0.8 * inside / inside.max())
        assert texts(axes)[row].strip() == f"{sorted(mine)[24] / 2 + sorted(mine)[25] / 2:.0f}"
    assert [label.get_text() for label in axes.get_yticklabels()] == caltomorph_taxonomy().names
    assert axes.get_ylim()[0] > axes.get_ylim()[1]


@pytest.mark.parametrize("cells", [[30] * 16, [0, 0], [1], [1, 100_000], [None, 40], [None]])
def test_extreme_numbers_of_cells_are_drawn_within_the_axes(cells):
    axes, _ = drawn(draw_cells, make_cohort(cells))
    low, high = axes.get_xlim()
    result = [x for row in range(8) for x in bars_of(axes, row)]
    assert len(result) == len([1 for n in cells[:8] if n is not None])
    assert all(low < x < high for x in result)
    labels = [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    assert labels
    assert all(label.get_text().isdigit() for label in labels)
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_hemoglobin_is_drawn_for_classes_with_values():
    slugs = caltomorph_taxonomy().slugs
    cohort = make_cohort([50] * 4, [8.0, 9.0, None, 14.5], [slugs[i] for i in (0, 0, 1, 2)])
    assert has_hemoglobin(cohort)
    axes, _ = drawn(draw_measured_hemoglobin, cohort)
    assert [text.strip() for text in texts(axes)] == ["8.5", "-", "14.5", "-", "-", "-", "-", "-"]
    assert [len(bars_of(axes, row)) for row in range(3)] == [2, 0, 1]
    assert not has_hemoglobin(make_cohort([50]))


@pytest.mark.parametrize("style", [PAPER, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("draw", [draw_classes, draw_flow, draw_cells, draw_measured_hemoglobin])
def test_text_and_background_of_a_cohort_are_those_of_the_style(draw, style):
    axes, _ = drawn(draw, make_cohort([50, 60, 70], [8.0, 9.0, 14.5]), style)
    assert to_rgba(style.background) == axes.get_facecolor() == axes.figure.get_facecolor()
    written = [*axes.texts, axes.title, *axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label]
    assert {to_hex(text.get_color()) for text in written if text.get_text()} == {style.text}
