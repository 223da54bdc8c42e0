"""A judged model: numbers and figures in tabs, the threshold that moves them, and the patients they speak of."""

from __future__ import annotations

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QSplitter, QTabWidget, QVBoxLayout, QWidget

from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.jobs import ModelEvaluation
from napari_caltomorph.plugin.evaluate.figure import FigureTab, Picked
from napari_caltomorph.plugin.evaluate.numbers import NumbersView
from napari_caltomorph.plugin.evaluate.pages import TABS, pages_of
from napari_caltomorph.plugin.evaluate.patients import PatientsList
from napari_caltomorph.plugin.evaluate.threshold import ThresholdRow
from napari_caltomorph.plugin.widgets.parts import counted, line, link, plain
from napari_caltomorph.report import Look

# Drawing takes some 50 ms, and the slider may move faster.
_DRAW_AFTER_MS = 15


class EvaluateResult(QWidget):
    """Shows a `ModelEvaluation`. `opened` carries the path of a patient's smear, "" where there are no images."""

    opened = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.judged: ModelEvaluation | None = None
        self._look = Look()
        self._follows = "missed"
        self._picked: Picked | None = None
        self._about = line()
        self.numbers = NumbersView()
        self.figures = [FigureTab() for _ in TABS]
        self.tabs = QTabWidget()
        # Seven tabs side by side in a dock of 360 px.
        self.tabs.tabBar().setStyleSheet("QTabBar::tab { padding-left: 3px; padding-right: 3px; min-width: 0px; }")
        self.tabs.addTab(self.numbers, "Numbers")
        for title, tab in zip(TABS, self.figures, strict=True):
            self.tabs.addTab(tab, title)
            tab.picked.connect(self.pick)
            tab.turned.connect(self._draw_soon)
        self.tabs.currentChanged.connect(self._draw_soon)
        self.threshold = ThresholdRow()
        self.threshold.moved.connect(self._on_moved)
        self.patients = PatientsList()
        self.patients.asked.connect(self.follow)
        self.patients.opened.connect(self.opened)
        self._timer, self._list_soon = (QTimer(self, singleShot=True, interval=_DRAW_AFTER_MS) for _ in range(2))
        self._timer.timeout.connect(self._draw_now)
        self._list_soon.timeout.connect(self._list)
        below = QWidget()
        column = QVBoxLayout(below)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.threshold)
        column.addWidget(self.patients, 1)
        self.split = QSplitter(Qt.Orientation.Vertical, childrenCollapsible=False)
        self.split.addWidget(self.tabs)
        self.split.addWidget(below)
        self.split.setSizes([300, 170])
        self.split.setStretchFactor(0, 1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(2)
        whole.addWidget(self._about)
        whole.addWidget(self.split, 1)

    @property
    def text(self) -> str:
        """What is said above the tabs."""
        return str(self._about.text())

    @property
    def moved_to(self) -> float | None:
        """The threshold, where it was moved by hand."""
        return self.threshold.value if self.threshold.is_moved else None

    def show_judged(self, judged: ModelEvaluation, look: Look) -> None:
        """Show what was judged."""
        self.judged, self._look, self._picked = judged, look, None
        evaluation = judged.evaluation
        self._about.setText(_about(evaluation))
        set_by = evaluation.provenance.threshold
        pages = pages_of(evaluation)
        for number, (title, tab) in enumerate(zip(TABS, self.figures, strict=True), start=1):
            tab.set_pages(mine := [page for page in pages if page.tab == title])
            self.tabs.setTabVisible(number, bool(mine))
            self.tabs.setTabToolTip(number, mine[0].figure.title if mine else "")
        self.threshold.begin(set_by.value, set_by.rule)
        self.threshold.setEnabled(evaluation.is_labelled)
        self.patients.begin(evaluation)
        self.tabs.setCurrentIndex(0)
        self.follow("missed")
        self._draw_now()

    def draw(self, look: Look) -> None:
        """Draw again, in the colours of a theme."""
        self._look = look
        self._draw_now()

    def follow(self, who: str) -> None:
        """List whom the threshold misses (``"missed"``) or calls wrongly (``"false_alarms"``) as it moves, or who is
        predicted as another class (``"wrong"``).
        """
        self._follows, self._picked = who, None
        self._list()
        self._mark()

    def pick(self, picked: Picked) -> None:
        """List the patients that were clicked on."""
        self._picked = picked
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
        """Say at once what another threshold does; list and draw when the slider leaves time for it."""
        if self.judged is None:
            return
        self._picked = None
        self.threshold.say(self.judged.evaluation.at(self.threshold.value))
        if not self._list_soon.isActive():
            self._list_soon.start()
        self._draw_soon()

    def _list(self) -> None:
        """Say what the threshold does, and list to whom; or those who were clicked on."""
        if self.judged is None:
            return
        evaluation = self.judged.evaluation
        point = evaluation.at(self.threshold.value)
        self.threshold.say(point)
        lists = {
            "missed": (f"missed {len(point.missed)} of {point.sensitivity.patients}", point.missed),
            "false_alarms": (counted(len(point.false_alarms), "false alarm"), point.false_alarms),
            "wrong": (f"{len(evaluation.wrong)} wrong", evaluation.wrong),
        }
        if not evaluation.is_labelled:
            ids = tuple(evaluation.patients["patient_id"])
            self.patients.show_patients(f"{counted(len(ids), 'patient')}, no truth known", ids)
            return
        shown = self._picked.patients if self._picked is not None else lists[self._follows][1]
        title = [] if self._picked is None else [f"<b>{plain(self._picked.title)}</b>"]
        title += [
            f"<b>{said}</b>" if self._picked is None and name == self._follows else link(said, name)
            for name, (said, _) in lists.items()
        ]
        self.patients.show_patients(" &#183; ".join(title), shown)

    def _draw_soon(self) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _draw_now(self) -> None:
        """Draw the tab in front; the others are drawn when they come there."""
        self._timer.stop()
        if self.judged is None:
            return
        if self.shown is None:
            self.numbers.draw(self.judged.evaluation, self.judged.audit, self._look, self.threshold.value)
        else:
            self.shown.draw(self.judged.evaluation, self._look, self.threshold.value)
            self._mark()

    def _mark(self) -> None:
        if self.shown is not None:
            self.shown.mark(self._picked)


def _about(evaluation: Evaluation) -> str:
    known, counts = evaluation.provenance, evaluation.counts
    how = ", out of fold, by single members" if evaluation.options.out_of_fold else ""
    is_said = "synthetic" in known.model_name.casefold()
    made = " &#183; <b>synthetic</b>" if known.model_synthetic and not is_said else ""
    others = f"; {counts['not evaluated']} not judged" if counts["not evaluated"] else ""
    return (
        f"<b>{plain(known.model_name)}</b> on <b>{plain(known.cohort_name)}</b>: "
        f"{counted(counts['evaluated'], 'patient')}{how}{others}{made}"
    )
