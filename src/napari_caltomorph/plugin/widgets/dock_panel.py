"""A panel that follows its dock: bound to the viewer while it is shown, and at work no longer once it is closed."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QWidget


class DockPanel(QWidget):
    """Calls `on_bound` when it is shown, and `on_unbound` when its dock or its window closes.

    Closing a dock only hides it, and the Window menu shows it again. The cross in its title removes it for good.
    Closing the window deletes the panel without telling it, while a worker may still run. Hiding alone, such as
    behind another tab, is no closing.
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

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ParentChange and self.parentWidget() is None:
            self.unbind()
            # The cross of a dock takes it out of there for good, and forgets to delete it.
            QTimer.singleShot(0, self._delete_if_homeless)
        return super().event(event)

    def _delete_if_homeless(self) -> None:
        if self.parentWidget() is None:
            self.deleteLater()

    def _closable_parents(self) -> list[QWidget]:
        parents = []
        parent = self.parentWidget()
        while parent is not None:
            if parent.isWindow() or isinstance(parent, QDockWidget):
                parents.append(parent)
            parent = parent.parentWidget()
        return parents
