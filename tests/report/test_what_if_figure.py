"""The change that leaving cells out makes, as a figure and in words."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure
from tests.report.test_figures import make_prediction

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.prediction import LeftOutCell
from napari_caltomorph.report.patient_texts import what_if_lines
from napari_caltomorph.report.prediction_figures import (
    draw_hemoglobin,
    draw_malignancy,
    draw_probabilities,
    draw_what_if,
)


@pytest.fixture
def changed() -> Prediction:
    """Two of twelve cells left out."""
    before = make_prediction(12)
    out = tuple(LeftOutCell(cell=cell, reason="left out by hand", note="", by="user") for cell in before.cells[:2])
    return before.model_copy(
        update={
            "cells": before.cells[2:],
            "labels": before.labels[2:],
            "attention": before.attention[2:],
            "alone": before.alone[2:],
            "member_probabilities": before.member_probabilities[:, ::-1],
            "left_out": out,
            "original": before,
        }
    )


def outlines(axes) -> list[float]:
    return [bar.get_width() for bar in axes.patches if bar.get_facecolor()[3] == 0]


def test_the_original_is_outlined_in_every_figure(changed: Prediction) -> None:
    before = changed.original
    for draw, values in (
        (draw_probabilities, list(before.probabilities)),
        (draw_malignancy, [before.malignancy]),
        (draw_what_if, [*before.probabilities, before.malignancy]),
    ):
        axes = Figure().subplots()
        draw(axes, changed)
        assert outlines(axes) == pytest.approx(values)
        axes = Figure().subplots()
        draw(axes, before)
        assert not outlines(axes)


def test_hemoglobin_has_a_second_dot_for_the_original(changed: Prediction) -> None:
    axes = Figure().subplots()
    draw_hemoglobin(axes, changed)
    places = {float(dots.get_offsets()[0][0]) for dots in axes.collections}
    assert changed.original.hemoglobin in places


def test_changes_are_said_in_words_and_numbers(changed: Prediction) -> None:
    before = changed.original
    diagnosis, malignancy, *_ = what_if_lines(changed)
    assert before.predicted_class in diagnosis
    assert changed.predicted_class in diagnosis
    assert f"{changed.malignancy - before.malignancy:+.2f}" in malignancy
    assert not what_if_lines(before)
