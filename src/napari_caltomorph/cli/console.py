"""The terminal: results on standard output, errors and the progress bar on standard error, and Ctrl-C.

Python raises `KeyboardInterrupt` in the main thread, and some libraries swallow it there. So Ctrl-C is also remembered,
and the next report of progress stops the work.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from napari_caltomorph.progress import Cancelled, OnProgress, Pace, Progress

if TYPE_CHECKING:
    from napari_caltomorph.cohort import Cohort

Smears = Annotated[
    tuple[Path, ...],
    Parameter(
        name="SMEAR",
        negative="",
        help="One patient's cells: a folder of images, a zip of one, a multi-page TIFF, or all images of a folder.",
    ),
]
ResultFolder = Annotated[Path, Parameter(help="Folder for the results; made if needed.")]
CohortPath = Annotated[Path, Parameter(help="A directory, a zip archive of one, a table, or a saved cohort.json.")]
FeatureFolder = Annotated[
    Path | None, Parameter(help="Feature folder of `caltomorph encode`; not needed where the cohort is one.")
]
ConfigFile = Annotated[
    Path | None,
    Parameter(help="YAML or TOML file with training options, e.g. `depth: 4`; those of the command line win."),
]

# Without rich's own languages: "[x]" and ":+1:" are parts of file names here.
console = Console(highlight=False, markup=False, emoji=False)
error_console = Console(stderr=True, highlight=False, markup=False, emoji=False)


@contextlib.contextmanager
def progress_bar(label: str = "") -> Iterator[OnProgress]:
    """Yield a progress callback that draws a bar with speed and time left, and that Ctrl-C stops.

    Nothing is drawn where standard error is no terminal.
    """
    columns: list[ProgressColumn] = [BarColumn(bar_width=20), TextColumn("{task.description}", markup=False)]
    if label:
        columns.insert(0, TextColumn(label, markup=False))
    bar = Bar(*columns, console=error_console, transient=True, disable=not error_console.is_terminal)
    pace = Pace()
    with bar:
        task = bar.add_task("Starting", total=None)

        def show(progress: Progress) -> None:
            stop_if_interrupted()
            bar.update(task, description=pace.describe(progress), completed=progress.done, total=progress.total)

        yield show


def fail(message: str, *, code: int) -> int:
    """Write one line on standard error and return the exit code."""
    line = Text.assemble(("caltomorph: ", "bold red"), " ".join(message.splitlines()))
    error_console.print(line, soft_wrap=True)
    return code


def say(text: str = "", style: str | None = None) -> None:
    """Write a sentence, wrapped at the terminal's width."""
    console.print(text, style=style)


def say_line(text: str, style: str | None = None) -> None:
    """Write a line that must stay whole to be copied: a path, a sum, a command."""
    console.print(text, style=style, soft_wrap=True)


def say_files(paths: Iterable[Path]) -> None:
    """Write the paths of results, one a line."""
    say("Written:")
    for path in paths:
        say_line(f"  {path}")


def say_cohort(cohort: Cohort) -> None:
    """Write which patients a job works on, and what was guessed about them."""
    say(f"{cohort.source}: {cohort.summary}.")
    for note in cohort.notes:
        say(f"- {note}")


def say_if_joined(smears: Sequence[Path], patients: Sequence[str]) -> None:
    """Write that several images are taken as one patient, where they are."""
    if len(patients) == 1 and len(set(smears)) > 1:
        say(f"{len(set(smears))} images of one folder: one patient, {patients[0]}.")


def table(*headers: str) -> Table:
    """Return an empty table in our style: no frame, a bold header, a column for each."""
    rows = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for header in headers:
        rows.add_column(header, overflow="fold")
    return rows


@dataclass
class Interrupts:
    """Whether Ctrl-C was pressed."""

    came: bool = False

    def __call__(self, signal_number: int, frame: FrameType | None) -> NoReturn:
        """Handle the signal."""
        self.came = True
        raise KeyboardInterrupt


_current = Interrupts()


def stop_if_interrupted() -> None:
    """Raise `Cancelled` when Ctrl-C was pressed."""
    if _current.came:
        raise Cancelled


@contextlib.contextmanager
def catching_interrupts() -> Iterator[Interrupts]:
    """Remember Ctrl-C while the block runs."""
    global _current
    _current = Interrupts()
    with _handling(_current):
        yield _current


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C while the block runs: for writing several files that belong together."""
    with _handling(signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _handling(handler: Interrupts | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may, and only it receives the signal
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
