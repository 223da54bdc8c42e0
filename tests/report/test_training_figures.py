"""Figures of trainings and of comparisons show their numbers: read back from the drawing."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from tests.report.factories import DARK

from napari_caltomorph.diagnosis import FoldRecord, ModelDescription, find_model, read_description
from napari_caltomorph.diagnosis.model_card import TRAINING_CURVES
from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.report import (
    PlotStyle,
    draw_loss_curves,
    draw_out_of_fold_confusion,
    save_training_curves,
)
from napari_caltomorph.report.training_figures import comparison_figure, draw_group, save_comparison_figure
from napari_caltomorph.taxonomy import caltomorph_taxonomy
from napari_caltomorph.training import TrainOptions
from napari_caltomorph.training.comparison import Comparison, VariantResult
from napari_caltomorph.training.variants import CompareOptions, variants


def fold(train: list[float], validation: list[float], best: int) -> FoldRecord:
    return FoldRecord(
        patients=20,
        validation_patients=5 if validation else 0,
        epochs=len(train),
        best_epoch=best,
        stopped_by="last epoch",
        train_loss=tuple(train),
        validation_loss=tuple(validation),
    )


def new_axes():
    figure = Figure(figsize=(3.4, 3.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.subplots()


def demo_with(*folds: FoldRecord) -> ModelDescription:
    demo = read_description(find_model("demo"))
    return demo.model_copy(update={"training": demo.training.model_copy(update={"folds": folds})})


def lines_of(axes) -> dict[tuple[str, str], list[tuple[float, float]]]:
    drawn = [line for line in axes.get_lines() if len(line.get_xdata())]
    return {(line.get_color(), line.get_linestyle()): [tuple(p) for p in line.get_xydata()] for line in drawn}


def test_each_fold_has_its_colour_training_solid_validation_dashed_and_the_best_epoch_marked() -> None:
    axes = new_axes()
    draw_loss_curves(axes, [fold([3, 2, 1], [4, 2.5, 3], 2), fold([6, 5], [7, 8], 1)], DARK)
    lines = lines_of(axes)
    assert len({color for color, _ in lines}) == 2
    assert sorted(y for points in lines.values() for _, y in points) == [1, 2, 2.5, 3, 3, 4, 5, 6, 7, 8]
    assert {style for _, style in lines} == {"-", "--"}
    assert [tuple(dots.get_offsets()[0]) for dots in axes.collections] == [(2, 2.5), (1, 7)]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["1", "2"]


def test_a_training_that_has_just_begun_is_drawn_and_gaps_between_epochs_are_bridged() -> None:
    axes = new_axes()
    draw_loss_curves(axes, [])
    axes.figure.canvas.draw()
    assert not axes.collections
    begun = SimpleNamespace(train_loss=[5, np.nan, 3], validation_loss=[], best_epoch=3)
    nothing = SimpleNamespace(train_loss=[], validation_loss=[], best_epoch=0)
    axes = new_axes()
    draw_loss_curves(axes, [begun, nothing, nothing])
    axes.figure.canvas.draw()
    assert list(lines_of(axes).values()) == [[(1, 5), (3, 3)]]
    assert not axes.collections  # nothing was validated on, so no epoch was best


def test_the_matrix_contains_the_counts_and_names_its_rows() -> None:
    taxonomy = caltomorph_taxonomy()
    counts = np.random.default_rng(0).integers(0, 12, (8, 8))
    counts[3] = 0  # a class without evaluated patients
    axes = new_axes()
    draw_out_of_fold_confusion(axes, taxonomy, counts, DARK)
    written = np.zeros((8, 8), int)
    for text in axes.texts:
        column, row = (round(place) for place in text.get_position())
        written[row, column] = int(text.get_text())
    np.testing.assert_array_equal(written, counts)
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == [f"{name} ({n})" for name, n in zip(taxonomy.names, counts.sum(axis=1), strict=True)]
    assert [label.get_text() for label in axes.get_xticklabels()] == taxonomy.names


def test_a_cell_is_the_deeper_the_larger_its_share_of_the_row() -> None:
    taxonomy = caltomorph_taxonomy().model_copy(update={"classes": caltomorph_taxonomy().classes[:2]})
    axes = new_axes()
    draw_out_of_fold_confusion(axes, taxonomy, np.array([[10, 0], [30, 90]]), DARK)
    image = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(image[0, 0], to_rgb(taxonomy.colors[0]))
    distances = np.abs(image[1] - to_rgb(taxonomy.colors[1])).sum(axis=-1)
    assert distances[1] < distances[0]
    assert {text.get_text() for text in axes.texts} == {"10\n100 %", "30\n25 %", "90\n75 %"}


@pytest.mark.parametrize("style", [PlotStyle(), DARK])
def test_names_do_not_touch_and_stay_inside_a_narrow_panel(style: PlotStyle) -> None:
    axes = new_axes()
    draw_out_of_fold_confusion(axes, caltomorph_taxonomy(), np.eye(8, dtype=int) * 120, style)
    axes.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))
    everything = [*boxes, *(label.get_window_extent() for label in axes.get_yticklabels())]
    assert min(box.x0 for box in everything) >= 0
    assert min(box.y0 for box in everything) >= 0
    assert axes.get_window_extent().width > 150


def test_the_card_gets_its_figure(tmp_path: Path) -> None:
    description = demo_with(fold([3, 2], [4, 5], 1), fold([3, 2.5], [4, 3], 2))
    path = save_training_curves(description, tmp_path)
    assert path == tmp_path / TRAINING_CURVES
    with Image.open(tmp_path / TRAINING_CURVES) as image:
        assert image.format == "PNG"
        assert image.width > 600
    assert [file.name for file in tmp_path.iterdir()] == [TRAINING_CURVES]


def test_no_figure_where_no_losses_are_known_and_a_sentence_where_it_cannot_be_written(tmp_path: Path) -> None:
    assert save_training_curves(demo_with(), tmp_path) is None
    assert not any(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputRefused, match="file"):
        save_training_curves(demo_with(fold([1], [], 1)), tmp_path / "file")


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


def drawn_group(comparison: Comparison, group: str, metric: str = "balanced_accuracy"):
    figure = Figure(figsize=(4, 3))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    draw_group(axes, comparison, group, metric)
    figure.canvas.draw()
    return axes


def fold_lines_of(axes, width: float) -> list[np.ndarray]:
    return [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines if line.get_linewidth() == width]


@pytest.mark.parametrize("group", ["aggregators", "sizes", "encoders"])
def test_each_fold_is_one_line_across_the_variants(comparison, group):
    rows = comparison.of_group(group)
    values = np.array([comparison.results[row.slug].metrics["balanced_accuracy"] for row in rows])
    assert np.array_equal(np.array(fold_lines_of(drawn_group(comparison, group), 0.7)).T, values)


def test_depths_are_two_curves_of_means(comparison):
    axes = drawn_group(comparison, "depths")
    result = fold_lines_of(axes, 2)
    for pooling, means in zip(("cls", "mean"), result, strict=True):
        slugs = [f"transformer-{pooling}-{depth}" for depth in OPTIONS.depths]
        expected = [np.mean(comparison.results[slug].metrics["balanced_accuracy"]) for slug in slugs]
        assert means == pytest.approx(expected)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cls pooling", "mean pooling"]


def test_sizes_are_placed_at_their_number_of_patients(comparison):
    axes = drawn_group(comparison, "sizes")
    assert [round(tick) for tick in axes.get_xticks()] == [131, 327, 654, 980, 1307]
    assert axes.get_xticklabels()[-1].get_text() == "1307\n100 %"


def test_means_are_over_the_folds_that_define_the_metric(comparison):
    axes = drawn_group(comparison, "aggregators", "malignant_auroc")
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
