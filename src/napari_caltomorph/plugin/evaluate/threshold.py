"""The malignancy threshold: a slider and a number, and in one line what it does to the patients."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget

from napari_caltomorph.evaluation import OperatingPoint
from napari_caltomorph.plugin.widgets.parts import line, plain
from napari_caltomorph.statistics import Metric

_STEPS = 1000


class ThresholdRow(QWidget):
    """`moved` follows each change."""

    moved = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.slider = QSlider(Qt.Orientation.Horizontal, maximum=_STEPS, pageStep=_STEPS // 20)
        self.number = QDoubleSpinBox(maximum=1.0, singleStep=0.01, decimals=3, keyboardTracking=False)
        self.number.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self.number.setFixedWidth(52)
        self.reset = QPushButton("Reset")
        self.reset.setFixedWidth(52)
        self._start = self._value = 0.5
        self._says = line()
        self.slider.valueChanged.connect(lambda step: self._set(step / _STEPS))
        self.number.valueChanged.connect(self._set)
        self.reset.clicked.connect(lambda: self._set(self._start))
        for widget in (self.slider, self.number):
            widget.setToolTip("From this malignancy on, a patient is called malignant; left and right arrows move it")
        row = QHBoxLayout()
        row.addWidget(QLabel("Malignant from"))
        row.addWidget(self.slider, 1)
        row.addWidget(self.number)
        row.addWidget(self.reset)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(row)
        column.addWidget(self._says)

    @property
    def value(self) -> float:
        """The threshold."""
        return self._value

    @property
    def is_moved(self) -> bool:
        """Whether it is another than at the start."""
        return self._value != self._start

    @property
    def text(self) -> str:
        """What is said below the slider."""
        return str(self._says.text())

    def begin(self, value: float, rule: str) -> None:
        """Start from a threshold; the rule says who chose it."""
        self._start = value
        self.reset.setToolTip(f"Back to {value:.4g}: {rule}")
        self._put(value)

    def say(self, point: OperatingPoint) -> None:
        """Say what the threshold does."""
        self._says.setText(
            f"Sensitivity <b>{_value(point.sensitivity)}</b>, specificity <b>{_value(point.specificity)}</b>, "
            f"FDR <b>{_value(point.fdr)}</b>"
        )
        self._says.setToolTip(
            f"Sensitivity {plain(_shown(point.sensitivity))}<br>Specificity {plain(_shown(point.specificity))}<br>"
            f"FDR {plain(_shown(point.fdr))}<br>FDR without healthy donors {plain(_shown(point.fdr_without_healthy))}"
            f"<br>Against {plain(point.others_in_words)}"
        )

    def _set(self, value: float) -> None:
        if value != self._value:
            self._put(value)
            self.moved.emit()

    def _put(self, value: float) -> None:
        """Show a value, which may lie between the steps of the slider."""
        self._value = value
        for widget, shown in ((self.slider, round(value * _STEPS)), (self.number, value)):
            widget.blockSignals(True)
            widget.setValue(shown)
            widget.blockSignals(False)
        self.reset.setEnabled(self.is_moved)


def _value(metric: Metric) -> str:
    return "undefined" if metric.value is None else f"{metric.value:.3f}".rstrip("0").rstrip(".")


def _shown(metric: Metric) -> str:
    return metric.shown() if metric.is_defined else f"undefined: {metric.remark}"
