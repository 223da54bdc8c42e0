"""The tabs of *Inspect cells*, a row a tab; each is imported when it is first looked at."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from napari_caltomorph.plugin.widgets.inspection_view import InspectionView


@dataclass(frozen=True)
class TabRow:
    """A tab: its title, what it answers, and where its class is (``"module:Class"`` beside this file)."""

    title: str
    tip: str
    where: str

    def make(self) -> InspectionView:
        """Make the tab."""
        module, name = self.where.split(":")
        tab: InspectionView = getattr(import_module(f"napari_caltomorph.plugin.inspect.{module}"), name)()
        return tab


TABS = (
    TabRow("Plot", "The cells as dots, by attention or by their features", "plot_tab:PlotTab"),
    TabRow("Table", "All cells with their numbers, to sort and export", "table_tab:TableTab"),
    TabRow("Why", "Which cells speak for a class or against it, and whether to believe it", "why_tab:WhyTab"),
    TabRow("Trust", "Whether to believe it: training cohort, members, similar patients", "trust_tab:TrustTab"),
    TabRow(
        "Differential",
        "Label cells, train a probe on them, and count what there is",
        "differential_tab:DifferentialTab",
    ),
    TabRow("What if", "What the model says without some of the cells", "what_if_tab:WhatIfTab"),
)
