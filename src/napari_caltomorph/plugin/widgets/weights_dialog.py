"""Getting an encoder's weights: from a file, or from its authors when the user asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_caltomorph.encoding import Encoder, WeightsReport, add_weights, download_weights
from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.plugin.widgets.parts import ERROR, colored, link, plain
from napari_caltomorph.plugin.widgets.worker import Job
from napari_caltomorph.progress import OnProgress, Pace, Progress


class WeightsDialog(QDialog):
    """Adds or downloads the weights of one encoder; accepted once they are here."""

    def __init__(self, encoder: Encoder, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Weights of {encoder.name}")
        self.setMinimumWidth(460)
        self._encoder = encoder
        self._job: Job | None = None
        self._pace = Pace()
        self._said = ""
        self.choose_button = QPushButton("Choose a file...")
        self.choose_button.clicked.connect(self._choose)
        self.download_button = QPushButton("Download")
        self.download_button.clicked.connect(lambda: self._start(lambda p: download_weights(encoder, progress=p)))
        self.download_button.setEnabled(bool(encoder.sources))
        self._bar = QProgressBar(visible=False, textVisible=False)
        self._state = QLabel(wordWrap=True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(QLabel(self._explanation(), wordWrap=True, openExternalLinks=True))
        for widget in (self.choose_button, self.download_button, self._bar, self._state, buttons):
            column.addWidget(widget)

    @property
    def text(self) -> str:
        """What was said last."""
        return self._said

    def _explanation(self) -> str:
        text = f"{self._encoder.about}. Its weights are not on this machine. "
        if not self._encoder.sources:
            return text + self._encoder.keeper.mend(self._encoder.name)
        links = "".join(f"<br>{link(s.url, s.url)}" for s in self._encoder.sources)
        return text + f"Choose their file if you have it, or download the first of these from its authors:{links}"

    def _choose(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Weights file", "", "Weights (*.pth *.bin *.pt *.safetensors)")
        if name:
            self._start(lambda _: add_weights(Path(name), self._encoder))

    def _start(self, work: Callable[[OnProgress], WeightsReport]) -> None:
        self._set_busy(True)
        self._job = Job(self, work)
        self._job.progressed.connect(self._on_progress)
        self._job.returned.connect(self._on_returned)
        self._job.errored.connect(self._on_error)
        self._job.start()

    def _on_returned(self, report: WeightsReport) -> None:
        self.accept()

    def _on_progress(self, progress: Progress) -> None:
        self._bar.setRange(0, progress.total)
        self._bar.setValue(progress.done)
        self._said = self._pace.describe(progress)
        self._state.setText(self._said)

    def _on_error(self, error: Exception) -> None:
        self._set_busy(False)
        if not isinstance(error, CaltomorphError):
            raise error
        self._said = str(error)
        self._state.setText(colored(plain(self._said), ERROR))

    def _set_busy(self, is_busy: bool) -> None:
        self.choose_button.setDisabled(is_busy)
        self.download_button.setDisabled(is_busy or not self._encoder.sources)
        self._bar.setVisible(is_busy)
        self._bar.setRange(0, 0)
        self._said = "Working ..." if is_busy else ""
        self._state.setText(self._said)

    def done(self, result: int) -> None:
        """Stop what is still running when the dialog closes, however it closes."""
        if self._job is not None:
            self._job.drop()
        super().done(result)
