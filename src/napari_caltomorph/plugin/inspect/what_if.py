"""What if some cells were missing: the model predicts again without them, and the tab compares with the original."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QEvent, QObject, Signal
from qtpy.QtWidgets import QBoxLayout, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.errors import CaltomorphError, counted
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.canvas import FigureCanvas
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import as_error, line, plain
from napari_caltomorph.plugin.widgets.tasks import LatestJob
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.report.patient_texts import what_if_lines
from napari_caltomorph.report.prediction_figures import draw_what_if

_EMPTY = (
    "Mark cells that should not count, such as artefacts and smudge cells, and leave them out. The model then predicts "
    "again without them, from the same features. Nothing is lost: include them again, or undo."
)
_NAMES_WIDTH = 138
_NUMBERS_WIDTH = 86
_LEAST_HEIGHT, _MOST_HEIGHT = 196, 400
# Wider than this, bars are next to the words: the panel is docked below.
_WIDE = 640


class WhatIfUpdater(QObject):
    """Computes `Inspection.result` when the cells that are left out change. `reported`: text, and if it is an error."""

    reported = Signal(str, bool)

    def __init__(self, owner: QObject) -> None:
        super().__init__(owner)
        self._inspection: Inspection | None = None
        self._requested: frozenset[int] = frozenset()
        self._job = LatestJob(self)

    def follow(self, inspection: Inspection | None) -> None:
        """Follow another prediction, or none: what runs is stopped."""
        self._job.stop()
        if self._inspection is not None:
            self._inspection.cells.edited.disconnect(self._on_edited)
        self._inspection = inspection
        if inspection is not None:
            self._requested = frozenset()
            inspection.cells.edited.connect(self._on_edited)
            self._on_edited()

    def _on_edited(self) -> None:
        inspection = self._inspection
        assert inspection is not None
        left_out = inspection.cells.left_out
        if inspection.is_result_current:
            self._job.stop()
            self._requested = left_out
            self.reported.emit("", False)
            return
        if left_out == self._requested and self._job.is_busy:
            return  # only marks or labels changed
        self._job.stop()
        self._requested = left_out
        if left_out:
            self._job.start(
                partial(_predict_without, inspection, left_out),
                then=partial(self._on_result, inspection),
                failed=lambda error: self.reported.emit(error, True),
                progressed=lambda progress: self.reported.emit(progress.in_words, False),
            )
        else:
            self._on_result(inspection, inspection.prediction)

    def _on_result(self, inspection: Inspection, result: Prediction) -> None:
        self.reported.emit("", False)
        inspection.set_result(result)


def _predict_without(inspection: Inspection, left_out: frozenset[int], progress: OnProgress) -> Prediction:
    progress(Progress("Loading features", 0, 1, "smears"))
    features, ensemble = inspection.features(progress), inspection.ensemble()
    from napari_caltomorph.explanation.changed_bags import what_if

    return what_if(ensemble, inspection.prediction, features, left_out, progress=progress)


class WhatIfTab(InspectionView):
    """Leaves marked cells out, or all others, and shows what changes."""

    def __init__(self) -> None:
        super().__init__()
        self.without = QPushButton("Leave out", clicked=lambda: self._leave_out(keep=False))
        self.only = QPushButton("Keep only", clicked=lambda: self._leave_out(keep=True))
        self.back = QPushButton("Include all", toolTip="Include all cells again")
        self.back.clicked.connect(lambda: self.inspected.cells.set_left_out(()))
        row = QHBoxLayout()
        for widget in (QLabel("Marked cells"), self.without, self.only, self.back):
            row.addWidget(widget)
        self.words = line()
        self.canvas = FigureCanvas(_LEAST_HEIGHT)
        self.canvas.setMaximumHeight(_MOST_HEIGHT)
        self.canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)  # as high as possible
        self.canvas.mpl_connect("resize_event", lambda _: self._draw())
        controls = QVBoxLayout()
        controls.addLayout(row)
        controls.addWidget(self.words)
        controls.addStretch()
        self._box = QBoxLayout(QBoxLayout.Direction.TopToBottom, self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.addLayout(controls)
        self._box.addWidget(self.canvas, 100)  # all the room that it can use; the rest is below it
        self._box.addStretch(1)

    def resizeEvent(self, event: QEvent) -> None:
        super().resizeEvent(event)
        is_wide = self.width() > _WIDE
        self._box.setDirection(QBoxLayout.Direction.LeftToRight if is_wide else QBoxLayout.Direction.TopToBottom)

    def _leave_out(self, *, keep: bool) -> None:
        cells = self.inspected.cells
        try:
            if keep:
                cells.keep_only(cells.marked)
            else:
                cells.set_left_out(cells.left_out | cells.marked)
        except CaltomorphError as error:
            self.words.setText(as_error(str(error)))

    def _show(self) -> None:
        if self.inspection is None:
            return
        cells, result = self.inspection.cells, self.inspection.result
        self.without.setEnabled(not cells.marked <= cells.left_out)
        self.only.setEnabled(bool(cells.marked))
        self.back.setEnabled(bool(cells.left_out))
        if not cells.left_out:
            self.words.setText(_EMPTY)
        elif self.inspection.is_result_current:
            out = f"<b>{counted(len(cells.left_out), 'cell')} left out</b> of {len(cells):,}; outlined: before"
            saved = "<i>Save</i> in <i>Predict patient</i> saves both predictions."
            self.words.setText("<br>".join([out, *(plain(words) for words in what_if_lines(result)), saved]))
        self._draw()

    on_inspection = on_edits = on_result = _show

    def _draw(self) -> None:
        if self.inspection is None:
            return
        axes = self.canvas.axes_inside(_NAMES_WIDTH, _NUMBERS_WIDTH, 4)
        draw_what_if(axes, self.inspection.result, self.plot_style)

    on_look = _draw
