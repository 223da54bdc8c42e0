"""The cohort of a training: choosing and reading it, its classes by split, and who is left out."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_caltomorph.cohort import Cohort, CohortOptions, read_cohort
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.plugin.widgets.cohort_chooser import CohortChooser
from napari_caltomorph.plugin.widgets.left_out_patients import LeftOutPatients
from napari_caltomorph.plugin.widgets.parts import line, link, plain
from napari_caltomorph.plugin.widgets.settings import last_training
from napari_caltomorph.plugin.widgets.task_row import TaskRow, shows_errors
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.report import Look, draw_classes
from napari_caltomorph.storage import path_of

_EMPTY = (
    "Choose a directory of labelled patients, a table, or a <i>cohort.json</i> that <i>Open cohort</i> has saved; then "
    "click <b>Read cohort</b>. Nothing is changed by reading."
)
_ROW_HEIGHT, _TITLE_HEIGHT = 16, 24


class TrainCohort(QWidget):
    """Choose a cohort, read it, and look at its classes; `read` (`Cohort`) says that another one was read."""

    read = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.cohort: Cohort | None = None
        self.dialog: LeftOutPatients | None = None
        self._read_as: tuple[Path, CohortOptions] | None = None
        self._look = Look()
        self.chooser = CohortChooser()
        # Training reads names only: cells were looked at when they were encoded.
        self.chooser.check_cells.setChecked(False)
        self.chooser.check_cells.hide()
        self._restore()
        self.chooser.asked.connect(self.start_reading)
        self.chooser.fold.toggled.connect(self._arrange)
        self.run = TaskRow("Read cohort")
        self.run.button.setMinimumHeight(26)
        self.run.requested.connect(self.start_reading)
        self._about = line(_EMPTY)
        self._about.linkActivated.connect(lambda _: self.show_left_out())
        self.classes = FigureCanvasQTAgg(Figure(layout="constrained"))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.chooser, 1)
        for widget in (self.run, self._about, self.classes):
            column.addWidget(widget)
        self._arrange()

    @property
    def text(self) -> str:
        """What is said about the cohort."""
        return str(self._about.text())

    @shows_errors
    def start_reading(self) -> None:
        """Read what was chosen; a reading that still runs is cancelled first."""
        place, options = self._chosen()
        self.chooser.remember()
        last_training().setValue("cohort_options", options.model_dump_json())

        def work(progress: OnProgress) -> Cohort:
            return read_cohort(place, options, progress=progress)

        def show(cohort: Cohort) -> None:
            self._read_as = place, options
            self._show(cohort)

        self.run.start(work, show)

    def as_chosen(self) -> tuple[Cohort, Path, CohortOptions]:
        """Return the cohort, and what it was read from.

        Raises
        ------
        TrainingRefused
            There is none yet, or something else is chosen by now.
        """
        if self.cohort is None or self._read_as is None:
            raise TrainingRefused("Read a cohort first.")
        if self._chosen() != self._read_as:
            raise TrainingRefused("Another cohort, or other options of it, are chosen than were read: read it again.")
        return self.cohort, *self._read_as

    def show_left_out(self) -> None:
        """List who is left out, and why."""
        if self.cohort is not None:
            self.dialog = LeftOutPatients(self.cohort, self)
            self.dialog.show()

    def draw(self, look: Look) -> None:
        """Draw the classes again, in the colours of a theme."""
        self._look = look
        if self.cohort is not None:
            self.classes.figure.clear()
            draw_classes(self.classes.figure.subplots(), self.cohort, look)
            self.classes.draw_idle()

    def _chosen(self) -> tuple[Path, CohortOptions]:
        text = self.chooser.place.text().strip()
        if not text:
            raise TrainingRefused("Choose a directory or a table first.")
        return path_of(text).expanduser().absolute(), self.chooser.options()

    def _show(self, cohort: Cohort) -> None:
        self.cohort = cohort
        splits = cohort.table["split"].value_counts()
        text = (
            f"<b>{plain(cohort.name)}: {len(cohort)} patients</b>, {splits.get('train', 0)} to train in "
            f"{cohort.table['fold'].nunique()} folds"
        )
        if len(cohort.left_out):
            text += f"; {len(cohort.left_out)} left out ({link('why?')})"
        self._about.setText(text)
        self.classes.setFixedHeight(_TITLE_HEIGHT + _ROW_HEIGHT * len(cohort.taxonomy.classes))
        self.draw(self._look)
        self.chooser.fold.set_open(False)
        self._arrange()
        self.read.emit(cohort)

    def _arrange(self) -> None:
        """Show the options, while they are unfolded, in place of what was read."""
        is_folded = not self.chooser.fold.is_open
        self._about.setVisible(is_folded)
        self.classes.setVisible(is_folded and self.cohort is not None)

    def _restore(self) -> None:
        try:
            last = CohortOptions.model_validate_json(str(last_training().value("cohort_options", "{}")))
        except ValidationError:  # options of another version: begin anew
            return
        self.chooser.min_cells.setValue(last.min_cells)
        self.chooser.more.set(last.model_dump())
