"""Layers of one result go together: some of them, or other points in them, would show what is not so."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from napari.layers import Layer
from napari.viewer import Viewer
from qtpy.QtCore import QObject, QTimer, Signal


class Together(QObject):
    """Removes all `layers` of a result when they are not whole any more, also when no panel shows the result.

    The viewer keeps it alive until then. `checked` is emitted after some layer of the viewer was removed.
    """

    checked = Signal()

    def __init__(
        self, viewer: Viewer, layers: Callable[[], Iterable[Layer | None]], is_whole: Callable[[], bool]
    ) -> None:
        super().__init__()
        self._viewer, self._layers, self._is_whole = viewer, layers, is_whole
        # When all layers are cleared, each is removed separately.
        self._soon = QTimer(self, singleShot=True, interval=0, timeout=self._check)
        self._is_in_batch = False
        events = viewer.layers.events
        # The viewer would hold a method weakly.
        self._slots = [(events.removed, lambda event: self.check())]
        if hasattr(events, "begin_batch"):  # napari 0.8 has none
            self._slots += [
                (events.begin_batch, lambda event: self._set_batch(True)),
                (events.end_batch, lambda event: self._set_batch(False)),
            ]
        for signal, slot in self._slots:
            signal.connect(slot)

    def check(self) -> None:
        """Remove the layers, if they are not whole, when the viewer has done what it does."""
        self._soon.start()

    def stop(self) -> None:
        """Check no more."""
        self._soon.stop()
        for signal, slot in self._slots:
            signal.disconnect(slot)
        self._slots = []

    def _set_batch(self, begins: bool) -> None:
        # napari removes one selected layer after the other, and lets events be processed between them: a layer that is
        # removed here then would be missing in its list.
        self._is_in_batch = begins
        if not begins:
            self.check()

    def _check(self) -> None:
        if self._is_in_batch:
            return
        if not self._is_whole():
            self.stop()
            for layer in self._layers():
                if layer is not None and layer in self._viewer.layers:
                    self._viewer.layers.remove(layer)
        self.checked.emit()
