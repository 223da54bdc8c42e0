"""The result of an evaluation: numbers and figures in tabs, the threshold that changes them, and their patients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QTextOption
from qtpy.QtWidgets import QFrame, QSplitter, QTabWidget, QTextBrowser, QWidget

from napari_caltomorph.audit.result import Audit
from napari_caltomorph.diagnosis.prevalence import ASSUMPTION_OF_RATES
from napari_caltomorph.errors import counted
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.jobs import ModelEvaluation
from napari_caltomorph.jobs.evaluate import cells_by_attention
from napari_caltomorph.plugin.evaluate.figure import TABS, FigureTab, PatientSelection, pages_of
from napari_caltomorph.plugin.evaluate.threshold import PatientsList, ThresholdRow
from napari_caltomorph.plugin.widgets.parts import column_of, in_window_words, line, link, plain
from napari_caltomorph.plugin.widgets.patient_cells import CELLS
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.drawing import unbroken
from napari_caltomorph.report.evaluation_tables import (
    ReportTable,
    class_table,
    headline_table,
    hemoglobin_table,
    prevalence_table,
    screening_table,
    undefined_table,
)

# Drawing takes some 50 ms, and the slider may move faster.
_DRAW_AFTER_MS = 15


class EvaluateResult(QWidget):
    """Shows a `ModelEvaluation`. `opened` carries the path of a patient's smear, "" where there are no images."""

    opened = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.evaluated: ModelEvaluation | None = None
        self._plot_style = PlotStyle()
        self._follows = "missed"
        self._selection: PatientSelection | None = None
        self._about = line()
        self.numbers = NumbersView()
        self.figures = [FigureTab() for _ in TABS]
        self.tabs = QTabWidget()
        # Seven tabs side by side in a dock of 360 px.
        self.tabs.tabBar().setStyleSheet("QTabBar::tab { padding-left: 3px; padding-right: 3px; min-width: 0px; }")
        self.tabs.addTab(self.numbers, "Numbers")
        for title, tab in zip(TABS, self.figures, strict=True):
            self.tabs.addTab(tab, title)
            tab.selected.connect(self.select)
            tab.page_changed.connect(self._draw_soon)
        self.tabs.currentChanged.connect(self._draw_soon)
        self.threshold = ThresholdRow()
        self.threshold.moved.connect(self._on_moved)
        self.patients = PatientsList()
        self.patients.link_clicked.connect(self.follow)
        self.patients.opened.connect(self.opened)
        self._timer, self._list_soon = (QTimer(self, singleShot=True, interval=_DRAW_AFTER_MS) for _ in range(2))
        self._timer.timeout.connect(self._draw_now)
        self._list_soon.timeout.connect(self._list)
        below = QWidget()
        column_of(below, self.threshold, self.patients, stretch=(self.patients,), spacing=2)
        self.split = QSplitter(Qt.Orientation.Vertical, childrenCollapsible=False)
        self.split.addWidget(self.tabs)
        self.split.addWidget(below)
        self.split.setSizes([300, 170])
        self.split.setStretchFactor(0, 1)
        column_of(self, self._about, self.split, stretch=(self.split,), spacing=2)

    @property
    def text(self) -> str:
        return str(self._about.text())

    @property
    def moved_to(self) -> float | None:
        """The threshold, where it was moved by hand."""
        return self.threshold.value if self.threshold.is_moved else None

    def show_evaluated(self, evaluated: ModelEvaluation, style: PlotStyle) -> None:
        self.evaluated, self._plot_style, self._selection = evaluated, style, None
        evaluation = evaluated.evaluation
        self._about.setText(_about(evaluated))
        set_by = evaluation.provenance.threshold
        pages = pages_of(evaluation)
        for number, (title, tab) in enumerate(zip(TABS, self.figures, strict=True), start=1):
            tab.set_pages(mine := [page for page in pages if page.tab == title])
            self.tabs.setTabVisible(number, bool(mine))
            self.tabs.setTabToolTip(number, mine[0].figure.title if mine else "")
        self.threshold.begin(set_by.value, set_by.rule)
        self.threshold.setEnabled(evaluation.is_labelled)
        self.patients.begin(evaluation, partial(cells_by_attention, evaluated, cells=CELLS))
        self.tabs.setCurrentIndex(0)
        self.follow("missed")
        self._draw_now()

    def draw(self, style: PlotStyle) -> None:
        self._plot_style = style
        self._draw_now()

    def follow(self, who: str) -> None:
        """List the patients ``"missed"``, ``"false_alarms"`` or ``"wrong"``, updated as the threshold moves."""
        self._follows, self._selection = who, None
        self._list()
        self._mark()

    def select(self, selection: PatientSelection) -> None:
        self._selection = selection
        self._list()
        self._mark()

    def show_tab(self, title: str) -> FigureTab:
        """Bring a tab of figures to the front, drawn."""
        number = TABS.index(title)
        self.tabs.setCurrentIndex(number + 1)
        self._draw_now()
        return self.figures[number]

    @property
    def shown(self) -> FigureTab | None:
        """The tab of figures in front; None where the numbers are."""
        number = self.tabs.currentIndex() - 1
        return self.figures[number] if number >= 0 else None

    def _on_moved(self) -> None:
        """Show the rates at once; list and draw when the slider leaves time for it."""
        if self.evaluated is None:
            return
        self._selection = None
        self.threshold.show_rates(self.evaluated.evaluation.at(self.threshold.value))
        if not self._list_soon.isActive():
            self._list_soon.start()
        self._draw_soon()

    def _list(self) -> None:
        """Show the rates, and list the patients that are followed, or those that were selected by a click."""
        if self.evaluated is None:
            return
        evaluation = self.evaluated.evaluation
        point = evaluation.at(self.threshold.value)
        self.threshold.show_rates(point)
        lists = {
            "missed": (f"missed {len(point.missed)} of {point.sensitivity.patients}", point.missed),
            "false_alarms": (counted(len(point.false_alarms), "false alarm"), point.false_alarms),
            "wrong": (f"{len(evaluation.wrong)} wrong", evaluation.wrong),
        }
        if not evaluation.is_labelled:
            ids = tuple(evaluation.patients["patient_id"])
            self.patients.show_patients(f"{counted(len(ids), 'patient')}, no truth known", ids)
            return
        shown = self._selection.patients if self._selection is not None else lists[self._follows][1]
        title = [] if self._selection is None else [f"<b>{plain(self._selection.title)}</b>"]
        title += [
            f"<b>{text}</b>" if self._selection is None and name == self._follows else link(unbroken(text), name)
            for name, (text, _) in lists.items()
        ]
        self.patients.show_patients(" &#183; ".join(title), shown)

    def _draw_soon(self) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _draw_now(self) -> None:
        """Draw the tab in front; the others are drawn when they come to the front."""
        self._timer.stop()
        if self.evaluated is None:
            return
        if self.shown is None:
            self.numbers.draw(self.evaluated.evaluation, self.evaluated.audit, self._plot_style, self.threshold.value)
        else:
            self.shown.draw(self.evaluated.evaluation, self._plot_style, self.threshold.value)
            self._mark()

    def _mark(self) -> None:
        if self.shown is not None:
            self.shown.mark(self._selection)


