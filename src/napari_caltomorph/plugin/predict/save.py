"""Saving the result of *Predict patient*: its files, and its report as ``caltomorph predict --report`` writes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari.utils.notifications import show_info
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_caltomorph.diagnosis import save_predictions
from napari_caltomorph.diagnosis.prediction_files import folder_name
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.session.session import session_of
from napari_caltomorph.plugin.widgets.settings import choose_folder, choose_new_file
from napari_caltomorph.plugin.widgets.task_row import TaskRow, shows_errors
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.storage import StrPath

_NOT_CURRENT = (
    "There is no result yet without the cells that were left out: wait until it is there, or include them again."
)


class SaveButtons(QWidget):
    """Save the result, without the cells that are left out, of what is shown; `run` shows progress and errors."""

    def __init__(self, run: TaskRow, inspection: Callable[[], Inspection | None]) -> None:
        super().__init__()
        self.run, self._inspection = run, inspection
        tip = "One HTML file of this patient that prints on two pages"
        self.report = QPushButton("Report ...", toolTip=tip, clicked=self._report_dialog)
        tip = "Save prediction.json, predictions.csv and cells.csv in a folder named after the patient"
        self.files = QPushButton("Save ...", toolTip=tip, clicked=self.choose_folder)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        row.addWidget(self.report)
        row.addWidget(self.files)

    @shows_errors
    def save(self, folder: StrPath) -> None:
        """Write prediction.json, predictions.csv and cells.csv."""
        if (shown := self._current()) is not None:
            save_predictions([shown.result], Path(folder))
            session_of(self).reviews.set_folder(shown.result, Path(folder))
            show_info(f"Saved prediction.json, predictions.csv and cells.csv in {folder}")

    def save_report(self, path: StrPath, then: Callable[[Path], None] | None = None) -> None:
        """Write the report, with trust and differential; `then` is called with its path."""
        shown = self._current()
        if shown is None:
            return
        result, smear, differential = shown.result, shown.smear, shown.differential

        def work(progress: OnProgress) -> Path:
            trust = shown.trust(result, progress)
            from napari_caltomorph.report.html import save_page
            from napari_caltomorph.report.patient_report import patient_report

            page = patient_report(result, smear=smear, trust=trust, differential=differential, progress=progress)
            return save_page(page, path)

        def saved(written: Path) -> None:
            self.run.show_message(f"Report: {written}")
            if then is not None:
                then(written)

        self.run.start(work, saved)

    def _current(self) -> Inspection | None:
        """Return what is shown; None, with a message, while its result is still computed."""
        shown = self._inspection()
        if shown is not None and not shown.is_result_current:
            self.run.show_error(_NOT_CURRENT)
            return None
        return shown

    def choose_folder(self) -> bool:
        """Ask for a folder, and save; each patient has its own in it, so that saving one never replaces another."""
        shown = self._inspection()
        if shown is None or not (path := choose_folder(self, "Save the prediction in")):
            return False
        self.save(path / folder_name(shown.result.patient_id))
        return session_of(self).reviews.folder_of(shown.result) is not None

    def _report_dialog(self) -> None:
        """Ask for a file, write the report, and open it in the browser, from which it can be printed."""
        shown = self._inspection()
        if shown is None:
            return
        name = f"{folder_name(shown.result.patient_id)}_report.html"
        if path := choose_new_file(self, "Report", name, "Web page (*.html)"):
            self.save_report(path, lambda written: QDesktopServices.openUrl(QUrl.fromLocalFile(str(written))))
