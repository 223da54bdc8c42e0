"""Choosing the model, the device and the encoder's weights, which a dialog gets from a file or their authors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_caltomorph.diagnosis import ModelDescription, PredictOptions, find_model, installed_models, read_description
from napari_caltomorph.diagnosis.prevalence import ASSUMPTION, UNKNOWN
from napari_caltomorph.encoding import Encoder, WeightsReport, add_weights, download_weights, find_encoder, find_weights
from napari_caltomorph.errors import CaltomorphError, WeightsMissing
from napari_caltomorph.plugin.widgets.parts import (
    ERROR,
    add_items,
    as_error,
    chooser_grid,
    colored,
    in_window_words,
    line,
    link,
    narrow_combo,
    plain,
    row_of,
    tip,
)
from napari_caltomorph.plugin.widgets.settings import choose_file, choose_folder, preferences
from napari_caltomorph.plugin.widgets.tasks import LatestJob
from napari_caltomorph.progress import OnProgress, Pace, Progress

PREVALENCE = "The share of malignant patients among those that you predict."
_GET = "Get the encoder's weights"


class WeightsLine(QLabel):
    """A line that offers a link where an encoder's weights are missing. `arrived`: the user has got them.

    Where a file was named that does not exist, others would not help, so the line names it instead. Where the weights
    are found, the line shows `found`; it is hidden where that is empty.
    """

    arrived = Signal()

    def __init__(self, found: str = "") -> None:
        super().__init__(wordWrap=True, textInteractionFlags=Qt.TextInteractionFlag.TextBrowserInteraction)
        self._found, self._missing, self._problem = found, "", ""
        self.linkActivated.connect(lambda _: self._get())
        self.show_none()

    def show_none(self) -> None:
        """Show nothing: there is no encoder."""
        self._show("")

    def show_encoder(self, name: str, file: Path | None = None) -> None:
        """Look for the weights of an encoder, in a file or among the installed ones."""
        try:
            find_weights(find_encoder(name), file)
        except WeightsMissing as error:
            words = in_window_words(str(error))
            if file is None:
                self._missing = name
                click = f'The weights of {name} are not on this machine: click "{_GET}" above.'
                self._show(link(f"{_GET} ..."), problem=click)
                self.setToolTip(tip(words))
            else:
                self._show(colored(plain(words), ERROR), problem=words)
        else:
            self._show(self._found)

    def require(self) -> None:
        """Raise `WeightsMissing`, naming the link or the file, where weights are missing."""
        if self._problem:
            raise WeightsMissing(self._problem)

    def _show(self, text: str, *, problem: str = "") -> None:
        self._problem = problem
        self.setText(text)
        self.setToolTip("")
        if not self._found:  # to show it before it is in a panel would open a window
            self.setHidden(not text)

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
        self.download_button.setEnabled(bool(encoder.pages))
        self._bar = QProgressBar(visible=False, textVisible=False)
        self._state = line()
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        buttons.rejected.connect(self.reject)
        explanation = line(self._explanation())
        explanation.setOpenExternalLinks(True)
        parts = (explanation, self.choose_button, self.download_button, self._bar, self._state, buttons)
        add_items(QVBoxLayout(self), *parts)

    @property
    def text(self) -> str:
        return self._message

    def _explanation(self) -> str:
        text = f"{self._encoder.about}. Its weights are not on this machine. "
        if not self._encoder.pages:
            return text + plain(self._encoder.location.fix(self._encoder.name))
        links = "".join(f"<br>{link(page, page)}" for page in self._encoder.pages)
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
        self._state.setText(plain(self._message))

    def _on_error(self, problem: str) -> None:
        self._set_busy(False)
        self._message = problem
        self._state.setText(colored(plain(problem), ERROR))

    def _set_busy(self, is_busy: bool) -> None:
        self.choose_button.setDisabled(is_busy)
        self.download_button.setDisabled(is_busy or not self._encoder.pages)
        self._bar.setVisible(is_busy)
        self._bar.setRange(0, 0)
        self._message = "Working ..." if is_busy else ""
        self._state.setText(plain(self._message))

    def done(self, result: int) -> None:
        """Stop a running download, however the dialog closes."""
        self._job.stop()
        super().done(result)


class ModelChooser(QWidget):
    """Rows to choose a model, a device and, with `for_patients`, a prevalence, kept in napari's Preferences.

    `changed`: another model or prevalence is chosen, or the weights were added.
    """

    changed = Signal()

    def __init__(self, *, for_patients: bool = True) -> None:
        super().__init__()
        self.description: ModelDescription | None = None
        self._known: object = None  # what `changed` was emitted for
        self._for_patients = for_patients
        self._choice = narrow_combo()
        self._choice.currentIndexChanged.connect(self._on_chosen)
        browse = QPushButton("Browse", toolTip="Choose a model folder", clicked=self._browse)
        self._about = line()
        self._weights = WeightsLine(found="Encoder weights found")
        self._weights.arrived.connect(self._on_chosen)
        self.device = QComboBox()
        self.device.addItems(["auto", "cpu", "cuda", "mps"])
        self.device.setCurrentText(preferences().device)
        self.device.currentTextChanged.connect(self._on_device)
        self.device.setToolTip("Where to compute; auto takes a graphics card where there is one, else the processor")
        grid = chooser_grid(self, "Model", self._choice, browse, self._about)
        grid.addLayout(row_of(self._weights, QLabel("Device"), self.device, stretch=(self._weights,)), 2, 0, 1, 3)
        self.percent = QDoubleSpinBox(self, minimum=0, maximum=99.9, decimals=1, suffix=" % of your patients")
        self.percent.setKeyboardTracking(False)  # not while a number is typed
        self.percent.setValue(100 * preferences().prevalence)
        self.percent.valueChanged.connect(self._on_percent)
        self.percent.setVisible(for_patients)
        if for_patients:
            grid.addWidget(QLabel("Malignant"), 3, 0)
            grid.addWidget(self.percent, 3, 1, 1, 2)
        self.choose(preferences().model)

    def options(self) -> PredictOptions:
        """Return the choice, here and in the Preferences; raise `WeightsMissing` where the encoder has no weights."""
        self._weights.require()
        return self.chosen()

    def bind(self) -> None:
        preferences().events.connect(self._on_preferences)
        self._on_preferences()

    def unbind(self) -> None:
        preferences().events.disconnect(self._on_preferences)

    def chosen(self) -> PredictOptions:
        """Return the choice, also where the encoder's weights are missing."""
        stored = preferences()
        return PredictOptions(
            model=self._choice.currentData(),
            device=self.device.currentText(),
            precision=stored.precision,
            batch_size=stored.batch_size,
            average_views=stored.average_views,
            weights=Path(stored.weights) if stored.weights else None,
            field_of_view=stored.field_of_view or None,
            prevalence=self._stated or None if self._can_state else None,
            policy=Path(stored.policy) if stored.policy and self._for_patients else None,
        )

    @property
    def _stated(self) -> float:
        """The prevalence that is shown, 0 for none: 0.7 % is exactly the 0.007 of a prediction in the terminal."""
        return round(self.percent.value() / 100, 6)

    @property
    def _can_state(self) -> bool:
        """Whether a prevalence can be stated here, of this model."""
        return self._for_patients and self.description is not None and self.description.prevalence is not None

    def choose(self, model: str) -> None:
        """Choose an installed model by name, or a model folder."""
        self._choice.blockSignals(True)
        self._choice.clear()
        for name in installed_models():
            self._choice.addItem(name, name)
        if self._choice.findData(model) < 0:
            self._choice.addItem(Path(model).name, model)
        self._choice.setCurrentIndex(self._choice.findData(model))
        self._choice.blockSignals(False)
        self._on_chosen()

    def _on_chosen(self, index: int = 0) -> None:
        preferences().model = self._choice.currentData()
        self._weights.show_none()
        self.description = None
        self.percent.setEnabled(False)
        try:
            self.description = model = read_description(find_model(self._choice.currentData()))
            encoder = find_encoder(model.encoder_name)
        except CaltomorphError as error:
            self._about.setText(as_error(str(error)))
        else:
            synthetic = " &#183; <b>synthetic</b>" if model.synthetic else ""
            self._about.setText(
                f"{len(model.taxonomy.names)} classes, {model.members_in_words}, {plain(encoder.name)}{synthetic}"
            )
            self._weights.show_encoder(encoder.name, self.chosen().weights)
            self._show_prevalence(model)
        self._report()

    def _report(self) -> None:
        """Emit `changed` if something did: a panel that is shown again, or other Preferences, change nothing here."""
        model = self.description and self.description.fingerprint
        known = self.chosen(), model, self._about.text(), self._weights.text()
        if known != self._known:
            self._known = known
            self.changed.emit()

    def _show_prevalence(self, model: ModelDescription) -> None:
        known = model.prevalence
        self.percent.setEnabled(known is not None)
        self.percent.setSpecialValueText("not known" if known is None else f"as in {known.trained_in_words}")
        words = f"{UNKNOWN}." if known is None else f"{PREVALENCE} {known.in_words}; {ASSUMPTION}."
        self.percent.setToolTip(tip(words))

    def _on_percent(self) -> None:
        preferences().prevalence = self._stated
        self._report()

    def _on_preferences(self, event: object = None) -> None:
        stored = preferences()
        if stored.model != self._choice.currentData():
            self.choose(stored.model)
        else:
            self._on_chosen()  # the weights file may be another
        self.device.setCurrentText(stored.device)
        self.percent.setValue(100 * stored.prevalence)

    def _on_device(self, device: str) -> None:
        preferences().device = device

    def _browse(self) -> None:
        if path := choose_folder(self, "Model folder"):
            self.choose(str(path))
