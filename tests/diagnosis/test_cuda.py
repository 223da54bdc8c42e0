"""Predicting on CUDA: the numbers of a CPU, alone and in padded batches."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from napari_caltomorph.diagnosis import AGGREGATOR_OPTIONS
from napari_caltomorph.diagnosis.inference import run_bags, run_with_cells

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("kind", AGGREGATOR_OPTIONS)
def test_outputs_attention_and_single_cells_are_those_of_a_cpu(make_member, make_features, kind, cuda):
    member, features = make_member(kind=kind), make_features(cells=70)
    here = run_with_cells([member], features)
    there = run_with_cells([copy.deepcopy(member).to(cuda)], features)
    for one, other in (
        (there.bag.probabilities, here.bag.probabilities),
        (there.bag.hemoglobin, here.bag.hemoglobin),
        (there.attention, here.attention),
        (there.alone, here.alone),
    ):
        np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("lengths", [[20, 20, 20], [3, 20, 11]], ids=["equal lengths", "padded"])
def test_bags_in_batches_give_what_a_cpu_gives(make_member, lengths, cuda):
    rng = np.random.default_rng(0)
    bags = [rng.normal(size=(length, 24)).astype(np.float32) for length in lengths]
    member = make_member()
    here = run_bags(member, bags, 3, torch.device("cpu"))
    there = run_bags(copy.deepcopy(member).to(cuda), bags, 3, torch.device(cuda))
    assert torch.allclose(there.logits, here.logits, atol=1e-4)
