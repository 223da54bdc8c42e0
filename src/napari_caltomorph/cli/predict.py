"""``caltomorph predict``: smears -> diagnoses, in the terminal and as files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from cyclopts import App, Parameter

from napari_caltomorph.cli.console import RESEARCH_USE, fail, progress_bar, say, say_files
from napari_caltomorph.cli.interrupt import uninterrupted
from napari_caltomorph.cli.show import show_prediction
from napari_caltomorph.diagnose import Prediction, PredictOptions, find_model, read_description
from napari_caltomorph.diagnose.tables import prediction_file, refuse_repeated_ids, save_tables
from napari_caltomorph.encode import ComputeOptions
from napari_caltomorph.errors import FeaturesRefused, SmearUnreadable
from napari_caltomorph.smear import find_smears, patient_id, read_smear
from napari_caltomorph.storage import refuse_unwritable

if TYPE_CHECKING:
    from napari_caltomorph.diagnose import Predictor

app = App(
    name="predict",
    usage="Usage: caltomorph predict SMEAR... --model MODEL --out DIR [OPTIONS]",
    help_epilogue=f"""One patient:

    caltomorph predict smear_a --model demo --out results

Every patient folder in a folder, with a model of your own:

    caltomorph predict cohort --each --model my_model --out results

In the folder "results" then stand predictions.csv (one row a patient),
cells.csv (one row a cell, most attended first) and prediction.json
(everything; napari opens it), in a folder a patient where there are several.

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
        SMEAR holds many patients: predict every patient folder in it.
    """
    options = PredictOptions(model=model, **compute.model_dump())
    refuse_unwritable(out)
    read_description(find_model(model))
    paths = [smear for path in smears for smear in (find_smears(path) if each else [path])]
    refuse_repeated_ids([patient_id(path) for path in paths])

    @cache
    def predictor() -> Predictor:
        from napari_caltomorph.diagnose import Predictor  # torch comes when the cheap checks have passed

        return Predictor(options)

    done: list[Prediction] = []
    failed: list[_Failure] = []
    try:
        for number, path in enumerate(paths, start=1):
            label = f"{number} of {len(paths)}" if len(paths) > 1 else ""
            try:
                with progress_bar(label) as progress:
                    _, prediction = predictor().predict(read_smear(path), progress=progress)
            except Exception as error:
                if (failure := _failure(patient_id(path), error)) is None:
                    raise
                failed.append(failure)
                fail(failure.why, code=failure.code)
                continue
            with uninterrupted():
                prediction.save(prediction_file(out, prediction.patient_id, patients=len(paths)))
                done.append(prediction)
            show_prediction(prediction)
    except BaseException:
        if done:
            say(f"\nStopped; {len(done)} of {len(paths)} smears were predicted.")
            _write_tables(done, out, patients=len(paths))
        raise
    if done:
        _write_tables(done, out, patients=len(paths))
        say(RESEARCH_USE)
    if failed and len(paths) > 1:
        fail(f"{len(failed)} of {len(paths)} smears failed: {', '.join(f.patient_id for f in failed)}", code=1)
    return 1 if failed and done else max((f.code for f in failed), default=0)


class _Failure(NamedTuple):
    """Why one patient has no prediction; the others go on."""

    patient_id: str
    why: str
    code: int


def _failure(patient: str, error: Exception) -> _Failure | None:
    """Return what to say of an error that concerns one patient only, or None when it ends the run."""
    if isinstance(error, (SmearUnreadable, FeaturesRefused)):
        return _Failure(patient, str(error), 2)
    from napari_caltomorph.encode.device import is_out_of_memory

    if is_out_of_memory(error):
        why = f"{patient}: memory ran out; close other programs, or use --device cpu or a smaller --batch-size."
        return _Failure(patient, why, 1)
    return None


def _write_tables(predictions: list[Prediction], out: Path, *, patients: int) -> None:
    with uninterrupted():
        tables = save_tables(predictions, out)
    say()
    say_files([prediction_file(out, predictions[0].patient_id, patients=1), *tables] if patients == 1 else tables)
