"""``caltomorph cohort``: who is in a cohort; those that others publish, and how they come here."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from napari_caltomorph.cli.console import answer, console, progress_bar, say, say_cohort, say_files, say_line, table
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.cohort import PUBLISHED, ask_the_hub, get_cohort
from napari_caltomorph.cohort.published import COHORT
from napari_caltomorph.storage import refuse_unwritable

SHOW = "Show a cohort: classes by split, cells per patient, who was left out and why. Nothing is changed."

app = Verb(
    name="cohort",
    help_epilogue="""Who is in a cohort, with which class, and who was left out:

    caltomorph cohort show cohort

What is public; and what the Hub holds at this moment:

    caltomorph cohort list
    caltomorph cohort list --online

Embeddings of 189 patients, and a model on them:

    caltomorph cohort get aml-hehr-embeddings
    caltomorph train aml-hehr-embeddings/cohort.json --out my_model

Images that were downloaded with a browser:

    caltomorph cohort get apl-aml --folder downloads/APL-AML""",
)

app.command(f"{__package__}.cohort_show:app", name="show", help=SHOW)


@app.command(name="list")
def list_cohorts(*, online: bool = False) -> None:
    """List the cohorts that others publish: what they are, their size and licence, what they need, how to get them.

    Parameters
    ----------
    online
        Ask the Hub what it holds now; without it, nothing is sent.
    """
    rows = PUBLISHED
    if online:
        with progress_bar() as progress:
            rows = ask_the_hub(progress=progress)
    answer(cohorts=[asdict(row) for row in rows])
    overview = table("Cohort", "Patients", "Size", "Licence", "Needs")
    for row in rows:
        overview.add_row(row.name, str(row.patients), row.size, row.licence, row.needs)
    console.print(overview)
    for row in rows:
        say(f"\n{row.name}", style="bold")
        say(f"  {row.about}")
        say_line(f"  {row.how}")
    if not online:
        say("\nThis is what was known when this version was made; `--online` asks the Hub.")


@app.command
def get(
    name: str,
    /,
    *,
    out: Path | None = None,
    label: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    folder: Path | None = None,
    revision: str = "main",
) -> None:
    """Get a published cohort into a new folder, with a cohort.json that every later step takes.

    A download that was stopped is continued by the same command.

    Parameters
    ----------
    name
        Cohort, as `caltomorph cohort list` names it.
    out
        New folder; otherwise called as the cohort.
    label
        NUMBER=LABEL, what a number in the files of embeddings means; may be given again.
    folder
        Where the images are that you downloaded with a browser; they stay there.
    revision
        Branch, tag or commit on the Hub; the commit is recorded in origin.json.
    """
    out = Path(name) if out is None else out
    refuse_unwritable(out.absolute().parent)
    with progress_bar() as progress:
        cohort = get_cohort(name, out, labels=label, folder=folder, revision=revision, progress=progress)
    say_cohort(cohort)
    say_files([out / COHORT])
    if cohort.table["features"].notna().all():
        say("\nTrain a model on it:")
        say_line(f"  caltomorph train {out / COHORT} --out my_model")
