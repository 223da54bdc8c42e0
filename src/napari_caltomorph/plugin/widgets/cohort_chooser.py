"""Choosing a cohort and how it is read: the inputs of each reading, and all other options in a section."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from qtpy.QtCore import QSettings, Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QLabel, QLineEdit, QPushButton, QWidget

from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.plugin.widgets.options_form import MoreOptions, OptionRefused, input_of, options_of
from napari_caltomorph.plugin.widgets.parts import (
    BUTTON_WIDTH,
    NAMES_WIDTH,
    column_of,
    menu_button,
    narrow_combo,
    path_in,
    row_of,
    title_of,
)
from napari_caltomorph.plugin.widgets.published_dialog import PublishedDialog
from napari_caltomorph.plugin.widgets.settings import COHORT_FILES, choose_file, choose_folder, last_cohort, when_chosen
from napari_caltomorph.taxonomy import SHIPPED_LABEL_MAPS

_ALWAYS_SHOWN = ("taxonomy", "min_cells", "names_only")
_FIELDS = CohortOptions.model_fields


class CohortChooser(QWidget):
    """Place, taxonomy and minimum of cells; all other fields of `CohortOptions` in *More options*.

    `submitted` is emitted when Return is pressed in the place, `changed` after each change. With `settings`, all
    options are remembered there and only names are read: the cells were checked when they were encoded. Otherwise
    only place and taxonomy are remembered, and cells can be checked.
    """

    submitted = Signal()
    changed = Signal()

    def __init__(self, settings: QSettings | None = None) -> None:
        super().__init__()
        self._settings = settings
        last = last_cohort()
        self.place = QLineEdit(str(last.value("place", "")), placeholderText="directory, zip, table or cohort.json")
        self.place.returnPressed.connect(self.submitted)
        self.taxonomy = narrow_combo()
        for name in (*SHIPPED_LABEL_MAPS, "none"):
            self.taxonomy.addItem(name, name)
        self.choose_taxonomy(str(last.value("taxonomy", CohortOptions().taxonomy)))
        self.taxonomy.setToolTip(_FIELDS["taxonomy"].description or "")
        self.min_cells = input_of(CohortOptions, "min_cells").native
        self.min_cells.setValue(CohortOptions().min_cells)
        self.check_cells = QCheckBox("check every image", checked=settings is None)
        if settings is not None:
            self.check_cells.hide()
        self.check_cells.setToolTip("Counts usable cells and finds images that two patients share; takes longer")
        self.section = MoreOptions(CohortOptions, [name for name in _FIELDS if name not in _ALWAYS_SHOWN])
        self.more = self.section.form
        self._restore()
        inputs = (self.place.textChanged, self.taxonomy.currentIndexChanged, self.min_cells.valueChanged)
        for signal in (*inputs, self.more.changed):
            signal.connect(lambda *_: self.changed.emit())
        self._build()

    def path(self) -> Path:
        """Return the chosen directory, table or cohort.json; raise `OptionRefused` where there is none."""
        if (path := path_in(self.place)) is None:
            raise OptionRefused("Choose a cohort first: a directory, a table or a saved cohort.json.")
        return path

    def options(self) -> CohortOptions:
        """Return the chosen options; raise `OptionRefused` for a text that is not a valid value of its option."""
        return options_of(
            CohortOptions,
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
        """Let the next session begin with this choice."""
        last_cohort().setValue("place", self.place.text().strip())
        last_cohort().setValue("taxonomy", self.taxonomy.currentData())
        if self._settings is not None:
            self._settings.setValue("cohort_options", self.options().model_dump_json())

    def _restore(self) -> None:
        if self._settings is None:
            return
        try:
            last = CohortOptions.model_validate_json(str(self._settings.value("cohort_options", "{}")))
        except ValidationError:  # options of another version: the defaults
            return
        self.min_cells.setValue(last.min_cells)
        self.more.set(last.model_dump())

    def _build(self) -> None:
        folder = when_chosen(self._show_place, choose_folder, self, "Cohort", self.place)
        table = when_chosen(self._show_place, choose_file, self, "Cohort", COHORT_FILES, self.place)
        ways = {"Directory...": folder, "Table, zip or cohort.json...": table, "Published...": self._get_published}
        chooser = menu_button("Open", ways)
        file = QPushButton("File", toolTip="Choose a taxonomy file of your own", clicked=self._choose_taxonomy_file)
        form = QFormLayout()
        form.setVerticalSpacing(4)
        for name, left, right in (
            ("Cohort", self.place, chooser),
            ("Classes", self.taxonomy, file),
            (title_of("min_cells"), self.min_cells, self.check_cells),
        ):
            if isinstance(right, QPushButton):
                right.setFixedWidth(BUTTON_WIDTH)
            form.addRow(QLabel(name, minimumWidth=NAMES_WIDTH), row_of(left, right, stretch=(left,)))
        column_of(self, form, self.section)

    def _get_published(self) -> None:
        dialog = PublishedDialog(self)
        if dialog.exec() and dialog.cohort_file is not None:
            self._show_place(dialog.cohort_file)

    def _show_place(self, path: Path) -> None:
        self.place.setText(str(path))

    def _choose_taxonomy_file(self) -> None:
        if path := choose_file(self, "Taxonomy", "Taxonomies (*.json)", self.place):
            self.choose_taxonomy(str(path))
