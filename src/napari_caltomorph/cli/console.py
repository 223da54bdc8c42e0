"""The terminal: results on standard output, errors and progress on standard error; or one JSON document.

Names of files and patients are shown as text: nothing in them moves the cursor, colors the screen or turns a line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console, ConsoleOptions, RenderableType
from rich.logging import RichHandler
from rich.progress import BarColumn, ProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from napari_caltomorph.about import library_version
from napari_caltomorph.cli.interrupts import stop_if_interrupted
from napari_caltomorph.errors import OutputRefused, bounded, visible
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
Overwrite = Annotated[bool, Parameter(help="Replace results that are there already.")]
CohortPath = Annotated[Path, Parameter(help="A directory, a zip archive of one, a table, or a saved cohort.json.")]
FeatureFolder = Annotated[
    Path | None, Parameter(help="Feature folder of `caltomorph encode`; not needed where the cohort is one.")
]


class _TextConsole(Console):
    """A console without rich's own languages: "[x]" and ":+1:" are parts of file names here; so is an escape."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def print(self, *objects: Any, **how: Any) -> None:
        """Print, and add the same text to a log file where there is one."""
        super().print(*objects, **how)
        if screen.has_log:
            plain = Console(file=io.StringIO(), width=120, highlight=False, markup=False, emoji=False, no_color=True)
            plain.print(*objects, **how)
            screen.log(plain.file.getvalue())  # type: ignore[attr-defined]

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield what `rich` draws, its own control codes unchanged."""
        for segment in super().render(renderable, options):
            lines = segment.text.split("\n")  # rich's own: it ends lines with segments
            yield segment if segment.control else segment._replace(text="\n".join(map(visible, lines)))


console = _TextConsole()
error_console = _TextConsole(stderr=True)
_logger = logging.getLogger("napari_caltomorph")
_SECONDS_A_LINE = 30.0


class Screen:
    """How one run of a verb speaks: to people or as JSON, and how much of it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Speak to people again, and close the log file."""
        self.answer: dict[str, Any] | None = None
        console.file, console.quiet, error_console.quiet = None, False, False  # type: ignore[assignment]  # its default
        for handler in getattr(self, "_handlers", []):
            _logger.removeHandler(handler)
            handler.close()
        self._handlers: list[logging.Handler] = []
        self.sources: dict[str, str] = {}  # option -> where it comes from, if not the command line
        _logger.setLevel(logging.NOTSET)

    def begin(self, words: Sequence[str], *, as_json: bool, verbose: bool, quiet: bool, log_file: Path | None) -> None:
        """Apply the options that every verb has; raise `OutputRefused` for a log file that cannot be written."""
        console.quiet = quiet
        if as_json:
            self.answer = {"command": list(words), "version": library_version(), "errors": []}
            console.file = sys.stderr
        level = logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING
        shown = RichHandler(level, error_console, show_time=False, show_level=False, show_path=False)
        self._handlers.append(shown)
        if log_file is not None:
            try:
                log_file.parent.mkdir(parents=True, exist_ok=True)
                written = logging.FileHandler(log_file, encoding="utf-8", errors="backslashreplace")
            except OSError as error:
                raise OutputRefused(f"{log_file} cannot be written ({error.strerror}); name another file.") from error
            written.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            self._handlers.append(written)
        _logger.setLevel(logging.INFO if verbose or log_file is not None else level)
        for handler in self._handlers:
            _logger.addHandler(handler)
        _logger.info("caltomorph %s: %s", library_version(), " ".join(words))

    @property
    def has_log(self) -> bool:
        """Whether what is on the screen is also written to a file."""
        return len(self._handlers) > 1

    def log(self, text: str) -> None:
        """Add what is on the screen to the log file."""
        for handler in self._handlers[1:]:
            for line in text.splitlines():
                if line.strip():
                    handler.handle(logging.LogRecord("screen", logging.INFO, "", 0, line.rstrip(), None, None))

    def end(self, code: int) -> int:
        """Write the JSON document where one was asked for; return the exit code."""
        if self.answer is not None:
            document = _plain(self.answer | {"exit_code": code})
            sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n")
        self.log(f"ended with exit code {code}")
        return code


screen = Screen()


def answer(**parts: Any) -> None:
    """Add parts to the JSON document of this run: plain data, pydantic models, tables or paths."""
    if screen.answer is not None:
        for name, value in parts.items():
            known = screen.answer.get(name)
            screen.answer[name] = [*known, *value] if isinstance(known, list) else value


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: a table is a list of rows, and what is no number is null."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return _plain(value.to_dict("records"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        return visible(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump(mode="json"))
    return visible(str(value))


@contextlib.contextmanager
def progress_bar(label: str = "") -> Iterator[OnProgress]:
    """Yield a progress callback that draws a bar with speed and time left, and that Ctrl-C stops.

    Where standard error is no terminal, it writes a line now and then, with the same words.
    """
    columns: list[ProgressColumn] = [BarColumn(bar_width=20), TextColumn("{task.description}", markup=False)]
    if label:
        columns.insert(0, TextColumn(label, markup=False))
    is_drawn = error_console.is_terminal and not console.quiet
    bar = Bar(*columns, console=error_console, transient=True, disable=not is_drawn)
    pace, said = Pace(), time.monotonic()  # the first line comes after some seconds: a short run writes none
    with bar:
        task = bar.add_task("Starting", total=None)

        def show(progress: Progress) -> None:
            nonlocal said
            stop_if_interrupted()
            done, total = progress.whole or (progress.done, progress.total)
            text = pace.describe(progress)
            bar.update(task, description=text, completed=done, total=total)
            if time.monotonic() - said >= _SECONDS_A_LINE:
                said = time.monotonic()
                if is_drawn:
                    screen.log(text)
                elif not console.quiet:
                    error_console.print(text, soft_wrap=True)

        yield show


def fail(message: str, *, code: int) -> int:
    """Write one line on standard error and return the exit code."""
    text = bounded(" ".join(visible(message).splitlines()))
    error_console.print(Text.assemble(("caltomorph: ", "bold red"), text), soft_wrap=True)
    answer(errors=[text])
    return code


def say(text: str = "", style: str | None = None) -> None:
    """Write a sentence, wrapped at the terminal's width."""
    console.print(text, style=style)


def say_line(text: str, style: str | None = None) -> None:
    """Write a line that must stay whole to be copied: a path, a sum, a command."""
    console.print(text, style=style, soft_wrap=True)


def say_files(paths: Iterable[Path]) -> None:
    """Write the paths of results, one a line."""
    paths = list(paths)
    answer(files=paths)
    say("Written:")
    for path in paths:
        say_line(f"  {path}")


def say_cohort(cohort: Cohort) -> None:
    """Write which patients a job works on, and what was guessed about them."""
    answer(cohort={"source": cohort.source, "summary": cohort.summary, "notes": cohort.notes})
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