class NumbersView(QTextBrowser):
    """Shows the numbers; their text can be selected and copied."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrapMode(QTextOption.WrapMode.WordWrap)  # columns of tables are as wide as their words
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._rest: tuple[Evaluation, str] | None = None

    def draw(self, evaluation: Evaluation, audit: Audit | None, style: PlotStyle, threshold: float) -> None:
        """Show the numbers at a threshold, and keep the scroll position."""
        place = self.verticalScrollBar().value()
        self.setStyleSheet(f"QTextBrowser {{ background: {style.background}; color: {style.text}; }}")
        if self._rest is None or self._rest[0] is not evaluation:
            self._rest = evaluation, _rest(evaluation, audit)
        css = "<style>td, th { padding: 1px 3px 1px 0 } th { text-align: left }</style>"
        self.setHtml(f"{css}{_at_threshold(evaluation, threshold)}{self._rest[1]}")
        self.verticalScrollBar().setValue(place)


def _at_threshold(evaluation: Evaluation, threshold: float) -> str:
    """The numbers that depend on the threshold, and those of the model as a whole."""
    if not evaluation.is_labelled:
        return ""
    headline = headline_table(evaluation, threshold=threshold)
    rows = [
        f"<tr><td>{_small(row[0].text, row[5].text)}</td><td>{_small(row[1].text, row[2].text)}</td></tr>"
        for row in headline.rows
    ]
    whole = f"<h4>The model as a whole</h4><table width='100%'>{''.join(rows)}</table>"
    screening = _table("Called malignant, by class", screening_table(evaluation, threshold=threshold), (0, 1, 2))
    prevalence = _table("FDR elsewhere", prevalence_table(evaluation, threshold=threshold), (0, 1, 2, 3))
    assumption = f"<p>{ASSUMPTION_OF_RATES}</p>" if prevalence else ""
    return whole + screening + prevalence + assumption


def _rest(evaluation: Evaluation, audit: Audit | None) -> str:
    notes = _list("Notes", map(in_window_words, evaluation.statements))
    findings = "" if audit is None else _list("Shortcut audit", audit.findings)
    if not evaluation.is_labelled:
        return notes + findings
    is_calibrated = evaluation.provenance.calibration is not None
    classes = _table("Classes", class_table(evaluation), (0, 1, 3, 4, 9 if is_calibrated else 7))
    hemoglobin = _table("Hemoglobin, g/dl", hemoglobin_table(evaluation), (0, 1, 2, 3, 5))
    undefined = _table("Undefined", undefined_table(evaluation), (0, 1))
    return classes + hemoglobin + findings + notes + undefined


def _table(title: str, table: ReportTable, columns: Sequence[int]) -> str:
    """Some columns of a table: a dock is narrow, and the report has them all."""
    if not table.rows:
        return ""
    heads = "".join(f"<th><small>{plain(table.heads[column])}</small></th>" for column in columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_small(row[column].text, row[column].below)}</td>' for column in columns)}</tr>"
        for row in table.rows
    )
    return f"<h4>{title}</h4><table width='100%'><tr>{heads}</tr>{rows}</table>"


def _list(title: str, sentences: Iterable[str]) -> str:
    return f"<h4>{title}</h4>" + "".join(f"<p>{plain(sentence)}</p>" for sentence in sentences)


def _small(text: str, below: str) -> str:
    return plain(text) + (f"<br><small>{plain(below)}</small>" if below else "")


def _about(evaluated: ModelEvaluation) -> str:
    evaluation, cohort = evaluated.evaluation, evaluated.cohort
    known, counts = evaluation.provenance, evaluation.counts
    how = ", out of fold, by single members" if evaluation.options.out_of_fold else ""
    is_in_name = "synthetic" in known.model_name.casefold()
    synthetic = " &#183; <b>synthetic</b>" if known.model_synthetic and not is_in_name else ""
    others = f"; {counts['not evaluated']} not evaluated" if counts["not evaluated"] else ""
    left_out = f"; left out of the cohort: {plain(cohort.why_left_out)}" if len(cohort.left_out) else ""
    return (
        f"<b>{plain(known.model_name)}</b> on <b>{plain(known.cohort_name)}</b>: "
        f"{counted(counts['evaluated'], 'patient')}{how}{others}{left_out}{synthetic}"
    )
