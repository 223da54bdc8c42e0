"""``caltomorph doctor``: what this machine has, what is missing, and the command that mends it."""

from __future__ import annotations

from cyclopts import App
from rich.text import Text

from napari_caltomorph.cli import machine
from napari_caltomorph.cli.console import console, fail, say, say_line, table
from napari_caltomorph.cli.machine import Finding

app = App(
    name="doctor",
    usage="Usage: caltomorph doctor",
    help_epilogue="""Run it first when something does not work, and send what it says along when
you ask for help:

    caltomorph doctor""",
)


@app.default
def doctor() -> int:
    """Say what this machine has, what is missing, and the command that mends it."""
    findings = _show("Python", list(machine.look_at_python()))
    broken = [f for f in findings if f.is_core]
    if not broken:
        findings += _show("Computing", list(machine.look_at_computing()))
        findings += _show("Window", list(machine.look_at_window()))
        findings += _show("Encoder weights", list(machine.look_at_weights()))
        findings += _show("Models", list(machine.look_at_models()))
        findings += _show("Folders", list(machine.look_at_folders()))
    missing = [f for f in findings if f.mend is not None]
    if missing:
        say("\nWhat is missing, and what mends it", style="bold")
        for one in missing:
            say_line(f"  {one.what}: {one.mend}")
    else:
        say("\nNothing is missing.", style="bold")
    if broken:
        return fail(f"packages that everything stands on are broken: {', '.join(f.what for f in broken)}", code=1)
    return 0


def _show(section: str, findings: list[Finding]) -> list[Finding]:
    say(f"\n{section}", style="bold")
    rows = table()
    for _ in range(3):
        rows.add_column(overflow="fold")
    for one in findings:
        rows.add_row(_mark(one), one.what, Text(one.found))
    rows.show_header = False
    console.print(rows)
    return findings


def _mark(finding: Finding) -> Text:
    if finding.is_optional:
        return Text("-", "dim")
    return Text("ok", "green") if finding.mend is None else Text("!", "bold yellow")
