"""``caltomorph predict``: smears -> diagnoses, in the terminal and as files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.cli.console import fail, progress_bar, say, say_files, say_line
from napari_caltomorph.cli.show import show_known, show_prediction
from napari_caltomorph.cohort import FoundPatient, find_patients
from napari_caltomorph.diagnosis import PredictOptions, find_model, read_description
from napari_caltomorph.diagnosis.prediction_files import CELL_TABLE, PATIENT_TABLE, refuse_repeated_ids
from napari_caltomorph.differential import Probe
from napari_caltomorph.encoding import ComputeOptions
from napari_caltomorph.jobs import PatientProgress, PatientResult, predict_patients
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.smear import patient_id
from napari_caltomorph.storage import refuse_unwritable

app = App(
    name="predict",
    usage="Usage: caltomorph predict SMEAR... --model MODEL --out DIR [OPTIONS]",
    help_epilogue=f"""One patient:

    caltomorph predict smear_a --model demo --out results

Every patient folder in a folder, with a model of your own:

    caltomorph predict cohort --each --model my_model --out results

The folder "results" then contains predictions.csv (one row a patient),
cells.csv (one row a cell, most attended first) and prediction.json
(everything; napari opens it), in a folder a patient where there are several.
Run it again to resume: a prediction that is there is kept, if the same model
made it of the same images. With --report, report.html is next to each
prediction.json: one page of results, one of their basis, to be printed.

{RESEARCH_USE}""",
)


@app.default
def predict(
    smears: Annotated[tuple[Path, ...], Parameter(name="SMEAR", negative="")],
    /,
    *,
    model: Annotated[str, Parameter(help=PredictOptions.model_fields["model"].description)],
    out: Path,
    each: bool = False,
    report: bool = False,
    probe: Path | None = None,
    compute: Annotated[ComputeOptions, Parameter(name="*")] = ComputeOptions(),  # noqa: B008 (frozen)
) -> int:
    """Diagnose smears, and rank the cells that made the diagnosis.

    Parameters
    ----------
    smears
        One patient's cells: a folder of images, a zip archive of one, or a multi-page TIFF.
    out
        Folder for the results; made if needed.
    each
        SMEAR holds many patients: every folder in it is one, also below folders of diagnoses; or it is a table or a
        cohort.json that names them.
    report
        Write a report.html next to each prediction.json; it prints on two pages.
    probe
        A probe of `caltomorph differential`: the report then holds a differential.
    """
    if probe is not None and not report:
        return fail("--probe counts cells for the report: add --report, or use `caltomorph differential`.", code=2)
    options = PredictOptions(model=model, **compute.model_dump())
    refuse_unwritable(out)
    read_description(find_model(model))
    cell_types = None if probe is None else Probe.load(probe)
    found = [
        patient
        for path in smears
        for patient in (find_patients(path) if each else {patient_id(path): FoundPatient(path)}).items()
    ]
    refuse_repeated_ids([name for name, _ in found])
    from napari_caltomorph.diagnosis import Predictor  # torch comes when the cheap checks have passed

    results: list[PatientResult] = []
    try:
        with _shown_one_by_one(results) as show:
            predict_patients(dict(found), out, Predictor(options), report=report, probe=cell_types, progress=show)
    except BaseException:
        if done := [one for one in results if one.prediction is not None]:
            say(f"\nStopped; {len(done)} of {len(found)} smears were predicted.")
            _say_written(done, out, patients=len(found))
        raise
    done = [one for one in results if one.prediction is not None]
    failed = [one for one in results if one.problem]
    if done:
        _say_written(done, out, patients=len(found))
        say(RESEARCH_USE)
    if failed and len(found) > 1:
        fail(f"{len(failed)} of {len(found)} smears failed: {', '.join(one.patient_id for one in failed)}", code=1)
    return 1 if failed and done else max(map(_exit_code, failed), default=0)


@contextmanager
def _shown_one_by_one(results: list[PatientResult]) -> Iterator[OnProgress]:
    """Yield a progress callback that collects and shows each result; the bar leaves the screen while one is shown."""
    with ExitStack() as stack:
        bar = stack.enter_context(progress_bar())

        def show(progress: Progress) -> None:
            nonlocal bar
            if not isinstance(progress, PatientProgress) or progress.result is None:
                bar(progress)
                return
            stack.close()
            results.append(progress.result)
            _show_result(progress.result)
            bar = stack.enter_context(progress_bar())

        yield show


def _show_result(result: PatientResult) -> None:
    if result.prediction is not None:
        if result.is_cached:
            show_known(result.prediction, result.file)
        else:
            show_prediction(result.prediction)
    if result.report is not None:
        say_line(f"Report: {result.report}")
    if result.problem:
        fail(result.problem, code=_exit_code(result))


def _exit_code(result: PatientResult) -> int:
    return 1 if result.ran_out_of_memory else 2


def _say_written(done: list[PatientResult], out: Path, *, patients: int) -> None:
    say()
    tables = [out / name for name in (PATIENT_TABLE, CELL_TABLE)]
    say_files([file for one in done if (file := one.file) is not None] + tables if patients == 1 else tables)
