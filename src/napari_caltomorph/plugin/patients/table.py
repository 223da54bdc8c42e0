"""Patients as a table that fills while they are predicted: one row each, sorted by a click on a column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from qtpy.QtCore import QModelIndex, QSize, QSortFilterProxyModel, Qt
from qtpy.QtGui import QBrush, QColor, QIcon, QPixmap
from qtpy.QtWidgets import QTableView

from napari_caltomorph.cohort import FoundPatient
from napari_caltomorph.diagnosis import NO_CLASS, NO_PREDICTION, Prediction
from napari_caltomorph.jobs import PatientResult
from napari_caltomorph.laboratory import Watched
from napari_caltomorph.laboratory.review import Reviews
from napari_caltomorph.plugin.widgets.parts import ERROR, WARNING, as_error, colored, plain
from napari_caltomorph.plugin.widgets.table_view import RowsModel, RowsView
from napari_caltomorph.plugin.widgets.thumbnails import icon

Value = str | float | int | None
_MALIGNANT = "#e0563f"
_MALIGNANCY_TIP = "Probability of malignancy; red from the model's threshold on. Hover to read where it holds"
_REVIEW_TIP = "What reviewers say about the prediction; hover to read who"
_ROW_HEIGHT = 22
_SWATCH = 10
# Of a selected patient; the table needs the room.
_WARNINGS = 2


@dataclass(frozen=True)
class PatientRow:
    """One patient of the table; `state` is the current step, `result` its outcome, `reviews` those of the outcome."""

    patient_id: str
    found: FoundPatient
    state: str = "waiting"
    result: PatientResult | None = None
    reviews: Reviews | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether there is a prediction that no one has reviewed."""
        return self.prediction is not None and not (self.reviews and self.reviews.of_this)

    @property
    def prediction(self) -> Prediction | None:
        """The prediction, if there is one."""
        return None if self.result is None else self.result.prediction

    @property
    def problem(self) -> str:
        """Why there is no prediction, if it failed."""
        return "" if self.result is None else self.result.problem


@dataclass(frozen=True)
class Column:
    """One column of the table; its value is shown and sorted by, None where unknown."""

    name: str
    width: int  # pixels; 0 stretches
    value: Callable[[PatientRow], Value]
    tip: str = ""
    digits: int = 0  # decimals of a number
    is_text: bool = False


def _of_prediction(value: Callable[[Prediction], Value]) -> Callable[[PatientRow], Value]:
    return lambda row: None if row.prediction is None else value(row.prediction)


def _of_result(value: Callable[[Prediction], Value]) -> Callable[[PatientRow], Value]:
    """Return what shows a number of the diagnosis: nothing where the prediction is withheld."""
    return _of_prediction(lambda one: None if one.withheld else value(one))


def _class_or_state(row: PatientRow) -> Value:
    if row.prediction is None:
        return "failed" if row.problem else row.state
    if row.prediction.withheld:
        return NO_PREDICTION
    return row.prediction.predicted_class if row.prediction.stands_out else NO_CLASS


# The first five fit a dock of 360 px, with the longest class of the paper.
COLUMNS = (
    Column("patient", 66, lambda row: row.patient_id, is_text=True),
    Column("class", 154, _class_or_state, "The most probable class, if it stands out", is_text=True),
    Column("p", 35, _of_result(lambda one: one.top(1)[0][1]), "The highest probability", digits=2),
    Column("mal.", 42, _of_result(lambda one: one.malignancy), _MALIGNANCY_TIP, digits=2),
    Column("Hb", 36, _of_result(lambda one: one.hemoglobin), "Hemoglobin in g/dl, estimated from the cells", digits=1),
    Column("review", 112, lambda row: row.reviews.state if row.reviews else None, _REVIEW_TIP, is_text=True),
    Column("cells", 44, _of_prediction(lambda one: len(one.cells)), "Cells that the prediction is made of"),
    Column("left out", 54, _of_prediction(lambda one: len(one.left_out)), "Cells that are left out"),
    Column("warn.", 42, _of_prediction(lambda one: len(one.warnings)), "Number of warnings; hover to read them"),
    Column("state", 0, lambda row: f"failed: {row.problem}" if row.problem else row.state, is_text=True),
)


