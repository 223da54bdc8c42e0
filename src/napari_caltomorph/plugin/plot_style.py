"""The colours of figures and texts in the viewer's theme; gallery and widgets use it, and not each other for it."""

from __future__ import annotations

from napari.utils.theme import get_theme

from napari_caltomorph.report import PlotStyle


def plot_style_of(theme: str) -> PlotStyle:
    """Return the colours of a napari theme, for figures."""
    colors = get_theme(theme)
    return PlotStyle(text=colors.text.as_hex(), background=colors.background.as_hex(), faint=colors.primary.as_hex())
