"""A dialog that gets a cohort that others publish: what is public, where it goes, and the download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtWidgets import QDialog, QFormLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_caltomorph.cohort import PUBLISHED, Cohort, PublishedCohort, ask_the_hub, get_cohort
from napari_caltomorph.cohort.published import COHORT
from napari_caltomorph.plugin.widgets.options_form import OptionRefused
from napari_caltomorph.plugin.widgets.parts import (
    BUTTON_WIDTH,
    add_items,
    folder_row,
    in_window_words,
    line,
    link,
    narrow_combo,
    path_in,
    plain,
    row_of,
)
from napari_caltomorph.plugin.widgets.settings import preferences
from napari_caltomorph.plugin.widgets.task_row import TaskRow, shows_errors
from napari_caltomorph.progress import OnProgress

_MARGIN = 12
_KEPT = "What has arrived is kept: get it again to continue."


class PublishedDialog(QDialog):
    """Gets a published cohort into a new folder; accepted once it is there, as the file `cohort_file`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Published cohorts")
        self.setMinimumWidth(460)
        self.cohort_file: Path | None = None
        self._rows: Sequence[PublishedCohort] = ()
        self.choice = narrow_combo()
        self.choice.currentIndexChanged.connect(self._on_chosen)
        self.ask = QPushButton("Ask the Hub", toolTip="List what is public now; nothing is sent before")
        self.ask.clicked.connect(self._ask)
        self._about = line()
        self._about.setOpenExternalLinks(True)
        self.out = QLineEdit()
        self.images = QLineEdit(placeholderText="where you have unpacked them")
        self.labels = QLineEdit(placeholderText="0=AML, 1=healthy donor")
        self.labels.setToolTip("What the numbers in its files mean")
        self._form = QFormLayout()
        self.ask.setFixedWidth(BUTTON_WIDTH + 30)
        self._form.addRow("New folder", folder_row(self.out, "Folder of the cohort"))
        self._images_row = folder_row(self.images, "Folder of the images")
        self._form.addRow("Images", self._images_row)
        self._form.addRow("Labels", self.labels)
        self.run = TaskRow("Get cohort", kept=_KEPT)
        self.run.requested.connect(self._get)
        choice = row_of(self.choice, self.ask, stretch=(self.choice,))
        add_items(QVBoxLayout(self), choice, self._about, self._form, self.run)
        self._show_rows(PUBLISHED)

    def done(self, result: int) -> None:
        """Stop a running download, however the dialog closes."""
        self.run.cancel()
        super().done(result)

    @property
    def _row(self) -> PublishedCohort:
        return self._rows[self.choice.currentIndex()]

    def _show_rows(self, rows: Sequence[PublishedCohort]) -> None:
        self._rows = rows
        self.choice.blockSignals(True)
        self.choice.clear()
        self.choice.addItems([row.name for row in rows])
        self.choice.blockSignals(False)
        self._on_chosen()

    def _on_chosen(self, index: int = 0) -> None:
        row = self._row
        text = f"{plain(row.about)}.<br>{row.patients} patients, {plain(row.size)}; licence: {plain(row.licence)}."
        if row.page:
            text += (
                f"<br>Download and unpack {link(plain(row.page), row.page)}, then choose the folder with {row.holds}."
            )
        else:
            text += f"<br>Needs: {plain(in_window_words(row.needs))}."
        self._about.setText(text)
        # A dialog does not grow with a text that wraps.
        self._about.setMinimumHeight(self._about.heightForWidth(self.minimumWidth() - 2 * _MARGIN))
        self.out.setText(str(Path(preferences().folder).absolute() / row.name))
        self._form.setRowVisible(self._images_row, bool(row.page))
        self._form.setRowVisible(self.labels, not row.page and not row.labels)

    def _ask(self) -> None:
        self.run.start(lambda progress: ask_the_hub(progress=progress), self._show_rows)

    @shows_errors
    def _get(self) -> None:
        name, out = self._row.name, path_in(self.out)
        if out is None:
            raise OptionRefused("Choose a new folder for the cohort first.")
        has_meaning = not self._form.isRowVisible(self.labels)
        labels = [] if has_meaning else [label.strip() for label in self.labels.text().split(",") if label.strip()]
        images = path_in(self.images) if self._form.isRowVisible(self._images_row) else None

        def work(progress: OnProgress) -> Cohort:
            return get_cohort(name, out, labels=labels, folder=images, progress=progress)

        self.run.start(work, lambda _: self._on_got(out / COHORT))

    def _on_got(self, path: Path) -> None:
        self.cohort_file = path
        self.accept()
