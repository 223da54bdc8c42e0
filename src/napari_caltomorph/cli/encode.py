"""``caltomorph encode``: a cohort -> a feature folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from napari_caltomorph.cli.console import CohortPath, answer, fail, progress_bar, say, say_cohort, say_files
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.cohort import CohortOptions, EncodeCohortOptions
from napari_caltomorph.errors import counted
from napari_caltomorph.jobs import read_patients
from napari_caltomorph.progress import format_seconds
from napari_caltomorph.storage import refuse_unwritable

if TYPE_CHECKING:
    from napari_caltomorph.cohort import EncodeSummary

app = Verb(
    name="encode",
    usage="Usage: caltomorph encode COHORT --features DIR [OPTIONS]",
    help_epilogue="""A directory of patients, with DinoBloom ViT-B on the GPU if there is one:

    caltomorph encode cohort --features features

Exactly the patients of a cohort that was inspected and saved:

    caltomorph encode cohort.json --features features

Four processes that read for the encoder, or the workers of a Dask cluster
that runs already:

    caltomorph encode cohort --features features --workers 4
    caltomorph encode cohort --features features --scheduler tcp://node:8786

For peers: "features/stamp" then has files that STAMP reads, and so for clam
and trident:

    caltomorph encode cohort --features features --write-as stamp

Run the same again to resume after a stop, or after patients were added or
fixed: what is done and unchanged is not encoded again.""",
)


@app.default
def encode(
    cohort: CohortPath,
    /,
    *,
    features: Path,
    options: Annotated[EncodeCohortOptions, Parameter(name="*")] = EncodeCohortOptions(),  # noqa: B008 (frozen)
    patients: Annotated[CohortOptions, Parameter(name="*")] = CohortOptions(),  # noqa: B008 (frozen)
) -> int:
    """Turn the cells of a cohort into features, one file a patient; run it again to resume.

    Parameters
    ----------
    features
        Folder for <patient_id>.h5 and run.json; made if needed.
    """
    refuse_unwritable(features)
    with progress_bar() as progress:
        found = read_patients(cohort, patients, progress=progress)
    say_cohort(found)
    from napari_caltomorph.cohort import encode_cohort  # torch comes when the cheap checks have passed

    with progress_bar() as progress:
        summary = encode_cohort(found, features, options, progress=progress)
    _show(summary)
    answer(
        encoded=summary.encoded,
        done_before=summary.skipped,
        cells=summary.cells,
        cells_left_out=summary.left_out,
        failed=[{"patient_id": one.patient_id, "reason": one.reason} for one in summary.failed],
    )
    if options.write_as is not None:
        say_files([features / options.write_as])
    total = summary.encoded + summary.skipped + len(summary.failed)
    if options.extended:
        say(f"Of {total} patients, {total - len(found)} are left out of the cohort: its extended test set.")
    for record in summary.failed:
        fail(f"{record.patient_id}: {record.reason}", code=1)
    if summary.failed:
        count = len(summary.failed)
        return fail(f"{count} of {total} patients failed; fix them and run this again.", code=1 if count < total else 2)
    return 0


def _show(summary: EncodeSummary) -> None:
    with_what = summary.made_with
    text = (
        f"{counted(summary.encoded, 'patient')} encoded ({counted(summary.cells, 'cell')}, {summary.left_out} left out)"
    )
    if summary.skipped:
        text += f", {summary.skipped} were done already"
    say(f"{text}, in {format_seconds(summary.seconds)}.")
    say(f"Encoder {with_what.encoder}, {with_what.precision}, on {with_what.device}.")
    for assumed, patients in summary.assumed.items():
        say(f"{assumed} ({counted(patients, 'patient')}).", style="yellow")
    if with_what.views is not None:
        say(f"Views of each cell: {with_what.views}; `caltomorph train` draws one a cell and epoch.")
    say_files([summary.folder / "<patient_id>.h5", summary.folder / "run.json"])
