"""The training of the shipped probe, on cells drawn here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scripts.train_blood_probe import laboratories, train

from napari_caltomorph.differential import Probe
from napari_caltomorph.encoding import EncodeOptions, load_encoder
from napari_caltomorph.encoding.fine_tuning import LabelledCells
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.synthetic import RedCells, Stain, draw_cell

TYPES = {"lymphocyte": "lymphocyte", "segmented_neutrophil": "segmented neutrophil"}


@pytest.fixture(scope="module")
def cells() -> LabelledCells:
    """Twelve cells of each of two types, half of them for training."""
    rng = np.random.default_rng(0)
    images = np.stack([draw_cell(kind, rng, Stain.sample(rng), RedCells(14)) for kind in TYPES for _ in range(12)])
    return LabelledCells(images, np.repeat(list(TYPES.values()), 12), np.arange(24) % 2 + 1, 25)


def test_its_errors_are_those_of_made_up_laboratories(cells, tmp_path):
    train(cells, count=2).save(tmp_path / "probe.safetensors")
    described = Probe.load(tmp_path / "probe.safetensors").description
    assert described.cells == (12, 12)  # six of each, twice: as they are, and changed
    assert described.other is not None
    assert np.sum(described.confusion) + sum(described.other.false) == 2 * 12
    assert described.correlation is not None
    assert described.warnings[0] == described.note != ""


def test_all_cells_of_a_laboratory_are_changed_alike(cells):
    same = replace(cells, images=np.repeat(cells.images[:1], 24, axis=0))
    same.images[:, 0, 0, 0] = np.arange(24)  # a copy of an image would be left out
    options = EncodeOptions(encoder="blood-lite", device="cpu", precision="float32", field_of_view=25)
    (one, _), (two, _) = laboratories(same, load_encoder(options), seed=5, count=2)
    alike, unlike = (np.linalg.norm(one.values[0] - other) for other in (one.values[1], two.values[0]))
    assert alike < unlike / 5


def test_a_folder_of_one_type_or_of_few_cells_is_refused(cells):
    with pytest.raises(TrainingRefused, match="each of two types"):
        train(replace(cells, labels=np.full(24, "lymphocyte")), count=2)
    with pytest.raises(TrainingRefused, match="needs hundreds"):
        train(replace(cells, part=np.full(24, 2)), count=2)
