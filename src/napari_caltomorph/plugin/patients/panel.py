"""The *Predict patients* panel: many smears, one after the other, as a table that fills."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import napari
from napari.utils.notifications import show_info
from qtpy.QtCore import QEvent, QModelIndex, Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QLineEdit, QPushButton, QWidget

from napari_caltomorph.cohort import FoundPatient, find_patients
from napari_caltomorph.diagnosis import save_predictions
from napari_caltomorph.diagnosis.prediction_files import find_smear, folder_name, refuse_repeated_ids
from napari_caltomorph.errors import OutputRefused, counted, printable
from napari_caltomorph.jobs import (
    Exported,
    PatientProgress,
    PatientResult,
    export_results,
    form_of,
    predict_patients,
    watch_folder,
)
from napari_caltomorph.laboratory import WatchOptions, WatchProgress, refuse_overlap
from napari_caltomorph.plugin.patients.review_tools import ReviewTools
from napari_caltomorph.plugin.patients.table import PatientRow, PatientsTable, described
from napari_caltomorph.plugin.session.session import session_of
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel, open_panel
from napari_caltomorph.plugin.widgets.model_chooser import ModelChooser
from napari_caltomorph.plugin.widgets.options_form import OptionsForm, options_of
from napari_caltomorph.plugin.widgets.parts import (
    BUTTON_WIDTH,
    ERROR,
    CollapsibleSection,
    colored,
    column_of,
    folder_row,
    line,
    menu_button,
    path_in,
    row_of,
)
from napari_caltomorph.plugin.widgets.patient_cells import CELLS, Images, PatientCells
from napari_caltomorph.plugin.widgets.settings import (
    COHORT_FILES,
    choose_file,
    choose_folder,
    choose_new_file,
    preferences,
    when_chosen,
)
from napari_caltomorph.plugin.widgets.task_row import TaskRow, shows_errors
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.report.html import cell_images
from napari_caltomorph.storage import StrPath, path_of

_EMPTY = (
    "Add a folder in which every folder is one patient's smear, or a cohort. Then click <b>Predict patients</b>; "
    "what is done already is not computed again. Or watch the folder into which a scanner exports."
)
_FILES = "Table (*.csv);;FHIR, a line a patient (*.ndjson)"
_KEPT = "Patients that are done are kept; click again to continue."


class PatientsPanel(DockPanel):
    """Add patients, predict them all, and open one."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._place: Path | None = None
        self._suggested = ""
        self._running = ""
        self.models = ModelChooser()
        self.models.changed.connect(self._suggest)
        self.results = QLineEdit(placeholderText="folder for the predictions")
        self.run = TaskRow("Predict patients", kept=_KEPT)
        self.run.requested.connect(self.predict)
        self.run.forget_on(self.models.changed, self.results.textChanged)
        self.run.progressed.connect(self._on_progress)
        self.run.failed.connect(self._forget_predictor)
        self.run.ended.connect(self._on_ended)
        self.table = PatientsTable()
        self.table.opened.connect(self._on_opened)
        self.table.selectionModel().currentRowChanged.connect(self._describe)
        self.reviews = ReviewTools(self.table)
        self.reviews.next_found.connect(self.open)
        self._build()
        self._arrange()
        self.bind()

    @property
    def text(self) -> str:
        """The summary above the table."""
        return str(self._about.text())

    @property
    def detail(self) -> str:
        """The description of the selected patient."""
        return str(self._detail.text())

    def add(self, place: StrPath) -> None:
        """Add the patients of a folder or a cohort to the table; those that are in it already stay unchanged."""
        self.bind()
        folder = path_of(str(place)).expanduser()
        self._set_busy(True)
        self.run.start(lambda progress: find_patients(folder), partial(self._on_found, folder))

    def clear(self) -> None:
        """Remove all patients from the table; nothing is removed from disk."""
        self.table.show_patients({})
        self.cells.begin(self._cells_of)
        self._arrange()

    @shows_errors
    def predict(self) -> None:
        """Predict all patients of the table; those that are done already are not computed again."""
        self.bind()
        patients = {row.patient_id: row.found for row in self.table.rows}
        if not patients:
            raise OutputRefused("There is no patient yet: add a folder or a cohort.")
        if (folder := path_in(self.results)) is None:
            raise OutputRefused("Choose a folder for the predictions first.")
        options, session = self.models.options(), session_of(self)
        self.reviews.follow(session.reviews, None)
        self.table.show_patients(patients)
        self.cells.begin(self._cells_of)  # another model attends to other cells
        self._set_busy(True)

        def work(progress: OnProgress) -> list[PatientResult]:
            session.reviews.load(folder)
            return predict_patients(patients, folder, session.predictor_of(options, progress), progress=progress)

        self.run.start(work, self._on_predicted)

    @shows_errors
    def watch(self, folder: StrPath) -> None:
        """Predict each patient that is exported into a folder, until the task is cancelled or the panel closes."""
        self.bind()
        options = options_of(WatchOptions, **self.watching.values())
        self._place = path_of(str(folder)).expanduser()
        self._suggest()
        if (out := path_in(self.results)) is None:
            raise OutputRefused("Choose a folder for the predictions first.")
        refuse_overlap(self._place, out)
        place, predicting, session = self._place, self.models.options(), session_of(self)
        self.watch_section.set_open(False)
        self.reviews.follow(session.reviews, None)
        self.table.show_patients({})
        self.table.show_malignant_first()
        self.cells.begin(self._cells_of)
        self._arrange()
        self._set_busy(True)

        def work(progress: OnProgress) -> None:
            session.reviews.load(out)
            watch_folder(place, out, session.predictor_of(predicting, progress), options, progress=progress)

        self.run.start(work, lambda _: None)

    def open(self, row: PatientRow) -> None:
        """Show a patient's saved prediction in *Predict patient*, to be reviewed."""
        if row.result is not None and row.result.file is not None:
            self.reviews.note_opened(row)
            open_panel(self._viewer, "Predict patient").review_prediction(row.result.file)

    @shows_errors
    def export(self, folder: StrPath) -> None:
        """Write predictions.csv, cells.csv and each prediction.json of all predicted patients into another folder."""
        predictions = [row.prediction for row in self.table.rows if row.prediction is not None]
        save_predictions(predictions, Path(folder))
        show_info(f"Saved {counted(len(predictions), 'prediction')} in {folder}")

    @shows_errors
    def export_file(self, path: StrPath, *, share: bool = False) -> None:
        """Write all patients of the results folder as FHIR or a table; with `share` without what identifies."""
        if (results := path_in(self.results)) is None:
            raise OutputRefused("Choose the folder of the predictions first.")
        form = form_of(path)
        self._set_busy(True)

        def work(progress: OnProgress) -> Exported:
            return export_results(results, path, form, share=share, progress=progress)

        self.run.start(work, self._on_exported)

    def on_bound(self) -> None:
        self.models.bind()

    def on_unbound(self) -> None:
        self.models.unbind()
        self.reviews.unfollow()

    def showEvent(self, event: QEvent) -> None:
        super().showEvent(event)
        self.reviews.follow(session_of(self).reviews, path_in(self.results))

    def _build(self) -> None:
        folder = when_chosen(self.add, choose_folder, self, "Folder of patients")
        file = when_chosen(self.add, choose_file, self, "Cohort", COHORT_FILES)
        self._add = menu_button("Add", {"Folder of patients...": folder, "Table, zip or cohort.json...": file})
        tip = "Remove all patients from the table; nothing is removed from disk"
        self._clear = QPushButton("Clear", toolTip=tip, clicked=self.clear)
        self._about = line()
        top = QGridLayout()
        top.setColumnStretch(1, 1)
        top.setColumnMinimumWidth(0, 54)
        top.setVerticalSpacing(4)
        for button in (self._add, self._clear):
            button.setFixedWidth(BUTTON_WIDTH)
        for place, widget in enumerate((QLabel("Patients"), self._about, self._clear, self._add)):
            top.addWidget(widget, 0, place)
        top.addWidget(self.models, 1, 0, 1, 4)
        top.addWidget(QLabel("Results"), 2, 0)
        top.addLayout(folder_row(self.results, "Write the predictions to"), 2, 1, 1, 3)
        self._empty = line(_EMPTY)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._detail = line()
        self.cells = PatientCells()
        self.cells.begin(self._cells_of)
        tip = "Show the saved prediction in Predict patient, with all cells, to inspect and to review it"
        self._opener = QPushButton("Open", toolTip=tip, clicked=self._open_chosen)
        new_file = (choose_new_file, self, "Export to", "results.csv", _FILES)
        self._export = menu_button(
            "Export all",
            {
                "Predictions, into a folder ...": when_chosen(self.export, choose_folder, self, "Export to"),
                "Table or FHIR, with reviews ...": when_chosen(self.export_file, *new_file),
                "Table or FHIR, to share ...": when_chosen(partial(self.export_file, share=True), *new_file),
            },
        )
        self._export.setToolTip("Predictions as they are; or one file for the laboratory's system, or to share")
        tools = row_of(self.reviews, self._opener, self._export)
        tip = "Predict each patient that a scanner exports, once, when its files have come to rest"
        choose = when_chosen(self.watch, choose_folder, self, "Folder into which a scanner exports")
        self._watch = QPushButton("Choose the folder and watch", toolTip=tip, clicked=choose)
        self.watching = OptionsForm(WatchOptions, ("settle", "every", "report"))
        self.watching.align()
        watch = QWidget()
        column_of(watch, self.watching, self._watch)
        self.watch_section = CollapsibleSection("Watch the folder of a scanner", watch)
        self.watch_section.toggled.connect(lambda _: self._arrange())
        widgets = (self.run, self.watch_section, self._empty, self.table, self._detail, self.cells)
        self.lay_out(top, *widgets, tools, stretch=(self._empty, self.table))

    @property
    def _shows_table(self) -> bool:
        """The table, or the options of a watch: a dock has little height."""
        return bool(self.table.rows) and not self.watch_section.is_open

    def _arrange(self) -> None:
        rows = self.table.rows
        done = sum(row.prediction is not None for row in rows)
        failed = sum(bool(row.problem) for row in rows)
        total = counted(len(rows), "patient") if rows else "none yet"
        counts = [f"{done} of {len(rows)} done" if done or failed else total]
        self._about.setText(", ".join(counts + ([colored(f"{failed} failed", ERROR)] if failed else [])))
        self._empty.setVisible(not self._shows_table)
        self.table.setVisible(self._shows_table)
        self._export.setEnabled(bool(done) and not self.run.is_busy)
        self.reviews.setEnabled(bool(done))
        self.reviews.update_rows(())  # their number
        self._describe()

    @shows_errors
    def _on_found(self, place: Path, found: dict[str, FoundPatient]) -> None:
        patients = {row.patient_id: row.found for row in self.table.rows}
        known = {(one.path, one.place) for one in patients.values()}
        new = {patient: one for patient, one in found.items() if (one.path, one.place) not in known}
        refuse_repeated_ids([*patients, *new])
        results = [row.result for row in self.table.rows if row.result is not None]
        self.table.show_patients(patients | new)
        for result in results:
            self.table.set_result(result)
        preferences().folder = printable(str(place.parent))
        self._place = place
        self._suggest()
        self._arrange()

    def _suggest(self) -> None:
        """Suggest a results folder next to the patients, one for each model, unless the user has chosen one."""
        if self._place is None or self.results.text() != self._suggested:
            return
        name, known = self._place.name if self._place.is_dir() else self._place.stem, self.models.description
        model = "" if known is None else f"_{folder_name(known.name.split()[0])}"
        self._suggested = printable(str(self._place.with_name(f"{name}_predicted{model}")))
        self.results.setText(self._suggested)

    def _on_progress(self, progress: Progress) -> None:
        if isinstance(progress, WatchProgress) and (watched := progress.watched) is not None:
            name = self.table.set_watched(watched)
            self.reviews.update_rows([name])
            self._running = name if watched.state == "predicting" else ""
            if watched.state not in ("arriving", "waiting") or len(self.table.rows) == 1:
                self._arrange()
        if not isinstance(progress, PatientProgress):
            return
        if progress.result is None:
            self._running = progress.patient_id
            self.table.set_state(progress.patient_id, f"{progress.stage} ...")
            return
        self._running = ""
        self.table.set_result(progress.result)
        self.reviews.update_rows([progress.patient_id])
        self._arrange()

    def _on_predicted(self, results: list[PatientResult]) -> None:
        kept = sum(result.is_cached for result in results)
        failed = sum(result.prediction is None for result in results)
        done = f"{counted(len(results) - failed, 'patient')} predicted" + (f", {kept} of them before" if kept else "")
        place = self.results.text().strip()
        if failed:
            self.run.show_error(f"{done}; {failed} failed: the reason is in the row. In {place}")
        else:
            self.run.show_message(f"{done}. In {place}")

    def _on_exported(self, made: Exported) -> None:
        stripped = f" Stripped: {'; '.join(what for what, _ in made.stripped)}." if made.stripped else ""
        show = self.run.show_error if made.problems else self.run.show_message
        show(" ".join([f"{made.in_words}{stripped} In {made.path}", *made.problems[:1]]))

    def _on_ended(self) -> None:
        if self._running:
            self.table.set_state(self._running, "waiting")
            self._running = ""
        self._set_busy(False)
        self._arrange()

    def _set_busy(self, is_busy: bool) -> None:
        """Lock the patients, the model and the results folder while a task runs."""
        for widget in (self._add, self._clear, self.watch_section, self.results, self.models):
            widget.setEnabled(not is_busy)
        self._export.setEnabled(False)

    def _forget_predictor(self) -> None:
        session_of(self).predictor = None

    def _describe(self, *_: object) -> None:
        row = self.table.chosen
        self._detail.setText("" if row is None else described(row))
        self._detail.setVisible(row is not None and self._shows_table)
        self.cells.hide()
        if row is not None and row.prediction is not None and self._shows_table:
            which = "the cells with the most attention" if row.prediction.has_attention else "its first cells"
            self.cells.show_patient(row.patient_id, f"{row.patient_id}: {which}")
        self._opener.setEnabled(row is not None and row.prediction is not None)

    def _cells_of(self, patient: str) -> Images:
        """Return images of a predicted patient, those with the most attention first; called in a thread."""
        found = next(row.prediction for row in self.table.rows if row.patient_id == patient)
        if found is None:
            return []
        return list(cell_images(find_smear(found), [found.cells[i] for i in found.order], CELLS).values())

    def _on_opened(self, index: QModelIndex) -> None:
        row = self.table.row_at(index)
        if row is None:
            return
        if row.prediction is None:
            self.run.show_error(row.problem or f"{row.patient_id} is not predicted yet.")
        else:
            self.open(row)

    def _open_chosen(self) -> None:
        if self.table.chosen is not None:
            self.open(self.table.chosen)
