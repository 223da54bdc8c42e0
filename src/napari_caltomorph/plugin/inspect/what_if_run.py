"""Asks the model again whenever other cells are left out, and tells everybody the answer."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QObject, Signal

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.worker import Job
from napari_caltomorph.progress import OnProgress, Progress


class WhatIfUpdater(QObject):
    """Keeps `Inspection.answer` true to the cells that are left out.

    `said` carries what there is to say: progress, why there is no answer, or nothing once there is one.
    """

    said = Signal(str, bool)

    def __init__(self, owner: QObject) -> None:
        super().__init__(owner)
        self._inspection: Inspection | None = None
        self._asked: frozenset[int] = frozenset()
        self._job: Job | None = None

    @property
    def is_busy(self) -> bool:
        """Whether an answer is on its way."""
        return self._job is not None

    def follow(self, inspection: Inspection | None) -> None:
        """Follow another prediction, or none: what runs is stopped."""
        self._stop()
        if self._inspection is not None:
            self._inspection.cells.edited.disconnect(self._on_edited)
        self._inspection = inspection
        if inspection is not None:
            self._asked = frozenset()
            inspection.cells.edited.connect(self._on_edited)
            self._on_edited()

    def _on_edited(self) -> None:
        inspection = self._inspection
        assert inspection is not None
        left_out = inspection.cells.left_out
        if inspection.is_answered:
            self._stop()
            self._asked = left_out
            self.said.emit("", False)
            return
        if left_out == self._asked and self._job is not None:
            return  # marked or labelled, meanwhile
        self._stop()
        self._asked = left_out
        if not left_out:
            self._on_answer(inspection, inspection.prediction)
            return

        def work(progress: OnProgress) -> Prediction:
            progress(Progress("Loading features", 0, 1, "smears"))
            features, ensemble = inspection.features(progress), inspection.ensemble()
            from napari_caltomorph.explanation.changed_bags import what_if

            return what_if(ensemble, inspection.prediction, features, left_out, progress=progress)

        self._job = job = Job(self, work)
        job.progressed.connect(lambda progress: self.said.emit(progress.in_words, False))
        job.returned.connect(partial(self._on_answer, inspection))
        job.errored.connect(self._on_failed)
        job.ended.connect(partial(self._on_ended, job))
        job.start()

    def _on_answer(self, inspection: Inspection, answer: Prediction) -> None:
        self._job = None
        self.said.emit("", False)
        inspection.set_answer(answer)

    def _on_failed(self, error: Exception) -> None:
        if not isinstance(error, CaltomorphError):
            raise error
        self.said.emit(str(error), True)

    def _on_ended(self, job: Job) -> None:
        if job is self._job:
            self._job = None

    def _stop(self) -> None:
        if self._job is not None:
            self._job.drop()
            self._job = None
