"""One prediction under inspection: its cells, what made it, and what every view of it shows alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_caltomorph.diagnosis import Prediction, PredictOptions
from napari_caltomorph.encoding.torch_loading import load_torch
from napari_caltomorph.errors import FeaturesRefused, ModelRefused
from napari_caltomorph.fields import Verdict
from napari_caltomorph.plugin.session.cell_columns import BY_CLASS, BY_LABEL, BY_TYPE, IN_VIEW, PLAIN, colors_by, legend
from napari_caltomorph.plugin.session.selection import CellSelection
from napari_caltomorph.plugin.session.undiagnosed import UndiagnosedCells
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.smear import Smear

if TYPE_CHECKING:
    from napari_caltomorph.diagnosis import Ensemble, Predictor
    from napari_caltomorph.differential import Differential
    from napari_caltomorph.encoding import Features, LoadedEncoder
    from napari_caltomorph.explanation.trust import Trust
    from napari_caltomorph.fields import DescribedCells


@dataclass(frozen=True)
class Overlay:
    """An image over one cell, which moves with it."""

    cell: int
    name: str  # of the layer; a later overlay of this name replaces it
    image: NDArray[Any]  # (H, W) or (H, W, 3) of any size: it is stretched over the cell
    options: Mapping[str, Any] = field(default_factory=dict)  # of napari's image layer


class GalleryState:
    """The display options of the gallery of one prediction."""

    heat_changed = Signal()
    cell_width_changed = Signal()
    legend_changed = Signal()
    overlay_added = Signal(Overlay)
    key_changed = Signal(str)
    sight_changed = Signal()
    show_requested = Signal()
    replaced = Signal()

    def __init__(self) -> None:
        self.is_available = False  # whether a gallery follows; none does without images
        self.is_in_sight = False  # whether the picture shows these cells; another patient's smear may hide them
        self.columns = 1  # cells in a row, set by the gallery
        self.heat = False  # whether cells with more attention than average are tinted
        self.legend = True  # whether the picture says what the colours of its frames mean
        self.cell_width = 0  # of a cell on the screen, in pixels; 0: all cells are in view
        # What each key does while the picture has the keyboard, as napari spells keys.
        self.keys: dict[str, Callable[[], None]] = {}

    def show_heat(self, on: bool) -> None:
        """Tint the cells with more attention than an average one, or do not."""
        self.heat = on
        self.heat_changed.emit()

    def show_legend(self, on: bool) -> None:
        """Write in the picture what the colours of its frames mean, or do not."""
        self.legend = on
        self.legend_changed.emit()

    def set_sight(self, *, is_available: bool, is_in_sight: bool) -> None:
        """Note whether the layers of the gallery still exist, and whether they are visible."""
        if (is_available, is_in_sight) != (self.is_available, self.is_in_sight):
            self.is_available, self.is_in_sight = is_available, is_in_sight
            self.sight_changed.emit()

    def show(self) -> None:
        """Show these cells in the picture, and no other patient's."""
        self.show_requested.emit()

    def replace(self) -> None:
        """End the gallery that shows these cells: another one will, of a panel that was opened again."""
        self.replaced.emit()

    def show_cell_width(self, width: int) -> None:
        """Show cells of this width on the screen, in pixels, and as many in a row as fit; 0: all of them in view."""
        self.cell_width = width
        self.cell_width_changed.emit()

    def add_overlay(self, overlay: Overlay) -> None:
        self.overlay_added.emit(overlay)

    def bind_key(self, key: str, function: Callable[[], None] | None) -> None:
        """Call a function when a key is pressed over the picture, instead of napari's own action; None: no more."""
        if function is None:
            self.keys.pop(key, None)
        else:
            self.keys[key] = function
        self.key_changed.emit(key)


