"""The verbs and the exit codes. A verb's module is imported when the verb is used, so that ``--help`` is instant."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, MissingArgumentError, Parameter
from cyclopts.config import Env
from pydantic import ValidationError

from napari_caltomorph.about import RESEARCH_USE, library_version
from napari_caltomorph.cli.console import console, fail, screen
from napari_caltomorph.cli.interrupts import Interrupts
from napari_caltomorph.cli.options import EVERY_VERB, sources_of
from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.progress import Cancelled

VERBS = {
    "demo": "Draw a synthetic smear, predict it and show it in napari: the first thing to try.",
    "cut": "Cut the white cells out of microscope fields, so that they are a smear.",
    "describe": "Describe what each single-cell image shows: one centred leukocyte, a smudge or clump, or none.",
    "predict": "Diagnose smears, and rank the cells that made the diagnosis.",
    "watch": "Watch a folder into which a scanner exports, and predict each patient once.",
    "cohort": "Show a cohort: classes, splits, who was left out and why; or get one that others publish.",
    "encode": "Turn the cells of a cohort into features, one file a patient; run it again to resume.",
    "train": "Train an ensemble on a cohort: one member a fold, each evaluated on its held-out fold.",
    "compare": "Compare ways of training on the same folds: aggregators, depths, numbers of patients, encoders.",
    "evaluate": "Evaluate a model on patients with known diagnosis: every number with its interval.",
    "monitor": "Check whether predictions drift: stain, scanner, patients, analyser; one page with a chart for each.",
    "review": "Confirm or correct predictions, and show how often hematologists agree with them.",
    "export": "Export predictions with their reviews: HL7 FHIR, or a table with one row a patient.",
    "validate": "Check a model on a laboratory's own cases against criteria set beforehand, and write a record.",
    "differential": "Count the cells of smears by type, with the error of counting and of the classifier.",
    "labels": "Labelled cells of any laboratory: which of our types they are, as a table to train on.",
    "synth": "Write a synthetic cohort with known truth, to practise and to test with.",
    "weights": "The encoders' weights: what is on this machine, and how to get the rest.",
    "models": "The models on this machine, and the encoders that they need.",
    "doctor": "Report what this machine has, what is missing, and the command that fixes it.",
}
"""Name -> what it is for. Each is in the module of its name, as ``app``."""


def _default_in_words(value: Any) -> str:
    """Return a default as it is typed; nothing where there is none."""
    if isinstance(value, bool):
        return "on"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value)


app = App(
    name="caltomorph",
    help="""From a blood smear's single-cell images to a diagnosis, and the cells that made it.

A first try, without any data:

    caltomorph demo

One patient's smear, a folder of single-cell images:

    caltomorph predict smear_a --model demo --out results

What this machine can do, and what it lacks:

    caltomorph doctor""",
    help_format="plaintext",
    help_epilogue=RESEARCH_USE,
    version=library_version,
    group_parameters=Group("Options", sort_key=1),
    default_parameter=Parameter(negative="", show_default=_default_in_words),
    suppress_keyboard_interrupt=False,
    console=console,
)
for _order, (_name, _help) in enumerate(VERBS.items()):
    app.command(f"{__package__}.{_name}:app", name=_name, help=_help, sort_key=_order)
# Scripts use the name that `cohort show` had; in the window, *Inspect* is about cells.
_ALIAS = "The older name of `caltomorph cohort show`, which does the same."
app.command(f"{__package__}.cohort_show:show", name="inspect", help=_ALIAS, show=False)
app.register_install_completion_command(help="Install the completion of this command for your shell.")

app.meta.suppress_keyboard_interrupt = False
# Variables such as CALTOMORPH_LOG_FILE; those of a verb are among the sources of its options.
app.meta.config = (Env("CALTOMORPH_", show=False),)


@app.meta.default
def launch(
    *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Annotated[Path | None, Parameter(group=EVERY_VERB, show_default=False)] = None,
    json: Annotated[bool, Parameter(group=EVERY_VERB, show_default=False)] = False,
    verbose: Annotated[bool, Parameter(group=EVERY_VERB, alias="-v", show_default=False)] = False,
    quiet: Annotated[bool, Parameter(group=EVERY_VERB, alias="-q", show_default=False)] = False,
    log_file: Annotated[Path | None, Parameter(group=EVERY_VERB, show_default=False)] = None,
) -> Any:
    """Run a verb.

    Parameters
    ----------
    config
        YAML, TOML or JSON file with options, e.g. `depth: 4`, for all verbs or below the name of one.
    json
        Write one JSON document on standard output; what people read goes to standard error.
    verbose
        Also say where options come from, what is used, and what is written.
    quiet
        Say only what went wrong.
    log_file
        Add everything that is said to this file, with the time.
    """
    if verbose and quiet:
        return fail("--verbose and --quiet exclude each other; leave out one.", code=2)
    screen.begin(words, as_json=json, verbose=verbose, quiet=quiet, log_file=log_file)
    app.config = sources_of(config, frozenset(VERBS))
    return app(words, exit_on_error=False, print_error=False, result_action="return_value")


def run(arguments: Sequence[str] | None, interrupts: Interrupts | None = None) -> int:
    """Run one verb and return the exit code; what a person did wrong becomes one line on standard error."""
    _survive_odd_names()
    try:
        return screen.end(_run(arguments, interrupts or Interrupts()))
    finally:
        screen.reset()
        app.config = ()


def _run(arguments: Sequence[str] | None, interrupts: Interrupts) -> int:
    try:
        result = app.meta(
            sys.argv[1:] if arguments is None else arguments,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except BaseException as error:
        # An interrupt inside an import, a C library or another process can come out as another error.
        if interrupts.number or isinstance(error, KeyboardInterrupt | Cancelled):
            return fail("stopped", code=interrupts.exit_code)
        if isinstance(error, CycloptsError):
            return fail(f"{_one_line(error)} See `{_help_of(error)} --help`.", code=2)
        if isinstance(error, CaltomorphError):
            return fail(str(error), code=2)
        if isinstance(error, OSError) and error.filename is not None:  # of a path: too long, or its drive is gone
            return fail(f"{error.filename} cannot be used ({error.strerror}); check the path and its drive.", code=2)
        raise
    return result if isinstance(result, int) else 0


def _survive_odd_names() -> None:
    """Print what the terminal's encoding lacks as an escape: a file's name must not stop the result."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _one_line(error: CycloptsError) -> str:
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        return f"{_help_of(error)} needs {error.argument.name}."
    if not isinstance(error.__cause__, ValidationError):
        text = " ".join(str(error).split())
        return text if text.endswith((".", "?", "!")) else f"{text}."
    first = error.__cause__.errors()[0]
    if not first["loc"]:  # not of one option, but of how several fit together
        return f"{first['msg'][0].upper()}{first['msg'][1:]}."
    field = str(first["loc"][0])
    among = () if error.argument is None else error.argument.children
    name = next((one.name for one in among if one.keys[-1] == field), "--" + field.replace("_", "-"))
    why = "not one of its values" if first["type"] == "string_pattern_mismatch" else first["msg"]
    source = screen.sources.get(name)
    return f"{name} {first['input']}{f' in {source}' if source else ''}: {why}."


def _help_of(error: CycloptsError) -> str:
    return " ".join(["caltomorph", *(error.command_chain or ())])
