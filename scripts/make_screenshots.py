"""Make the pictures of README.md and docs/: real windows, on a synthetic smear.

xvfb-run -a -s '-screen 0 1280x720x24' python scripts/make_screenshots.py docs/images
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QScrollArea, QWidget

from napari_caltomorph.cohort import CohortOptions, EncodeCohortOptions, read_cohort
from napari_caltomorph.differential import cell_type
from napari_caltomorph.encoding import ENCODERS
from napari_caltomorph.encoding.torch_loading import load_torch
from napari_caltomorph.plugin.demo_window import open_viewer, process_events
from napari_caltomorph.plugin.samples import sample_smear
from napari_caltomorph.plugin.widgets.dock_panel import open_panel
from napari_caltomorph.plugin.widgets.model_chooser import WeightsDialog
from napari_caltomorph.plugin.widgets.smear_chooser import LeftOutDialog
from napari_caltomorph.smear import read_smear
from napari_caltomorph.synthetic import (
    SynthOptions,
    synthesize_cohort,
    synthesize_patient,
    synthetic_smear,
    write_smear,
)


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
        panel.choose_cell(8)
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
        save_inspection(out)
        save_why(smear, out)
        save_cut(Path(scratch), out)
        save_counted(smear, out)
        save_differential(Path(scratch), out)
        cohort = labelled_cohort(Path(scratch))
        save_cohort(cohort, out)
        save_training(cohort, out)
        save_comparison(cohort, out)
        save_evaluation(Path(scratch), out)
        save_validation(Path(scratch), out)
        save_monitoring(Path(scratch), out)
        save_trust(Path(scratch), out)
        save_patients(Path(scratch), out)
        save_report(Path(scratch), out)


def save_inspection(out: Path) -> None:
    """Take the pictures of the *Inspect cells* panel, of an acute leukemia."""
    viewer, panel = open_viewer()
    viewer.theme = "dark"
    panel.smears.open(sample_smear("aml"))
    panel.predict()
    process_events(until=lambda: not panel.run.is_busy)
    inspect = panel.inspect()
    cells = inspect.inspection.cells
    plot = inspect.tab("Plot")
    plot.view.setCurrentText("Features, PCA")
    process_events(until=lambda: plot.dots.isVisible() and len(plot.dots.places) > 0)
    cells.select(cells.order[:6])
    save(viewer, out / "inspect_plot.png")
    inspect.tab("Table")
    cells.sort_by("alone_p_acute_leukemia", descending=True)
    inspect.controls.width.setValue(84)
    save(viewer, out / "inspect_table.png")
    blasts = [i for i, name in enumerate(cells.columns["alone_class"]) if name == "Acute leukemia"]
    inspect.controls.width.setValue(0)
    cells.mark(blasts)
    inspect.tab("What if").without.click()
    process_events(until=lambda: inspect.inspection.is_result_current)
    cells.select([])
    save(viewer, out / "inspect_what_if.png")
    viewer.close()


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
    panel.chooser.section.button.click()
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
    setup.options.shown["recipe"].set({"recipe": "paper"})  # stops on the fold itself: a cohort this small has curves
    setup.options.shown["epochs"].set({"epochs": 60})
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


def save_comparison(cohort: Path, out: Path) -> None:
    """Take the picture of *Compare*: small models, on the features that were made for *Train ensemble*."""
    viewer, panel = open_viewer(widget="Compare")
    viewer.theme = "dark"
    setup = panel.setup
    setup.chooser.place.setText(str(cohort))
    setup.chooser.min_cells.setValue(10)
    setup.features.setText(str(cohort.parent / "features"))
    setup.out.setText(str(cohort.parent / "comparison"))
    for name in ("sizes", "depths"):
        setup.variants.varied[name].setChecked(False)
    small = {"width": 32, "heads": 2, "mlp_width": 32, "classifier_width": 16, "learning_rate": 1e-3}
    setup.options.set(epochs=20, **small)
    panel.compare()
    process_events(until=lambda: not panel.run.is_busy)
    save(viewer, out / "compare.png")
    viewer.close()


def save_why(smear: Path, out: Path) -> None:
    """Take the pictures of the tab *Why* of *Inspect cells*."""
    viewer, panel = open_viewer()
    viewer.theme = "dark"
    panel.models.choose("demo")
    panel.smears.open(smear)
    process_events(until=lambda: "usable" in panel.smears.text or "left out" in panel.smears.text)
    panel.predict()
    process_events(until=lambda: not panel.run.is_busy)
    inspect = panel.inspect()
    viewer.window._qt_window.resizeDocks([inspect.parentWidget()], [400], Qt.Orientation.Horizontal)
    tab = inspect.tab("Why")

    def ask(question: QWidget) -> None:
        titles = [tab.questions.tabToolTip(place) for place in range(tab.questions.count())]
        tab.questions.setCurrentIndex(titles.index(question.question))
        question.run.button.click()
        process_events(until=lambda: not question.run.is_busy)

    ask(tab.contribution)
    supporting = [int(cell) for cell in np.argsort(-tab.inspection.cells.columns["contribution"])[:6]]
    tab.inspection.cells.select(supporting, current=supporting[0])
    save(viewer, out / "why.png")
    ask(tab.without)
    save(tab, out / "why_without.png")
    ask(tab.curves)
    save(tab, out / "why_curves.png")
    viewer.scene.camera.zoom = 150 / 25
    tab.inspection.cells.select([])
    tab.inspection.cells.select(supporting[:1])  # brings it into view
    ask(tab.patches)
    save(viewer, out / "why_pixels.png")
    viewer.close()


def save_cut(folder: Path, out: Path) -> None:
    """Take the picture of *Cut cells*: a field laid together from drawn cells, one square added by hand."""
    cells = synthetic_smear(synthesize_patient("cml", cells=24, seed=3))
    rows = [np.concatenate([cells.image(6 * row + column) for column in range(6)], axis=1) for row in range(4)]
    field = folder / "fields" / "field_1.tif"
    field.parent.mkdir()
    density = cells.canvas[1] / 25 * 10_000
    pixels = np.concatenate(rows)
    tifffile.imwrite(field, pixels, photometric="rgb", resolution=(density, density), resolutionunit="CENTIMETER")
    viewer, _ = open_viewer()
    viewer.theme = "dark"
    panel = open_panel(viewer, "Cut cells")
    panel.open([field])
    process_events(until=lambda: panel.view.field is not None and not panel.run.is_busy)
    squares = viewer.layers["cells of field_1.tif"]
    squares.selected_data = {8}
    save(viewer, out / "cut_cells.png")
    viewer.close()


def save_counted(smear: Path, out: Path) -> None:
    """Take the picture of a smear that is counted by type and not diagnosed."""
    viewer, panel = open_viewer()
    viewer.theme = "dark"
    panel.smears.open(smear)
    process_events(until=lambda: "left out" in panel.smears.text)
    panel.count_cells()
    process_events(until=lambda: not panel.run.is_busy)
    tab = panel.inspect().tab("Differential")
    process_events(until=lambda: not tab.task.is_busy)
    save(viewer, out / "differential_counted.png")
    viewer.close()


def save_differential(folder: Path, out: Path) -> None:
    """Take the picture of the tab *Differential* of *Inspect cells*: two smears labelled, and the second counted."""
    viewer, panel = open_viewer()
    viewer.theme = "dark"
    panel.models.choose("demo")
    tab = None
    for seed in (7, 8):
        smear = folder / f"smear_{seed}"
        write_smear(synthesize_patient("aml", cells=120, seed=seed), smear)
        panel.smears.open(smear)
        process_events(until=lambda: "usable" in panel.smears.text)
        panel.predict()
        process_events(until=lambda: not panel.run.is_busy)
        if tab is None:
            inspect = panel.inspect()
            viewer.window._qt_window.resizeDocks([inspect.parentWidget()], [380], Qt.Orientation.Horizontal)
            tab = inspect.tab("Differential")
        truth = pd.read_csv(smear / "truth.csv").set_index("cell")["type"]
        types = [cell_type(truth[cell]).name for cell in tab.inspection.prediction.cells]
        for name in set(types):
            tab.inspection.cells.select([i for i in range(0, 120, 2) if types[i] == name])
            tab.label(name)
    tab.task.button.click()
    process_events(until=lambda: not tab.task.is_busy)
    tab.inspection.gallery.show_cell_width(0)
    process_events(0.5)
    tab.inspection.cells.select([int(tab.inspection.cells.order[8])])
    save(tab, out / "differential_tab.png")
    save(viewer, out / "differential.png")
    viewer.close()


def save_evaluation(folder: Path, out: Path) -> None:
    """Take the pictures of the *Evaluate ensemble* panel: the demo model on patients that it has not seen."""
    load_torch()  # torch is imported before the window is drawn
    from napari_caltomorph.cohort import encode_cohort

    clinic, features = folder / "clinic_b", folder / "features_b"
    synthesize_cohort(clinic, SynthOptions(patients=80, cells=40, seed=90))
    patients = CohortOptions(min_cells=10, test_fraction=0)
    encode_cohort(read_cohort(clinic, patients), features, EncodeCohortOptions(encoder="demo-vit"))
    viewer, panel = open_viewer(widget="Evaluate ensemble")
    viewer.theme = "dark"
    panel.setup.models.choose("demo")
    panel.setup.chooser.place.setText(str(clinic))
    panel.setup.chooser.min_cells.setValue(patients.min_cells)
    panel.setup.chooser.more.set(patients.model_dump())
    panel.setup.features.setText(str(features))
    panel.setup.options.set(split="all", lab="other")
    save(viewer, out / "evaluate_setup.png")
    panel.evaluate()
    process_events(until=lambda: not panel.run.is_busy)
    result = panel.result
    save(viewer, out / "evaluate.png")
    tab = result.show_tab("Confusion")
    confusion = result.evaluated.evaluation.confusion
    wrong = confusion.counts - np.diag(np.diag(confusion.counts))
    tab.select_cell(*np.unravel_index(wrong.argmax(), wrong.shape))
    save(viewer, out / "evaluate_confusion.png")
    result.show_tab("FDR")
    result.threshold.slider.setValue(300)
    save(viewer, out / "evaluate_threshold.png")
    viewer.theme = "light"
    result.show_tab("Map")
    save(viewer, out / "evaluate_map.png")
    viewer.theme = "dark"
    patient = result.evaluated.evaluation.at(0.3).missed[0]
    panel.open_patient(result.patients.place_of(patient))
    predict = open_panel(viewer, "Predict patient")
    process_events(until=lambda: not predict.run.is_busy)
    save(viewer, out / "evaluate_opened.png")
    viewer.close()


def save_validation(folder: Path, out: Path) -> None:
    """Take the picture of *Validate*: the demo model on the patients of `save_evaluation`, by criteria in a file."""
    criteria = folder / "criteria.toml"
    criteria.write_text(
        'judged_by = "bound"\nsensitivity_at_least = 0.9\nspecificity_at_least = 0.6\nauroc_at_least = 0.85\n'
        "share_outside_domain_at_most = 0.2\ncases_at_least = {malignant = 40, not_malignant = 20}\n",
        "utf-8",
    )
    viewer, panel = open_viewer(widget="Validate")
    viewer.theme = "dark"
    setup = panel.setup
    setup.models.choose("demo")
    setup.chooser.place.setText(str(folder / "clinic_b"))
    setup.chooser.min_cells.setValue(10)
    setup.chooser.more.set({"test_fraction": 0})
    setup.features.setText(str(folder / "features_b"))
    setup.options.set(criteria=str(criteria), skip_audit=True)
    setup.out.setText(str(folder / "record"))
    panel.validate()
    process_events(until=lambda: not panel.run.is_busy)
    save(viewer, out / "validate.png")
    viewer.close()


def save_monitoring(folder: Path, out: Path) -> None:
    """Take the picture of *Monitor*: the laboratory changes its stain after 45 of 70 patients."""
    from napari_caltomorph.diagnosis import PredictOptions, Predictor, save_predictions

    predictor, results, predictions = Predictor(PredictOptions(model="demo")), folder / "monitored", []
    for number in range(70):
        patient = synthesize_patient(("aml", "cml", "stem_cell_donor")[number % 3], cells=40, seed=200 + number)
        red, green, blue = patient.stain.gain
        stain = replace(patient.stain, gain=(0.8 * red, green, 1.2 * blue)) if number >= 45 else patient.stain
        drawn = replace(patient, stain=stain, patient_id=f"patient_{number + 1:03d}")
        predictions.append(predictor.predict(synthetic_smear(drawn))[1])
    save_predictions(predictions, results)
    viewer, panel = open_viewer(widget="Monitor")
    viewer.theme = "dark"
    panel.folder.setText(str(results))
    panel.options.form.set({"reference": 30})
    panel.look()
    process_events(until=lambda: not panel.run.is_busy)
    save(viewer, out / "monitor.png")
    viewer.close()


def save_trust(folder: Path, out: Path) -> None:
    """Take the pictures of the tab *Trust*: a slide of another stain, judged by a model that brings its patients."""
    from napari_caltomorph.training import TrainOptions, train

    options = TrainOptions(depth=1, width=64, heads=4, mlp_width=64, learning_rate=1e-3, epochs=15, device="cpu")
    known = read_cohort(folder / "clinic_b", CohortOptions(min_cells=10, test_fraction=0))
    train(known, folder / "features_b", options, out=folder / "model_b")
    patient = synthesize_patient("cml", cells=80, seed=12, patient_id="patient_012")
    red, green, blue = patient.stain.gain
    stain = replace(patient.stain, gain=(0.75 * red, green, 1.25 * blue))
    write_smear(replace(patient, stain=stain), folder / "other_stain" / "patient_012")
    viewer, panel = open_viewer()
    viewer.theme = "dark"
    panel.models.choose(str(folder / "model_b"))
    panel.smears.open(folder / "other_stain" / "patient_012")
    process_events(until=lambda: "usable" in panel.smears.text)
    panel.predict()
    process_events(until=lambda: not panel.run.is_busy)
    save(viewer, out / "outside.png")
    inspect = panel.inspect()
    viewer.window._qt_window.resizeDocks([inspect.parentWidget()], [400], Qt.Orientation.Horizontal)
    tab = inspect.tab("Trust")
    process_events(until=lambda: tab.trust is not None and tab.trust.similar is not None)
    tab.select_all.click()
    save(viewer, out / "trust.png")
    area = tab.findChild(QScrollArea)
    area.verticalScrollBar().setValue(area.verticalScrollBar().maximum())
    save(viewer, out / "trust_patients.png")
    viewer.close()


def save_patients(folder: Path, out: Path) -> None:
    """Take the picture of the *Predict patients* panel, with one patient that fails."""
    ward = folder / "ward"
    synthesize_cohort(ward, SynthOptions(patients=16, cells=80, seed=5))
    for cell in sorted(ward.glob("*/*/"))[4].glob("*.TIF"):
        cell.write_bytes(b"")
    viewer, panel = open_viewer(widget="Predict patients")
    viewer.theme = "dark"
    panel.models.choose("demo")
    panel.add(ward)
    process_events(until=lambda: not panel.run.is_busy)
    panel.results.setText(str(folder / "ward_predicted"))
    panel.predict()
    process_events(until=lambda: not panel.run.is_busy)
    panel.table.sortByColumn(3, Qt.SortOrder.DescendingOrder)
    panel.table.selectRow(len(panel.table.rows) - 1)
    panel.table.scrollToBottom()
    save(viewer, out / "patients.png")
    viewer.close()


def save_report(folder: Path, out: Path) -> None:
    """Take a picture of each page of the report of an acute leukemia."""
    from napari_caltomorph.diagnosis import PredictOptions, Predictor
    from napari_caltomorph.explanation.changed_bags import what_if
    from napari_caltomorph.explanation.trust import available_trust
    from napari_caltomorph.report.html import save_page
    from napari_caltomorph.report.patient_report import patient_report

    smear = folder / "patient_031"
    write_smear(synthesize_patient("aml", cells=300, seed=31), smear)
    predictor = Predictor(PredictOptions(model="demo"))
    _, prediction = predictor.predict(read_smear(smear))
    features = predictor.features_of(prediction)
    answer = what_if(predictor.ensemble, prediction, features, [int(i) for i in prediction.order[:6]])
    page = folder / "report.html"
    metadata = {"age": "61", "sex": "female", "diagnosis given": "AML", "hemoglobin measured": "8.9 g/dl"}
    found = available_trust(answer, lambda: predictor.ensemble, lambda: predictor.features_of(answer))
    save_page(patient_report(answer, trust=found, metadata=metadata), page)
    for number, picture in enumerate(print_pages(page, folder), 1):
        shutil.copy(picture, out / f"report_{number}.png")
        print(out / f"report_{number}.png")


def print_pages(report: Path, folder: Path) -> list[Path]:
    """Print a report with Chromium, and return a picture of each page; none without Chromium or pdftoppm."""
    browser, pictures = shutil.which("chromium"), shutil.which("pdftoppm")
    if browser is None or pictures is None:
        print("No chromium or no pdftoppm: there are no pictures of the report.")
        return []
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    pdf = folder / "printed.pdf"
    subprocess.run([browser, *options, f"--print-to-pdf={pdf}", report.as_uri()], check=True, capture_output=True)
    subprocess.run([pictures, "-r", "100", "-png", str(pdf), str(folder / "page_")], check=True)
    return sorted(folder.glob("page_*.png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
