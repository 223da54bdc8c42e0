"""The numbers of an evaluation as one page of text: those that follow the threshold first, then all others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qtpy.QtWidgets import QFrame, QTextBrowser

from napari_caltomorph.audit.result import Audit
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.plugin.evaluate.setup import in_panel_words
from napari_caltomorph.plugin.widgets.parts import plain
from napari_caltomorph.report import Look
from napari_caltomorph.report.evaluation_tables import (
    ReportTable,
    class_table,
    headline_table,
    hemoglobin_table,
    prevalence_table,
    screening_table,
    undefined_table,
)


class NumbersView(QTextBrowser):
    """Shows the numbers; their text can be selected and copied."""

    def __init__(self) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.NoFrame)
        self._rest: tuple[Evaluation, str] | None = None

    def draw(self, evaluation: Evaluation, audit: Audit | None, look: Look, threshold: float) -> None:
        """Show the numbers at a threshold, and keep the scroll position."""
        place = self.verticalScrollBar().value()
        self.setStyleSheet(f"QTextBrowser {{ background: {look.background}; color: {look.text}; }}")
        if self._rest is None or self._rest[0] is not evaluation:
            self._rest = evaluation, _rest(evaluation, audit)
        style = "<style>td, th { padding: 1px 5px 1px 0 } th { text-align: left }</style>"
        self.setHtml(f"{style}{_at_threshold(evaluation, threshold)}{self._rest[1]}")
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
    prevalence = _table("FDR elsewhere", prevalence_table(evaluation, threshold=threshold), (0, 1, 2))
    return whole + screening + prevalence


def _rest(evaluation: Evaluation, audit: Audit | None) -> str:
    notes = _list("Notes", map(in_panel_words, evaluation.statements))
    findings = "" if audit is None else _list("Shortcut audit", audit.findings)
    if not evaluation.is_labelled:
        return notes + findings
    classes = _table("Classes", class_table(evaluation), (0, 1, 3, 4, 7))
    hemoglobin = _table("Hemoglobin, g/dl", hemoglobin_table(evaluation), (0, 1, 2, 3, 4))
    undefined = _table("Undefined", undefined_table(evaluation), (0, 1))
    return classes + hemoglobin + findings + notes + undefined


def _table(title: str, table: ReportTable, columns: Sequence[int]) -> str:
    """Some columns of a table: a dock is narrow, and the report has them all."""
    if not table.rows:
        return ""
    heads = "".join(f"<th>{plain(table.heads[column])}</th>" for column in columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_small(row[column].text, row[column].below)}</td>' for column in columns)}</tr>"
        for row in table.rows
    )
    return f"<h4>{title}</h4><table width='100%'><tr>{heads}</tr>{rows}</table>"


def _list(title: str, sentences: Iterable[str]) -> str:
    return f"<h4>{title}</h4>" + "".join(f"<p>{plain(sentence)}</p>" for sentence in sentences)


def _small(text: str, below: str) -> str:
    return plain(text) + (f"<br><small>{plain(below)}</small>" if below else "")
