"""What is inspected in a window: one prediction, its cells, and what made it. Every panel of the window shares it."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import QObject, Qt
from qtpy.QtWidgets import QWidget

from napari_caltomorph.diagnose import Prediction, PredictOptions
from napari_caltomorph.plugin.beside_opengl import load_triton_privately
from napari_caltomorph.plugin.selection import CellSelection
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.smear import Smear

if TYPE_CHECKING:
    from napari_caltomorph.diagnose import Ensemble, Predictor
    from napari_caltomorph.encode import Features
    from napari_caltomorph.plugin.layers import RankedLayers


class Inspected:
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
    gallery : RankedLayers or None
        The layers in the viewer; None without images.

    Attributes
    ----------
    cells : CellSelection
        What is selected, shown, marked and left out: views follow its signals and change nothing else.
    answer : Prediction
        What the model says without the cells that are left out; `prediction` where none are. `answer_changed` says
        that it is another. This is what is saved and reported.
    """

    answer_changed = Signal()

    def __init__(
        self,
        prediction: Prediction,
        smear: Smear | None = None,
        *,
        options: PredictOptions | None = None,
        predictor: Predictor | None = None,
        gallery: RankedLayers | None = None,
    ) -> None:
        self.prediction, self.smear, self.gallery = prediction, smear, gallery
        self.cells = CellSelection.of(prediction, smear)
        self._answer = prediction
        self._options, self._predictor = options or PredictOptions(), predictor
        self._features: Features | None = None
        # Two tabs may ask for the features at once.
        self._lock = Lock()

    @property
    def answer(self) -> Prediction:
        """What the model says without the cells that are left out."""
        return self._answer

    def set_answer(self, answer: Prediction) -> None:
        """Show and save this from now on."""
        self._answer = answer
        self.answer_changed.emit()

    def ensemble(self) -> Ensemble:
        """Return the model that predicted.

        Raises
        ------
        ModelRefused
            It is not on this machine.
        """
        return self._loaded().ensemble

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
        load_triton_privately()
        from napari_caltomorph.diagnose import Predictor

        with self._lock:
            if self._predictor is None:
                self._predictor = Predictor.of(self.prediction, self._options)
            return self._predictor


class Inspection(QObject):
    """What is inspected in one window; `changed` (psygnal) says that it is another prediction, or none."""

    changed = Signal()

    def __init__(self, window: QObject) -> None:
        super().__init__(window)
        self.inspected: Inspected | None = None

    def show(self, inspected: Inspected | None) -> None:
        """Inspect another prediction."""
        self.inspected = inspected
        self.changed.emit()


def inspection_of(panel: QWidget) -> Inspection:
    """Return the inspection of the window that a panel stands in; it dies with the window."""
    window = panel
    while (parent := window.parentWidget()) is not None:  # a floating dock is a window too, and a child of this one
        window = parent
    found = window.findChild(Inspection, options=Qt.FindChildOption.FindDirectChildrenOnly)
    return found if isinstance(found, Inspection) else Inspection(window)
