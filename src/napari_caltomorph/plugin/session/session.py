"""The state that the panels of one window share."""

from __future__ import annotations

from typing import Any

from psygnal import Signal

from napari_caltomorph.plugin.session.differential import DifferentialState
from napari_caltomorph.plugin.session.inspection import Inspection

_PROPERTY = "caltomorph_session"


class Session:
    """What is inspected in one window, and what is known of cell types.

    Attributes
    ----------
    inspection : Inspection or None
        `changed` is emitted when it is another.
    differential : DifferentialState
    """

    changed = Signal()

    def __init__(self) -> None:
        self.inspection: Inspection | None = None
        self.differential = DifferentialState()

    def show(self, inspection: Inspection | None) -> None:
        """Inspect another prediction, or none."""
        self.inspection = inspection
        self.changed.emit()


def session_of(panel: Any) -> Session:
    """Return the session of the window that contains a panel (a `QWidget`); it is deleted with the window."""
    window = panel
    while (parent := window.parentWidget()) is not None:  # a floating dock is a window too, and a child of this one
        window = parent
    session = window.property(_PROPERTY)
    if session is None:
        session = Session()
        window.setProperty(_PROPERTY, session)
    assert isinstance(session, Session)
    return session
