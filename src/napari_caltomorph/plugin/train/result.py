"""A trained model: the out-of-fold predictions of its members, its losses, its notes, and its card."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QPushButton, QTabWidget, QTextBrowser, QVBoxLayout, QWidget

from napari_caltomorph.jobs import TrainedModel
from napari_caltomorph.plugin.widgets.canvas import FigureCanvas
from napari_caltomorph.plugin.widgets.parts import column_of, counted, line, plain, row_of
from napari_caltomorph.progress import format_seconds
from napari_caltomorph.report import PlotStyle, draw_loss_curves, draw_out_of_fold_confusion


class TrainingResult(QWidget):
    """Shows a `TrainedModel`. `predict_clicked` carries the model's folder."""

    predict_clicked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.trained: TrainedModel | None = None
        self.dialog: CardDialog | None = None
        self._about = line()
        self.confusion, self.losses = (FigureCanvas() for _ in range(2))
        self.notes = line()
        self.notes.setMargin(6)
        self.notes.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.tabs = QTabWidget()
        for name, widget in (("Confusion", self.confusion), ("Losses", self.losses), ("Notes", self.notes)):
            self.tabs.addTab(widget, name)
        self.predict = QPushButton("Open in Predict")
        self.predict.setToolTip("Choose this model in the panel Predict patient")
        self.predict.clicked.connect(self._on_predict)
        self.card = QPushButton("Card")
        self.card.setToolTip("The model card: data, training, numbers, limits")
        self.card.clicked.connect(self.show_card)
        column_of(self, self._about, self.tabs, row_of(self.predict, self.card), stretch=(self.tabs,))

    @property
    def text(self) -> str:
        """The summary above the figures."""
        return str(self._about.text())

    def show_trained(self, trained: TrainedModel, style: PlotStyle) -> None:
        """Show a model that was just trained."""
        self.trained = trained
        training = trained.description.training
        summary = f"{counted(len(trained.description.members), 'member')} in {format_seconds(training.seconds)}"
        accuracy = training.out_of_fold.pooled.get("balanced_accuracy")
        numbers = "" if accuracy is None else f"<br>balanced accuracy <b>{accuracy}</b> (95 %)"
        self._about.setText(
            f"<b>{plain(trained.folder.name)}</b>: {summary}<br>{plain(training.out_of_fold_title)}{numbers}"
        )
        self.notes.setText("<br>".join(f"&#8226; {plain(note)}" for note in training.notes) or "Nothing to note.")
        self.tabs.setTabText(2, f"Notes ({len(training.notes)})")
        self.tabs.setCurrentIndex(0)
        self.draw(style)

    def draw(self, style: PlotStyle) -> None:
        """Draw the figures again, in the colours of a theme."""
        if self.trained is None:
            return
        description = self.trained.description
        for canvas in (self.confusion, self.losses):
            canvas.figure.clear()
        draw_out_of_fold_confusion(
            self.confusion.figure.subplots(), description.taxonomy, self.trained.confusion, style
        )
        draw_loss_curves(self.losses.figure.subplots(), description.training.folds, style)
        for canvas in (self.confusion, self.losses):
            canvas.draw_idle()

    def show_card(self) -> None:
        """Open the model card in a dialog."""
        if self.trained is not None:
            self.dialog = CardDialog(self.trained.folder, self)
            self.dialog.show()

    def _on_predict(self) -> None:
        if self.trained is not None:
            self.predict_clicked.emit(self.trained.folder)


class CardDialog(QDialog):
    """Shows the model card of a model folder: its README.md with the figure in it."""

    def __init__(self, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Model card: {folder.name}")
        self.resize(900, 640)
        self.text = QTextBrowser(openExternalLinks=True)
        self.text.setSearchPaths([str(folder)])
        try:
            self.text.setMarkdown((folder / "README.md").read_text("utf-8"))
        except OSError as error:
            self.text.setPlainText(f"{folder} has no card that can be read ({error.strerror}).")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addWidget(buttons)
