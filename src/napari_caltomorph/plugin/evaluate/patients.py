"""The patients that a figure, a number or the threshold speaks of, each with what is true and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from qtpy.QtCore import QModelIndex, Signal
from qtpy.QtWidgets import QHeaderView, QVBoxLayout, QWidget

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.plugin.widgets.parts import line
from napari_caltomorph.plugin.widgets.table_view import TableView

_WIDEST_ID = 110
_COLUMNS = ["patient", "true", "predicted", "malig."]


class PatientsList(QWidget):
    """A table. `opened` carries the path of the smear of a patient that was double-clicked, "" where there are no
    images; `asked` the link that was clicked.
    """

    opened = Signal(str)
    asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._described = pd.DataFrame()
        self._title = line()
        self._title.linkActivated.connect(self.asked)
        self.table = TableView()
        self.table.setToolTip("Double-click a patient to open the cells with their prediction")
        self.table.verticalHeader().setDefaultSectionSize(20)
        self.table.doubleClicked.connect(self._on_double_click)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self._title)
        column.addWidget(self.table, 1)

    @property
    def text(self) -> str:
        """What is said above them."""
        return str(self._title.text())

    @property
    def patients(self) -> list[str]:
        """Ids of those who are listed, as they were given."""
        return list(self.table.frame["patient"]) if len(self.table.frame) else []

    def begin(self, evaluation: Evaluation) -> None:
        """Know the patients of an evaluation, and list none."""
        self._described = describe(evaluation)
        self.show_patients("", [])

    def show_patients(self, title: str, ids: Sequence[str]) -> None:
        """List patients below a title, which is HTML."""
        self._title.setText(title)
        self.table.show_frame(self._described.loc[list(ids)], _COLUMNS)
        head = self.table.horizontalHeader()
        for name in ("true", "predicted"):  # nothing is scrolled sideways; what is cut off stands in the tooltip
            head.setSectionResizeMode(_COLUMNS.index(name), QHeaderView.ResizeMode.Stretch)
        self.table.setColumnWidth(0, min(max(self.table.columnWidth(0), 50), _WIDEST_ID))
        self.table.setColumnWidth(3, 50)

    def place_of(self, patient: str) -> str:
        """Return the path of a patient's smear; "" where there are no images."""
        place: Any = self._described.at[patient, "path"]
        return "" if pd.isna(place) else str(place)

    def _on_double_click(self, index: QModelIndex) -> None:
        self.opened.emit(self.place_of(self.table.frame["patient"].iloc[self.table.row_of(index)]))


def describe(evaluation: Evaluation) -> pd.DataFrame:
    """Return one row a patient, by id: what is true (the right answers, or what it is called), and what is said."""
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
