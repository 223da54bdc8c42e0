"""A panel that follows its dock: bound to the viewer while it is shown, and at work no longer once it is closed."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QDockWidget, QWidget


class DockPanel(QWidget):
    """Calls `on_bound` when it is shown, and `on_unbound` when its dock or its window closes.

    Closing a dock only hides it, and the Window menu shows it again. Closing the window deletes the panel without
    telling it, while a worker may still run. Hiding alone, such as behind another tab, is no closing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_bound = False

    def on_bound(self) -> None:
        """Connect to the viewer."""

    def on_unbound(self) -> None:
        """Let go of the viewer, and stop what runs."""

    def bind(self) -> None:
        """Connect, unless that was done; start no work without it: a window that was asked to close may stay."""
        if not self._is_bound:
            self._is_bound = True
            self.on_bound()

    def unbind(self) -> None:
        """Let go, unless that was done."""
        if self._is_bound:
            self._is_bound = False
            self.on_unbound()

    def showEvent(self, event: QEvent) -> None:
        super().showEvent(event)
        self.bind()
        for parent in self._closable_parents():
            parent.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Close and watched in self._closable_parents():
            self.unbind()
        return super().eventFilter(watched, event)

    def _closable_parents(self) -> list[QWidget]:
        parents = []
        parent = self.parentWidget()
        while parent is not None:
            if parent.isWindow() or isinstance(parent, QDockWidget):
                parents.append(parent)
            parent = parent.parentWidget()
        return parents
