"""Training on CUDA: the losses of a CPU, and of a training that was not interrupted.

Weights are not compared: AdamW makes steps of full size of gradients that are rounding only, as of the keys' biases.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.training.factories import bags_of, tiny

from napari_caltomorph.progress import Cancelled
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.members import FoldCheckpoint

pytestmark = pytest.mark.cuda

SPLIT = MemberSplit(0, np.arange(20), np.arange(20, 30), np.arange(20, 30))


@pytest.fixture
def bags(few) -> LabelledBags:
    """Bags of 3 to 8 cells, so that some are padded; a third has no hemoglobin."""
    bags = bags_of(few)
    bags.hemoglobin[::3] = np.nan
    return bags


def trained(bags, folder, **options):
    return fit_member(bags, SPLIT, tiny(hemoglobin=True, **options), FoldCheckpoint(folder, 0))


def test_losses_are_those_of_a_cpu(bags, tmp_path, cuda):
    there = trained(bags, tmp_path / "there", device=cuda, dropout=0.0)
    here = trained(bags, tmp_path / "here", dropout=0.0)
    np.testing.assert_allclose(there.train_loss, here.train_loss, rtol=5e-3)
    np.testing.assert_allclose(there.validation_loss, here.validation_loss, rtol=5e-3)


def test_bf16_learns(bags, tmp_path, cuda):
    history = trained(bags, tmp_path, device=cuda, precision="bf16", epochs=20)
    assert np.isfinite(history.train_loss).all()
    assert history.train_loss[-1] < history.train_loss[0]


def test_bags_are_on_the_device(bags, cuda):
    values = bags.on(torch.device(cuda))
    assert {value.device.type for value in values} == {cuda}
    for value, expected in zip(values, bags.values, strict=True):
        np.testing.assert_array_equal(value.cpu(), expected)


def test_a_stopped_training_is_resumed_on_the_device(bags, tmp_path, cuda):
    options = tiny(device=cuda, hemoglobin=True)
    whole = fit_member(bags, SPLIT, options, FoldCheckpoint(tmp_path / "whole", 0))

    def stop(history, step):
        if history.epochs == 1 and step:
            raise Cancelled

    checkpoint = FoldCheckpoint(tmp_path / "parts", 0)
    with pytest.raises(Cancelled):
        fit_member(bags, SPLIT, options, checkpoint, on_step=stop)
    resumed = fit_member(bags, SPLIT, options, checkpoint)
    np.testing.assert_allclose(resumed.train_loss, whole.train_loss, rtol=5e-3)
