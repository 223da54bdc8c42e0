"""Figures of an evaluation show its numbers, as read back from the figure; undefined numbers are explained."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from safetensors.numpy import load_file
from tests.evaluation.factories import TAXONOMY, evaluation_of, simulated
from tests.report.factories import DARK, texts

from napari_caltomorph.evaluation import Embeddings
from napari_caltomorph.report.class_figures import draw_confusion, draw_delta, draw_detailed_confusion, draw_top2
from napari_caltomorph.report.drawing import PAPER
from napari_caltomorph.report.evaluation_figures import FIGURES, figures_of, save_figures
from napari_caltomorph.report.measured_figures import draw_against, draw_errors_by, draw_hemoglobin_scatter
from napari_caltomorph.report.patient_map import draw_map, patient_map
from napari_caltomorph.report.probability_figures import (
    draw_class_rocs,
    draw_fdr,
    draw_fdr_without_healthy,
    draw_malignancy_reliability,
    draw_reliability,
    draw_roc,
)

SLUGS = TAXONOMY.slugs


@pytest.fixture(scope="module")
def evaluation():
    """Patients of all four classes, two with several right answers, one of another class."""
    truth, probabilities = simulated((14, 9, 11, 16), separation=2.0)
    rng = np.random.default_rng(1)
    probabilities = np.concatenate([probabilities, rng.dirichlet(np.ones(4), size=3)])
    measured = rng.normal(11, 2, size=53)
    return evaluation_of(
        [*truth, None, None, None],
        probabilities,
        coarse_set=[None] * 50 + ["acute|mds", "acute|mds", None],
        row=[None] * 52 + ["MGUS"],
        detailed=["aml" if i < 8 else "all" if i < 14 else None for i in range(53)],
        measured=[None, *measured[1:]],
        hemoglobin=list(measured + rng.normal(0, 1, size=53)),
        threshold=0.4,
    )


@pytest.fixture(scope="module")
def mapped(evaluation):
    """The same with embeddings: 30 training patients around three centres; patient 0 far from all."""
    rng = np.random.default_rng(0)
    classes = np.arange(30) % 3
    training = (8 * np.eye(3, 6)[classes] + rng.normal(size=(30, 6))).astype(np.float32)
    evaluated_patients = (training[np.arange(53) % 30] + 0.01).astype(np.float32)
    evaluated_patients[0] = 500
    embeddings = Embeddings(1, evaluated_patients, training, tuple(SLUGS[c] for c in classes))
    return replace(evaluation, embeddings=embeddings)


@pytest.fixture(scope="module")
def against(evaluation):
    """The same beside a ratio that is high in acute leukemia; one patient has none."""
    blasts = [None, *np.round(np.random.default_rng(2).beta(1 + 4 * evaluation.probabilities[1:, 0], 4), 3)]
    options = evaluation.options.model_copy(update={"against": ("blasts",)})
    return replace(evaluation, options=options, covariates=pd.DataFrame({"blasts": blasts}))


def drawn(draw, evaluation, style=PAPER, *, size=(5, 4), **options):
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes, evaluation, style=style, **options)
    figure.draw_without_rendering()
    return axes


def offsets(axes):
    """(dots, 2) of all collections."""
    return np.concatenate([np.asarray(dots.get_offsets()) for dots in axes.collections])


def legend_of(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_cells_of_the_matrix_hold_counts_and_shares_of_the_row(evaluation):
    axes = drawn(draw_confusion, evaluation)
    result = {(round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in axes.texts}
    counts = evaluation.confusion.counts
    assert counts.sum() == 53
    expected = {
        (r, c): f"{counts[r, c]}\n{100 * counts[r, c] / counts[r].sum():.0f} %"
        for r, c in zip(*counts.nonzero(), strict=True)
    }
    assert result == expected


def test_rows_name_classes_sets_of_right_answers_and_other_classes_with_their_patients(evaluation):
    axes = drawn(draw_confusion, evaluation)
    labels = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    assert labels == [
        "Acute leukemia (14)", "MDS (9)", "Reactive (11)", "Healthy (16)", "Acute leukemia or MDS (2)", "MGUS (1)",
    ]  # fmt: skip


def test_right_answers_are_framed(evaluation):
    axes = drawn(draw_confusion, evaluation)
    frames = {(round(p.get_y() + 0.47), round(p.get_x() + 0.47)) for p in axes.patches if isinstance(p, Rectangle)}
    assert frames == {(0, 0), (1, 1), (2, 2), (3, 3), (4, 0), (4, 1)}


def test_detailed_classes_have_rows_of_their_own(evaluation):
    axes = drawn(draw_detailed_confusion, evaluation)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:2] == ["AML (8)", "ALL (6)"]


def test_roc_is_the_evaluations_with_its_auroc_and_point(evaluation):
    axes = drawn(draw_roc, evaluation)
    assert np.array_equal(axes.lines[1].get_xydata().T, evaluation.roc())
    (words,) = texts(axes)
    assert f"AUROC {evaluation.headline['malignant_auroc'].shown()}" in words
    point = evaluation.at(0.4)
    assert axes.collections[0].get_offsets()[0].tolist() == pytest.approx(
        [1 - point.specificity.value, point.sensitivity.value]
    )


def test_a_moved_threshold_moves_the_operating_point_only(evaluation):
    axes = drawn(draw_roc, evaluation, threshold=0.9)
    assert np.array_equal(axes.lines[1].get_xydata().T, evaluation.roc())
    point = evaluation.at(0.9)
    assert axes.collections[0].get_offsets()[0].tolist() == pytest.approx(
        [1 - point.specificity.value, point.sensitivity.value]
    )
    assert "at 0.9:" in texts(axes)[0]


def test_each_class_is_named_with_its_auroc(evaluation):
    axes = drawn(draw_class_rocs, evaluation)
    assert legend_of(axes) == [f"{c.name}\n{evaluation.by_class[c.slug].auroc.shown(2)}" for c in TAXONOMY.classes]
    assert [to_hex(line.get_color()) for line in axes.lines[1:]] == TAXONOMY.colors


@pytest.mark.parametrize(("draw", "column"), [(draw_fdr, "fdr"), (draw_fdr_without_healthy, "fdr_without_healthy")])
def test_fdr_curves_are_the_evaluations(evaluation, draw, column):
    axes = drawn(draw, evaluation)
    curve = evaluation.screened.curve()
    assert np.array_equal(axes.lines[0].get_xdata(), curve[column], equal_nan=True)
    assert np.array_equal(axes.lines[0].get_ydata(), curve["sensitivity_acute"])
    point = evaluation.at()
    fdr = point.fdr if column == "fdr" else point.fdr_without_healthy
    assert axes.lines[1].get_xydata()[0].tolist() == [fdr.value, point.sensitivity_of("acute").value]
    assert f"FDR {fdr.shown(2)}" in axes.get_title(loc="left")
    others = "against 11 Reactive, 16 Healthy" if column == "fdr" else "against 11 Reactive"
    assert axes.get_xlabel().endswith(others)
    of_all = 27 / 50 if column == "fdr" else 11 / 34
    assert axes.lines[-1].get_xdata() == pytest.approx([of_all] * 2)
    assert f"FDR {of_all:.2f} if all were punctured" in axes.get_title(loc="left")


def test_ece_is_next_to_that_of_a_calibrated_model(evaluation):
    for draw, result in (
        (draw_reliability, evaluation.reliability),
        (draw_malignancy_reliability, evaluation.malignancy_reliability),
    ):
        axes = drawn(draw, evaluation)
        assert f"ECE {result.ece:.3f}" in axes.get_title(loc="left")
        assert f"perfectly calibrated: {result.chance.value:.3f}" in axes.get_title(loc="left")
        dots = offsets(axes)
        bins = [one for one in result.bins if one.patients]
        assert dots.tolist() == [[one.mean_probability, one.observed.value] for one in bins]


def test_hemoglobin_dots_are_the_patients_with_both_values(evaluation):
    axes = drawn(draw_hemoglobin_scatter, evaluation)
    dots = offsets(axes)
    table = evaluation.table().dropna(subset=["hemoglobin_g_dl", "measured_hemoglobin_g_dl"])
    expected = table[["measured_hemoglobin_g_dl", "hemoglobin_g_dl"]].to_numpy(dtype=float)
    assert len(dots) == 52
    assert np.sort(dots[:, 0]) == pytest.approx(np.sort(expected[:, 0]))
    overall = evaluation.hemoglobin[0].numbers
    assert overall["pearson_r"].shown(2) in axes.get_title(loc="left")
    assert overall["bias"].shown(2) in axes.get_title(loc="left")


def test_top2_bars_are_the_class_numbers(evaluation):
    axes = drawn(draw_top2, evaluation)
    _, second, first = axes.containers
    numbers = list(evaluation.by_class.values())
    assert [bar.get_width() for bar in second] == [one.top2.value for one in numbers]
    assert [bar.get_width() for bar in first] == [one.sensitivity.value for one in numbers]


def test_deltas_are_of_patients_with_their_class_in_second_place(evaluation):
    axes = drawn(draw_delta, evaluation)
    table = evaluation.table()
    second = table[(table["second_class"] == table["true_class"])]
    assert sum(bar.get_height() for bar in axes.patches) == len(second)
    assert np.sort(offsets(axes.figure.axes[1])[:, 0]) == pytest.approx(np.sort(second["delta_probability"]))


def test_map_places_evaluated_patients_near_their_neighbours_and_marks_distant_ones(mapped, tmp_path):
    axes = drawn(draw_map, mapped)
    mapping = patient_map(mapped)
    training, evaluated_patients = axes.collections
    assert np.allclose(training.get_offsets(), mapping.training)
    assert np.allclose(evaluated_patients.get_offsets(), mapping.evaluated)
    near = np.linalg.norm(mapping.evaluated[1:30] - mapping.training[1:30], axis=1)
    assert np.median(near) < 0.2 * np.ptp(mapping.training)
    assert mapping.is_far.tolist() == [True] + [False] * 52
    assert mapping.distance[0] > 50 * mapping.distance[1:].max()
    faces = evaluated_patients.get_facecolors()
    assert faces[0, 3] == 0
    assert to_hex(faces[1]) == TAXONOMY.colors[0]
    assert {"evaluated, far from all", "training, seen"} < set(legend_of(axes))
    assert mapping.parameters["member"] == 1
    assert "30 patients that member 2 was trained on" in mapping.in_words
    assert f"at most {mapping.distance[0]:.1f}" in mapping.in_words

    stored = load_file(mapping.save(tmp_path))
    for name, array in (("judged", mapping.evaluated), ("is_far", mapping.is_far), ("distance", mapping.distance)):
        assert np.array_equal(stored[name], array)


def test_patients_that_the_member_has_not_seen_say_what_distance_is_usual(mapped):
    """Of 30 training patients, 12 are unseen, and as far from the seen ones as the evaluated patients are."""
    rng, held_out = np.random.default_rng(3), np.arange(30) < 12
    training = mapped.embeddings.training + np.where(held_out, 3, 0)[:, None].astype(np.float32)
    evaluated_patients = training[rng.integers(12, size=53)] + rng.normal(0, 0.1, size=(53, 6))
    embeddings = replace(
        mapped.embeddings,
        training=training,
        evaluated=evaluated_patients.astype(np.float32),
        training_held_out=tuple(held_out.tolist()),
    )
    mapping = patient_map(one := replace(mapped, embeddings=embeddings))
    assert mapping.training_is_trained.tolist() == (~held_out).tolist()
    assert mapping.is_far.mean() < 0.2
    assert np.median(mapping.distance) == pytest.approx(1, abs=0.3)
    assert "12 training patients that it was not trained on" in mapping.in_words
    assert "training, unseen" in legend_of(drawn(draw_map, one))
    as_if_seen = patient_map(replace(mapped, embeddings=replace(embeddings, training_held_out=())))
    assert as_if_seen.training_is_trained.all()


def test_map_without_training_patients_shows_the_evaluated_patients(mapped):
    alone = replace(mapped, embeddings=replace(mapped.embeddings, training=None, training_classes=()))
    mapping = patient_map(alone)
    assert mapping.training.shape == (0, 2)
    assert np.isfinite(mapping.evaluated).all()
    assert not mapping.is_far.any()


def test_a_note_warns_when_evaluated_patients_trained_the_member_of_the_map(mapped):
    folds = pd.array([1] * 20 + [0] * 30 + [None] * 3, dtype="Int64")
    out_of_fold = replace(mapped, patients=mapped.patients.assign(fold=folds))
    mapping = patient_map(out_of_fold)
    assert "Member 2 was trained on 30 of the 53 evaluated" in mapping.in_words
    assert "Member 2 was trained on" not in patient_map(mapped).in_words
    axes = drawn(draw_map, out_of_fold)
    sizes = {len(dots.get_offsets()): dots for dots in axes.collections[1:]}
    assert set(sizes) == {30, 23}  # those it was trained on are crosses, as are the other training patients
    shapes = [len(dots.get_paths()[0].vertices) for dots in (axes.collections[0], sizes[30], sizes[23])]
    assert shapes[0] == shapes[1] < shapes[2]
    assert np.isnan(mapping.distance[20:50]).all()
    assert np.isfinite(mapping.distance[:20]).all()


def test_without_umap_the_map_is_a_pca_with_a_note(mapped):
    axes = drawn(draw_map, mapped)
    assert axes.get_xlabel() == "PCA of member 2"
    mapping = patient_map(mapped)
    assert mapping.is_far.tolist() == [True] + [False] * 52
    assert "napari-caltomorph[umap]" in mapping.in_words
    assert "mean place of their 5 nearest" in mapping.in_words


def test_external_patients_are_diamonds(mapped):
    external = replace(mapped, options=mapped.options.model_copy(update={"lab": "other"}))
    shapes = [drawn(draw_map, one).collections[-1].get_paths()[0].vertices for one in (mapped, external)]
    assert len(shapes[1]) == 5
    assert len(shapes[0]) > 5


@pytest.mark.parametrize(
    ("embeddings", "why"),
    [
        (None, "the evaluation has no embeddings"),
        (Embeddings(0, np.zeros((53, 4), np.float32)), "most patients have the same embedding"),
        (Embeddings(0, np.full((53, 4), np.nan, np.float32)), "some embeddings are not finite"),
    ],
)
def test_a_missing_map_is_noted(evaluation, embeddings, why):
    axes = drawn(draw_map, replace(evaluation, embeddings=embeddings))
    assert texts(axes) == [f"No map: {why}."]


def test_probability_against_a_column_shows_the_classes_patients(evaluation):
    blasts = np.linspace(0, 0.9, 53)
    with_ratio = replace(evaluation, covariates=pd.DataFrame({"blasts": blasts, "sex": ["m"] * 53}))
    axes = drawn(lambda axes, e, style: draw_against(axes, e, "blasts", "acute", style), with_ratio)
    dots = offsets(axes)
    expected = np.column_stack([blasts[:14], evaluation.probabilities[:14, 0]])
    assert dots[np.argsort(dots[:, 0])] == pytest.approx(expected)


def test_errors_by_a_column_are_drawn_with_patient_counts(against):
    axes = drawn(lambda axes, e, style: draw_errors_by(axes, e, "blasts", style), against)
    (result,) = against.covariate_associations
    lines, intervals, _ = (axes.lines[part::3] for part in range(3))
    assert [(*line.get_xdata(), line.get_ydata()[0]) for line in lines] == [
        (part.low, part.high, part.error.value) for part in result.bins
    ]
    assert [tuple(line.get_ydata()) for line in intervals] == [(p.error.low, p.error.high) for p in result.bins]
    known = (against.has_one_class | against.has_several)[1:]  # the first has no number
    right, wrong = (len(ticks.get_segments()) for ticks in axes.collections)
    assert (right, wrong) == ((known & against.is_right[1:]).sum(), (known & ~against.is_right[1:]).sum())


def test_each_requested_covariate_has_its_own_figure(against, evaluation):
    assert figures_of(evaluation) == tuple(FIGURES.values())
    one = figures_of(against)[-1]
    assert (one.name, one.title, len(one.panels)) == ("against_1", "Against blasts", 5)
    figure = one.of(against)
    figure.draw_without_rendering()
    assert [axes.get_xlabel() for axes in figure.axes] == ["blasts"] * 5
    assert_readable(figure)


NOBODY = evaluation_of([None, None], np.full((2, 4), 0.25))
ONE = evaluation_of(["healthy"], np.array([[0.1, 0.1, 0.1, 0.7]]))
ALL_MALIGNANT = evaluation_of(["acute"] * 3, np.tile([0.7, 0.1, 0.1, 0.1], (3, 1)))
OTHERS_ONLY = evaluation_of([None] * 3, np.full((3, 4), 0.25), row=["MGUS"] * 3)


@pytest.mark.parametrize("case", [NOBODY, ONE, ALL_MALIGNANT, OTHERS_ONLY])
def test_no_panel_is_left_empty(case):
    for one in FIGURES.values():
        figure = one.of(case)
        figure.draw_without_rendering()
        for axes in figure.axes:
            assert axes.has_data() or (len(axes.texts) == 1 and axes.texts[0].get_text().startswith("No "))


def test_a_sentence_takes_no_room_of_a_figure(evaluation):
    assert FIGURES["fdr"].of(ONE).get_figheight() < 1 < FIGURES["fdr"].of(evaluation).get_figheight()
    assert FIGURES["map"].of(evaluation).get_figheight() < 1


def test_refusals_name_the_reason(evaluation):
    assert texts(drawn(draw_roc, NOBODY)) == ["No ROC curve: the cohort has no labels."]
    assert texts(drawn(draw_roc, ONE)) == ["No ROC curve: no malignant patient."]
    assert texts(drawn(draw_fdr, ONE)) == ["No false discovery rate: no malignant patient."]
    assert texts(drawn(draw_fdr, ALL_MALIGNANT)) == ["No false discovery rate: no patient that is not malignant."]
    assert texts(drawn(draw_hemoglobin_scatter, ONE)) == [
        "No hemoglobin: the model does not estimate hemoglobin."
    ]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "map"])
def test_texts_lie_within_the_figure_and_labels_do_not_touch(evaluation, name):
    figure = FIGURES[name].of(evaluation)
    figure.draw_without_rendering()
    assert_readable(figure)


@pytest.mark.parametrize("draw", [draw for name in FIGURES if name != "map" for draw in FIGURES[name].panels])
def test_panels_are_readable_in_a_dock(evaluation, draw):
    assert_readable(drawn(draw, evaluation, DARK, size=(3.8, 3.8)).figure)


def assert_readable(figure):
    """All texts lie within the figure; labels of rows do not touch, nor do those of cells."""
    renderer = figure.canvas.get_renderer()
    whole = figure.bbox.padded(1)
    for axes in figure.axes:
        legend = axes.get_legend()
        ticks_x, ticks_y = (_within_view(axis) for axis in (axes.xaxis, axes.yaxis))
        shown = [axes._left_title, axes.xaxis.label, axes.yaxis.label, *ticks_x, *ticks_y]
        shown += [*axes.texts, *(legend.get_texts() if legend else [])]
        boxes = {text.get_text(): text.get_window_extent(renderer) for text in shown if text.get_text()}
        assert {t for t, box in boxes.items() if not _is_within(box, whole)} == set()
        for labels in (ticks_y, axes.texts):
            boxes = [label.get_window_extent(renderer) for label in labels if label.get_text()]
            assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def _within_view(axis):
    """Labels of the ticks that are drawn."""
    low, high = sorted(axis.get_view_interval())
    return [
        tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high and tick.label1.get_visible()
    ]


def _is_within(box, whole):
    return box.x0 >= whole.x0 and box.x1 <= whole.x1 and box.y0 >= whole.y0 and box.y1 <= whole.y1


def test_dark_figures_have_the_themes_background_and_text(evaluation):
    axes = drawn(draw_confusion, evaluation, DARK)
    assert to_rgba(axes.figure.get_facecolor()) == to_rgba(DARK.background)
    assert axes.get_yticklabels()[0].get_color() == DARK.text
    assert axes._left_title.get_color() == DARK.text


def test_files_are_written_as_png_and_pdf_with_the_maps_coordinates(mapped, tmp_path):
    written = save_figures(mapped, tmp_path / "figures")
    assert {path.name for path in written} == {
        *(f"{name}.{kind}" for name in FIGURES for kind in ("png", "pdf")),
        "map.safetensors",
    }
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.width > 800
        elif path.suffix == ".pdf":
            assert path.read_bytes().startswith(b"%PDF")


def test_long_class_names_are_not_read_as_mathematics_and_leave_the_figures_room():
    classes = tuple(
        one.model_copy(update={"name": f"t($x_{i}$) & <b> {'very long ' * 12}"})
        for i, one in enumerate(TAXONOMY.classes)
    )
    truth, probabilities = simulated((6, 6, 6, 6))
    odd = evaluation_of(truth, probabilities, taxonomy=TAXONOMY.model_copy(update={"classes": classes}))
    for one in FIGURES.values():
        figure = one.of(odd)
        figure.draw_without_rendering()
        for axes in figure.axes:
            legend = axes.get_legend()
            shown = [*axes.get_yticklabels(), *axes.get_xticklabels(), axes._left_title, axes.xaxis.label, *axes.texts]
            shown += legend.get_texts() if legend else []
            assert not any(text.get_parse_math() for text in shown if "$" in text.get_text())
        assert all(axes.get_window_extent().width > 100 for axes in figure.axes)
