"""The figure of a comparison holds its numbers: read back from what was drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_caltomorph.report.training_figures import comparison_figure, draw_group, save_comparison_figure
from napari_caltomorph.training import TrainOptions
from napari_caltomorph.training.compare_options import CompareOptions
from napari_caltomorph.training.comparison import Comparison, VariantResult, variants

FOLDS = 5
OPTIONS = CompareOptions(
    what=("aggregators", "depths", "sizes"), encoders=("dinobloom-small-v1=b", "efficientnet_lite0=c")
)


@pytest.fixture
def comparison() -> Comparison:
    """Every group, with numbers drawn at random; one fold defines no malignant AUROC."""
    rng = np.random.default_rng(0)
    rows = variants(Path("features"), OPTIONS, TrainOptions())
    results = {}
    for row in rows:
        numbers = {name: tuple(rng.uniform(0.4, 0.9, FOLDS)) for name in ("balanced_accuracy", "weighted_f1")}
        numbers["malignant_auroc"] = (None, *rng.uniform(0.8, 1, FOLDS - 1))
        results[row.slug] = VariantResult(
            folds=tuple(range(FOLDS)),
            patients=(round(1307 * row.share),) * FOLDS,
            own_patients=(327,) * FOLDS,
            epochs=(60,) * FOLDS,
            metrics=numbers,
            seconds=1,
        )
    return Comparison(tuple(rows), results, {})


def drawn(comparison: Comparison, group: str, metric: str = "balanced_accuracy"):
    figure = Figure(figsize=(4, 3))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    draw_group(axes, comparison, group, metric)
    figure.canvas.draw()
    return axes


def lines_of(axes, width: float) -> list[np.ndarray]:
    return [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines if line.get_linewidth() == width]


@pytest.mark.parametrize("group", ["aggregators", "sizes", "encoders"])
def test_each_fold_is_one_line_across_the_variants(comparison, group):
    rows = comparison.of_group(group)
    values = np.array([comparison.results[row.slug].metrics["balanced_accuracy"] for row in rows])
    assert np.array_equal(np.array(lines_of(drawn(comparison, group), 0.7)).T, values)


def test_depths_are_two_curves_of_means(comparison):
    axes = drawn(comparison, "depths")
    found = lines_of(axes, 2)
    for pooling, means in zip(("cls", "mean"), found, strict=True):
        slugs = [f"transformer-{pooling}-{depth}" for depth in OPTIONS.depths]
        expected = [np.mean(comparison.results[slug].metrics["balanced_accuracy"]) for slug in slugs]
        assert means == pytest.approx(expected)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cls pooling", "mean pooling"]


def test_sizes_stand_at_their_number_of_patients(comparison):
    axes = drawn(comparison, "sizes")
    assert [round(tick) for tick in axes.get_xticks()] == [131, 327, 654, 980, 1307]
    assert axes.get_xticklabels()[-1].get_text() == "1307\n100 %"


def test_means_are_over_the_folds_that_define_the_metric(comparison):
    axes = drawn(comparison, "aggregators", "malignant_auroc")
    bars = [segment[0][1] for segment in axes.collections[-1].get_segments()]
    rows = comparison.of_group("aggregators")
    expected = [np.mean(comparison.results[row.slug].metrics["malignant_auroc"][1:]) for row in rows]
    assert bars == pytest.approx(expected)


@pytest.mark.parametrize("group", ["aggregators", "depths", "sizes", "encoders"])
def test_no_label_touches_another(comparison, group):
    rows = tuple(row for row in comparison.variants if row.group == group)
    figure = comparison_figure(Comparison(rows, comparison.results, {}))
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[-1].get_xticklabels() if text.get_text()]
    assert len(boxes) > 1
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[i + 1 :])


def test_the_figure_has_a_column_a_group_and_a_row_a_metric(comparison, tmp_path):
    panels = comparison_figure(comparison).axes
    assert [axes.get_ylabel() for axes in panels[::4]] == ["balanced accuracy", "weighted F1", "malignant AUROC"]
    assert [axes.get_xlabel() for axes in panels[-4:]] == [
        "aggregator",
        "layers of the transformer",
        "training patients of a member",
        "features",
    ]
    path = save_comparison_figure(comparison, tmp_path / "comparison.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_nothing_compared_makes_no_figure(comparison, tmp_path):
    empty = Comparison(comparison.variants, {}, {"mean": "failed"})
    assert save_comparison_figure(empty, tmp_path / "comparison.png") is None
    assert not list(tmp_path.iterdir())
