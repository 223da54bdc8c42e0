"""Choosing a cohort and how it is to be read: the few things that each reading needs, and the rest folded away."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.plugin.widgets.options_form import OptionRefused, OptionsForm
from napari_caltomorph.plugin.widgets.parts import CollapsibleSection, narrow_combo
from napari_caltomorph.plugin.widgets.settings import last_cohort, preferences
from napari_caltomorph.taxonomy import SHIPPED_BOOKS

_ALWAYS_SHOWN = ("taxonomy", "min_cells", "names_only")
_FIELDS = CohortOptions.model_fields


class CohortChooser(QWidget):
    """Place, classes and least cells; every other field of `CohortOptions` below *More options*.

    `asked` is emitted when Return is pressed in the place.
    """

    asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        last = last_cohort()
        self.place = QLineEdit(str(last.value("place", "")), placeholderText="directory, table or cohort.json")
        self.place.returnPressed.connect(self.asked)
        self.taxonomy = narrow_combo()
        self.taxonomy.setToolTip(_FIELDS["taxonomy"].description or "")
        for book in (*SHIPPED_BOOKS, "none"):
            self.taxonomy.addItem(book, book)
        self.choose_taxonomy(str(last.value("taxonomy", CohortOptions().taxonomy)))
        self.min_cells = QSpinBox(maximum=100_000, value=CohortOptions().min_cells)
        self.min_cells.setToolTip(_FIELDS["min_cells"].description or "")
        self.check_cells = QCheckBox("look at every image")
        self.check_cells.setChecked(not CohortOptions().names_only)
        self.check_cells.setToolTip("Counts usable cells and finds images that two patients share; takes longer")
        self.more = OptionsForm(CohortOptions, [name for name in _FIELDS if name not in _ALWAYS_SHOWN])
        self.more.changed.connect(self._count_changed)
        self.fold = CollapsibleSection("More options", self.more)
        self._build()

    def options(self) -> CohortOptions:
        """Return what is chosen.

        Raises
        ------
        OptionRefused
            A text is no value of its option.
        """
        return CohortOptions(
            taxonomy=self.taxonomy.currentData(),
            min_cells=self.min_cells.value(),
            names_only=not self.check_cells.isChecked(),
            **self.more.values(),
        )

    def choose_taxonomy(self, name_or_path: str) -> None:
        """Choose one of the package's taxonomies, or a file."""
        if self.taxonomy.findData(name_or_path) < 0:
            self.taxonomy.addItem(Path(name_or_path).name, name_or_path)
        self.taxonomy.setCurrentIndex(self.taxonomy.findData(name_or_path))

    def remember(self) -> None:
        """Let the next session begin with this place and taxonomy."""
        last_cohort().setValue("place", self.place.text().strip())
        last_cohort().setValue("taxonomy", self.taxonomy.currentData())

    def _build(self) -> None:
        chooser = QPushButton("Open")
        menu = QMenu(self)
        menu.addAction("Directory...", self._choose_directory)
        menu.addAction("Table or cohort.json...", self._choose_file)
        chooser.setMenu(menu)
        file = QPushButton("File")
        file.setToolTip("Choose a taxonomy file of your own")
        file.clicked.connect(self._choose_taxonomy_file)
        form = QFormLayout()
        form.setVerticalSpacing(4)
        for name, left, right in (
            ("Cohort", self.place, chooser),
            ("Classes", self.taxonomy, file),
            ("Least cells", self.min_cells, self.check_cells),
        ):
            row = QHBoxLayout()
            row.addWidget(left, 1)
            row.addWidget(right)
            if isinstance(right, QPushButton):
                right.setFixedWidth(60)
            form.addRow(name, row)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(form)
        column.addWidget(self.fold, 1)

    def _count_changed(self) -> None:
        """Say beside the fold how many options in it are not as they were: they count although they are not seen."""
        try:
            chosen = self.more.values()
        except OptionRefused:
            return
        changed = sum(value != getattr(CohortOptions(), name) for name, value in chosen.items())
        self.fold.set_title(f"More options ({changed} changed)" if changed else "More options")

    def _start(self) -> str:
        """Where the file dialogs open."""
        return self.place.text().strip() or preferences().folder

    def _choose_directory(self) -> None:
        if path := QFileDialog.getExistingDirectory(self, "Cohort", self._start()):
            self.place.setText(path)

    def _choose_file(self) -> None:
        pattern = "Cohorts (*.csv *.tsv *.xlsx *.parquet *.json)"
        path, _ = QFileDialog.getOpenFileName(self, "Cohort", self._start(), pattern)
        if path:
            self.place.setText(path)

    def _choose_taxonomy_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Taxonomy", self._start(), "Taxonomies (*.json)")
        if path:
            self.choose_taxonomy(path)
