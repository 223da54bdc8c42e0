"""The cohort of a training: choosing and reading it, its classes by split, and the patients that are left out."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QVBoxLayout, QWidget

from napari_caltomorph.cohort import Cohort, CohortOptions, read_cohort
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.plugin.widgets.canvas import FigureCanvas
from napari_caltomorph.plugin.widgets.cohort_chooser import CohortChooser
from napari_caltomorph.plugin.widgets.parts import add_items, column_of, line, link, plain
from napari_caltomorph.plugin.widgets.settings import last_training
from napari_caltomorph.plugin.widgets.table_view import TableView
from napari_caltomorph.plugin.widgets.task_row import TaskRow, shows_errors
from napari_caltomorph.report import PlotStyle, draw_classes

_EMPTY = (
    "Choose a directory of labelled patients, a table, or a <i>cohort.json</i> that <i>Open cohort</i> has saved; then "
    "click <b>Read cohort</b>. Nothing is changed by reading."
)
_ROW_HEIGHT, _TITLE_HEIGHT = 15, 24


class TrainCohort(QWidget):
    """Choose a cohort, read it, and see its classes; `read` (`Cohort`) follows each reading."""

    read = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.cohort: Cohort | None = None
        self.dialog: LeftOutPatients | None = None
        self._read_as: tuple[Path, CohortOptions] | None = None
        self._plot_style = PlotStyle()
        self.chooser = CohortChooser(last_training())
        self.chooser.submitted.connect(self.start_reading)
        self.run = TaskRow("Read cohort", is_main=False)
        self.run.button.setMinimumHeight(26)
        self.run.requested.connect(self.start_reading)
        self.run.forget_on(self.chooser.changed)
        self._about = line(_EMPTY)
        self._about.linkActivated.connect(lambda _: self.show_left_out())
        self.classes = FigureCanvas()
        self.classes.hide()
        column_of(self, self.chooser, self.run, self._about, self.classes)

    @property
    def text(self) -> str:
        return str(self._about.text())

    @shows_errors
    def start_reading(self) -> None:
        """Read the chosen cohort; a reading that still runs is cancelled first."""
        place, options = self.chooser.path(), self.chooser.options()
        self.chooser.remember()

        def show(cohort: Cohort) -> None:
            self._read_as = place, options
            self._show(cohort)

        self.run.start(lambda progress: read_cohort(place, options, progress=progress), show)

    def as_chosen(self) -> tuple[Cohort, Path, CohortOptions]:
        """Return the cohort, and what it was read from; raise `TrainingRefused` if the choice has changed since."""
        if self.cohort is None or self._read_as is None:
            raise TrainingRefused("Read a cohort first.")
        if (self.chooser.path(), self.chooser.options()) != self._read_as:
            raise TrainingRefused("The chosen cohort or its options have changed since it was read: read it again.")
        return self.cohort, *self._read_as

    def show_left_out(self) -> None:
        """List the patients that are left out, with the reasons."""
        if self.cohort is not None:
            self.dialog = LeftOutPatients(self.cohort, self)
            self.dialog.show()

    def draw(self, style: PlotStyle) -> None:
        self._plot_style = style
        if self.cohort is not None:
            cohort = self.cohort
            self.classes.redraw(lambda axes: draw_classes(axes, cohort, style))

    def _show(self, cohort: Cohort) -> None:
        self.cohort = cohort
        splits = cohort.table["split"].value_counts()
        total = len(cohort) + len(cohort.left_out)
        text = (
            f"<b>{plain(cohort.name)}: {len(cohort)} of {total} patients</b>, {splits.get('train', 0)} to train in "
            f"{cohort.table['fold'].nunique()} folds"
        )
        if len(cohort.left_out):
            text += f"; {len(cohort.left_out)} left out ({link('why?')})"
        self._about.setText(text)
        self.classes.setFixedHeight(_TITLE_HEIGHT + _ROW_HEIGHT * len(cohort.taxonomy.classes))
        self.draw(self._plot_style)
        self.chooser.section.set_open(False)
        self.classes.show()
        self.read.emit(cohort)


class LeftOutPatients(QDialog):
    """Lists the patients that are left out of a cohort; *Open cohort* has the options that include them."""

    def __init__(self, cohort: Cohort, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"{cohort.name}: patients left out")
        self.resize(640, 420)
        self.table = TableView()
        self.table.show_left_out(cohort, ["patient", "label", "rule", "reason"])
        counts = ", ".join(f"{count} {rule}" for rule, count in cohort.left_out_counts().items())
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        add_items(QVBoxLayout(self), line(plain(f"Left out: {counts}.")), self.table, buttons)
