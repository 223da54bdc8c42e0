"""What reviewers say about the result of *Predict patient*, and the row in which one agrees or states a diagnosis."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QComboBox, QLineEdit, QPushButton, QWidget

from napari_caltomorph.errors import CaltomorphError, counted
from napari_caltomorph.laboratory.review import Verdict, shown_class
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.session.reviews import Draft, ReviewState, corrected_cells
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import as_error, column_of, line, narrow_combo, plain, row_of, tip
from napari_caltomorph.plugin.widgets.settings import preferences
from napari_caltomorph.plugin.widgets.tasks import Job, LatestJob

NEXT_KEY = "Alt+Down"
NEXT_TIP = f"Open the next patient who is not reviewed, as the table is sorted ({NEXT_KEY})"
_NO_CLASS = "No class is shown as the result: choose the diagnosis, or write it"
_DIAGNOSIS_TIP = "A class of the model, or any other text"
_NOT_SAVED = "Save asks for a folder: a review is kept next to its prediction."
_NOT_CURRENT = "There is no result yet without the cells that were left out; wait for it, or include them again."


class ReviewRow(InspectionView):
    """A review of the result; `choose_folder` saves a prediction that is in no folder yet, and returns whether it did.

    What is typed is kept with the patient until it is saved.
    """

    def __init__(self, choose_folder: Callable[[], bool]) -> None:
        super().__init__()
        self._choose_folder = choose_folder
        self._state: ReviewState | None = None
        self._error = ""
        self._reading = LatestJob(self)
        self.state = line()
        self.agree = QPushButton("Agree", checkable=True, clicked=lambda: self._on_verdict("agree"))
        self.cannot_tell = QPushButton("Cannot tell", checkable=True, clicked=lambda: self._on_verdict("cannot tell"))
        self.cannot_tell.setToolTip("These cells do not tell the diagnosis")
        self.diagnosis = narrow_combo(QComboBox(editable=True, insertPolicy=QComboBox.InsertPolicy.NoInsert))
        self.diagnosis.setMinimumContentsLength(8)
        self.diagnosis.setToolTip(_DIAGNOSIS_TIP)
        self.diagnosis.setCompleter(None)  # it would turn "Acute" into a class that was not meant
        self.diagnosis.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.diagnosis.editTextChanged.connect(self._on_diagnosis)
        self.next = QPushButton("Next", toolTip=NEXT_TIP, clicked=lambda: self._shown.request_next())
        on_next_key(self, self.next.click)
        self.reviewer = QLineEdit(placeholderText="your name", toolTip="Kept in Preferences: Reviewer")
        self.reviewer.setFixedWidth(92)
        self.comment = QLineEdit(placeholderText="comment")
        self.comment.textEdited.connect(self._on_comment)
        self.button = QPushButton("Save review", clicked=self.save)
        for edit in (self.reviewer, self.comment, self.diagnosis.lineEdit()):
            edit.returnPressed.connect(self.save)
        self._begun = QWidget()
        column_of(self._begun, row_of(self.reviewer, self.comment, self.button, stretch=(self.comment,)))
        choice = row_of(self.agree, self.cannot_tell, self.diagnosis, self.next, stretch=(self.diagnosis,))
        column_of(self, self.state, choice, self._begun, spacing=3)

    @property
    def text(self) -> str:
        """What is shown above the buttons, as HTML."""
        return str(self.state.text())

    def review(self, inspection: Inspection, state: ReviewState) -> None:
        """Follow the result of an inspection, and read its reviews."""
        self._follow(inspection)
        self._state = state
        for signal in (state.changed, state.waiting_changed):
            signal.connect(self._on_state)
        self._update(self.on_inspection)

    def begin(self) -> None:
        """Give the keyboard to the first choice."""
        (self.agree if self.agree.isEnabled() else self.diagnosis).setFocus()

    def on_inspection(self) -> None:
        self.reviewer.setText(preferences().reviewer or self.reviewer.text())
        self.on_result()

    def on_result(self) -> None:
        """Show the choices that fit the result, and what was typed of its review."""
        if self.inspection is None:
            return
        result, self._error = self.inspection.result, ""
        shown = shown_class(result)
        self.agree.setEnabled(shown is not None)
        self.agree.setToolTip(f"Agree with {shown}" if shown else _NO_CLASS)
        with QSignalBlocker(self.diagnosis):
            self.diagnosis.clear()
            self.diagnosis.addItems(result.taxonomy.names)
        self.diagnosis.lineEdit().setPlaceholderText("Other" if shown else "Diagnosis")
        self._load()
        self._show_draft()

    def on_edits(self) -> None:
        self._show_state()

    def on_closed(self) -> None:
        self._reading.stop()
        if self._state is not None:
            for signal in (self._state.changed, self._state.waiting_changed):
                signal.disconnect(self._on_state)
            self._state = None

    def save(self) -> None:
        """Save the review; where that fails, everything that was typed stays."""
        inspection, state, by = self.inspected, self._shown, " ".join(self.reviewer.text().split())
        if not by:
            self.show_error("Write your name first; it is kept in Preferences.")
            self.reviewer.setFocus()
            return
        preferences().reviewer = by
        if not inspection.is_result_current:
            self.show_error(_NOT_CURRENT)
            return
        result = inspection.result
        if state.folder_of(result) is None and not self._choose_folder():
            return
        if (folder := state.folder_of(result)) is None:
            return
        labels = corrected_cells(inspection)
        # Its outcome is shown also where another patient is shown by then.
        job = Job(self, lambda _: state.add(result, folder, by, labels))
        job.returned.connect(lambda _: self._on_saved(state))
        job.errored.connect(partial(self._on_refused, result.patient_id))
        self.setEnabled(False)
        self.state.setText(_small("Saving ..."))
        self.state.show()
        job.start()

    def show_error(self, text: str) -> None:
        """Show why something failed, until something is typed."""
        self._error = text
        self._show_state()

    @property
    def _shown(self) -> ReviewState:
        assert self._state is not None
        return self._state

    @property
    def _draft(self) -> Draft:
        return self._shown.draft(self.inspected.result)

    @property
    def _folder(self) -> Path | None:
        return self._shown.folder_of(self.inspected.result)

    def _load(self) -> None:
        if self._state is not None and self.inspection is not None and (folder := self._folder) is not None:
            state = self._state
            self._reading.start(lambda _: state.load(folder), lambda _: state.tell(), self.show_error)

    def _on_verdict(self, verdict: Verdict) -> None:
        self._error = ""
        self._shown.choose(self.inspected.result, verdict)
        self._show_draft()
        if self._draft.verdict is not None:
            (self.comment if self.reviewer.text().strip() else self.reviewer).setFocus()

    def _on_diagnosis(self, text: str) -> None:
        draft, self._error = self._draft, ""
        draft.diagnosis, draft.verdict = text, "other" if text.strip() else None
        self._show_draft()

    def _on_comment(self, text: str) -> None:
        draft = self._draft
        before = draft.is_begun, self._error
        draft.comment, self._error = text, ""
        if before != (draft.is_begun, ""):  # not for each letter: what is known of 20,000 cells takes a moment
            self._show_draft()

    def _on_saved(self, state: ReviewState) -> None:
        self.setEnabled(True)
        state.tell()
        if self.next.isVisible() and not self._draft.is_begun:
            self.next.setFocus()

    def _on_refused(self, patient: str, error: Exception) -> None:
        self.setEnabled(True)
        self.show_error(f"{patient}: the review is not saved. {error}")
        self.button.setFocus()
        if not isinstance(error, CaltomorphError):
            raise error

    def _on_state(self) -> None:
        self._update(self._show_draft)

    def _show_draft(self) -> None:
        """Show what is typed, and hide what is not needed before anything is."""
        if self._state is None or self.inspection is None:
            return
        draft = self._draft
        self.agree.setChecked(draft.verdict == "agree")
        self.cannot_tell.setChecked(draft.verdict == "cannot tell")
        with QSignalBlocker(self.diagnosis):
            if self.diagnosis.currentText() != draft.diagnosis:
                self.diagnosis.setCurrentText(draft.diagnosis)
        if self.comment.text() != draft.comment:
            self.comment.setText(draft.comment)
        self.next.setVisible(bool(self._state.waiting))
        self.next.setText(f"Next ({self._state.waiting})")
        self._begun.setVisible(draft.is_begun)
        self._show_state()

    def _show_state(self) -> None:
        if self._state is None or self.inspection is None:
            return
        known = self._state.of(self.inspection.result, self._folder)
        parts = [f"{known.in_words}."] if known.reviews else []
        if self._draft.is_begun:
            cells = len(corrected_cells(self.inspection))
            parts += [f"Yours is saved with {counted(cells, 'corrected cell')}."] if cells else []
            parts += [_NOT_SAVED] if self._folder is None else []
        if self._error:
            parts = []
        problems = [as_error(text) for text in ([self._error] if self._error else self._state.problems)]
        self.state.setText(_small("<br>".join([*([plain(" ".join(parts))] if parts else []), *problems])))
        self.state.setToolTip(tip("\n".join(f"{r.reviewer}: {r.comment}" for r in known.reviews if r.comment)))
        self.state.setVisible(bool(parts or problems))


def on_next_key(widget: QWidget, do: Callable[[], None]) -> None:
    """Call a function when the key for the next patient is pressed in the window while the widget is visible."""
    shortcut = QShortcut(QKeySequence(NEXT_KEY), widget)
    shortcut.activated.connect(do)
    shortcut.activatedAmbiguously.connect(do)  # two panels side by side


def _small(html: str) -> str:
    return f"<span style='font-size:8pt'>{html}</span>"
