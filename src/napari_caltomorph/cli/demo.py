"""``caltomorph demo``: one synthetic smear, from its cells to its diagnosis, on the screen and as files."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from napari_caltomorph import diagnosis, smear, synthetic
from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.cli import window
from napari_caltomorph.cli.console import fail, progress_bar, say, say_files
from napari_caltomorph.cli.interrupts import uninterrupted
from napari_caltomorph.cli.options import Verb
from napari_caltomorph.cli.predict import show_prediction
from napari_caltomorph.encoding.torch_loading import import_torch
from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.progress import OnProgress
from napari_caltomorph.storage import refuse_unwritable, replacing

if TYPE_CHECKING:
    from napari_caltomorph.synthetic import SyntheticPatient

app = Verb(
    name="demo",
    usage="Usage: caltomorph demo [OPTIONS]",
    help_epilogue=f"""Open napari on a synthetic smear and its prediction:

    caltomorph demo

Only the files and a picture of the window, as on a server:

    caltomorph demo --out /tmp/demo --no-window

Files: smear/ (the cells), predictions.csv, cells.csv, prediction.json,
truth.csv (the true type of each cell) and screenshot.png.

{RESEARCH_USE}""",
)

TRUTH = "truth.csv"
SCREENSHOT = "screenshot.png"


@app.default
def demo(*, out: Path = Path("demo-output"), no_window: bool = False) -> int:
    """Draw a synthetic smear, predict it and show it in napari: the first thing to try.

    Parameters
    ----------
    out
        Folder for the smear and the results; made if needed.
    no_window
        Take the screenshot without a visible window.
    """
    refuse_unwritable(out)
    with progress_bar() as progress:
        patient = synthetic.synthesize_patient("aml", cells=200, seed=4, patient_id="smear")
        _draw(patient, out / "smear", progress)
        import_torch()
        predictor = diagnosis.Predictor(diagnosis.PredictOptions(model="demo"))
        _, prediction = predictor.predict(smear.read_smear(out / "smear"), progress=progress)
    with uninterrupted():
        written = diagnosis.save_predictions([prediction], out)
        with replacing(out / TRUTH) as part:
            shutil.copyfile(out / "smear" / TRUTH, part)
    show_prediction(prediction)
    say()
    say(f"Truth: {_truth(patient)}.")
    say_files([out / "smear", *written, out / TRUTH])
    say(RESEARCH_USE)
    say()
    return _show_window(out, no_window=no_window)


def _draw(patient: SyntheticPatient, folder: Path, progress: OnProgress) -> None:
    """Draw the smear, unless an earlier demo left it here: a folder with other content is not touched."""
    if not folder.exists():
        synthetic.write_smear(patient, folder, progress=progress)
        return
    try:
        with (folder / TRUTH).open(encoding="utf-8", newline="") as file:
            types = tuple(row["type"] for row in csv.DictReader(file))
    except (OSError, ValueError, KeyError):
        types = ()
    if types != patient.cell_types:
        raise OutputRefused(f"{folder} holds something else than the demo's smear; choose another folder with --out.")


def _truth(patient: SyntheticPatient) -> str:
    most = max(set(patient.cell_types), key=patient.cell_types.count)
    return (
        f"{patient.detailed.upper()}, {patient.cell_types.count(most)} of {len(patient)} cells "
        f"{most.replace('_', ' ')}s, hemoglobin {patient.hemoglobin_g_dl} g/dl"
    )


def _show_window(out: Path, *, no_window: bool) -> int:
    """Open napari, or draw it under Xvfb; without either, report why there is no picture and how to get one."""
    screenshot = out / SCREENSHOT
    if not window.napari_is_here():
        say("No screenshot: napari is not installed. Run `pip install 'napari-caltomorph[all]'`, then the demo again.")
        return 0
    on_display = not no_window and window.has_display()
    if on_display and (problem := window.check_opengl(xvfb=False).error):
        say(f"The display cannot show napari ({problem}).")
        on_display = False
    if not on_display and not window.has_xvfb():
        why = "no window was wanted" if no_window else "no display can show it"
        say(
            f"No screenshot: {why}, and there is no xvfb-run to draw it with. "
            "Run `sudo apt-get install xvfb`, or the demo on a machine with a display."
        )
        return 0
    say("napari opens; close it to end the demo." if on_display else "Taking the screenshot under Xvfb...")
    shown = window.show_demo(out, screenshot, xvfb=not on_display)
    if shown.error is not None:
        return fail(f"no screenshot, the window failed ({shown.error}); `caltomorph doctor` says more", code=1)
    say_files([screenshot])
    return 0
