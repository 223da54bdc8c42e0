"""The row in which a result of *Predict patient* is reviewed: real clicks, real files, no window of napari."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import filelock
import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from tests.plugin.gui import click
from tests.report.factories import make_prediction

from napari_caltomorph.diagnosis import Policy, Prediction
from napari_caltomorph.laboratory import journal
from napari_caltomorph.laboratory.review import Review, read_reviews
from napari_caltomorph.plugin.predict.review_row import ReviewRow
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.session.reviews import ReviewState
from napari_caltomorph.plugin.widgets.settings import preferences

OpenRow = Callable[..., ReviewRow]


def saved(folder: Path, patient: str = "P7", *, min_cells: int = 0) -> Prediction:
    """Save a prediction in a folder of its own in a folder of results."""
    clear = np.tile(np.full(8, 0.05) + 0.6 * np.eye(8)[2], (5, 1))
    prediction = make_prediction(12, patient_id=patient, member_probabilities=clear)
    if min_cells:
        prediction = prediction.under(Policy(name="Clinic A", version="1", min_cells=min_cells))
    prediction.save(folder / patient / "prediction.json")
    (folder / "predictions.csv").touch()
    return prediction


@pytest.fixture
def open_row(qtbot: QtBot, tmp_path: Path) -> OpenRow:
    """``open_row(prediction)``: the row of a window of its own, in which a saved prediction is shown."""

    def opened(prediction: Prediction, state: ReviewState | None = None, *, is_saved: bool = True) -> ReviewRow:
        row, state = ReviewRow(lambda: False), state or ReviewState()
        qtbot.addWidget(row)
        row.show()
        if is_saved:
            state.set_folder(prediction, tmp_path / prediction.patient_id)
        row.review(Inspection(prediction), state)
        qtbot.waitUntil(lambda: not row._reading.is_busy)
        return row

    return opened


def save(qtbot: QtBot, row: ReviewRow) -> None:
    click(qtbot, row.button)
    qtbot.waitUntil(row.isEnabled, timeout=30_000)


def reviews_in(folder: Path) -> tuple[Review, ...]:
    reviews, problems = read_reviews(folder)
    assert not problems
    return reviews


def test_two_windows_review_one_patient_and_both_are_shown(qtbot: QtBot, open_row: OpenRow, tmp_path: Path) -> None:
    prediction = saved(tmp_path)
    one, other = open_row(prediction), open_row(prediction)
    assert not one.state.isVisible()
    assert not one.comment.isVisible()
    click(qtbot, one.agree)
    one.inspected.cells.label("myeloblast", [0, 3])
    assert "2 corrected cells" in one.text
    save(qtbot, one)
    assert "name" in one.text
    assert not reviews_in(tmp_path)
    qtbot.keyClicks(one.reviewer, "Ann  Lee")
    qtbot.keyClicks(one.comment, "<b>blasts</b>")
    qtbot.keyClick(one.comment, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: "Ann Lee on 20" in one.text)
    assert "agrees, with 2 corrected cells" in one.text
    assert "&lt;b&gt;" in one.state.toolTip()
    assert not one.comment.isVisible()
    assert preferences().reviewer == "Ann Lee"

    qtbot.keyClicks(other.diagnosis.lineEdit(), "Acute")  # stays as it is typed
    other.reviewer.setText("Bob")
    save(qtbot, other)
    one.on_result()
    for row in (one, other):
        qtbot.waitUntil(lambda row=row: "Ann Lee" in row.text and "Bob on 20" in row.text)
    first, second = reviews_in(tmp_path)
    assert (first.verdict, first.labels) == ("agree", {prediction.cells[i]: "myeloblast" for i in (0, 3)})
    assert (second.verdict, second.diagnosis, second.labels) == ("other", "Acute", {})
    # The class that was predicted, chosen from the list, is an agreement.
    one.diagnosis.setCurrentText(prediction.predicted_class)
    save(qtbot, one)
    assert reviews_in(tmp_path)[-1].verdict == "agree"


def test_a_withheld_prediction_gets_a_diagnosis_and_no_agreement(
    qtbot: QtBot, open_row: OpenRow, tmp_path: Path
) -> None:
    row = open_row(saved(tmp_path, min_cells=100))
    row.reviewer.setText("Ann")
    assert not row.agree.isEnabled()
    click(qtbot, row.cannot_tell)
    qtbot.keyClicks(row.diagnosis.lineEdit(), "mds")
    assert not row.cannot_tell.isChecked()
    save(qtbot, row)
    click(qtbot, row.cannot_tell)
    save(qtbot, row)
    assert [(one.predicted, one.opinion) for one in reviews_in(tmp_path)] == [(None, "MDS"), (None, None)]
    assert "cannot tell" in row.text
    unclear = make_prediction(12, patient_id="P8")
    assert not unclear.stands_out
    assert not open_row(unclear).agree.isEnabled()  # with what would one agree?


def test_what_is_typed_is_not_lost_where_it_cannot_be_saved(
    qtbot: QtBot, open_row: OpenRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction, state = saved(tmp_path), ReviewState()
    row = open_row(prediction, state)
    row.reviewer.setText("Ann")
    qtbot.keyClicks(row.comment, "typed")
    row.begin()
    qtbot.keyClicks(row.diagnosis.lineEdit(), "APL")

    def is_refused(why: str) -> None:
        save(qtbot, row)
        assert why in row.text
        assert "P7" in row.text
        assert (row.comment.text(), row.diagnosis.currentText()) == ("typed", "APL")
        assert row.comment.isVisible()

    monkeypatch.setattr(journal, "_WAIT_S", 0.05)
    with filelock.FileLock(tmp_path / ".reviews.jsonl.lock"):
        is_refused("locked by another process")

    def full(file: int, text: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        is_refused("No space left")
    (tmp_path / "P7").rename(tmp_path / "away")
    is_refused("not there")
    (tmp_path / "away").rename(tmp_path / "P7")

    # Another patient is shown meanwhile, and then this one again.
    other = saved(tmp_path, "P8")
    state.set_folder(other, tmp_path / "P8")
    row.review(Inspection(other), state)
    assert not row.comment.text()
    assert not row.diagnosis.currentText()
    row.review(Inspection(prediction), state)
    assert row.comment.text() == "typed"
    row.reviewer.setText("Ann")
    save(qtbot, row)
    assert [(one.patient_id, one.comment) for one in reviews_in(tmp_path)] == [("P7", "typed")]


def test_an_agreement_is_with_the_prediction_that_was_shown(qtbot: QtBot, open_row: OpenRow, tmp_path: Path) -> None:
    prediction, state = saved(tmp_path), ReviewState()
    row = open_row(prediction, state)
    click(qtbot, row.agree)
    qtbot.keyClicks(row.comment, "typed")
    for one, is_agreed in ((prediction, True), (prediction.model_copy(update={"created": "2030-01-01"}), False)):
        row.review(Inspection(one), state)
        assert row.agree.isChecked() == is_agreed
        assert row.comment.text() == "typed"


def test_a_review_of_a_prediction_that_is_not_saved_asks_for_its_folder(qtbot: QtBot, open_row: OpenRow) -> None:
    state, unsaved = ReviewState(), make_prediction(12, patient_id="P7")
    state.set_folder(unsaved, Path("P7"))
    state.set_folder(make_prediction(11, patient_id="P7"), Path("P7"))  # replaces the files
    row = open_row(unsaved, state, is_saved=False)
    row.reviewer.setText("Ann")
    click(qtbot, row.cannot_tell)
    assert "asks for a folder" in row.text
    save(qtbot, row)  # the user cancels the dialog
    assert row.cannot_tell.isChecked()
    assert row.reviewer.text() == "Ann"
