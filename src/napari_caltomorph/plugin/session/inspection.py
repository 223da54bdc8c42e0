"""What is inspected in a window: one prediction, its cells, and what made it. Every panel of the window shares it."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QObject, Qt
from qtpy.QtWidgets import QWidget

from napari_caltomorph.diagnosis import Prediction, PredictOptions
from napari_caltomorph.plugin.gallery.colors import BY_CLASS, BY_TYPE, colors_by
from napari_caltomorph.plugin.session.selection import CellSelection
from napari_caltomorph.plugin.torch_loading import prepare_torch_import
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.smear import Smear

if TYPE_CHECKING:
    from napari_caltomorph.diagnosis import Ensemble, Predictor
    from napari_caltomorph.differential import Differential
    from napari_caltomorph.encoding import Features, LoadedEncoder
    from napari_caltomorph.plugin.gallery.gallery import Gallery


class Inspection:
    """One prediction under inspection.

    `ensemble` and `features` take time the first time, and import torch: call them in a worker.

    Parameters
    ----------
    prediction : Prediction
    smear : Smear or None
        Graded; None where the images are gone.
    options : PredictOptions, optional
        How to compute, and the model to try first where `predictor` is not given.
    predictor : Predictor or None
        What predicted, where it is loaded; otherwise the model is found when needed.
    Attributes
    ----------
    cells : CellSelection
        What is selected, shown, marked and left out: views follow its signals and change nothing else.
    answer : Prediction
        What the model says without the cells that are left out; `prediction` where none are. `answer_changed` says
        that it is another. This is what is saved and reported.
    gallery : RankedLayers or None
        The layers in the viewer; None without images.
    differential : Differential or None
        The count of its cells, once the tab *Differential* has made one.
    """

    answer_changed = Signal()
    colors_changed = Signal()

    def __init__(
        self,
        prediction: Prediction,
        smear: Smear | None = None,
        *,
        options: PredictOptions | None = None,
        predictor: Predictor | None = None,
    ) -> None:
        self.prediction, self.smear = prediction, smear
        self.gallery: Gallery | None = None
        self.differential: Differential | None = None
        self.cells = CellSelection.of(prediction, smear)
        self._answer = prediction
        self._coloring = BY_CLASS
        self._options, self._predictor = options or PredictOptions(), predictor
        self._features: Features | None = None
        # Two tabs may ask for the features at once.
        self._lock = Lock()

    @classmethod
    def of(
        cls,
        prediction: Prediction,
        smear: Smear | None = None,
        *,
        options: PredictOptions | None = None,
        predictor: Predictor | None = None,
    ) -> Inspection:
        """Inspect a prediction; of one that was saved after cells were left out, the original, with those left out."""
        made = cls(prediction.original or prediction, smear, options=options, predictor=predictor)
        kept = set(prediction.cells)
        made.cells.start_without(i for i, cell in enumerate(made.prediction.cells) if cell not in kept)
        made.set_answer(prediction)
        return made

    @property
    def answer(self) -> Prediction:
        """What the model says without the cells that are left out."""
        return self._answer

    @property
    def is_answered(self) -> bool:
        """Whether `answer` is that to the cells that are left out now; if not, it is on its way, or cannot be had."""
        others = set(self.prediction.cells) - set(self._answer.cells)
        return others == {self.prediction.cells[i] for i in self.cells.left_out}

    def set_answer(self, answer: Prediction) -> None:
        """Show and save this from now on."""
        self._answer = answer
        self.answer_changed.emit()

    @property
    def coloring(self) -> str:
        """What colours stand for in every view: ``"alone_class"``, ``"label"`` or ``"cell_type"``."""
        return self._coloring

    @property
    def colors(self) -> NDArray[np.str_]:
        """(N,) ``#rrggbb`` of each cell."""
        return colors_by(self._coloring, self.prediction, self.types)

    @property
    def types(self) -> tuple[str, ...]:
        """(N,) what colours stand for where it is no class: labels, or the types that a differential counts."""
        called = self.cells.columns.get(BY_TYPE) if self._coloring == BY_TYPE else None
        return self.cells.labels if called is None else tuple(called)

    def color_by(self, coloring: str) -> None:
        """Colour the cells by this, in every view; `colors_changed` says so."""
        self._coloring = coloring
        self.colors_changed.emit()

    def ensemble(self) -> Ensemble:
        """Return the model that predicted.

        Raises
        ------
        ModelRefused
            It is not on this machine.
        """
        return self._loaded().ensemble

    def encoder(self) -> LoadedEncoder:
        """Return the encoder of the model.

        Raises
        ------
        ModelRefused, WeightsMissing, WeightsRefused
            Model or weights are not on this machine, or are others.
        """
        return self._loaded().encoder

    def features(self, progress: OnProgress = ignore) -> Features:
        """Return the features that the prediction was made of, in the order of its cells.

        Raises
        ------
        CaltomorphError
            They were not kept, and cannot be made again; the message says why.
        """
        predictor = self._loaded()
        with self._lock:
            if self._features is None:
                self._features = predictor.features_of(self.prediction, self.smear, progress=progress)
            return self._features

    def _loaded(self) -> Predictor:
        prepare_torch_import()
        from napari_caltomorph.diagnosis import Predictor

        with self._lock:
            if self._predictor is None:
                self._predictor = Predictor.of(self.prediction, self._options)
            return self._predictor


class Session(QObject):
    """What is inspected in one window; `changed` (psygnal) says that it is another prediction, or none."""

    changed = Signal()

    def __init__(self, window: QObject) -> None:
        super().__init__(window)
        self.inspection: Inspection | None = None

    def show(self, inspection: Inspection | None) -> None:
        """Inspect another prediction."""
        self.inspection = inspection
        self.changed.emit()


def session_of(panel: QWidget) -> Session:
    """Return the inspection of the window that a panel stands in; it dies with the window."""
    window = panel
    while (parent := window.parentWidget()) is not None:  # a floating dock is a window too, and a child of this one
        window = parent
    found = window.findChild(Session, options=Qt.FindChildOption.FindDirectChildrenOnly)
    return found if isinstance(found, Session) else Session(window)
