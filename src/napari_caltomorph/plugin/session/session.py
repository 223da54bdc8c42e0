"""The state that the panels of one window share, and the colours of their figures in its theme."""

from __future__ import annotations

from typing import Any

from napari.utils.theme import get_theme
from psygnal import Signal

from napari_caltomorph.plugin.session.differential import DifferentialState
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.report.drawing import PlotStyle

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


def plot_style_of(theme: str) -> PlotStyle:
    """Return the colours of a napari theme, for figures."""
    colors = get_theme(theme)
    return PlotStyle(text=colors.text.as_hex(), background=colors.background.as_hex(), faint=colors.primary.as_hex())
