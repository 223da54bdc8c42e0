"""The training of the shipped encoder of blood cells, on cells drawn here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scripts.train_blood_encoder import read_cells, train, type_of

from napari_caltomorph.encoding import ENCODERS, verify_weights
from napari_caltomorph.encoding.fine_tuning import LabelledCells, loss_of, unlike_training
from napari_caltomorph.encoding.perturbation import perturb
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.synthetic import RedCells, Stain, draw_cell

FOLDERS = {"Lymphocytes": "lymphocyte", "neutrophil": "segmented_neutrophil"}


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> LabelledCells:
    """Cells of two folders; the first of each is there twice."""
    folder, rng = tmp_path_factory.mktemp("cells"), np.random.default_rng(0)
    for name, kind in FOLDERS.items():
        (folder / name).mkdir()
        for number in range(16):
            cell = draw_cell(kind, rng, Stain.sample(rng), RedCells(14))
            Image.fromarray(cell).save(folder / name / f"{number}.png")
        (folder / name / "copy.png").write_bytes((folder / name / "0.png").read_bytes())
    return read_cells(folder, 25)


def test_copies_of_a_file_are_in_one_part(cells):
    assert len(cells.labels) == 34
    for label in np.unique(cells.labels):
        rows = cells.labels == label
        same = [part for image, part in zip(cells.images[rows], cells.part[rows], strict=True)
                if (image == cells.images[rows][0]).all()]  # fmt: skip
        assert len(same) == 2
        assert len(set(same)) == 1


def test_vague_folders_keep_their_name_and_cost_nothing_among_their_types():
    assert type_of("neutrophil") == "neutrophil"
    assert type_of("Segmented_Neutrophils") == "segmented neutrophil"
    either, one = torch.tensor([[True, True, False]]), torch.tensor([[True, False, False]])
    torn, sure = torch.tensor([[9.0, 9.0, 0.0]]), torch.tensor([[9.0, 0.0, 0.0]])
    assert loss_of(torn, one) - loss_of(torn, either) == pytest.approx(0.9 * np.log(2), abs=1e-3)
    assert loss_of(sure, either) == pytest.approx(float(loss_of(sure, one)), abs=1e-3)


def test_a_training_writes_weights_that_fit_the_shipped_encoder(cells, tmp_path, capsys):
    labels = np.where(cells.labels == "neutrophil", "segmented neutrophil", cells.labels)
    train(replace(cells, labels=labels, part=np.arange(34) % 10), 1e-4, tmp_path / "weights.safetensors")
    assert verify_weights(ENCODERS["blood-lite"], tmp_path / "weights.safetensors")
    assert "macro F1" in capsys.readouterr().out


def test_one_type_is_refused(cells, tmp_path):
    with pytest.raises(TrainingRefused, match=r"two types.*lymphocyte"):
        train(cells.where(cells.labels == "lymphocyte"), 1e-4, tmp_path / "weights.safetensors")
    assert not list(tmp_path.iterdir())


def test_changes_of_cells_are_repeatable_and_leave_colours_in_range(cells):
    batch = torch.from_numpy(cells.images[:4]).permute(0, 3, 1, 2) / 255
    first, again, other = (perturb(batch, 48, 0.7, generator=torch.Generator().manual_seed(i)) for i in (1, 1, 2))
    assert first.shape == (4, 3, 48, 48)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 0 <= first.min() <= first.max() <= 1
    assert all((a == b).all() for a, b in zip(*(unlike_training(cells.images[:3]) for _ in range(2)), strict=True))
