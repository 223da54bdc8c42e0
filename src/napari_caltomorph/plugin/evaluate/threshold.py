"""The malignancy threshold with its rates, and below it the list of the patients that it or a figure is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from qtpy.QtCore import QModelIndex, Qt, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QHeaderView, QLabel, QPushButton, QSlider, QWidget

from napari_caltomorph.evaluation import Evaluation, OperatingPoint
from napari_caltomorph.plugin.widgets.parts import column_of, line, plain, row_of, tip
from napari_caltomorph.plugin.widgets.patient_cells import Images, PatientCells
from napari_caltomorph.plugin.widgets.table_view import TableView
from napari_caltomorph.statistics import Metric

_STEPS = 1000
_WIDEST_ID = 66  # the rest is for two classes
_ONE_LINE, _TWO_LINES, _MARGINS = 20, 34, 8  # pixels
_COLUMNS = ["patient", "true", "predicted", "malig."]


class ThresholdRow(QWidget):
    """A slider and a number for the threshold, and its rates. `moved` follows each change."""

    moved = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._start = self._value = 0.5
        self.slider = QSlider(Qt.Orientation.Horizontal, maximum=_STEPS, pageStep=_STEPS // 20)
        self.number = QDoubleSpinBox(maximum=1.0, singleStep=0.01, decimals=3, keyboardTracking=False)
        self.number.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self.number.setFixedWidth(52)
        self.reset = QPushButton("Reset", clicked=lambda: self._set(self._start))
        self.reset.setFixedWidth(52)
        self._rates = line()
        self.slider.valueChanged.connect(lambda step: self._set(step / _STEPS))
        self.number.valueChanged.connect(self._set)
        about = "Patients with at least this malignancy are called malignant; left and right arrows move it"
        for widget in (self.slider, self.number):
            widget.setToolTip(about)
        row = row_of(QLabel("Malignant from"), self.slider, self.number, self.reset, stretch=(self.slider,))
        column_of(self, row, self._rates, spacing=2)

    @property
    def value(self) -> float:
        return self._value

    @property
    def is_moved(self) -> bool:
        """Whether it differs from the start."""
        return self._value != self._start

    @property
    def text(self) -> str:
        return str(self._rates.text())

    def begin(self, value: float, rule: str) -> None:
        """Start from a threshold; `rule` is how it was chosen."""
        self._start = value
        self.reset.setToolTip(tip(f"Back to {value:.4g}: {rule}"))
        self._put(value)

    def show_rates(self, point: OperatingPoint) -> None:
        rates = {"Sensitivity": point.sensitivity, "specificity": point.specificity, "FDR": point.fdr}
        self._rates.setText(", ".join(f"{name} <b>{_value(rate)}</b>" for name, rate in rates.items()))
        rates["FDR without healthy donors"] = point.fdr_without_healthy
        tips = [f"{name[0].upper()}{name[1:]} {plain(_shown(rate))}" for name, rate in rates.items()]
        self._rates.setToolTip("<br>".join([*tips, f"Against {plain(point.others_in_words)}"]))

    def _set(self, value: float) -> None:
        if value != self._value:
            self._put(value)
            self.moved.emit()

    def _put(self, value: float) -> None:
        """Show a value, which may be between the steps of the slider."""
        self._value = value
        for widget, shown in ((self.slider, round(value * _STEPS)), (self.number, value)):
            widget.blockSignals(True)
            widget.setValue(shown)
            widget.blockSignals(False)
        self.reset.setEnabled(self.is_moved)


class PatientsList(QWidget):
    """A table of patients below a title.

    `opened` carries the path of the smear of a patient that was double-clicked, "" where there are no images;
    `link_clicked` the target of a link in the title.
    """

    opened = Signal(str)
    link_clicked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._described = pd.DataFrame()
        self._title = line()
        self._title.linkActivated.connect(self.link_clicked)
        self.table = TableView()
        self.table.setToolTip("Double-click a patient, or press Enter, to open the cells with their prediction")
        self.table.opened.connect(self._on_opened)
        self.table.selectionModel().currentRowChanged.connect(self._show_cells)
        self.cells = PatientCells()
        column_of(self, self._title, self.table, self.cells, stretch=(self.table,), spacing=2)

    @property
    def text(self) -> str:
        return str(self._title.text())

    @property
    def patients(self) -> list[str]:
        """The listed ids, in the order in which they were given."""
        return list(self.table.frame["patient"]) if len(self.table.frame) else []

    def begin(self, evaluation: Evaluation, cells: Callable[[str], Images]) -> None:
        """Use the patients of an evaluation, and list none; `cells` reads images of some cells of one."""
        self._described = describe(evaluation)
        self.cells.begin(cells)
        self.show_patients("", [])

    def show_patients(self, title: str, ids: Sequence[str]) -> None:
        """List patients below a title, which is HTML."""
        self._title.setText(title)
        self.cells.hide()  # of a patient that may not be listed any more
        self.table.show_frame(self._described.loc[list(ids)], _COLUMNS)
        head = self.table.horizontalHeader()
        for name in ("true", "predicted"):  # nothing is scrolled sideways: long names take two lines
            head.setSectionResizeMode(_COLUMNS.index(name), QHeaderView.ResizeMode.Stretch)
        self.table.setColumnWidth(0, min(max(self.table.columnWidth(0), 50), _WIDEST_ID))
        self.table.setColumnWidth(3, 50)
        names = {*self.table.frame["true"], *self.table.frame["predicted"]}
        widest = max(map(self.fontMetrics().horizontalAdvance, names), default=0)
        has_room = widest + _MARGINS <= self.table.columnWidth(1)
        # All rows alike: measuring each takes seconds where a thousand are listed.
        self.table.verticalHeader().setDefaultSectionSize(_ONE_LINE if has_room else _TWO_LINES)

    def place_of(self, patient: str) -> str:
        """Return the path of a patient's smear; "" where there are no images."""
        place: Any = self._described.at[patient, "path"]
        return "" if pd.isna(place) else str(place)

    def _show_cells(self, index: QModelIndex) -> None:
        if index.isValid():
            patient = self.table.frame["patient"].iloc[self.table.row_of(index)]
            self.cells.show_patient(patient, f"{patient}: the cells with the most attention")

    def _on_opened(self, index: QModelIndex) -> None:
        self.opened.emit(self.place_of(self.table.frame["patient"].iloc[self.table.row_of(index)]))


def describe(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row for each patient, by id: true class (or classes, or label), predicted class, malignancy, path."""
    names = dict(zip(evaluation.taxonomy.slugs, evaluation.taxonomy.names, strict=True))
    patients = evaluation.patients
    several = patients["coarse_set"].map(lambda slugs: " or ".join(names[slug] for slug in slugs.split("|")), "ignore")
    true = patients["truth"].map(names).fillna(several).fillna(patients["row"]).fillna("no label")
    described = pd.DataFrame(
        {
            "patient": patients["patient_id"],
            "true": true,
            "predicted": [evaluation.taxonomy.names[c] for c in evaluation.predicted],
            "malig.": [f"{one:.3f}" for one in evaluation.malignancy],
            "path": patients["path"],
        }
    )
    return described.set_index("patient", drop=False)


def _value(metric: Metric) -> str:
    return "undefined" if metric.value is None else f"{metric.value:.3f}"


def _shown(metric: Metric) -> str:
    return metric.shown() if metric.is_defined else f"undefined: {metric.remark}"
