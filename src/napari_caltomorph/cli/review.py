"""``caltomorph review``: what hematologists say about a folder's predictions, and how often they agree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.cli.console import Overwrite, answer, console, progress_bar, say, say_files, table
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.errors import ReviewRefused, shortened
from napari_caltomorph.laboratory.review import (
    Verdict,
    add_review,
    agreement,
    read_reviewed,
    read_reviews,
    save_reviews,
)
from napari_caltomorph.statistics.interval import percent
from napari_caltomorph.storage import refuse_existing

app = Verb(
    name="review",
    usage="Usage: caltomorph review DIR [PATIENT --agree | --other CLASS | --cannot-tell --by NAME] [OPTIONS]",
    help_epilogue=f"""What was reviewed, and how often reviewers agree:

    caltomorph review results

A review; the class is one of the model's, or free text:

    caltomorph review results P17 --agree --by "A. Name"
    caltomorph review results P18 --other "acute leukemia" --by "A. Name"

{RESEARCH_USE}""",
)


@app.default
def review(
    folder: Annotated[Path, Parameter(name="DIR")],
    patient: Annotated[str, Parameter(name="PATIENT")] = "",
    /,
    *,
    agree: bool = False,
    other: str | None = None,
    cannot_tell: bool = False,
    comment: str = "",
    by: str = "",
    export: Path | None = None,
    overwrite: Overwrite = False,
) -> None:
    """Show the reviews of a folder's predictions, or add one.

    Parameters
    ----------
    folder
        Folder with predictions, as `predict` or `watch` writes it.
    patient
        Add a review of this patient.
    agree
        The reviewer agrees with the predicted class.
    other
        The reviewer's diagnosis is another.
    cannot_tell
        The reviewer cannot tell from these cells.
    comment
        Free text.
    by
        Who reviews.
    export
        Write all reviews, also those that later ones replaced, as CSV.
    """
    refuse_existing(export, overwrite=overwrite)
    choices: dict[Verdict, bool] = {"agree": agree, "other": other is not None, "cannot tell": cannot_tell}
    verdicts = [verdict for verdict, is_chosen in choices.items() if is_chosen]
    if bool(patient) != (len(verdicts) == 1):
        raise ReviewRefused("A review names a patient and one of --agree, --other CLASS and --cannot-tell.")
    if comment and not patient:  # --by may be in a file of options
        raise ReviewRefused("--comment is of a review; name its patient.")
    with progress_bar() as progress:
        patients, results = read_reviewed(folder, progress=progress)
    if patient:
        from napari_caltomorph.diagnosis import Prediction

        files = [one.file for one in results.patients if one.patient_id == patient]
        if not files:
            raise ReviewRefused(
                f"{folder} has no prediction of {patient}; `caltomorph review {folder}` lists its patients."
            )
        add_review(folder, Prediction.load(files[0]), verdicts[0], by=by, diagnosis=other or "", comment=comment)
        say(f"The review of {patient} is saved.")
    else:
        rows = table("patient", "predicted", "state", "reviews")
        for one in patients:
            texts = (f"{each.reviewer}: {each.opinion or each.verdict}" for each in one.reviews)
            predicted = str(one.patient.values["shown"])
            rows.add_row(one.patient.patient_id, predicted, one.state, shortened("; ".join(texts), 80))
        answer(
            patients=[
                {"patient_id": one.patient.patient_id, "state": one.state, "reviews": list(one.reviews)}
                for one in patients
            ]
        )
        console.print(rows)
        for share in agreement(patients):
            of = share.interval
            low, high = (percent(bound or 0, 0) for bound in (of.low, of.high))
            say(f"Agreement, {share.name}: {percent(of.value, 0)} ({low} to {high}) of {share.patients}")
    for problem in results.problems:
        say(f"- {problem}")
    if export is not None:
        save_reviews(read_reviews(folder)[0], export)
        say_files([export])
    say(RESEARCH_USE)
