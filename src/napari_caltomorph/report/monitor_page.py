"""The page of `caltomorph monitor`: what drifts in words, then each quantity with its evidence and its limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_caltomorph.about import RESEARCH_USE, library_version
from napari_caltomorph.laboratory.drift import Drift, DriftChart
from napari_caltomorph.report.drawing import PAPER, PlotStyle, new_figure, short
from napari_caltomorph.report.html import figure_uri, render, save_page
from napari_caltomorph.report.plot import Axis, Dots, Line, Plot, draw_plot
from napari_caltomorph.statistics.drift import WINDOW
from napari_caltomorph.statistics.interval import percent
from napari_caltomorph.storage import StrPath, replacing

# Distinguishable with any colour vision (Okabe and Ito 2008)
_UP, _DOWN, _LIMIT, _VALUE = "#d55e00", "#0072b2", "#5c5c5c", "#8a8a8a"
_TICKS = 4


def save_drift(drift: Drift, page: StrPath) -> list[Path]:
    """Write the page, and next to it the same as JSON; return both paths. Raises `OutputRefused`."""
    page = Path(page)
    numbers = page.with_name(f"{page.name.removesuffix('.html')}.json")
    html = drift_page(drift)
    with replacing(numbers) as part:
        part.write_text(drift.model_dump_json(indent=1), "utf-8")
    return [save_page(html, page), numbers]


def drift_page(drift: Drift) -> str:
    """Return the page as HTML; it loads nothing from a network."""
    verdict, *alarms = drift.sentences
    ordered = sorted(drift.charts, key=lambda chart: chart.alarm is None)
    charts = [(chart, state_in_words(chart), _image(drift, chart)) for chart in ordered]
    values = {"drift": drift, "verdict": verdict, "alarms": alarms, "charts": charts}
    return render("monitor.html.j2", values | {"research_use": RESEARCH_USE, "version": library_version()})


def state_in_words(chart: DriftChart) -> str:
    """Return what was found, and how far the evidence is now: e.g. ``"risen, 1.3 x limit"``."""
    if not chart.up:
        return f"waits for {WINDOW} patients"
    now = max(chart.up[-1], chart.down[-1]) / chart.limit
    shown = f"{percent(now, 0)} of limit" if now < 1 else f"{now:.1f} x limit"
    return f"{chart.direction or 'no alarm'}, {shown}"


def evidence_plot(drift: Drift, chart: DriftChart) -> Plot:
    """Return the evidence for a rise (up) and for a fall (down) after each patient, with limits and the first alarm."""
    x = np.array(chart.patients[chart.reference :][: len(chart.up)], dtype=float) + 1
    up, down = np.array(chart.up), -np.array(chart.down)
    is_two_sided = not isinstance(chart.values[0], str)
    ends = [1.0, float(len(drift.patients))]
    lines = [Line(ends, [chart.limit] * 2, _LIMIT, is_dashed=True), Line(list(x), list(up), _UP, 1.4)]
    if is_two_sided:
        lines += [Line(ends, [-chart.limit] * 2, _LIMIT, is_dashed=True), Line(list(x), list(down), _DOWN, 1.4)]
    dots = list[Dots]()
    if chart.alarm is not None:
        at = chart.alarm - chart.reference
        is_up = chart.direction != "fallen"
        place = np.array([[x[at], up[at] if is_up else down[at]]])
        dots.append(Dots(place, [_UP if is_up else _DOWN], "#202020", size=7, width=1))
    shown = np.concatenate([up, down, [chart.limit, -chart.limit if is_two_sided else 0.0]])
    return Plot(_dates(drift), Axis.around(shown, "evidence").numbered(4), tuple(dots), tuple(lines), grid="y")


def _values_plot(drift: Drift, chart: DriftChart) -> Plot:
    """Return the values, hollow in the reference, over its mean; of categories, a row for each."""
    categories = sorted({value for value in chart.values if isinstance(value, str)}, reverse=True)
    values = np.array([categories.index(v) if isinstance(v, str) else v for v in chart.values], dtype=float)
    faces = ["none"] * chart.reference + [_VALUE] * (len(values) - chart.reference)
    dots = Dots(np.column_stack([np.array(chart.patients) + 1, values]), faces, _VALUE, size=2.6, width=0.6)
    if categories:
        y = Axis(-0.6, len(categories) - 0.4, ticks={float(i): short(name, 20) for i, name in enumerate(categories)})
        return Plot(_dates(drift, is_named=False), y, (dots,), grid="y")
    mean = float(values[: chart.reference].mean())
    line = Line([1.0, float(len(drift.patients))], [mean, mean], _LIMIT, 0.8)
    return Plot(_dates(drift, is_named=False), Axis.around(values, "value").numbered(3), (dots,), (line,), grid="y")


def _dates(drift: Drift, *, is_named: bool = True) -> Axis:
    """Return the axis of patients in their order, with the day of some of them."""
    count = len(drift.patients)
    places = sorted({round(place) for place in np.linspace(1, count, _TICKS)})
    days = {float(place): drift.patients[place - 1].created[:10] if is_named else "" for place in places}
    return Axis(0, count + 1, ticks=days)


def _image(drift: Drift, chart: DriftChart, style: PlotStyle = PAPER) -> str:
    plots = _values_plot(drift, chart), evidence_plot(drift, chart)
    figure = new_figure(5.2, 2.95)
    for axes, plot in zip(figure.subplots(len(plots)), plots, strict=True):
        draw_plot(axes, plot, style)
        axes.axvline(drift.reference + 0.5, color=style.faint, linewidth=1)
    figure.align_ylabels()
    return figure_uri(figure)
