"""What every tab of *Inspect cells* is: a view of the inspected prediction that works only while it is in sight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget

from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.report import Look


class InspectionView(QWidget):
    """Follows one `Inspection`. Override the `on_...` methods that matter to the view.

    They are called on the main thread, only while the tab is in sight; what happened meanwhile is told, once each, as
    soon as it comes into sight. `inspection` may be None: show what to do then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inspection: Inspection | None = None
        self.look = Look()
        self._untold: dict[Callable[[], None], None] = {}  # an ordered set

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

    def on_answer(self) -> None:
        """Show what the model says without the cells that are left out."""

    def on_look(self) -> None:
        """Draw in the colours of `look`."""

    def on_closed(self) -> None:
        """Stop what runs."""

    def show_inspection(self, inspection: Inspection | None) -> None:
        """Follow another prediction, or none."""
        if self.inspection is not None:
            self._follow(self.inspection, "disconnect")
        self.inspection = inspection
        if inspection is not None:
            self._follow(inspection, "connect")
        self._untold.clear()
        self._tell(self.on_inspection)

    def draw(self, look: Look) -> None:
        """Draw in other colours."""
        self.look = look
        self._tell(self.on_look)

    def close_inspection(self) -> None:
        """Stop what runs, and let go of the prediction."""
        self.on_closed()
        if self.inspection is not None:
            self._follow(self.inspection, "disconnect")
            self.inspection = None

    def showEvent(self, event: QEvent) -> None:
        super().showEvent(event)
        untold, self._untold = self._untold, {}
        for tell in untold:
            tell()

    def _follow(self, inspection: Inspection, how: str) -> None:
        cells = inspection.cells
        for signal, told in (
            (cells.selection_changed, self._tell_selection),
            (cells.order_changed, self._tell_order),
            (cells.edited, self._tell_edits),
            (cells.columns_changed, self._tell_columns),
            (inspection.colors_changed, self._tell_colors),
            (inspection.answer_changed, self._tell_answer),
        ):
            getattr(signal, how)(told)

    def _tell(self, tell: Callable[[], None], *_: Any) -> None:
        if self.isVisible():
            tell()
        else:
            self._untold[tell] = None

    def _tell_selection(self) -> None:
        self._tell(self.on_selection)

    def _tell_order(self) -> None:
        self._tell(self.on_order)

    def _tell_edits(self) -> None:
        self._tell(self.on_edits)

    def _tell_columns(self) -> None:
        self._tell(self.on_columns)

    def _tell_colors(self) -> None:
        self._tell(self.on_colors)

    def _tell_answer(self) -> None:
        self._tell(self.on_answer)
