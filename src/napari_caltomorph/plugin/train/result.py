"""A trained model: what its single members said of their own folds, its losses, and where to go from here."""

from __future__ import annotations

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QTabWidget, QVBoxLayout, QWidget

from napari_caltomorph.jobs import TrainedModel
from napari_caltomorph.plugin.widgets.card_dialog import CardDialog
from napari_caltomorph.plugin.widgets.parts import counted, line, plain
from napari_caltomorph.progress import format_seconds
from napari_caltomorph.report import Look, draw_loss_curves, draw_out_of_fold_confusion


class TrainingResult(QWidget):
    """Shows a `TrainedModel`. `predict_asked` carries the model's folder."""

    predict_asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.trained: TrainedModel | None = None
        self.dialog: CardDialog | None = None
        self._about = line()
        self.confusion, self.losses = (FigureCanvasQTAgg(Figure(layout="constrained")) for _ in range(2))
        self.notes = line()
        self.notes.setMargin(6)
        self.notes.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.tabs = QTabWidget()
        for name, widget in (("Confusion", self.confusion), ("Losses", self.losses), ("Notes", self.notes)):
            self.tabs.addTab(widget, name)
        self.predict = QPushButton("Open in Predict")
        self.predict.setToolTip("Choose this model in the panel Predict patient")
        self.predict.clicked.connect(self._ask_to_predict)
        self.card = QPushButton("Card")
        self.card.setToolTip("The model card: data, training, numbers, limits")
        self.card.clicked.connect(self.show_card)
        row = QHBoxLayout()
        row.addWidget(self.predict)
        row.addWidget(self.card)
        row.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self._about)
        column.addWidget(self.tabs, 1)
        column.addLayout(row)

    @property
    def text(self) -> str:
        """What is said above the figures."""
        return str(self._about.text())

    def show_trained(self, trained: TrainedModel, look: Look) -> None:
        """Show a model that was just trained."""
        self.trained = trained
        training = trained.description.training
        made = f"{counted(len(trained.description.members), 'member')} in {format_seconds(training.seconds)}"
        accuracy = training.out_of_fold.pooled.get("balanced_accuracy")
        numbers = "" if accuracy is None else f"<br>balanced accuracy <b>{accuracy}</b> (95 %)"
        self._about.setText(
            f"<b>{plain(trained.folder.name)}</b>: {made}<br>{plain(training.out_of_fold_title)}{numbers}"
        )
        self.notes.setText("<br>".join(f"&#8226; {plain(note)}" for note in training.notes) or "Nothing to note.")
        self.tabs.setTabText(2, f"Notes ({len(training.notes)})")
        self.tabs.setCurrentIndex(0)
        self.draw(look)

    def draw(self, look: Look) -> None:
        """Draw the figures again, in the colours of a theme."""
        if self.trained is None:
            return
        description = self.trained.description
        for canvas in (self.confusion, self.losses):
            canvas.figure.clear()
        draw_out_of_fold_confusion(self.confusion.figure.subplots(), description.taxonomy, self.trained.confusion, look)
        draw_loss_curves(self.losses.figure.subplots(), description.training.folds, look)
        for canvas in (self.confusion, self.losses):
            canvas.draw_idle()

    def show_card(self) -> None:
        """Open the model card in a dialog."""
        if self.trained is not None:
            self.dialog = CardDialog(self.trained.folder, self)
            self.dialog.show()

    def _ask_to_predict(self) -> None:
        if self.trained is not None:
            self.predict_asked.emit(self.trained.folder)
