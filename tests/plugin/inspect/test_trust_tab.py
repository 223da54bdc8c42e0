"""The tab *Trust*: it shows what the library returns, and what is clicked in it is selected everywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from tests.plugin.conftest import predict

from napari_caltomorph.diagnosis import Ensemble, PredictOptions, Predictor, find_model
from napari_caltomorph.diagnosis.domain_fit import fit_domain
from napari_caltomorph.diagnosis.model_folder import TrainingPatients
from napari_caltomorph.explanation.trust import NO_PATIENTS, trust
from napari_caltomorph.plugin.inspect.trust_tab import TrustTab
from napari_caltomorph.plugin.inspect.what_if import WhatIfUpdater
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.synthetic import synthesize_patient, write_smear

LONG = 120_000
PATIENTS = 45


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The demo's members, as if trained on 45 patients of random features."""
    demo = Ensemble.load(find_model("demo"))
    folder = tmp_path_factory.mktemp("models")
    write_smear(synthesize_patient("cll", cells=30, seed=3), folder / "known")
    rng = np.random.default_rng(0)
    bags = [(0.2 * rng.normal(size=(20, demo.description.encoder.width))).astype(np.float32) for _ in range(PATIENTS)]
    with torch.inference_mode():
        embeddings = torch.stack([member(torch.tensor(np.stack(bags))).embedding for member in demo.members])
    slugs = demo.description.taxonomy.slugs
    folds = np.arange(PATIENTS) % len(demo.members)
    text = {
        "patient_id": [f"patient_{i}" for i in range(PATIENTS)],
        "coarse": [slugs[i % len(slugs)] for i in range(PATIENTS)],
        "detailed": [None] * PATIENTS,
        "fingerprint": [f"{i:064d}" for i in range(PATIENTS)],
        "path": [str(folder / ("known" if i % 2 else "gone")) for i in range(PATIENTS)],
    }
    table = pd.DataFrame({name: pd.array(values, dtype="string") for name, values in text.items()})
    table = table.assign(hemoglobin_g_dl=12.5, fold=pd.array(folds, dtype="Int64"))
    message = rng.dirichlet(np.ones(len(slugs)), PATIENTS)
    for index, slug in enumerate(slugs):
        table[f"out_of_fold_p_{slug}"] = message[:, index]
    domain = fit_domain(bags, embeddings.numpy(), folds)
    replace(demo, patients=TrainingPatients(table, embeddings), domain=domain).save(folder / "model")
    return folder / "model"


def test_everything_known_is_shown_and_linked(open_panel, model, export, qtbot):
    _, panel = open_panel()
    panel.models.choose(str(model))
    panel.smears.open(export)
    predict(qtbot, panel)
    inspect = panel.inspect()
    tab = inspect.tab("Trust")
    qtbot.waitUntil(lambda: tab.isVisible() and tab.trust is not None and not tab.run.isVisible(), timeout=LONG)
    inspection = tab.inspection
    expected = trust(inspection.prediction, inspection.ensemble(), inspection.features())
    assert [one.text for one in tab.trust.statements] == [one.text for one in expected.statements]
    assert "Unlike the training cohort" in tab._texts["Training cohort"].text()
    assert tab.certainty.isVisible()
    assert len(tab.members.figure.axes[0].patches) == 6 * 8

    # The most unusual cells are selected by a click, and can be sorted by.
    domain = inspection.prediction.domain
    assert tab.unusual.item(0).data(Qt.ItemDataRole.UserRole) == domain.unusual[0]
    qtbot.waitUntil(lambda: not tab.unusual.item(0).icon().isNull(), timeout=LONG)
    at = tab.unusual.visualItemRect(tab.unusual.item(2)).center()
    qtbot.mouseClick(tab.unusual.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert inspection.cells.selected == {int(domain.unusual[2])}
    tab.select_all.click()
    assert inspection.cells.selected == {int(cell) for cell in domain.unusual_cells}
    assert inspection.cells.columns["unusual"] == pytest.approx(1 - np.array(domain.cell_tails), abs=1e-3)

    # Similar patients stand in the table; one whose images are there is opened and predicted, the other says why not.
    shown = tab.similar.frame
    assert list(shown["patient"]) == [one.patient_id for one in expected.similar.patients]
    assert list(shown["distance"]) == sorted(shown["distance"])
    assert f"at distance {shown['distance'].iloc[0]:.2f} " in tab._texts["Similar patients"].text()
    gone = next((i for i, path in enumerate(shown["path"]) if not path), None)
    if gone is not None:
        tab.similar.doubleClicked.emit(tab.similar.model().index(gone, 0))
        assert "no longer where they were" in tab._problem.text()
    there = next(i for i, path in enumerate(shown["path"]) if path)
    tab.similar.selectRow(there)
    qtbot.waitUntil(lambda: not tab.similar_cells.picture.pixmap().isNull(), timeout=LONG)
    assert shown["patient"].iloc[there] in tab.similar_cells.text
    tab.similar.doubleClicked.emit(tab.similar.model().index(there, 0))
    qtbot.waitUntil(lambda: not panel.run.is_busy and inspection is not tab.inspection, timeout=LONG)
    assert tab.inspection.prediction.patient_id == "known"
    inspect.unbind()


@pytest.fixture
def compared(show_view, predicted, qtbot):
    """``compared(model)``: the tab without a window, once all has been compared."""

    def shown(model):
        smear, prediction, _ = predicted
        predictor = Predictor(PredictOptions(model=str(model)))
        _, prediction = predictor.predict(smear)
        tab = TrustTab(ViewerModel())
        show_view(tab, Inspection(prediction, smear, predictor=predictor))
        qtbot.waitUntil(lambda: tab.trust is not None and not tab.run.is_busy, timeout=LONG)
        return tab

    return shown


def test_a_model_without_patients_is_noted_in_one_sentence(compared, model, tmp_path):
    ensemble = replace(Ensemble.load(model), folder=None, patients=None, domain=None)
    ensemble.save(tmp_path / "bare")
    tab = compared(tmp_path / "bare")
    assert NO_PATIENTS.split(",")[0].split("(")[0] in tab._texts["Similar patients"].text()
    assert "unknown" in tab._texts["Training cohort"].text()
    for widget in (tab.domain, tab.unusual, tab.select_all, tab.certainty, tab.similar):
        assert not widget.isVisible()
    assert tab.members.isVisible()


def test_trust_is_about_the_cells_that_are_left(compared, model, qtbot):
    tab = compared(model)
    WhatIfUpdater(tab).follow(tab.inspection)
    before = tab.trust.prediction
    with qtbot.waitSignal(tab.inspection.result_changed, timeout=LONG):
        tab.inspection.cells.leave_out([0, 1, 2])
    qtbot.waitUntil(lambda: not tab.run.isVisible(), timeout=LONG)
    assert len(tab.trust.prediction.cells) == len(before.cells) - 3
    assert len(tab.trust.prediction.domain.cell_tails) == len(before.cells) - 3
