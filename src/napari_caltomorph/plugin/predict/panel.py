"""The *Predict patient* panel: choose a smear and a model, predict, and read the result."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import napari
from napari.layers import Image, Layer
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QCheckBox, QPushButton, QWidget

from napari_caltomorph.differential import BLOOD_CELLS, load_probe
from napari_caltomorph.encoding.options import EncodeOptions
from napari_caltomorph.plugin.gallery.gallery import Gallery
from napari_caltomorph.plugin.gallery.layers import ranked_order
from napari_caltomorph.plugin.gallery.pictures import CellPictures, read_pictures
from napari_caltomorph.plugin.predict.result_view import ResultView, mismatch_note
from napari_caltomorph.plugin.predict.review_row import ReviewRow
from napari_caltomorph.plugin.predict.save import SaveButtons
from napari_caltomorph.plugin.predict.work import Predicted, open_saved, predict_cells, predict_features
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.session.session import session_of
from napari_caltomorph.plugin.session.undiagnosed import UndiagnosedCells
from napari_caltomorph.plugin.widgets.dock_panel import DockPanel, open_panel
from napari_caltomorph.plugin.widgets.model_chooser import ModelChooser
from napari_caltomorph.plugin.widgets.parts import WARNING, column_of, line, row_of, scroll_area
from napari_caltomorph.plugin.widgets.settings import preferences
from napari_caltomorph.plugin.widgets.smear_chooser import SmearChooser
from napari_caltomorph.plugin.widgets.task_row import TaskRow, shows_errors
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.smear import Smear, check_smear
from napari_caltomorph.storage import StrPath

_EMPTY = (
    "Open the folder that the scanner exported for one patient, or a synthetic smear from "
    "<i>File &#8594; Open Sample &#8594; cAItomorph</i>, then click <b>Predict patient</b>. "
    "<b>Count cell types</b> needs no diagnosis."
)
_NAMES_WIDTH = 75  # "Malignant" needs it; so both choosers begin in one column
_READY = "Click <b>Predict patient</b>, or <b>Count cell types</b>, which needs no diagnosis."
_UNDIAGNOSED = "This smear is not diagnosed: its cells are shown, and counted in <i>Inspect cells</i>."


class PredictPanel(DockPanel):
    """Choose a smear and a model, predict, and read the result."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.inspection: Inspection | None = None
        self._gallery: Gallery | None = None
        self.smears = SmearChooser(viewer)
        tip = "Count the cells by type, with a diagnosis or without: opens the tab Differential of Inspect cells"
        self.counter = QPushButton("Count cell types", toolTip=tip, clicked=lambda: self.count_cells())
        self.counter.setStyleSheet("QPushButton { padding: 9px 8px; }")  # as high as the main button
        self.run = TaskRow("Predict patient", beside=self.counter)
        self.run.requested.connect(self.predict)
        self.run.failed.connect(self._forget_predictor)
        self.smears.problem.connect(self.run.show_error)
        self.smears.prediction_chosen.connect(self.open_prediction)
        self.smears.bag_chosen.connect(self.predict_bag)
        self.models = ModelChooser()
        for changed in (self.smears.changed, self.models.changed):
            changed.connect(self._on_choice)
        self.run.forget_on(self.smears.changed, self.models.changed)
        self.results = ResultView()
        # The card takes its new height only when the layout has run.
        self._reveal = QTimer(self, singleShot=True, interval=0, timeout=self._scroll_to_card)
        self._build()
        self.bind()

    @shows_errors
    def predict(self) -> None:
        """Predict the chosen smear; a prediction that still runs is cancelled first, and its result is dropped."""
        self.bind()
        layer, smear, options = self.smears.layer, self.smears.smear(), self.models.options()
        if smear is None or layer is None:
            self.run.show_error("There is no smear yet: open one, or a sample.")
            return
        self.smears.stop_checking()
        work = partial(predict_cells, session_of(self), options, smear)
        self.run.start(work, partial(self._show_result, layer))

    @shows_errors
    def predict_layer(self, layer: Layer | None) -> None:
        """Predict the smear of a layer of the viewer."""
        self.bind()
        self.smears.choose(layer)
        self.predict()

    @shows_errors
    def predict_bag(self, path: StrPath) -> None:
        """Predict cells that were encoded before: a feature file. It has no images, so there are no layers."""
        file, options = Path(path).absolute(), self.models.options()
        work = partial(predict_features, session_of(self), options, file)
        self.run.start(work, partial(self._show_result, None))

    def open_prediction(self, path: StrPath) -> None:
        """Show a saved prediction, with its layers if its smear still exists."""
        self.run.start(partial(open_saved, Path(path)), partial(self._show_result, None))

    def review_prediction(self, path: StrPath) -> None:
        """Show a saved prediction, with the keyboard in the row for its review."""

        def show(predicted: Predicted) -> None:
            self._show_result(None, predicted)
            self.review.begin()

        self.run.start(partial(open_saved, Path(path)), show)

    def predict_smear(self, smear: Smear, model: str) -> None:
        """Show a smear, and predict it with an installed model or a model folder."""
        self.models.choose(model)
        self.smears.show_smear(smear)
        self.predict()

    @shows_errors
    def count_cells(self, probe: StrPath = BLOOD_CELLS, compute: EncodeOptions | None = None) -> None:
        """Count the cells of the chosen smear by type with a probe; one that is not diagnosed is shown first."""
        self.bind()
        layer, smear, chosen = self.smears.layer, self.smears.smear(), load_probe(probe)
        if smear is None or layer is None:
            self.run.show_error("There is no smear yet: open one, or a sample.")
            return
        if self._is_shown(smear):
            self.inspect().tab("Differential").count_with(chosen)
            return
        self.smears.stop_checking()
        options = self.models.chosen()
        if compute is not None:
            options = options.model_copy(update=compute.model_dump(exclude={"encoder", "weights"}))

        def work(progress: OnProgress) -> tuple[Smear, CellPictures]:
            graded = check_smear(smear, progress=progress) if smear.grades is None else smear
            return graded, read_pictures(graded, graded.usable, progress=progress)

        def show(found: tuple[Smear, CellPictures]) -> None:
            graded, pictures = found
            self.smears.keep(layer, graded)
            self._show(Inspection(UndiagnosedCells.of(graded), graded, options=options), pictures)
            self.inspect().tab("Differential").count_with(chosen)

        self.run.start(work, show)

    def _is_shown(self, smear: Smear) -> bool:
        """Whether a diagnosis of a smear is shown, or the same cells of it without one."""
        if self.inspection is None or smear.grades is None:
            return False
        cells = UndiagnosedCells.of(smear)
        if self.inspection.is_diagnosed:
            return self.inspection.bag.smear_fingerprint == cells.smear_fingerprint
        return self.inspection.bag == cells

    def inspect(self) -> Any:
        """Open *Inspect cells* next to this panel, and return it."""
        return open_panel(self._viewer, "Inspect cells")

    def choose_cell(self, position: int) -> None:
        """Select the cell at a position (rank - 1), here and everywhere."""
        if self.inspection is not None:
            self.inspection.cells.select([int(self.inspection.prediction.order[position])], reveal=True)

    def _build(self) -> None:
        self._empty = line(_EMPTY)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.as_stack = QCheckBox("One cell at a time", toggled=self._on_as_stack)
        self.as_stack.setToolTip("Scroll through the same cells, most attended first, with the slider of the viewer")
        tip = "Sort, filter, mark and leave out cells, and explain the prediction"
        inspect = QPushButton("Inspect ...", toolTip=tip, clicked=self.inspect)
        self.saving = SaveButtons(self.run, lambda: self.inspection)
        self.review = ReviewRow(self.saving.choose_folder)
        self._scroll = scroll_area(self.results)
        self._scroll.hide()
        self._scroll.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.review.hide()
        self._tools = QWidget(visible=False)
        tools = row_of(self.as_stack)
        tools.addWidget(inspect)
        tools.addWidget(self.saving)
        tools.setSpacing(2)
        column_of(self._tools, tools)
        self.mismatch = line()
        self.mismatch.setStyleSheet(f"color: {WARNING}")
        self.mismatch.hide()
        for chooser in (self.smears, self.models):
            chooser.layout().setColumnMinimumWidth(0, _NAMES_WIDTH)
        choosers, shown = (self.smears, self.models, self.run, self.mismatch), (self._empty, self._scroll)
        self.lay_out(*choosers, *shown, self.review, self._tools, stretch=shown)

    def on_bound(self) -> None:
        self.smears.bind()
        self.models.bind()
        self._follow()

    def on_unbound(self) -> None:
        self.smears.unbind()
        self.models.unbind()
        self._unfollow()

    def draw(self, style: PlotStyle) -> None:
        self.results.draw(style)

    def showEvent(self, event: QEvent) -> None:
        super().showEvent(event)
        QTimer.singleShot(0, self._take_up)

    def _show_result(self, layer: Image | None, predicted: Predicted) -> None:
        if layer is not None and predicted.smear is not None:
            self.smears.keep(layer, predicted.smear)
        if predicted.folder is not None:
            session_of(self).reviews.set_folder(predicted.prediction, predicted.folder)
        options = self.models.chosen()
        shown = Inspection(predicted.prediction, predicted.smear, options=options, predictor=predicted.predictor)
        self._show(shown, predicted.pictures)
        self.run.show_error(predicted.problem)

    def _take_up(self) -> None:
        """Show what a panel that was closed, or another one, left under inspection in this window."""
        shown = session_of(self).inspection
        if shown is None or self.inspection is not None or self.run.is_busy:
            return
        if (smear := shown.smear) is None:
            self._show(shown, None)
            return
        order = ranked_order(smear, shown.bag)
        self.run.start(lambda progress: read_pictures(smear, order, progress=progress), partial(self._show, shown))

    def _show(self, inspection: Inspection, pictures: CellPictures | None) -> None:
        self.as_stack.setChecked(False)
        self._unfollow()
        if self._gallery is not None:
            self._gallery.close()
            self._gallery = None
        self.inspection = inspection
        if pictures is not None:
            inspection.gallery.legend = preferences().legend
            self._gallery = Gallery(self._viewer, inspection, pictures)
            self._gallery.changed.connect(self._on_layers_changed)
        session_of(self).show(inspection)
        self._on_layers_changed()
        self._empty.setText(_UNDIAGNOSED)
        self._empty.setVisible(not inspection.is_diagnosed)
        for widget in (self._scroll, self.review):
            widget.setVisible(inspection.is_diagnosed)
        self._tools.show()
        self.saving.setEnabled(inspection.is_diagnosed)
        self._follow()
        self._scroll.verticalScrollBar().setValue(0)
        self._show_mismatch()

    def _on_choice(self) -> None:
        if self.inspection is None:
            self._empty.setText(_EMPTY if self.smears.smear() is None else _READY)
        self._show_mismatch()

    def _show_mismatch(self) -> None:
        shown = self.inspection.prediction if self.inspection is not None and self.inspection.is_diagnosed else None
        note = mismatch_note(shown, self.smears.smear(), self.models.description, self.models.chosen())
        self.mismatch.setText(note)
        self.mismatch.setVisible(bool(note))

    def _follow(self) -> None:
        """Show what is inspected, and what is selected and left out of it in any panel."""
        if self.inspection is not None and self.inspection.is_diagnosed:
            self.inspection.cells.selection_changed.connect(self._on_selection)
            self.results.draw(self.plot_style)
            self.results.show_inspection(self.inspection)
            self.review.review(self.inspection, session_of(self).reviews)

    def _unfollow(self) -> None:
        if self.inspection is not None and self.inspection.is_diagnosed:
            self.inspection.cells.selection_changed.disconnect(self._on_selection)
            self.results.close_inspection()
            self.review.close_inspection()

    def _on_selection(self) -> None:
        self._reveal.start()

    def _scroll_to_card(self) -> None:
        self._scroll.ensureWidgetVisible(self.results.card)

    def _on_layers_changed(self) -> None:
        """Layers may be deleted by hand, or replaced from another panel."""
        gallery = self._gallery
        self.as_stack.setChecked(gallery is not None and gallery.has_stack)
        self.as_stack.setEnabled(gallery is not None and (gallery.is_shown or gallery.has_stack))

    def _forget_predictor(self) -> None:
        """Release the models: a device that ran out of memory needs it back."""
        session_of(self).predictor = None

    def _on_as_stack(self, is_on: bool) -> None:
        if self._gallery is not None:
            self._gallery.show_as_stack(is_on)
