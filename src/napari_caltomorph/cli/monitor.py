"""``caltomorph monitor``: a folder of predictions -> whether they drift, in words, and a page with a chart for each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.cli.console import answer, console, progress_bar, say, say_files, table
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.laboratory import MonitorOptions, monitor
from napari_caltomorph.storage import refuse_unwritable

app = Verb(
    name="monitor",
    usage="Usage: caltomorph monitor DIR [OPTIONS]",
    help_epilogue=f"""Every night, on the folder that `predict` or `watch` writes to:

    caltomorph monitor results

With the analyser's hemoglobin; and after a cause was fixed, with a new
reference from that day on:

    caltomorph monitor results --hemoglobin-table analyser.csv
    caltomorph monitor results --since 2026-11-20

The exit code is 0 without drift (also where patients are too few for a
verdict), 1 where drift was found, and 2 where something cannot be read.

{RESEARCH_USE}""",
)

DRIFT_FOUND = 1


@app.default
def check(
    folder: Annotated[Path, Parameter(name="DIR")],
    /,
    *,
    out: Path | None = None,
    options: Annotated[MonitorOptions, Parameter(name="*")] = MonitorOptions(),  # noqa: B008 (frozen)
) -> int:
    """Check whether a laboratory's predictions drift from its first ones.

    Parameters
    ----------
    folder
        Folder with the predictions of many patients, as `predict` writes it.
    out
        The page, by default monitor.html in DIR; the numbers are next to it as JSON.
    """
    from napari_caltomorph.report.monitor_page import save_drift, state_in_words

    page = folder / "monitor.html" if out is None else out
    if folder.is_dir():
        refuse_unwritable(page.parent)
    with progress_bar() as progress:
        drift = monitor(folder, options, progress=progress)
    for number, sentence in enumerate(drift.sentences):
        say(f"{sentence}.", style="bold" if number == 0 else None)
    answer(drift=drift)
    if drift.charts:
        rows = table("chart", "patients", "state", "first alarm")
        for chart in drift.charts:
            found = "" if chart.alarm is None else drift.patients[chart.patients[chart.alarm]]
            alarm = "" if isinstance(found, str) else f"{found.patient_id}, {found.created[:10]}"
            rows.add_row(chart.name, str(len(chart.values)), state_in_words(chart), alarm)
        say()
        console.print(rows)
        say(f"\n{drift.guarantee_in_words}.")
    for note in drift.notes:
        say(f"- {note}")
    say_files(save_drift(drift, page))
    say(RESEARCH_USE)
    return DRIFT_FOUND if drift.state == "drift" else 0