def described(row: PatientRow) -> str:
    """Return HTML with the prediction of a patient and its warnings, or why there is none."""
    name, prediction = f"<b>{plain(row.patient_id)}</b>: ", row.prediction
    if row.problem:
        return name + as_error(row.problem)
    if prediction is None:
        return name + plain(row.state)
    warnings = prediction.warnings[:_WARNINGS]
    more = len(prediction.warnings) - len(warnings)
    lines = [*warnings, *([f"and {more} more"] if more else [])]
    reviews = f"<br>{plain(words)}." if row.reviews and (words := row.reviews.in_words) else ""
    malignant = "" if prediction.withheld else f"; malignant {plain(prediction.malignancy_in_words)}"
    return (
        f"{name}{plain(prediction.call_in_words)}{malignant}"
        + "".join(f"<br>{colored('! ' + plain(text), WARNING)}" for text in lines)
        + reviews
    )


class PatientsTable(RowsView):
    """Shows patients; `rows` has them in the order in which they were added."""

    def __init__(self) -> None:
        super().__init__()
        self._model = _PatientsModel(self)
        self._sorted = _EmptyLast(self._model, self)
        self.setModel(self._sorted)
        self.setSortingEnabled(True)
        self.sortByColumn(-1, Qt.SortOrder.AscendingOrder)  # as they were added
        self.setSelectionBehavior(QTableView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QTableView.SelectionMode.SingleSelection)
        self.setEditTriggers(QTableView.EditTrigger.NoEditTriggers)
        self.setIconSize(QSize(_SWATCH, _SWATCH))
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        self.horizontalHeader().setStretchLastSection(True)
        for number, column in enumerate(COLUMNS[:-1]):
            self.setColumnWidth(number, column.width)

    @property
    def rows(self) -> list[PatientRow]:
        """All patients."""
        return list(self._model.rows)

    @property
    def chosen(self) -> PatientRow | None:
        """The patient whose row is selected."""
        return self.row_at(self.currentIndex())

    def row_at(self, index: QModelIndex) -> PatientRow | None:
        """Return the patient that is shown at an index."""
        return self._model.rows[self._sorted.mapToSource(index).row()] if index.isValid() else None

    def show_patients(self, patients: Mapping[str, FoundPatient]) -> None:
        """Show these patients, without results."""
        self._model.reset([PatientRow(patient, found) for patient, found in patients.items()])

    @property
    def shown(self) -> list[PatientRow]:
        """The patients that are not filtered out, as they are sorted."""
        indexes = (self._sorted.index(row, 0) for row in range(self._sorted.rowCount()))
        return [self._model.rows[self._sorted.mapToSource(index).row()] for index in indexes]

    def show_waiting_only(self, on: bool) -> None:
        """Show only the patients whose prediction no one has reviewed, or all."""
        self._sorted.waiting_only = on
        self._sorted.invalidateFilter()

    def choose(self, patient_id: str) -> None:
        """Select a patient who is shown."""
        self.selectRow([row.patient_id for row in self.shown].index(patient_id))

    def set_reviews(self, patient_id: str, reviews: Reviews) -> None:
        self._model.change(patient_id, reviews=reviews)

    def set_state(self, patient_id: str, state: str) -> None:
        """Show the current step of a patient."""
        self._model.change(patient_id, state=state)

    def show_malignant_first(self) -> None:
        """Sort by malignancy; the user may choose another column."""
        place = next(number for number, column in enumerate(COLUMNS) if column.name == "mal.")
        self.sortByColumn(place, Qt.SortOrder.DescendingOrder)

    def set_watched(self, watched: Watched) -> str:
        """Show an export of a watched folder, in a new row where it is new; return the name of the row."""
        others = {row.patient_id for row in self._model.rows if row.found.path.name != watched.path.name}
        name = watched.export if watched.patient_id in others else watched.patient_id
        problem = watched.note if watched.state == "failed" else ""
        state = f"{watched.state} ({watched.note})" if watched.note else watched.state
        result = None
        if watched.prediction is not None or problem:
            result = PatientResult(name, watched.path, watched.prediction, watched.file, problem=problem)
        self._model.put(PatientRow(name, FoundPatient(watched.path), state, result))
        return name

    def set_result(self, result: PatientResult) -> None:
        """Show the outcome of a patient."""
        state = "failed" if result.prediction is None else "was done before" if result.is_cached else "done"
        self._model.change(result.patient_id, state=state, result=result, reviews=None)


