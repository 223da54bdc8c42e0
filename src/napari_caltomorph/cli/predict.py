"""``caltomorph predict``: smears -> diagnoses, in the terminal and as files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from napari_caltomorph.cli.console import RESEARCH_USE, fail, progress_bar, say, say_files
from napari_caltomorph.cli.interrupt import uninterrupted
from napari_caltomorph.cli.show import show_prediction
from napari_caltomorph.diagnose import Prediction, PredictOptions, find_model, read_description, save_predictions
from napari_caltomorph.diagnose.tables import refuse_repeated_ids
from napari_caltomorph.encode import ComputeOptions
from napari_caltomorph.errors import SmearUnreadable
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

    predictions: list[Prediction] = []
    failed: list[str] = []
    for number, path in enumerate(paths, start=1):
        label = f"{number} of {len(paths)}" if len(paths) > 1 else ""
        try:
            with progress_bar(label) as progress:
                smear = read_smear(path)
                _, prediction = predictor().predict(smear, progress=progress)
        except SmearUnreadable as error:
            if len(paths) == 1:
                raise
            failed.append(patient_id(path))
            fail(str(error), code=1)
            continue
        show_prediction(prediction)
        predictions.append(prediction)
    if predictions:
        with uninterrupted():
            written = save_predictions(predictions, out)
        say()
        say_files(written if len(predictions) == 1 else [out / "predictions.csv", out / "cells.csv"])
        say(RESEARCH_USE)
    if failed:
        return fail(f"{len(failed)} of {len(paths)} smears failed: {', '.join(failed)}", code=1 if predictions else 2)
    return 0
