"""The *Cut cells* panel: microscope fields -> their white cells, corrected by a person -> a smear to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import napari
import numpy as np
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLabel, QLineEdit, QWidget

from napari_caltomorph.errors import FieldUnreadable, OutputRefused, counted, printable
from napari_caltomorph.fields import (
    CutCells,
    CutOptions,
    FieldImage,
    FoundCell,
    FoundCells,
    FoundFields,
    array_field,
    crop,
    cut_found,
    find_in_fields,
    is_whole,
    open_fields,
)
from napari_caltomorph.plugin.fields.layers import FieldView, Picture, picture_of
from napari_caltomorph.plugin.gallery.layers import is_ours
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.session.session import session_of
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel, open_panel
from napari_caltomorph.plugin.widgets.options_form import OptionsForm, options_of
from napari_caltomorph.plugin.widgets.parts import (
    as_error,
    chooser_grid,
    column_of,
    folder_row,
    line,
    link,
    menu_button,
    narrow_combo,
    path_in,
    pixmap,
    plain,
    row_of,
)
from napari_caltomorph.plugin.widgets.settings import choose_folder, preferences, when_chosen
from napari_caltomorph.plugin.widgets.task_row import TaskRow, shows_errors
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.storage import StrPath, path_of

_EMPTY = (
    "Open the fields of one patient: photographs through the microscope, or regions of a slide scan. Their white cells "
    "are found, you correct them, and the cut-out cells become a smear that <b>Predict patient</b> takes."
)
_HELP = (
    "Green: sure. Yellow: less than 0.9 sure, look at them. Blue: placed by you. Select squares and press Delete to "
    "remove them."
)
_OPTIONS = ("pixel_size", "from_red_cells", "width_um", "min_confidence")
_PREVIEW = 120


class CutPanel(DockPanel):
    """Open fields, correct the cells that are found, and use them as a smear."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self._fields: dict[str, FieldImage] = {}
        self._found: dict[str, FoundCells] = {}
        self._problems: tuple[str, ...] = ()
        self._options = CutOptions()  # Of what is shown, whatever the form says since: a square is what is cut out
        self._suggested = ""
        self._cut: CutCells | None = None
        self._inspection: Inspection | None = None
        self.view = FieldView(viewer, self)
        self.view.edited.connect(self._on_edited)
        self.view.current_changed.connect(self._show_current)
        self.form = OptionsForm(CutOptions, _OPTIONS)
        self.form.align()
        self.run = TaskRow("Find cells", is_main=False)
        self.run.requested.connect(self.find)
        self.cut = TaskRow("Use as smear")
        self.cut.requested.connect(self.use_as_smear)
        self._build()
        self.run.forget_on(self.form.changed)
        self.cut.forget_on(self.folder.textChanged)
        self._arrange()
        # It binds when it is shown: the session is that of its window.

    @shows_errors
    def open(self, paths: Sequence[StrPath]) -> None:
        """Open fields, or folders of them, in place of those before, and find their cells."""
        self.bind()
        options = self._options = options_of(CutOptions, **self.form.values())
        places = [path_of(str(path)).expanduser() for path in paths]

        def work(progress: OnProgress) -> FoundFields:
            images, problems = open_fields(places, progress=progress)
            return find_in_fields(images, options, problems=problems, progress=progress)

        self.run.start(work, self._on_found)
        self._suggest(places[0])

    @shows_errors
    def open_layers(self) -> None:
        """Take the colour images that are open in this window as fields."""
        images = [
            array_field(np.asarray(layer.data)[..., :3], layer.name, _pixel_size(layer))
            for layer in self._viewer.layers
            if isinstance(layer, Image)
            and layer.rgb
            and layer.ndim == 2
            and not layer.multiscale
            and not is_ours(layer)
        ]
        if not images:
            raise FieldUnreadable("No colour image is open in this window; open a field first.")
        self._fields, self._problems = {image.name: image for image in images}, ()
        self.find()

    @shows_errors
    def find(self) -> None:
        """Find the cells again, with the options as they are now; corrections are dropped."""
        self.bind()
        if not self._fields:
            raise FieldUnreadable("No field is open: open some first.")
        images = list(self._fields.values())
        options = self._options = options_of(CutOptions, **self.form.values())
        self.run.start(lambda progress: find_in_fields(images, options, progress=progress), self._on_found)

    @shows_errors
    def use_as_smear(self) -> None:
        """Write the cells of all fields, as they are corrected, and open them in *Predict patient*."""
        if (out := path_in(self.folder)) is None:
            raise OutputRefused("Choose a folder for the cells first.")
        found = FoundFields(tuple(self._fields[name] for name in self._found), tuple(self._found.values()))
        options = self._options

        def done(cut: CutCells) -> None:
            self._cut = cut
            self.cut.show_message(f"{cut.in_words}. In {cut.folder}")
            open_panel(self._viewer, "Predict patient").smears.open(cut.folder)

        self.cut.start(lambda progress: cut_found(found, out, options, progress=progress), done)

    @property
    def text(self) -> str:
        """What is said of the current cell."""
        return str(self._words.text())

    def on_bound(self) -> None:
        self._session = session_of(self)  # when it unbinds, the panel may be in no window any more
        self._session.changed.connect(self._follow)
        self._follow()

    def on_unbound(self) -> None:
        self._session.changed.disconnect(self._follow)
        self._unfollow()

    def _build(self) -> None:
        self._choice = narrow_combo()
        self._choice.currentIndexChanged.connect(self._show_field)
        actions = {
            "Fields...": self._open_files,
            "Folder of fields...": when_chosen(lambda path: self.open([path]), choose_folder, self, "Folder of fields"),
            "Images of this window": self.open_layers,
        }
        self._about = line()
        chooser = QWidget()
        chooser_grid(chooser, "Field", self._choice, menu_button("Open", actions), self._about)
        self._empty, self._help = line(_EMPTY), line(_HELP)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._picture, self._words = line(), line()
        for one in (self._picture, self._words):
            one.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._words.linkActivated.connect(lambda _: self.go_to_inspected())
        self._picture.setFixedSize(_PREVIEW, _PREVIEW)
        self.adding = QCheckBox("Add a cell with each click", toggled=self.view.add_with_clicks)
        self.folder = QLineEdit(placeholderText="folder for the cells")
        where = folder_row(self.folder, "Write the cells to")
        where.insertWidget(0, QLabel("Write to"))
        preview = row_of(self._picture, self._words, stretch=(self._words,))
        preview.setAlignment(self._picture, Qt.AlignmentFlag.AlignTop)
        self._later = QWidget()
        column_of(self._later, self.adding, self._help, preview, where, self.cut, stretch=(preview,))
        parts = (chooser, self.form, self.run, self._empty, self._later)
        self.lay_out(*parts, stretch=(self._empty, self._later))

    def _arrange(self) -> None:
        self._later.setVisible(bool(self._found))
        self._empty.setVisible(not self._found)
        self._show_counts()
        self._show_current()

    def _on_found(self, found: FoundFields) -> None:
        self._fields = {image.name: image for image in found.images}
        self._found = {one.field: one for one in found.found}
        self._problems = found.problems
        self._choice.blockSignals(True)
        self._choice.clear()
        for name in self._found:
            self._choice.addItem(name, name)
        self._choice.blockSignals(False)
        self._arrange()
        self._show_field()

    def _show_field(self, index: int = 0, then: tuple[float, float] | None = None) -> None:
        """Read the chosen field in a worker, and show it; `then` bring a place into view."""
        name = self._choice.currentData()
        if name not in self._found:
            return
        field = self._fields[name]

        def shown(picture: Picture) -> None:
            self.adding.setChecked(False)
            self.view.show(picture, self._found[name], self._width_um)
            if then is not None:
                self.view.go_to(*then, self._width_um)

        self.run.start(lambda progress: picture_of(field, progress), shown)

    def _on_edited(self) -> None:
        if (name := self.view.field) is not None:
            self._found[name] = replace(self._found[name], cells=self.view.cells)
            self._show_counts()
            self._show_current()

    def _show_counts(self) -> None:
        found = list(self._found.values())
        if not found:
            self._about.setText("none open")
            return
        count = sum(len(one.cells) for one in found)
        scales = dict.fromkeys(one.scale.in_words for one in found)
        words = f"{counted(count, 'cell')} in {counted(len(found), 'field')}; " + "; ".join(scales)
        left_out = f"{counted(len(self._problems), 'field')} left out: {' '.join(self._problems[:2])}"
        self._about.setText(plain(words) + (f"<br>{as_error(left_out)}" if self._problems else ""))

    def _show_current(self) -> None:
        """Show what would be cut out around the selected cell."""
        cell, name = self.view.current, self.view.field
        if cell is None or name is None:
            self._picture.clear()
            self._words.setText("Select a square, to see the cell as it is cut out." if self._found else "")
            return
        found = self._found[name]
        side = self._width_um / found.scale.pixel_size_um
        self._show_crop(self._fields[name], cell, side)
        by_hand = cell.nucleus_um2 is None
        sure = "placed by you" if by_hand else f"confidence {cell.confidence:.2f}"
        size = "" if by_hand else f", {cell.diameter_um(found.scale.pixel_size_um):.1f} &#181;m wide"
        border = "" if is_whole(cell, found, side) else "<br><b>Near the border: it is left out.</b>"
        self._words.setText(f"{sure}{size}<br>x {cell.x_px:.0f}, y {cell.y_px:.0f} pixels{border}")

    def _show_crop(self, field: FieldImage, cell: FoundCell, side: float) -> None:
        try:
            self._picture.setPixmap(pixmap(crop(field, cell, side), side=_PREVIEW))
        except FieldUnreadable as error:
            self._picture.setText(plain(str(error), width=18))

    @property
    def _width_um(self) -> float:
        return self._options.width_um

    def _suggest(self, place: Path) -> None:
        """Suggest a folder for the cells beside the fields, unless the user has chosen one."""
        folder = place if place.is_dir() else place.parent
        preferences().folder = printable(str(folder.parent))
        if self.folder.text() == self._suggested:
            self._suggested = printable(str(folder.with_name(f"{folder.name}_cells")))
            self.folder.setText(self._suggested)

    def _open_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Fields of one patient", str(preferences().folder))
        if names:
            self.open(names)

    def _follow(self) -> None:
        """Follow the cells under inspection, if they were cut here."""
        self._unfollow()
        shown, cut = self._session.inspection, self._cut
        if shown is None or shown.smear is None or cut is None or shown.smear.path != cut.folder:
            return
        self._inspection = shown
        shown.cells.selection_changed.connect(self._show_inspected)

    def _unfollow(self) -> None:
        if self._inspection is not None:
            self._inspection.cells.selection_changed.disconnect(self._show_inspected)
            self._inspection = None

    def _place_of_inspected(self) -> tuple[str, float, float] | None:
        """The field of the cell under inspection, and where in it the cell is: x and y, in pixels."""
        shown, cut = self._inspection, self._cut
        if shown is None or cut is None or (index := shown.cells.current) is None:
            return None
        return cut.place_of(shown.prediction.cells[index])

    def _show_inspected(self) -> None:
        """Say in which field the cell lies that is selected in another panel."""
        place, shown = self._place_of_inspected(), self._inspection
        if place is None or shown is None or shown.cells.current is None:
            return
        field, x, y = place
        rank = shown.prediction.ranks[shown.cells.current]
        if field in self._found:
            around = FoundCell(x, y, 0, 0, 1)
            self._show_crop(self._fields[field], around, 3 * self._width_um / self._found[field].scale.pixel_size_um)
            self._words.setText(f"#{rank} lies in {plain(field)}, x {x:.0f}, y {y:.0f}. {link('Show it there')}")

    def go_to_inspected(self) -> None:
        """Show the cell that is selected in another panel where it lies in its field."""
        if (place := self._place_of_inspected()) is None:
            return
        field, x, y = place
        if field == self.view.field:
            self.view.go_to(x, y, self._width_um)
            return
        self._choice.blockSignals(True)
        self._choice.setCurrentIndex(self._choice.findData(field))
        self._choice.blockSignals(False)
        self._show_field(then=(x, y))


def _pixel_size(layer: Image) -> float | None:
    is_known = all(str(unit) in ("micrometer", "um", "\u00b5m") for unit in layer.units)
    return float(layer.scale[-1]) if is_known else None