class _PatientsModel(RowsModel):
    heads = tuple(column.name for column in COLUMNS)

    def __init__(self, parent: QTableView) -> None:
        super().__init__(parent)
        self.rows: list[PatientRow] = []
        self.values: list[tuple[Value, ...]] = []  # computed once for each row: sorting reads them often
        self._places: dict[str, int] = {}

    def reset(self, rows: list[PatientRow]) -> None:
        self.beginResetModel()
        self.rows, self.values = rows, [_values(row) for row in rows]
        self._places = {row.patient_id: place for place, row in enumerate(rows)}
        self.endResetModel()

    def put(self, row: PatientRow) -> None:
        """Replace the row of a patient, or add it."""
        if row.patient_id in self._places:
            self.change(row.patient_id, state=row.state, result=row.result, reviews=None)
            return
        place = len(self.rows)
        self.beginInsertRows(QModelIndex(), place, place)
        self.rows.append(row)
        self.values.append(_values(row))
        self._places[row.patient_id] = place
        self.endInsertRows()

    def change(self, patient_id: str, **changes: Any) -> None:
        place = self._places[patient_id]
        self.rows[place] = replace(self.rows[place], **changes)
        self.values[place] = _values(self.rows[place])
        self.dataChanged.emit(self.index(place, 0), self.index(place, len(COLUMNS) - 1))

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.ToolTipRole:
            return COLUMNS[section].tip or None
        return super().headerData(section, orientation, role)

    def value(self, index: QModelIndex, role: int) -> Any:
        row, column = self.rows[index.row()], COLUMNS[index.column()]
        value = self.values[index.row()][index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{value:.{column.digits}f}" if isinstance(value, float) else None if value is None else str(value)
        if role == Qt.ItemDataRole.ToolTipRole:
            return _tip(row, column.name)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if column.is_text else Qt.AlignmentFlag.AlignRight
            return side | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ForegroundRole:
            color = _color(row, column.name)
            return None if color is None else QBrush(QColor(color))
        if role == Qt.ItemDataRole.DecorationRole and column.name == "class" and row.prediction is not None:
            return _swatch(row.prediction.class_color)
        return None


def _swatch(color: str | None) -> QIcon | None:
    """Return the colour of a class, the same where its row is selected."""
    if color is None:
        return None
    picture = QPixmap(_SWATCH, _SWATCH)
    picture.fill(QColor(color))
    return icon(picture)


class _EmptyLast(QSortFilterProxyModel):
    """Sorts numbers as numbers; patients without one are last in both directions."""

    def __init__(self, model: _PatientsModel, parent: QTableView) -> None:
        super().__init__(parent)
        self._model = model
        self.waiting_only = False
        self.setSourceModel(model)

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:
        return not self.waiting_only or self._model.rows[row].is_waiting

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:
        column, values = left.column(), self._model.values
        a, b = values[left.row()][column], values[right.row()][column]
        if a is None or b is None:
            is_ascending = self.sortOrder() == Qt.SortOrder.AscendingOrder
            return (a is not None) if is_ascending else (b is not None and a is None)
        if isinstance(a, str) or isinstance(b, str):
            return str(a).casefold() < str(b).casefold()
        return a < b


def _values(row: PatientRow) -> tuple[Value, ...]:
    return tuple(column.value(row) for column in COLUMNS)


def _tip(row: PatientRow, column: str) -> str | None:
    if row.problem:
        return row.problem
    if column == "review":
        return row.reviews.in_words or None if row.reviews else None
    if column == "warn." and row.prediction is not None:
        return "\n".join(row.prediction.warnings) or None
    if row.prediction is not None and column == "class":
        return row.prediction.diagnosis_in_words
    if column == "mal." and row.prediction is not None:
        return row.prediction.malignancy_in_words
    return f"{row.patient_id}\n{row.found.path}" if column == "patient" else None


def _color(row: PatientRow, column: str) -> str | None:
    if row.problem and column in ("class", "state"):
        return ERROR
    if row.prediction is None:
        return None
    if column == "mal.":
        return _MALIGNANT if row.prediction.is_malignant and not row.prediction.withheld else None
    return WARNING if column == "warn." and row.prediction.warnings else None
