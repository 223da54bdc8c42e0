"""The button that writes the report of the patient in *Predict patient*, as ``caltomorph predict --report`` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_caltomorph.diagnosis.prediction_files import folder_name
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.settings import preferences
from napari_caltomorph.plugin.widgets.task_row import TaskRow
from napari_caltomorph.progress import OnProgress

UNANSWERED = (
    "There is no answer yet without the cells that were left out: wait until it is there, or take them back in."
)


class ReportButton(QPushButton):
    """Writes the report of what is inspected, with its trust and differential; `run` shows how far it is.

    Parameters
    ----------
    run : TaskRow
    inspected : callable
        Returns what is shown now.
    """

    def __init__(self, run: TaskRow, inspection: Callable[[], Inspection | None]) -> None:
        super().__init__("Report ...")
        self.setToolTip("One HTML file of this patient that prints on two pages")
        self._run, self._inspection = run, inspection
        self.clicked.connect(self._ask)

    def save(self, path: str | Path, then: Callable[[Path], None] | None = None) -> None:
        """Write the report; `then` is called with its path."""
        shown = self._inspection()
        if shown is None:
            return
        if not shown.is_answered:
            self._run.show_error(UNANSWERED)
            return
        answer, smear, differential = shown.answer, shown.smear, shown.differential

        def work(progress: OnProgress) -> Path:
            from napari_caltomorph.explanation.trust import available_trust
            from napari_caltomorph.report.patient_report import save_patient_report

            found = available_trust(answer, shown.ensemble, lambda: shown.features(progress).of_cells(answer.cells))
            return save_patient_report(answer, path, smear=smear, trust=found, differential=differential)

        def saved(written: Path) -> None:
            self._run.show_message(f"Report: {written}")
            if then is not None:
                then(written)

        self._run.start(work, saved)

    def _ask(self) -> None:
        """Ask for a place, write the report there, and open it in the browser, from where it is printed."""
        shown = self._inspection()
        if shown is None:
            return
        name = f"{folder_name(shown.answer.patient_id)}_report.html"
        start = str(Path(preferences().folder) / name)
        path, _ = QFileDialog.getSaveFileName(self, "Report", start, "Web page (*.html)")
        if path:
            self.save(path, lambda written: QDesktopServices.openUrl(QUrl.fromLocalFile(str(written))))
