"""One prediction as a person reads it: diagnosis, malignancy, hemoglobin, warnings, and the swarm of its cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from qtpy.QtWidgets import QFrame, QWidget

from napari_caltomorph.diagnosis import (
    NO_ATTENTION,
    NO_CLASS,
    NO_PREDICTION,
    ModelDescription,
    Prediction,
    PredictOptions,
    read_policy,
)
from napari_caltomorph.errors import PolicyUnreadable, counted
from napari_caltomorph.plugin.session.cell_columns import BY_CLASS, BY_LABEL, BY_TYPE
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.widgets.canvas import FigureCanvas
from napari_caltomorph.plugin.widgets.cell_card import CellCard
from napari_caltomorph.plugin.widgets.cell_plot import CellPlot
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import WARNING, colored, column_of, line, link, plain, reveal
from napari_caltomorph.report import attention_swarm, draw_hemoglobin, draw_malignancy, draw_probabilities
from napari_caltomorph.smear import Smear

_BARS_HEIGHT = 230
_NAMES_MARGIN, _NUMBERS_WIDTH = 12, 40
_BARS_TIP = "Bar: the mean of the members' probabilities. Dot: one member; if dots are far apart, members disagree."
_CALIBRATED_BARS_TIP = (
    "Bar: the mean of the members' probabilities, calibrated. Dot: one member at the same temperature; far-apart dots "
    "are members that disagree. The bar may differ from the mean of its dots."
)
_MALIGNANCY_TIP = (
    "Sum of the probabilities of the malignant classes. Red from the threshold (the tick) on, green below."
)
_HEMOGLOBIN_TIP = "Estimated from the cells, in g/dl. The line, if there is one, shows the error; see the note below."
_COLORED_BY = {
    BY_CLASS: "the model's response to each cell alone",
    BY_LABEL: "their labels",
    BY_TYPE: "the types that the differential counts",
}
_SWARM_TIP = (
    "Each dot is a cell. Right of 1x, the cell received more attention than an average cell. Its colour is the class "
    "that the model predicts for that cell alone. Click a dot to see its cell, or draw around dots to select cells."
)


class ResultView(InspectionView):
    """Shows one `Inspection`."""

    def __init__(self) -> None:
        super().__init__()
        self._tips: list[tuple[Axes, str]] = []
        self._patient = line()
        self._headline = line()
        self._second = line()
        self._what_if = line()
        self._what_if.setStyleSheet(f"color: {WARNING}")
        self.bars = FigureCanvas(_BARS_HEIGHT)
        self._notes = line()
        self._warnings = line()
        self._warnings.setStyleSheet(f"color: {WARNING}")
        self._swarm_title = line()
        self.swarm = CellPlot()
        self.swarm.setToolTip(_SWARM_TIP)
        self.bars.setMinimumWidth(300)
        self.bars.mpl_connect("resize_event", lambda _: self._on_resized())
        self.bars.mpl_connect("motion_notify_event", self._on_hover)
        self._card = CellCard()
        self._patient.linkActivated.connect(lambda _: reveal(self._warnings))
        texts = (self._patient, self._headline, self._second, self._what_if)
        rule = QFrame(frameShape=QFrame.Shape.HLine)
        below = (self._warnings, self._notes, rule, self._swarm_title, self.swarm, self._card)
        column_of(self, *texts, self.bars, *below, stretch=(self.swarm,), spacing=2)
        self.layout().setContentsMargins(0, 0, 6, 0)
        self.layout().addStretch()

    @property
    def prediction(self) -> Prediction | None:
        """What is shown: the result without the cells that are left out."""
        return None if self.inspection is None else self.inspection.result

    def on_inspection(self) -> None:
        if self.inspection is None:
            return
        self._card.show_current(self.inspection)
        self._show_coloring(self.inspection)
        self.swarm.setVisible(self.inspection.prediction.has_attention)
        self.on_result()
        self.on_look()

    def on_result(self) -> None:
        prediction = self.prediction
        if prediction is None:
            return
        warnings = f"! {counted(len(prediction.warnings), 'warning')}"
        # Their number is seen without scrolling.
        shown = f" &#183; <b>{link(warnings, color=WARNING)}</b>" if prediction.warnings else ""
        self._patient.setText(f"<b>{plain(prediction.patient_id)}</b>{shown}")
        first, p = prediction.top(1)[0]
        diagnosis = f"<b>{NO_PREDICTION if prediction.withheld else NO_CLASS}</b>"
        if prediction.class_color is not None:
            diagnosis = f"{colored('&#9632;', prediction.class_color)} <b>{plain(first)}</b> {p:.2f}"
        self._headline.setText(f"<span style='font-size:15pt'>{diagnosis}</span>")
        self._second.setText(plain(prediction.lead_in_words))
        self.bars.setHidden(bool(prediction.withheld))
        outlined = " (outlined)" if prediction.shown_original is not None else ""
        self._what_if.setVisible(prediction.original is not None)
        self._what_if.setText(f"<b>What if:</b> {plain(prediction.original_in_words or '')}{outlined}.")
        self._notes.setText(_notes(prediction))
        self._warnings.setVisible(bool(prediction.warnings))
        lines = "".join(f"<br>&bull; {plain(warning)}" for warning in prediction.warnings)
        self._warnings.setText(f"<b>{warnings}</b>{lines}")
        self._draw_bars(prediction)

    def on_look(self) -> None:
        if self.inspection is None:
            return
        self._draw_bars(self.inspection.result)
        if self.inspection.prediction.has_attention:
            swarm = attention_swarm(self.inspection.prediction, self.plot_style)
            self.swarm.show_cells(self.inspection, swarm, self.plot_style)

    def on_selection(self) -> None:
        if self.inspection is not None:
            self._card.show_current(self.inspection)
            self.swarm.show_selection()

    def on_order(self) -> None:
        self.swarm.show_state()

    def on_edits(self) -> None:
        self.swarm.show_state()
        self.on_selection()

    def on_colors(self) -> None:
        self.swarm.show_state()
        if self.inspection is not None:
            self._show_coloring(self.inspection)

    @property
    def card_text(self) -> str:
        """The text about the selected cell."""
        return self._card.text

    @property
    def card(self) -> QWidget:
        """The widget that shows the selected cell, for scrolling to it."""
        return self._card

    def _show_coloring(self, inspection: Inspection) -> None:
        colored_by = f"coloured by {_COLORED_BY[inspection.coloring]}"
        if inspection.coloring == BY_CLASS and not inspection.shows_classes:
            colored_by = "without their classes, as the prediction is withheld"
        title = f"<b>Cells by attention</b>, {colored_by}"
        self._swarm_title.setText(title if inspection.prediction.has_attention else plain(NO_ATTENTION))

    def _draw_bars(self, prediction: Prediction) -> None:
        figure, self._tips = self.bars.figure, []
        figure.clear()
        if prediction.withheld:  # nor is a picture of its numbers kept
            return
        has_hemoglobin = prediction.hemoglobin is not None
        # In rows of the classes; the text below "Malignant" needs the larger of the two gaps.
        heights = [8, 0.3, 1.6, 1.3, 1.6] if has_hemoglobin else [8, 0.3, 1.6]
        grid = figure.add_gridspec(len(heights), 1, height_ratios=heights, hspace=0)
        drawn = [
            (draw_probabilities, _CALIBRATED_BARS_TIP if prediction.calibrated else _BARS_TIP),
            (draw_malignancy, f"{_MALIGNANCY_TIP} {prediction.malignancy_in_words}."),
            (draw_hemoglobin, _HEMOGLOBIN_TIP),
        ]
        for row, (draw, tip) in zip(range(0, len(heights), 2), drawn, strict=False):
            axes = figure.add_subplot(grid[row])
            draw(axes, prediction, self.plot_style)
            self._tips.append((axes, tip))
        # The names, one of which is bold, and the numbers need their pixels, however wide the panel is.
        width, renderer = self.bars.width(), self.bars.get_renderer()
        names = [label.get_window_extent(renderer).width for axes in figure.axes for label in axes.get_yticklabels()]
        needed = min(max(names) / self.bars.device_pixel_ratio + _NAMES_MARGIN, width / 2)
        figure.subplots_adjust(left=needed / width, right=1 - _NUMBERS_WIDTH / width, top=0.99, bottom=0.08)
        self.bars.draw_idle()

    def _on_resized(self) -> None:
        if self.inspection is not None:
            self._draw_bars(self.inspection.result)

    def _on_hover(self, event: Any) -> None:
        """Explain the row under the mouse, its name and its number included."""
        self.bars.setToolTip(next((tip for axes, tip in self._tips if axes.bbox.y0 <= event.y <= axes.bbox.y1), ""))


def _notes(prediction: Prediction) -> str:
    notes = [] if prediction.withheld else _numbers_in_words(prediction)
    if prediction.policy is not None:
        notes.append(f"Policy {plain(str(prediction.policy))}.")
    left_out = f", {len(prediction.left_out)} left out" if prediction.left_out else ""
    made = ", trained on synthetic cells only" if prediction.synthetic else ""
    notes.append(f"{counted(len(prediction.cells), 'cell')}{left_out}. Model {plain(prediction.model_name)}{made}.")
    return "<span style='font-size:8pt'>" + "<br>".join(notes) + "</span>"


def _numbers_in_words(prediction: Prediction) -> list[str]:
    notes = [f"Malignant {plain(prediction.malignancy_in_words)} ({plain(prediction.shown_threshold.in_words)})."]
    if prediction.hemoglobin_in_words is not None:
        notes.append(f"Hemoglobin {plain(prediction.hemoglobin_in_words)}.")
    notes.append(f"{plain(prediction.probabilities_in_words)}.")
    if prediction.prediction_set_in_words is not None:
        notes.append(f"Not excluded: {plain(prediction.prediction_set_in_words)}.")
    return notes


def mismatch_note(
    prediction: Prediction | None, smear: Smear | None, model: ModelDescription | None, options: PredictOptions
) -> str:
    """Return, in HTML, whether a result is of another smear, model, prevalence or policy than is chosen, or empty."""
    if prediction is None:
        return ""
    changed = []
    if smear is not None and _is_other(smear, prediction):
        changed.append("smear")
    elif smear is not None and smear.grades is not None and _used(smear) != set(prediction.cells):
        changed.append("choice of cells")
    if model is not None and _is_other_model(model, prediction):
        changed.append("model")
    elif model is not None and prediction.prevalence is not None and prediction.prevalence.stated != options.prevalence:
        changed.append("prevalence")
    if _is_other_policy(options.policy, prediction):
        changed.append("policy")
    if not changed:
        return ""
    others = " and another ".join(changed)
    return f"<b>Below is the result of {plain(prediction.patient_id)}; another {others} is chosen. Predict again.</b>"


def _is_other(smear: Smear, prediction: Prediction) -> bool:
    if smear.grades is None:
        return smear.patient_id != prediction.patient_id
    return smear.fingerprint != prediction.smear_fingerprint


def _is_other_model(model: ModelDescription, prediction: Prediction) -> bool:
    # The threshold may be edited, and is in no fingerprint.
    return model.fingerprint != prediction.model_fingerprint or model.threshold != prediction.threshold


def _is_other_policy(file: Path | None, prediction: Prediction) -> bool:
    try:
        return prediction.policy != (None if file is None else read_policy(file))
    except PolicyUnreadable:
        return True


def _used(smear: Smear) -> set[str]:
    return {smear.cells[i] for i in smear.usable}
