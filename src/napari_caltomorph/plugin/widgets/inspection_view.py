"""The base of all views of an inspected prediction: they follow its state, and update only while they are visible."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget

from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.report import PlotStyle


class InspectionView(QWidget):
    """Follows one `Inspection`. Override the `on_...` methods that matter to the view.

    They are called on the main thread, only while the view is visible; what changed meanwhile is reported, once each,
    as soon as it becomes visible. `inspection` may be None: show what to do then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inspection: Inspection | None = None
        self.plot_style = PlotStyle()
        self._pending: dict[Callable[[], None], None] = {}  # an ordered set

    @property
    def inspected(self) -> Inspection:
        """The prediction, in what is called only while there is one: every `on_...` after a change of it."""
        assert self.inspection is not None
        return self.inspection

    def key_widgets(self) -> list[QWidget]:
        """Return the widgets in which the keys for cells work as over the picture; none that takes typing."""
        return []

    def on_inspection(self) -> None:
        """Show another prediction, or none; its cells may be selected, sorted and left out already."""

    def on_selection(self) -> None:
        """Show which cells are selected, and which is the current one."""

    def on_order(self) -> None:
        """Show other cells, or in another order."""

    def on_edits(self) -> None:
        """Show which cells are marked, left out and labelled."""

    def on_columns(self) -> None:
        """Show other columns."""

    def on_colors(self) -> None:
        """Show the cells in other colours: `Inspection.colors`."""

    def on_result(self) -> None:
        """Show the prediction without the cells that are left out: `Inspection.result`."""

    def on_look(self) -> None:
        """Draw in the colours of `style`."""

    def on_closed(self) -> None:
        """Stop what runs: the prediction is about to be replaced or released, whether the view is visible or not."""

    def show_inspection(self, inspection: Inspection | None) -> None:
        """Follow another prediction, or none."""
        self._follow(inspection)
        self._update(self.on_inspection)

    def draw(self, style: PlotStyle) -> None:
        self.plot_style = style
        self._update(self.on_look)

    def close_inspection(self) -> None:
        """Stop what runs, and release the prediction."""
        self._follow(None)

    def showEvent(self, event: QEvent) -> None:
        super().showEvent(event)
        pending, self._pending = self._pending, {}
        for update in pending:
            update()

    def _follow(self, inspection: Inspection | None) -> None:
        self.on_closed()
        for one, how in ((self.inspection, "disconnect"), (inspection, "connect")):
            if one is not None:
                for signal, slot in (
                    (one.cells.selection_changed, self._selection_changed),
                    (one.cells.order_changed, self._order_changed),
                    (one.cells.edited, self._edited),
                    (one.cells.columns_changed, self._columns_changed),
                    (one.colors_changed, self._colors_changed),
                    (one.result_changed, self._result_changed),
                ):
                    getattr(signal, how)(slot)
        self._pending.clear()
        self.inspection = inspection

    def _update(self, update: Callable[[], None]) -> None:
        if self.isVisible():
            update()
        else:
            self._pending[update] = None

    def _selection_changed(self) -> None:
        self._update(self.on_selection)

    def _order_changed(self) -> None:
        self._update(self.on_order)

    def _edited(self) -> None:
        self._update(self.on_edits)

    def _columns_changed(self) -> None:
        self._update(self.on_columns)

    def _colors_changed(self) -> None:
        self._update(self.on_colors)

    def _result_changed(self) -> None:
        self._update(self.on_result)