class Inspection:
    """The cells of one prediction, or of a smear without one, under inspection.

    `ensemble`, `encoder`, `features` and `trust` take time the first time, and import torch: call them in a worker.

    A prediction that was saved after cells were left out is split into the prediction of all cells, and its `result`.
    The smear is graded, or None where the images are missing. Without a `predictor`, the model is found when it is
    needed; that of `options` is tried first.
    """

    result_changed = Signal()
    colors_changed = Signal()

    def __init__(
        self,
        shown: Prediction | UndiagnosedCells,
        smear: Smear | None = None,
        *,
        options: PredictOptions | None = None,
        predictor: Predictor | None = None,
    ) -> None:
        self.bag = shown.original or shown if isinstance(shown, Prediction) else shown
        self.smear = smear
        self.gallery = GalleryState()
        self.differential: Differential | None = None
        kept = set(shown.cells)
        left_out = [i for i, cell in enumerate(self.bag.cells) if cell not in kept]
        self.cells = CellSelection.of(self.bag, smear, left_out)
        self._result = shown
        self._coloring = BY_CLASS if self.is_diagnosed else BY_LABEL
        self._options, self._predictor = options or PredictOptions(), predictor
        self._features: dict[str | None, Features] = {}  # By encoder; None: the model's
        # Two tabs may need the features at once.
        self._lock = Lock()

    @property
    def is_diagnosed(self) -> bool:
        """Whether there is a `prediction`, and a `result`; without, only the cells are known."""
        return isinstance(self.bag, Prediction)

    @property
    def prediction(self) -> Prediction:
        """The prediction of all cells."""
        assert isinstance(self.bag, Prediction)
        return self.bag

    @property
    def result(self) -> Prediction:
        """The prediction without the cells that are left out: it is shown, saved and reported."""
        assert isinstance(self._result, Prediction)
        return self._result

    @property
    def is_result_current(self) -> bool:
        """Whether `result` is without the cells that are left out now; if not, it is computed, or cannot be."""
        others = set(self.prediction.cells) - set(self._result.cells)
        return others == {self.prediction.cells[i] for i in self.cells.left_out}

    def set_result(self, result: Prediction) -> None:
        """Show and save this from now on; `result_changed` is emitted."""
        shown_before, self._result = self.shows_classes, result
        self.result_changed.emit()
        if self.shows_classes != shown_before:
            self.colors_changed.emit()

    @property
    def shows_classes(self) -> bool:
        """Whether views show the classes of cells: where the result is withheld, the commonest would hint at it."""
        return self.is_diagnosed and not self.result.withheld

    @property
    def coloring(self) -> str:
        """What colours stand for in every view: ``"alone_class"``, ``"label"`` or ``"cell_type"``."""
        return self._coloring

    @property
    def colors(self) -> NDArray[np.str_]:
        """(N,) ``#rrggbb`` of each cell; one grey for all where their classes are not shown."""
        if self._coloring == BY_CLASS and not self.shows_classes:
            return np.full(len(self.bag.cells), PLAIN)
        return colors_by(self._coloring, self.bag, self.types)

    @property
    def types(self) -> tuple[str, ...]:
        """(N,) what colours stand for where it is no class: labels, or the types that a differential counts."""
        called = self.cells.columns.get(BY_TYPE) if self._coloring == BY_TYPE else None
        return self.cells.labels if called is None else tuple(called)

    @property
    def legend(self) -> list[tuple[str, str, int]]:
        """What the colours of the shown cells mean: name, colour and how many, most frequent first."""
        if self._coloring == BY_CLASS and not self.shows_classes:
            return []
        return legend(self._coloring, self.bag, self.types, self.cells.order)

    @property
    def caption(self) -> tuple[str, ...]:
        """What a view says of the current cell, in one line: its number, and what is known of it; empty if none is."""
        cells, bag = self.cells, self.bag
        if (cell := cells.current) is None:
            return ()
        rank = int(bag.ranks[cell])
        parts = [f"#{rank} of {len(bag.cells):,}"]
        if (place := (cells.position(cell) or 0) + 1) != rank:
            parts.append(f"place {place:,} of {len(cells.order):,} as sorted")
        if bag.has_attention:
            parts.append(f"attention {bag.attention[cell]:.2f}x")
        if self.shows_classes:
            best = int(self.prediction.alone_class[cell])
            parts.append(f"{self.prediction.taxonomy.names[best]} {self.prediction.alone[cell, best]:.2f} alone")
        called = cells.columns.get(BY_TYPE)
        if label := cells.labels[cell]:
            parts.append(f"label {label}")
        elif called is not None and called[cell]:
            parts.append(f"predicted {called[cell]}")
        return (
            *parts,
            *(["left out"] if cell in cells.left_out else []),
            *(["marked"] if cell in cells.marked else []),
        )

    def describe(self, progress: OnProgress = ignore) -> DescribedCells:
        """Return what each cell's image shows; hand it to `show_described`."""
        assert self.smear is not None
        from napari_caltomorph.fields import describe_cells

        return describe_cells(self.smear, self._options.field_of_view, progress=progress)

    def show_described(self, described: DescribedCells) -> None:
        """Add columns of what each cell's image shows; unknown for cells that the quality rules leave out."""
        table = described.table.set_index("cell").reindex(self.bag.cells)
        table[IN_VIEW] = table[IN_VIEW].fillna("")
        for name in table.columns:
            self.cells.set_column(name, table[name].to_numpy())

    def leave_out_uncentred(self) -> None:
        """Leave out the described cells that do not show one centred leukocyte, as one edit."""
        shown = self.cells.columns[IN_VIEW]
        uncentred = np.flatnonzero((shown != Verdict.ONE) & (shown != ""))
        self.cells.set_left_out(self.cells.left_out | set(uncentred.tolist()))

    def color_by(self, coloring: str) -> None:
        """Colour the cells by this in every view; `colors_changed` is emitted."""
        self._coloring = coloring
        self.colors_changed.emit()

    def ensemble(self) -> Ensemble:
        """Return the model that predicted; `ModelRefused` if it is not on this machine."""
        return self._loaded().ensemble

    def encoder(self, name: str | None = None) -> LoadedEncoder:
        """Return an encoder by its name, by default the model's.

        Raise if model or weights are not on this machine, or are others.
        """
        if name is None or (self.is_diagnosed and name == self.prediction.encoder):
            return self._loaded().encoder
        from napari_caltomorph.encoding import EncodeOptions, load_encoder

        chosen = self._options.model_dump(include={"field_of_view", "device", "precision", "batch_size"})
        return load_encoder(EncodeOptions(encoder=name, **chosen))

    def state_width(self, field_of_view_um: float) -> None:
        """Encode with this width of a cell's image from now on, where the model's encoder is not meant."""
        if field_of_view_um != self._options.field_of_view:
            self._options = self._options.model_copy(update={"field_of_view": field_of_view_um})
            self._features = {encoder: known for encoder, known in self._features.items() if encoder is None}

    def features(self, progress: OnProgress = ignore, encoder: str | None = None) -> Features:
        """Return the features by an encoder, by default those that the prediction was made from, in its cells' order.

        Raise a `CaltomorphError` if they were not kept, and cannot be computed again.
        """
        if self.is_diagnosed and encoder == self.prediction.encoder:
            encoder = None
        load_torch(progress)
        predictor = self._loaded(progress) if encoder is None else None
        with self._lock:
            if encoder not in self._features:
                if predictor is not None:
                    features = predictor.features_of(self.prediction, self.smear, progress=progress)
                else:
                    features = self._encode(self.encoder(encoder), progress)
                self._features[encoder] = features
            return self._features[encoder]

    def _encode(self, encoder: LoadedEncoder, progress: OnProgress) -> Features:
        if self.smear is None:
            raise FeaturesRefused(
                f"The images of {self.bag.patient_id} are missing, so its cells cannot be encoded; restore them."
            )
        from napari_caltomorph.differential.run import encode_cells
        from napari_caltomorph.encoding import EncodeOptions

        compute = EncodeOptions(batch_size=self._options.batch_size)
        return encode_cells(self.smear, self.bag.cells, encoder, compute, progress=progress)

    def trust(self, result: Prediction, progress: OnProgress = ignore) -> Trust:
        """Return how far to trust a result of these cells, compared with training patients if they are available."""
        from napari_caltomorph.explanation.trust import available_trust

        return available_trust(result, self.ensemble, lambda: self.features(progress).of_cells(result.cells))

    def _loaded(self, progress: OnProgress = ignore) -> Predictor:
        if not self.is_diagnosed:
            raise ModelRefused(f"{self.bag.patient_id} is not diagnosed, so it has no model: predict it first.")
        load_torch(progress)
        from napari_caltomorph.diagnosis import Predictor

        with self._lock:
            if self._predictor is None:
                self._predictor = Predictor.of(self.prediction, self._options)
            return self._predictor
