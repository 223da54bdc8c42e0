"""``caltomorph export``: results for the laboratory's system, or for others without what identifies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.cli.console import answer, progress_bar, say, say_files
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.errors import counted
from napari_caltomorph.jobs.export import Form, export_results
from napari_caltomorph.laboratory.share import HOW_TO_MAKE_A_KEY

app = Verb(
    name="export",
    usage="Usage: caltomorph export PREDICTION_OR_DIR --as FORM --out FILE [OPTIONS]",
    help_epilogue=f"""For the laboratory's system, all patients of a folder, or one:

    caltomorph export results --as csv --out results.csv
    caltomorph export results --as fhir --out results.ndjson
    caltomorph export results/P17 --as fhir --out P17.json

For others, without what identifies, and under pseudonyms of a key:

    caltomorph export results --as csv --out shared.csv --share --pseudonymise key.txt

A key is made once, and kept secret:

    {HOW_TO_MAKE_A_KEY}

{RESEARCH_USE}""",
)

LEFT_OUT = 1


@app.default
def export(
    results: Annotated[Path, Parameter(name="PREDICTION_OR_DIR")],
    /,
    *,
    form: Annotated[Form, Parameter(name="--as")],
    out: Path,
    pseudonymise: Annotated[Path | None, Parameter(name="--pseudonymise")] = None,
    share: bool = False,
) -> int:
    """Export predictions with their reviews: HL7 FHIR, or a table with one row a patient.

    Parameters
    ----------
    results
        A prediction.json, or a folder that `predict` or `watch` wrote.
    form
        FHIR R4, or CSV.
    out
        The file, which must not exist: .csv; .ndjson with a line of FHIR for each patient; .json of a single one.
    pseudonymise
        File of a key. Ids of patients are replaced, in each export by the same pseudonyms.
    share
        Strip what identifies: paths, ids, dates, names, comments, warnings. Without a key, ids are random.
    """
    with progress_bar() as progress:
        made = export_results(results, out, form, pseudonymise=pseudonymise, share=share, progress=progress)
    say(made.in_words)
    for what, patients in made.stripped:
        say(f"- stripped: {what} ({counted(patients, 'patient')})")
    if pseudonymise is not None and not share:
        say("Only ids are replaced. Add --share where the file leaves the laboratory: it has dates, names and texts.")
    answer(
        patients=made.patients,
        withheld=made.withheld,
        stripped=[{"what": what, "patients": patients} for what, patients in made.stripped],
        problems=made.problems,
    )
    for problem in made.problems:
        say(f"- {problem}")
    say_files([made.path])
    say(RESEARCH_USE)
    return LEFT_OUT if made.problems else 0
