"""Running members: the same numbers alone, in padded batches and as bags made of other bags."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_caltomorph.diagnosis.inference import (
    as_tensor,
    class_response,
    pad_bags,
    run_bags,
    run_batches,
    run_with_cells,
)

CPU = torch.device("cpu")


def bags_of(lengths):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(length, 24)).astype(np.float32) for length in lengths]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 5))
def test_bags_in_padded_batches_give_what_each_gives_alone(make_member, lengths, size):
    member, bags = make_member(), bags_of(lengths)
    together = run_bags(member, bags, size, CPU)
    with torch.inference_mode():
        alone = [member(torch.from_numpy(bag)[None]) for bag in bags]
    for name in ("logits", "hemoglobin", "embedding"):
        assert torch.allclose(getattr(together, name), torch.cat([getattr(o, name) for o in alone]), atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 5))
def test_batches_hold_every_bag_once_in_order_of_length(make_member, lengths, size):
    rows = [
        row
        for some, _ in run_batches(make_member(), [*map(torch.from_numpy, bags_of(lengths))], size, CPU)
        for row in some
    ]
    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[row] for row in rows] == sorted(lengths)


def test_padding_is_zero_and_masked():
    bags = bags_of([2, 5])
    padded, mask = pad_bags([*map(torch.from_numpy, bags)])
    assert padded.shape == (2, 5, 24)
    assert mask.sum(dim=1).tolist() == [2, 5]
    assert (padded[0, 2:] == 0).all()
    np.testing.assert_array_equal(padded[1], bags[1])


@pytest.mark.parametrize(("lengths", "is_padded"), [([4, 4, 4], False), ([4, 3], True)])
def test_only_padded_bags_have_a_mask(lengths, is_padded):
    masks = []

    class Noting(torch.nn.Module):
        def forward(self, bags, mask):
            masks.append(mask)
            return bags

    list(run_batches(Noting(), [*map(torch.from_numpy, bags_of(lengths))], 3, CPU))
    assert [mask is not None for mask in masks] == [is_padded]


def test_only_a_bag_that_torch_does_not_take_is_copied():
    (bag,) = bags_of([3])
    assert as_tensor(bag).data_ptr() == bag.ctypes.data
    for other in (np.broadcast_to(bag[:1], bag.shape), bag[::-1], bag.astype(np.float64)):
        np.testing.assert_array_equal(as_tensor(other), other)


def test_bags_are_run_in_evaluation_mode(make_member):
    member = make_member().train()
    run_bags(member, bags_of([3]), 1, CPU)
    assert not member.training


def test_class_response_is_the_averaged_softmax_of_each_bag(make_ensemble, make_features):
    ensemble, features = make_ensemble(), make_features(cells=9)
    rows = np.array([[0, 1, 2], [3, 8, 3]])
    response = class_response(ensemble.members, 2, torch.from_numpy(features.values), rows)
    bags = [make_features(values=features.values[some]) for some in rows]
    expected = [ensemble.member_outputs(bag).probabilities.mean(axis=0)[2] for bag in bags]
    assert response.probability == pytest.approx(expected, abs=1e-6)
    assert response.log_odds == pytest.approx(np.log(expected) - np.log1p(-np.array(expected)), abs=1e-4)


def test_attention_without_single_cells_is_that_of_a_prediction(make_ensemble, make_features):
    ensemble, features = make_ensemble(), make_features()
    outputs = run_with_cells(ensemble.members, features, alone=False)
    np.testing.assert_array_equal(outputs.attention, ensemble.predict(features).attention)
    assert outputs.alone.shape == (0, 8)
