"""One prediction under inspection: its cells, what made it, and what every view of it shows alike."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from numpy.typing import NDArray
from psygnal import Signal

from napari_caltomorph.diagnosis import Prediction, PredictOptions
from napari_caltomorph.plugin.session.cell_columns import BY_CLASS, BY_TYPE, colors_by
from napari_caltomorph.plugin.session.gallery_state import GalleryState
from napari_caltomorph.plugin.session.selection import CellSelection
from napari_caltomorph.plugin.torch_loading import prepare_torch_import
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.smear import Smear

if TYPE_CHECKING:
    import numpy as np

    from napari_caltomorph.diagnosis import Ensemble, Predictor
    from napari_caltomorph.differential import Differential
    from napari_caltomorph.encoding import Features, LoadedEncoder
    from napari_caltomorph.explanation.trust import Trust


class Inspection:
    """One prediction under inspection.

    `ensemble`, `encoder`, `features` and `trust` take time the first time, and import torch: call them in a worker.

    Parameters
    ----------
    prediction : Prediction
        Of all cells. One that was saved after cells were left out is split into the prediction of all cells, and
        its `result`.
    smear : Smear or None
        Graded; None where the images are missing.
    options : PredictOptions, optional
        How to compute, and the model to try first where `predictor` is not given.
    predictor : Predictor or None
        What predicted, if it is loaded; otherwise the model is found when needed.

    Attributes
    ----------
    cells : CellSelection
        What is selected, shown, marked and left out: views follow its signals.
    gallery : GalleryState
        How the gallery shows the cells.
    differential : Differential or None
        The count of its cells, once there is one.
    """

    result_changed = Signal()
    colors_changed = Signal()

    def __init__(
        self,
        prediction: Prediction,
        smear: Smear | None = None,
        *,
        options: PredictOptions | None = None,
        predictor: Predictor | None = None,
    ) -> None:
        self.prediction, self.smear = prediction.original or prediction, smear
        self.gallery = GalleryState()
        self.differential: Differential | None = None
        kept = set(prediction.cells)
        left_out = [i for i, cell in enumerate(self.prediction.cells) if cell not in kept]
        self.cells = CellSelection.of(self.prediction, smear, left_out)
        self._result = prediction
        self._coloring = BY_CLASS
        self._options, self._predictor = options or PredictOptions(), predictor
        self._features: Features | None = None
        # Two tabs may need the features at once.
        self._lock = Lock()

    @property
    def result(self) -> Prediction:
        """The prediction without the cells that are left out: it is shown, saved and reported."""
        return self._result

    @property
    def is_result_current(self) -> bool:
        """Whether `result` is without the cells that are left out now; if not, it is computed, or cannot be."""
        others = set(self.prediction.cells) - set(self._result.cells)
        return others == {self.prediction.cells[i] for i in self.cells.left_out}

    def set_result(self, result: Prediction) -> None:
        """Show and save this from now on; `result_changed` is emitted."""
        self._result = result
        self.result_changed.emit()

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
        """Colour the cells by this in every view; `colors_changed` is emitted."""
        self._coloring = coloring
        self.colors_changed.emit()

    def ensemble(self) -> Ensemble:
        """Return the model that predicted; `ModelRefused` if it is not on this machine."""
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
        """Return the features that the prediction was made from, in the order of its cells.

        Raises
        ------
        CaltomorphError
            They were not kept, and cannot be computed again; the message gives the reason.
        """
        predictor = self._loaded()
        with self._lock:
            if self._features is None:
                self._features = predictor.features_of(self.prediction, self.smear, progress=progress)
            return self._features

    def trust(self, result: Prediction, progress: OnProgress = ignore) -> Trust:
        """Return how far to trust a result of these cells, compared with training patients if they are available."""
        from napari_caltomorph.explanation.trust import available_trust

        return available_trust(result, self.ensemble, lambda: self.features(progress).of_cells(result.cells))

    def _loaded(self) -> Predictor:
        prepare_torch_import()
        from napari_caltomorph.diagnosis import Predictor

        with self._lock:
            if self._predictor is None:
                self._predictor = Predictor.of(self.prediction, self._options)
            return self._predictor
