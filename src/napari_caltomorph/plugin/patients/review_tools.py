"""The reviews of the patients in the table: their states, which patients wait for one, and the way to the next."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QPushButton, QWidget

from napari_caltomorph.plugin.patients.table import PatientRow, PatientsTable
from napari_caltomorph.plugin.predict.review_row import NEXT_TIP, on_next_key
from napari_caltomorph.plugin.session.reviews import ReviewState
from napari_caltomorph.plugin.widgets.parts import row_of
from napari_caltomorph.plugin.widgets.tasks import LatestJob


class ReviewTools(QWidget):
    """Shows in a table what is reviewed; `next_found` is emitted with the next patient who is not."""

    next_found = Signal(object)

    def __init__(self, table: PatientsTable) -> None:
        super().__init__()
        self._table = table
        self._state: ReviewState | None = None
        self._opened = ""
        self._reading = LatestJob(self)
        tip = "Show only patients whose prediction no one has reviewed"
        self.only = QCheckBox("Not reviewed", toolTip=tip, toggled=table.show_waiting_only)
        self.next = QPushButton("Next", toolTip=NEXT_TIP, clicked=self.find_next)
        on_next_key(self, self.find_next)
        row = row_of(self.only, self.next)
        self.setLayout(row)
        row.setContentsMargins(0, 0, 0, 0)

    def follow(self, state: ReviewState, folder: Path | None) -> None:
        """Follow the reviews of a window, and read those in a folder of results again: others may have added some."""
        if state is not self._state:
            self.unfollow()
            self._state = state
            state.changed.connect(self.update_rows)
            state.next_requested.connect(self.find_next)
        if folder is not None and any(row.prediction is not None for row in self._table.rows):
            self._reading.start(lambda _: state.load(folder), lambda _: state.tell(), lambda _: None)
        self.update_rows()

    def unfollow(self) -> None:
        self._reading.stop()
        if self._state is not None:
            self._state.changed.disconnect(self.update_rows)
            self._state.next_requested.disconnect(self.find_next)
            self._state.set_waiting(0)
            self._state = None

    def update_rows(self, patients: Collection[str] | None = None) -> None:
        """Show what is known of the reviews of some patients, by default of all."""
        if self._state is None:
            return
        for row in self._table.rows:
            is_meant = patients is None or row.patient_id in patients
            if is_meant and row.prediction is not None and row.result is not None and row.result.file is not None:
                reviews = self._state.of(row.prediction, row.result.file.parent)
                if reviews != row.reviews:
                    self._table.set_reviews(row.patient_id, reviews)
        self._count()

    def note_opened(self, row: PatientRow) -> None:
        """Note which patient is shown; the next one is another."""
        self._opened = row.patient_id
        self._count()

    def find_next(self) -> None:
        """Select the next patient, as the table is sorted, whose prediction no one has reviewed."""
        rows = self._table.shown
        chosen = self._table.chosen
        start = next((i for i, row in enumerate(rows) if chosen and row.patient_id == chosen.patient_id), 0)
        for row in rows[start:] + rows[:start]:
            if row.is_waiting and row.patient_id != self._opened:
                self._table.choose(row.patient_id)
                self.next_found.emit(row)
                return

    def _count(self) -> None:
        waiting = sum(row.is_waiting and row.patient_id != self._opened for row in self._table.rows)
        self.next.setText(f"Next ({waiting})" if waiting else "Next")
        self.next.setEnabled(bool(waiting))
        if self._state is not None:
            self._state.set_waiting(waiting)
