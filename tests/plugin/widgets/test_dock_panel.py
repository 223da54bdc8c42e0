"""What all panels have in common."""

from __future__ import annotations

from tests.plugin.conftest import OpenWidget

from napari_caltomorph.about import RESEARCH_USE


def test_each_panel_fills_its_dock_and_ends_with_the_research_use_line(open_widget: OpenWidget) -> None:
    for name in ("Open cohort", "Train ensemble"):  # napari treats the first panel of a session differently
        _, panel = open_widget(name)
        last = panel.layout().itemAt(panel.layout().count() - 1).widget()
        assert last is not None, "napari has added a stretch below the panel"
        assert RESEARCH_USE in last.text()
        assert last.geometry().bottom() >= panel.height() - 20
