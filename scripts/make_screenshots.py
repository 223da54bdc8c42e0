"""Make the pictures of README.md and docs/: real windows, on a synthetic smear.

xvfb-run -a -s '-screen 0 1280x720x24' python scripts/make_screenshots.py docs/images
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from napari.viewer import Viewer
from qtpy.QtWidgets import QWidget

from napari_caltomorph.encode import ENCODERS
from napari_caltomorph.plugin.demo_window import open_viewer, process_events
from napari_caltomorph.plugin.left_out_dialog import LeftOutDialog
from napari_caltomorph.plugin.weights_dialog import WeightsDialog
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort, synthesize_patient, write_smear


def faulty_smear(folder: Path) -> Path:
    """Draw a chronic myeloid leukemia, and spoil some of its files as real exports are spoiled."""
    smear = folder / "patient_012"
    write_smear(synthesize_patient("cml", cells=300, seed=12), smear)
    cells = sorted(smear.glob("*.TIF"))
    cells[3].write_bytes(cells[3].read_bytes()[:20_000])
    cells[10].write_bytes(b"")
    shutil.copy(cells[20], smear / "Gal-000901.RGB.TIF")
    empty = np.random.default_rng(0).normal(220, 3, (144, 144, 3)).clip(0, 255).astype(np.uint8)
    tifffile.imwrite(smear / "Gal-000902.RGB.TIF", empty, photometric="rgb")
    field = np.tile(tifffile.imread(cells[40]), (6, 6, 1))
    tifffile.imwrite(smear / "Gal-000903.RGB.TIF", field, photometric="rgb")
    (smear / "Thumbs.db").write_bytes(b"\0")
    return smear


def labelled_cohort(folder: Path) -> Path:
    """Draw a cohort whose table of diagnoses is as uneven as real ones."""
    drawn, cohort = folder / "drawn", folder / "cohort"
    synthesize_cohort(drawn, SynthOptions(patients=64, cells=12, seed=4))
    cohort.mkdir()
    for patient in drawn.glob("*/*/"):
        patient.rename(cohort / patient.name)
    table = pd.read_csv(drawn / "patients.csv").drop(columns=["coarse_class", "split"])
    table.loc[:4, "diagnosis"] = "AML, follow-up after chemotherapy"
    table.loc[7:8, "diagnosis"] = "MDS/AML borderline"
    table.loc[14, "diagnosis"] = "MGUS"
    table.loc[20, "diagnosis"] = "unclear"
    shutil.rmtree(cohort / table["patient_id"].iloc[30])
    table.to_csv(cohort / "diagnoses.csv", index=False)
    return cohort


def save(what: Viewer | QWidget, path: Path) -> None:
    """Take a picture of the window or of a dialog."""
    process_events(0.6)
    if isinstance(what, QWidget):
        what.grab().save(str(path))
    else:
        what.window.screenshot(str(path), canvas_only=False, flash=False)
    print(path)


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["CALTOMORPH_HOME"] = str(Path(scratch) / "home")
        smear = faulty_smear(Path(scratch))
        viewer, panel = open_viewer()
        viewer.theme = "dark"
        panel.models.choose("demo")
        save(viewer, out / "empty.png")
        panel.smears.open(smear)
        process_events(until=lambda: "left out" in panel.smears.text)
        save(viewer, out / "smear.png")
        dialog = LeftOutDialog(panel.smears.smear(), panel)
        dialog.show()
        save(dialog, out / "left_out.png")
        dialog.close()
        panel.predict()
        process_events(until=lambda: not panel.run.is_busy)
        save(viewer, out / "predicted.png")
        viewer.scene.camera.zoom = 150 / 25
        process_events(0.3)
        panel.choose_cell(8, center=True)
        save(viewer, out / "zoomed.png")
        panel.as_stack.setChecked(True)
        viewer.dims.set_point(0, 8)
        save(viewer, out / "one_at_a_time.png")
        panel.as_stack.setChecked(False)
        viewer.theme = "light"
        save(viewer, out / "light.png")
        viewer.theme = "dark"
        weights = WeightsDialog(ENCODERS["dinobloom-b"], panel)
        weights.show()
        save(weights, out / "weights.png")
        weights.close()
        viewer.close()
        cohort = labelled_cohort(Path(scratch))
        save_cohort(cohort, out)
        save_training(cohort, out)


def save_cohort(cohort: Path, out: Path) -> None:
    """Take the pictures of the *Open cohort* panel."""
    viewer, panel = open_viewer(widget="Open cohort")
    viewer.theme = "dark"
    panel.chooser.place.setText(str(cohort))
    panel.chooser.min_cells.setValue(10)
    panel.read()
    process_events(until=lambda: not panel.run.is_busy)
    save(viewer, out / "cohort.png")
    panel.view.tabs.setCurrentIndex(1)
    panel.open_patient(panel.view.patients.frame["path"].iloc[0])
    save(viewer, out / "cohort_cells.png")
    viewer.layers.clear()
    panel.view.tabs.setCurrentIndex(4)
    save(viewer, out / "cohort_flow.png")
    panel.chooser.fold.button.click()
    save(viewer, out / "cohort_options.png")
    viewer.close()


def save_training(cohort: Path, out: Path) -> None:
    """Take the pictures of the *Train ensemble* panel: before, while and after a small model is trained."""
    viewer, panel = open_viewer(widget="Train ensemble")
    viewer.theme = "dark"
    setup = panel.setup
    setup.cohort.chooser.place.setText(str(cohort))
    setup.cohort.chooser.min_cells.setValue(10)
    setup.cohort.start_reading()
    process_events(until=lambda: not setup.cohort.run.is_busy)
    setup.encoding.encoder.setCurrentText("demo-vit")
    setup.encoding.features.setText(str(cohort.parent / "features"))
    process_events(until=lambda: "ready" in setup.text)
    save(viewer, out / "train_setup.png")
    setup.options.often[0].set({"recipe": "paper"})  # stops on the fold itself: a cohort this small has curves
    setup.options.often[1].set({"epochs": 60})
    setup.options.more.set({"depth": 2, "width": 64, "heads": 4, "mlp_width": 128, "learning_rate": 1e-3})
    panel.train()
    process_events(until=lambda: sum(bool(curves.train_loss) for curves in panel.training.curves) > 2)
    process_events(2)
    save(viewer, out / "train.png")
    process_events(until=lambda: not panel.run.is_busy)
    save(viewer, out / "train_result.png")
    panel.result.show_card()
    panel.result.dialog.text.verticalScrollBar().setValue(1000)
    save(panel.result.dialog, out / "train_card.png")
    panel.result.dialog.close()
    viewer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
