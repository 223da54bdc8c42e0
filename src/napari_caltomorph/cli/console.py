"""The terminal: results on standard output, errors and the progress bar on standard error.

Names of files and patients are shown as text: nothing in them moves the cursor, colors the screen or turns a line.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, ProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from napari_caltomorph.cli.interrupts import stop_if_interrupted
from napari_caltomorph.errors import bounded, visible
from napari_caltomorph.progress import OnProgress, Pace, Progress

if TYPE_CHECKING:
    from napari_caltomorph.cohort import Cohort
    from napari_caltomorph.fields import CutOptions

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


class _TextConsole(Console):
    """A console without rich's own languages: "[x]" and ":+1:" are parts of file names here; so is an escape."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield what `rich` draws, its own control codes unchanged."""
        for segment in super().render(renderable, options):
            lines = segment.text.split("\n")  # rich's own: it ends lines with segments
            yield segment if segment.control else segment._replace(text="\n".join(map(visible, lines)))


console = _TextConsole()
error_console = _TextConsole(stderr=True)


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
            done, total = progress.whole or (progress.done, progress.total)
            bar.update(task, description=pace.describe(progress), completed=done, total=total)

        yield show


def fail(message: str, *, code: int) -> int:
    """Write one line on standard error and return the exit code."""
    line = Text.assemble(("caltomorph: ", "bold red"), bounded(" ".join(visible(message).splitlines())))
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


def useless_option(*, cut: bool, cutting: CutOptions, probe: Path | None, report: bool) -> str:
    """Return why an option of `predict` or `watch` would change nothing; empty where each changes something."""
    if not cut and cutting != type(cutting)():
        return "The scale and size of cells are for fields: add --cut."
    if probe is not None and not report:
        return "--probe counts cells for the report: add --report, or use `caltomorph differential`."
    return ""
