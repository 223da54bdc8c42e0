"""One prediction as a person reads it: diagnosis, malignancy, hemoglobin, warnings, and the swarm of its cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QSizePolicy, QVBoxLayout, QWidget

from napari_caltomorph.diagnose import NO_ATTENTION, Prediction
from napari_caltomorph.plugin.cell_card import CellCard
from napari_caltomorph.plugin.parts import counted, line, plain
from napari_caltomorph.plugin.theme import WARNING, colored
from napari_caltomorph.report import (
    Look,
    draw_attention_swarm,
    draw_hemoglobin,
    draw_malignancy,
    draw_probabilities,
)
from napari_caltomorph.smear import Smear

_BARS_HEIGHT = 262
_NAMES_WIDTH = 134
_NUMBERS_WIDTH = 40
_SWARM_HEIGHT = 150
# A click this far from a dot, in pixels, still means it.
_REACH = 12
_BARS_TIP = "Bar: the mean of the members' probabilities. Dot: one member; far-apart dots are members that disagree."
_CALIBRATED_BARS_TIP = (
    "Bar: the mean of the members' probabilities, calibrated. Dot: one member at the same temperature; far-apart dots "
    "are members that disagree. The bar need not end at the mean of its dots."
)
_MALIGNANCY_TIP = (
    "Sum of the probabilities of the malignant classes. Red from the threshold (the tick) on, green below."
)
_HEMOGLOBIN_TIP = (
    "Estimated from the cells, in g/dl. The line, where there is one, says how far off it was on patients never seen."
)
_SWARM_TITLE = "<b>Cells by attention</b>, coloured by the model's response to each cell alone"
_SWARM_TIP = (
    "Each dot is a cell. Right of 1x the network attended to it more than to an average cell; its colour is the class "
    "it answers with to that cell alone. Click a dot to see its cell."
)


class ResultView(QWidget):
    """Shows one `Prediction`; `cell_chosen` carries the position (rank - 1) of a dot that was clicked."""

    cell_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._prediction: Prediction | None = None
        self._smear: Smear | None = None
        self._look = Look()
        self._position: int | None = None
        self._tips: list[tuple[Axes, str]] = []
        self._patient = line()
        self._headline = line()
        self._second = line()
        self.bars = _canvas(_BARS_HEIGHT)
        self._notes = line()
        self._warnings = line()
        self._warnings.setStyleSheet(f"color: {WARNING}")
        self._swarm_title = line()
        self._swarm = _canvas(_SWARM_HEIGHT)
        self._swarm.setToolTip(_SWARM_TIP)
        self.bars.mpl_connect("resize_event", lambda _: self.draw(self._look))
        self.bars.mpl_connect("motion_notify_event", self._on_hover)
        self._swarm.mpl_connect("button_press_event", self._on_swarm_click)
        self._card = CellCard()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 6, 0)
        column.setSpacing(4)
        for widget in (
            self._patient,
            self._headline,
            self._second,
            self._warnings,
            self.bars,
            self._notes,
            _rule(),
            self._swarm_title,
            self._swarm,
            self._card,
        ):
            column.addWidget(widget)
        column.addStretch()

    @property
    def prediction(self) -> Prediction | None:
        """What is shown."""
        return self._prediction

    def show_prediction(self, prediction: Prediction, smear: Smear | None, look: Look) -> None:
        """Show a prediction; without its smear, cells have numbers and no picture."""
        self._prediction, self._smear, self._position = prediction, smear, None
        self._patient.setText(f"<b>{plain(prediction.patient_id)}</b>")
        (first, p), (second, q) = prediction.top(2)
        color = prediction.taxonomy.colors[prediction.taxonomy.names.index(first)]
        diagnosis = f"{colored('&#9632;', color)} <b>{plain(first)}</b> {p:.2f}"
        self._headline.setText(f"<span style='font-size:15pt'>{diagnosis}</span>")
        self._second.setText(f"then {plain(second)} {q:.2f} (difference {prediction.delta_probability:.2f})")
        self._notes.setText(_notes(prediction))
        self._warnings.setVisible(bool(prediction.warnings))
        lines = "".join(f"<br>&bull; {plain(warning)}" for warning in prediction.warnings)
        self._warnings.setText(f"<b>! {counted(len(prediction.warnings), 'warning')}</b>{lines}")
        self._swarm_title.setText(_SWARM_TITLE if prediction.has_attention else plain(NO_ATTENTION))
        self._swarm.setVisible(prediction.has_attention)
        self._card.clear()
        self.draw(look)

    def draw(self, look: Look) -> None:
        """Draw the figures in these colours."""
        self._look = look
        if self._prediction is None:
            return
        self._draw_bars(self._prediction)
        self._draw_swarm(self._prediction)

    def select(self, position: int) -> None:
        """Show one cell, and ring its dot."""
        if self._prediction is None:
            return
        self._position = position
        self._card.show_cell(self._prediction, self._smear, position)
        self._draw_swarm(self._prediction)

    @property
    def card_text(self) -> str:
        """What is said about the selected cell."""
        return self._card.text

    @property
    def card(self) -> QWidget:
        """The widget that shows the selected cell, for scrolling to it."""
        return self._card

    def _draw_bars(self, prediction: Prediction) -> None:
        figure = self.bars.figure
        figure.clear()
        has_hemoglobin = prediction.hemoglobin is not None
        heights = [8, 1.6, 1.6] if has_hemoglobin else [8, 1.6]
        # The class names and the numbers need their pixels, however wide the panel is.
        width = self.bars.width()
        left, right = _NAMES_WIDTH / width, 1 - _NUMBERS_WIDTH / width
        grid = figure.add_gridspec(
            len(heights), 1, height_ratios=heights, hspace=0.36, left=left, right=right, top=0.99, bottom=0.07
        )
        drawn = [
            (draw_probabilities, _CALIBRATED_BARS_TIP if prediction.calibrated else _BARS_TIP),
            (draw_malignancy, _MALIGNANCY_TIP),
            (draw_hemoglobin, _HEMOGLOBIN_TIP),
        ]
        self._tips = []
        for place, (draw, tip) in zip(grid, drawn, strict=False):
            axes = figure.add_subplot(place)
            draw(axes, prediction, self._look)
            self._tips.append((axes, tip))
        self.bars.draw_idle()

    def _on_hover(self, event: Any) -> None:
        """Explain the row under the mouse, its name and its number included."""
        self.bars.setToolTip(next((tip for axes, tip in self._tips if axes.bbox.y0 <= event.y <= axes.bbox.y1), ""))

    def _draw_swarm(self, prediction: Prediction) -> None:
        figure = self._swarm.figure
        figure.clear()
        axes = figure.add_axes((0.03, 0.26, 0.94, 0.72))
        self._dots = draw_attention_swarm(axes, prediction, self._look)
        if self._position is not None and prediction.has_attention:
            x, y = np.asarray(self._dots.get_offsets())[prediction.order[self._position]]
            axes.scatter([x], [y], s=70, facecolor="none", edgecolor=self._look.text, linewidth=1.5)
        self._swarm.draw_idle()

    def _on_swarm_click(self, event: object) -> None:
        axes = getattr(event, "inaxes", None)
        if axes is None or self._prediction is None or not self._prediction.has_attention:
            return
        places = axes.transData.transform(self._dots.get_offsets())
        distances = np.hypot(*(places - (event.x, event.y)).T)  # type: ignore[attr-defined]
        nearest = int(distances.argmin())
        if distances[nearest] <= _REACH * self._swarm.device_pixel_ratio:
            self.cell_chosen.emit(int(self._prediction.ranks[nearest]) - 1)


def _notes(prediction: Prediction) -> str:
    threshold = prediction.threshold
    where = f", on {threshold.cohort}" if threshold.cohort else ""
    notes = [f"Malignancy threshold {threshold.value:g}: {plain(threshold.rule + where)}."]
    error, interval = prediction.hemoglobin_error, prediction.hemoglobin_range
    if error is not None and interval is not None:
        notes.append(
            f"Hemoglobin: as far off as on {error.level:.0%} of {error.patients} unseen patients, it is "
            f"{interval[0]:.1f} to {interval[1]:.1f} g/dl."
        )
    if prediction.calibration is None:
        notes.append("Probabilities are raw, not calibrated.")
    else:
        notes.append(f"Probabilities are calibrated: {plain(prediction.calibration.in_words)}.")
        notes.append(f"Not excluded: {plain(prediction.prediction_set_in_words or '')}.")
    left_out = f", {len(prediction.left_out)} left out" if prediction.left_out else ""
    made = ", a synthetic model: it knows drawn cells only" if prediction.synthetic else ""
    notes.append(f"{counted(len(prediction.cells), 'cell')}{left_out}. Model {plain(prediction.model_name)}{made}.")
    return "<span style='font-size:8pt'>" + "<br>".join(notes) + "</span>"


def _canvas(height: int) -> FigureCanvasQTAgg:
    canvas = FigureCanvasQTAgg(Figure())
    canvas.setFixedHeight(height)
    canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    canvas.setMinimumWidth(300)
    return canvas


def _rule() -> QFrame:
    rule = QFrame()
    rule.setFrameShape(QFrame.Shape.HLine)
    return rule
