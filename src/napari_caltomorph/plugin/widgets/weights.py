"""An encoder's weights: whether they are on this machine, and a dialog that gets them from a file or their authors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_caltomorph.encoding import Encoder, WeightsReport, add_weights, download_weights, find_encoder, find_weights
from napari_caltomorph.errors import WeightsMissing
from napari_caltomorph.plugin.widgets.parts import ERROR, add_items, colored, link, plain
from napari_caltomorph.plugin.widgets.settings import choose_file
from napari_caltomorph.plugin.widgets.task_row import LatestJob
from napari_caltomorph.progress import OnProgress, Pace, Progress

_GET = "Get the encoder's weights"


class WeightsLine(QLabel):
    """A line that offers a link where an encoder's weights are missing. `arrived`: the user has got them.

    Where the weights are found, the line shows `found`; it is hidden where that is empty.
    """

    arrived = Signal()

    def __init__(self, found: str = "") -> None:
        super().__init__(wordWrap=True, textInteractionFlags=Qt.TextInteractionFlag.TextBrowserInteraction)
        self._found, self._missing = found, ""
        self.linkActivated.connect(lambda _: self._get())
        self.show_none()

    def show_none(self) -> None:
        """Show nothing: there is no encoder."""
        self._show("", "")

    def show_encoder(self, name: str, file: Path | None = None) -> None:
        """Look for the weights of an encoder, in a file or among the installed ones."""
        try:
            find_weights(find_encoder(name), file)
        except WeightsMissing as error:
            self._show(name, link(f"{_GET} ..."))
            self.setToolTip(str(error))
        else:
            self._show("", self._found)

    def require(self) -> None:
        """Raise `WeightsMissing`, naming the link, where weights are missing."""
        if self._missing:
            raise WeightsMissing(f'The weights of {self._missing} are not on this machine: click "{_GET}" above.')

    def _show(self, missing: str, text: str) -> None:
        self._missing = missing
        self.setText(text)
        self.setToolTip("")
        self.setHidden(not text and not self._found)

    def _get(self) -> None:
        if WeightsDialog(find_encoder(self._missing), self).exec():
            self.arrived.emit()


class WeightsDialog(QDialog):
    """Adds or downloads the weights of one encoder; accepted once they are on this machine."""

    def __init__(self, encoder: Encoder, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Weights of {encoder.name}")
        self.setMinimumWidth(460)
        self._encoder = encoder
        self._job = LatestJob(self)
        self._pace = Pace()
        self._message = ""
        self.choose_button = QPushButton("Choose a file...", clicked=self._choose)
        self.download_button = QPushButton("Download")
        self.download_button.clicked.connect(lambda: self._start(lambda p: download_weights(encoder, progress=p)))
        self.download_button.setEnabled(bool(encoder.sources))
        self._bar = QProgressBar(visible=False, textVisible=False)
        self._state = QLabel(wordWrap=True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        buttons.rejected.connect(self.reject)
        explanation = QLabel(self._explanation(), wordWrap=True, openExternalLinks=True)
        parts = (explanation, self.choose_button, self.download_button, self._bar, self._state, buttons)
        add_items(QVBoxLayout(self), *parts)

    @property
    def text(self) -> str:
        """The message that is shown."""
        return self._message

    def _explanation(self) -> str:
        text = f"{self._encoder.about}. Its weights are not on this machine. "
        if not self._encoder.sources:
            return text + self._encoder.location.fix(self._encoder.name)
        links = "".join(f"<br>{link(s.url, s.url)}" for s in self._encoder.sources)
        return text + f"Choose their file if you have it, or download the first of these from its authors:{links}"

    def _choose(self) -> None:
        if path := choose_file(self, "Weights file", "Weights (*.pth *.bin *.pt *.safetensors)"):
            self._start(lambda _: add_weights(path, self._encoder))

    def _start(self, work: Callable[[OnProgress], WeightsReport]) -> None:
        self._set_busy(True)
        self._job.start(work, lambda _: self.accept(), self._on_error, self._on_progress)

    def _on_progress(self, progress: Progress) -> None:
        self._bar.setRange(0, progress.total)
        self._bar.setValue(progress.done)
        self._message = self._pace.describe(progress)
        self._state.setText(self._message)

    def _on_error(self, problem: str) -> None:
        self._set_busy(False)
        self._message = problem
        self._state.setText(colored(plain(problem), ERROR))

    def _set_busy(self, is_busy: bool) -> None:
        self.choose_button.setDisabled(is_busy)
        self.download_button.setDisabled(is_busy or not self._encoder.sources)
        self._bar.setVisible(is_busy)
        self._bar.setRange(0, 0)
        self._message = "Working ..." if is_busy else ""
        self._state.setText(self._message)

    def done(self, result: int) -> None:
        """Stop a running download, however the dialog closes."""
        self._job.stop()
        super().done(result)
