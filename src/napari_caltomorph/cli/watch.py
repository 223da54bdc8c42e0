"""``caltomorph watch``: a folder into which a scanner exports -> each patient predicted once, as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.live import Live
from rich.table import Table
from rich.text import Text

from napari_caltomorph import diagnosis, differential, jobs
from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.cli.console import ResultFolder, answer, console, fail, say, say_line, table, useless_option
from napari_caltomorph.cli.interrupts import stop_if_interrupted
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.diagnosis import PredictOptions, SmearOptions
from napari_caltomorph.encoding.torch_loading import import_torch
from napari_caltomorph.errors import counted
from napari_caltomorph.fields import CutOptions
from napari_caltomorph.laboratory import ORDERS, First, Watched, WatchOptions, WatchProgress, refuse_overlap
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.storage import refuse_unwritable

app = Verb(
    name="watch",
    usage="Usage: caltomorph watch FOLDER --model MODEL --out DIR [OPTIONS]",
    help_epilogue=f"""A folder into which a scanner exports, until Ctrl-C:

    caltomorph watch /mnt/scanner --model my_model --out results --report

What is complete now, and then end, e.g. once an hour:

    caltomorph watch /mnt/scanner --model my_model --out results --once

Each folder and each zip archive in FOLDER is one patient. It is predicted when
its files have not changed for --settle seconds, and again if it changes later;
the earlier prediction is kept. Nothing is written into FOLDER. The folder
"results" is as `caltomorph predict --each` writes it, with the ledger
watch.jsonl; run it again to continue.

{RESEARCH_USE}""",
)


@app.default
def watch(
    folder: Annotated[Path, Parameter(name="FOLDER", negative="", help="The folder into which the scanner exports.")],
    /,
    *,
    model: Annotated[str, Parameter(help=PredictOptions.model_fields["model"].description)],
    out: ResultFolder,
    cut: bool = False,
    probe: Path | None = None,
    first: First = "malignant",
    options: Annotated[WatchOptions, Parameter(name="*")] = WatchOptions(),  # noqa: B008 (frozen)
    cutting: Annotated[CutOptions, Parameter(name="*")] = CutOptions(),  # noqa: B008 (frozen)
    chosen: Annotated[SmearOptions, Parameter(name="*")] = SmearOptions(),  # noqa: B008 (frozen)
) -> int:
    """Watch a folder into which a scanner exports, and predict each patient once.

    Parameters
    ----------
    cut
        Exports are microscope fields, whose cells are cut out first, into OUT.
    probe
        blood-cells, or a probe of `caltomorph differential`: the reports then hold a differential.
    first
        Which patients are at the top of the table.
    """
    if useless := useless_option(cut=cut, cutting=cutting, probe=probe, report=options.report):
        return fail(useless, code=2)
    refuse_overlap(folder, out)
    refuse_unwritable(out)
    predicting = PredictOptions(model=model, **chosen.model_dump())
    diagnosis.read_description(diagnosis.find_model(model)).prevalence_at(predicting.prevalence)
    cell_types = None if probe is None else differential.load_probe(probe)
    import_torch()  # when the cheap checks have passed
    exports: dict[str, Watched] = {}
    try:
        with _shown(exports, first) as show:
            predictor = diagnosis.Predictor(predicting)
            cut_options = cutting if cut else None
            jobs.watch_folder(folder, out, predictor, options, cut=cut_options, probe=cell_types, progress=show)
    finally:
        done = sum(one.prediction is not None for one in exports.values())
        answer(
            exports=[
                {"export": one.export, "patient_id": one.patient_id, "state": one.state, "note": one.note}
                for one in exports.values()
            ]
        )
        say(f"\n{counted(done, 'patient')} predicted, in {out}.")
        say(RESEARCH_USE)
    return 1 if any(one.state == "failed" for one in exports.values()) else 0


@contextmanager
def _shown(exports: dict[str, Watched], first: First) -> Iterator[OnProgress]:
    """Yield a callback that collects the exports and shows them: as a table in a terminal, otherwise as lines."""
    note, below = "", ""
    live = None
    if console.is_terminal:
        live = Live(console=console, get_renderable=lambda: _table(list(exports.values()), first, below))

    def show(progress: Progress) -> None:
        nonlocal note, below
        stop_if_interrupted()
        ours = progress if isinstance(progress, WatchProgress) else None
        below = progress.in_words
        if live is None and ours is not None and ours.note != note:
            _say_now(ours.note or "Goes on.")
        if ours is not None:
            note = ours.note
        if ours is not None and (watched := ours.watched) is not None:
            before = exports.get(watched.export)
            exports[watched.export] = watched
            if live is None:
                _say_state(watched, before)

    if live is None:
        yield show
    else:
        with live:
            yield show


def _say_state(watched: Watched, before: Watched | None) -> None:
    """Write a line, but for each file that arrives."""
    if watched.state != "arriving" or before is None or before.state != "arriving":
        _say_now(f"{watched.export}: {_state(watched)}")


def _say_now(text: str) -> None:
    say_line(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}")


def _state(watched: Watched) -> str:
    prediction = watched.prediction
    call = f": {prediction.call_in_words}" if watched.state == "predicted" and prediction is not None else ""
    return f"{watched.state}{call}" + (f" ({watched.note})" if watched.note else "")


def _table(exports: list[Watched], first: First, below: str) -> Table:
    rows = table("patient", "diagnosis", "malignant", "state")
    rows.caption, rows.caption_justify = Text(below), "left"
    for one in sorted(exports, key=ORDERS[first]):
        shown = one.prediction
        known = None if shown is None or shown.withheld else shown
        malignant = "" if known is None else f"{known.malignancy:.2f}"
        style = "bold red" if known is not None and known.is_malignant else ""
        state = f"{one.state} ({one.note})" if one.note else one.state
        call = "" if shown is None else shown.diagnosis_in_words
        rows.add_row(one.patient_id, call, Text(malignant, style), Text(state, "yellow" * (one.state == "failed")))
    return rows
