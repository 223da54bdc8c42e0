"""The patients that are not in a cohort, each with the reason."""

from __future__ import annotations

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QHeaderView, QVBoxLayout, QWidget

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.plugin.cohort.view import show_reasons
from napari_caltomorph.plugin.widgets.parts import line, plain
from napari_caltomorph.plugin.widgets.table_view import TableView


class LeftOutPatients(QDialog):
    """Lists who is left out of a cohort; *Open cohort* has the options that take them in."""

    def __init__(self, cohort: Cohort, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"{cohort.name}: patients left out")
        self.resize(640, 420)
        self.table = TableView()
        self.table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        left_out = cohort.left_out.rename(columns={"patient_id": "patient", "raw_label": "label"})
        show_reasons(self.table, left_out, ["patient", "label", "rule", "reason"])
        counts = ", ".join(f"{count} {rule}" for rule, count in cohort.left_out_counts().items())
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(line(plain(f"Left out: {counts}.")))
        column.addWidget(self.table)
        column.addWidget(buttons)
