"""One prediction as a person reads it: diagnosis, malignancy, hemoglobin, warnings, and the swarm of its cells."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QSizePolicy, QVBoxLayout, QWidget

from napari_caltomorph.diagnose import Prediction
from napari_caltomorph.plugin.cell_card import CellCard
from napari_caltomorph.plugin.parts import line
from napari_caltomorph.plugin.theme import WARNING
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


class ResultView(QWidget):
    """Shows one `Prediction`; `cell_chosen` carries the position (rank - 1) of a dot that was clicked."""

    cell_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._prediction: Prediction | None = None
        self._smear: Smear | None = None
        self._look = Look()
        self._headline = line()
        self._second = line()
        self.bars = _canvas(_BARS_HEIGHT)
        self._notes = line()
        self._warnings = line()
        self._warnings.setStyleSheet(f"color: {WARNING}")
        self._swarm_title = line()
        self._swarm = _canvas(_SWARM_HEIGHT)
        self.bars.mpl_connect("resize_event", lambda _: self.draw(self._look))
        self._swarm.mpl_connect("button_press_event", self._on_swarm_click)
        self._card = CellCard()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 6, 0)
        column.setSpacing(4)
        for widget in (
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
        self._prediction, self._smear = prediction, smear
        (first, p), (second, q) = prediction.top(2)
        color = prediction.taxonomy.colors[prediction.taxonomy.names.index(first)]
        self._headline.setText(
            f"<span style='font-size:15pt'><span style='color:{color}'>&#9632;</span> <b>{first}</b> {p:.2f}</span>"
        )
        self._second.setText(f"then {second} {q:.2f} (difference {prediction.delta_probability:.2f})")
        self._notes.setText(_notes(prediction))
        count = len(prediction.warnings)
        self._warnings.setVisible(count > 0)
        lines = "".join(f"<br>&bull; {warning}" for warning in prediction.warnings)
        self._warnings.setText(f"<b>! {count} warning{'s' if count != 1 else ''}</b>{lines}")
        self._swarm_title.setText("<b>Cells by attention</b>, coloured by the model's response to each cell alone")
        self._card.clear()
        self.draw(look)

    def draw(self, look: Look) -> None:
        """Draw the figures in these colours."""
        self._look = look
        if self._prediction is None:
            return
        self._draw_bars(self._prediction)
        self._draw_swarm(self._prediction, None)

    def select(self, position: int) -> None:
        """Show one cell, and ring its dot."""
        if self._prediction is None:
            return
        self._card.show_cell(self._prediction, self._smear, position)
        self._draw_swarm(self._prediction, position)

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
        draw_probabilities(figure.add_subplot(grid[0]), prediction, self._look)
        draw_malignancy(figure.add_subplot(grid[1]), prediction, self._look)
        if has_hemoglobin:
            draw_hemoglobin(figure.add_subplot(grid[2]), prediction, self._look)
        self.bars.draw_idle()

    def _draw_swarm(self, prediction: Prediction, position: int | None) -> None:
        figure = self._swarm.figure
        figure.clear()
        axes = figure.add_axes((0.03, 0.26, 0.94, 0.72))
        self._dots = draw_attention_swarm(axes, prediction, self._look)
        if position is not None:
            x, y = np.asarray(self._dots.get_offsets())[prediction.order[position]]
            axes.scatter([x], [y], s=70, facecolor="none", edgecolor=self._look.text, linewidth=1.5)
        self._swarm.draw_idle()

    def _on_swarm_click(self, event: object) -> None:
        axes = getattr(event, "inaxes", None)
        if axes is None or self._prediction is None:
            return
        places = axes.transData.transform(self._dots.get_offsets())
        distances = np.hypot(*(places - (event.x, event.y)).T)  # type: ignore[attr-defined]
        nearest = int(distances.argmin())
        if distances[nearest] <= _REACH * self._swarm.device_pixel_ratio:
            self.cell_chosen.emit(int(self._prediction.ranks[nearest]) - 1)


def _notes(prediction: Prediction) -> str:
    threshold = prediction.threshold
    notes = [f"Malignancy threshold {threshold.value:g}: {threshold.rule}."]
    error, interval = prediction.hemoglobin_error, prediction.hemoglobin_range
    if error is not None and interval is not None:
        notes.append(
            f"Hemoglobin: as far off as on {error.level:.0%} of {error.patients} unseen patients, it is "
            f"{interval[0]:.1f} to {interval[1]:.1f} g/dl."
        )
    notes.append("Probabilities are " + ("calibrated." if prediction.calibrated else "raw, not calibrated."))
    left_out = f", {len(prediction.left_out)} left out" if prediction.left_out else ""
    made = ", a synthetic model: it knows drawn cells only" if prediction.synthetic else ""
    notes.append(f"{len(prediction.cells)} cells{left_out}. Model {prediction.model_name}{made}.")
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
