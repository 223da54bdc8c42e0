"""The transformer against a second implementation of it, in plain torch, that keeps every attention matrix."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import Block
from torch.nn import functional

from napari_caltomorph.diagnosis import TransformerOptions
from napari_caltomorph.diagnosis.member import Member
from napari_caltomorph.diagnosis.transformer import Layer

GARBAGE = st.sampled_from([0.0, -1.0, 1e4, 1e30, math.inf, -math.inf, math.nan])


def reference(member, bag):
    """Logits of one bag (N, D), and each layer's attention (heads, 1 + N, 1 + N)."""
    w = {key: value.double() for key, value in member.state_dict().items()}
    heads = member.aggregator.blocks[0].heads

    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def normed(name, x):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    x = torch.cat([w["aggregator.cls_token"][0], linear("aggregator.project", bag.double())])
    attentions = []
    for layer in range(len(member.aggregator.blocks)):
        at = f"aggregator.blocks.{layer}"
        q, k, v = linear(f"{at}.attn.qkv", normed(f"{at}.norm1", x)).chunk(3, dim=-1)
        mixed, layer_attention = [], []
        for q_h, k_h, v_h in zip(*(t.chunk(heads, dim=-1) for t in (q, k, v)), strict=True):
            scores = (q_h @ k_h.T / math.sqrt(q_h.shape[-1])).exp()
            layer_attention.append(scores / scores.sum(-1, keepdim=True))
            mixed.append(layer_attention[-1] @ v_h)
        attentions.append(torch.stack(layer_attention))
        x = x + linear(f"{at}.attn.proj", torch.cat(mixed, dim=-1))
        hidden = linear(f"{at}.mlp.fc1", normed(f"{at}.norm2", x))
        x = x + linear(f"{at}.mlp.fc2", hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2)
    embedding = normed("aggregator.norm", x)[0]
    hidden = linear("classifier.0", embedding)
    return linear("classifier.3", hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2), attentions


def full_rollout(attentions):
    """R = A'_L ... A'_1, read at R[CLS, cells] (Abnar and Zuidema 2020)."""
    tokens = attentions[0].shape[-1]
    product = torch.eye(tokens, dtype=torch.float64)
    for heads in attentions:
        product = (heads.mean(0) + torch.eye(tokens, dtype=torch.float64)) / 2 @ product
    assert torch.allclose(product.sum(-1), torch.ones(tokens, dtype=torch.float64))
    return product[0, 1:]


def bag_of(cells, width=24, seed=0):
    return torch.randn(cells, width, generator=torch.Generator().manual_seed(seed))


def rollout(member, bag):
    kept = []
    with torch.inference_mode():
        member(bag[None], keep=kept.append)
    return member.aggregator.attention(kept)


def test_default_options_are_the_papers():
    options = TransformerOptions()
    member = Member(768, 8, options, classifier_width=128, hemoglobin=True)
    assert (options.depth, options.heads, options.width, options.mlp_width) == (10, 8, 512, 2048)
    assert len(member.aggregator.blocks) == 10
    for block in member.aggregator.blocks:
        assert (block.heads, block.attn.qkv.out_features) == (8, 3 * 512)
        assert block.mlp.fc1.out_features == 2048
    assert [m.out_features for m in member.classifier if hasattr(m, "out_features")] == [128, 8]
    assert sum(p.numel() for p in member.parameters()) == pytest.approx(32e6, rel=0.01)


@pytest.mark.parametrize(("width", "mlp_width"), [(56, 488), (56, 2008), (16, 17), (512, 2048)])
def test_hidden_width_is_that_of_the_options(make_member, width, mlp_width):
    member = make_member(depth=1, width=width, mlp_width=mlp_width)
    assert member.aggregator.blocks[0].mlp.fc1.out_features == mlp_width


def test_width_must_be_a_multiple_of_the_heads():
    with pytest.raises(ValueError, match="width 100 is no multiple of 8 heads"):
        TransformerOptions(width=100)


@pytest.mark.parametrize("cells", [1, 2, 60])
def test_logits_are_those_of_the_plain_implementation(make_member, cells):
    member, bag = make_member(), bag_of(cells)
    logits, _ = reference(member, bag)
    assert torch.allclose(member(bag[None]).logits[0].double(), logits, atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 12), st.integers(1, 12), GARBAGE, st.integers(0, 5))
def test_padding_does_not_change_the_outputs_or_any_cell(make_member, cells, padding, garbage, seed):
    member, bag = make_member(), bag_of(cells, seed=seed)
    padded = torch.cat([bag, torch.full((padding, 24), garbage)])
    mask = torch.arange(cells + padding) < cells
    alone_kept, padded_kept = [], []
    with torch.inference_mode():
        alone = member(bag[None], keep=alone_kept.append)
        outputs = member(padded[None], mask[None], keep=padded_kept.append)
    assert torch.allclose(outputs.logits, alone.logits, atol=1e-5)
    assert torch.allclose(outputs.hemoglobin, alone.hemoglobin, atol=1e-5)
    assert torch.allclose(outputs.embedding, alone.embedding, atol=1e-5)
    for one, other in zip(alone_kept, padded_kept, strict=True):  # not only CLS: no cell attends to padding either
        for of_one, of_other in zip(one, other, strict=True):
            assert torch.allclose(of_other[:, :, : of_one.shape[2]], of_one, atol=1e-5)


# In bf16 a CPU computes attention in another way; these logits are about 2.
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_bags_of_a_batch_are_independent(make_member, dtype, error):
    member, exact = make_member().to(dtype), make_member()
    bags = [bag_of(n, seed=n) for n in (1, 7, 30)]
    batch = torch.nn.utils.rnn.pad_sequence(bags, batch_first=True, padding_value=7.0)
    mask = torch.arange(30)[None] < torch.tensor([[1], [7], [30]])
    logits = member(batch.to(dtype), mask).logits
    for got, bag in zip(logits, bags, strict=True):
        assert torch.allclose(got.double(), reference(exact, bag)[0], atol=error)


@pytest.mark.parametrize(("pooling", "rows"), [("cls", 1), ("mean", 9)])
def test_last_layer_computes_only_the_rows_that_are_read(make_member, pooling, rows):
    member, kept = make_member(pooling=pooling), []
    member(bag_of(9)[None], keep=kept.append)
    first, last = kept[0], kept[-1]
    assert first[0].shape == first[1].shape == last[1].shape
    assert last[0].shape[2] == rows


def test_weights_are_named_and_start_as_in_timm_so_that_models_of_earlier_versions_load():
    options = TransformerOptions(depth=1, heads=2, width=16, mlp_width=40)
    torch.manual_seed(0)
    own = Layer(options, 0.1).state_dict()
    torch.manual_seed(0)
    timms = Block(dim=16, num_heads=2, mlp_ratio=2.5, qkv_bias=True).state_dict()
    assert list(own) == list(timms)
    for name, value in timms.items():
        assert torch.equal(own[name], value), name


def test_mask_of_all_cells_changes_nothing(make_member):
    member, bag = make_member(), bag_of(20)
    assert torch.allclose(member(bag[None], torch.ones(1, 20, dtype=torch.bool)).logits, member(bag[None]).logits)


# Above 512 cells the rows of a matrix are taken in pieces.
@pytest.mark.parametrize("cells", [1, 2, 50, 511, 512, 700, 1100])
def test_rollout_is_the_row_of_the_full_matrix_product(make_member, cells):
    member, bag = make_member(), bag_of(cells)
    _, attentions = reference(member, bag)
    expected = full_rollout(attentions)
    assert torch.allclose(rollout(member, bag).double(), expected, rtol=1e-4, atol=1e-8)
    if cells == 700:  # not near uniform, where much would pass
        assert expected.max() > 2 * expected.mean()


def test_rollout_of_the_papers_depth_and_heads(make_member):
    member, bag = make_member(depth=10, heads=8, width=64), bag_of(40)
    _, attentions = reference(member, bag)
    assert torch.allclose(rollout(member, bag).double(), full_rollout(attentions), rtol=1e-4, atol=1e-8)


def test_rollout_goes_from_the_last_layer_to_the_first(make_member):
    member, bag = make_member(), bag_of(30)
    _, attentions = reference(member, bag)
    assert not torch.allclose(rollout(member, bag).double(), full_rollout(attentions[::-1]), rtol=1e-3)


def test_rollout_of_a_network_in_half_precision_is_the_same_to_its_rounding(make_member):
    member, bag = make_member(), bag_of(50)
    exact = rollout(member, bag)
    half = rollout(make_member().bfloat16(), bag.bfloat16())
    assert half.dtype == torch.float32
    assert functional.cosine_similarity(exact, half, dim=0) > 0.99


def test_member_without_hemoglobin_is_the_same_network_for_the_classes():
    options = TransformerOptions(depth=1, heads=2, width=16, mlp_width=32)
    with_it = Member(24, 8, options, classifier_width=12, hemoglobin=True).eval()
    without = Member(24, 8, options, classifier_width=12, hemoglobin=False).eval()
    weights = {key: value for key, value in with_it.state_dict().items() if not key.startswith("hemoglobin")}
    without.load_state_dict(weights, strict=True)
    outputs = without(bag_of(5)[None])
    assert outputs.hemoglobin is None
    assert torch.equal(outputs.logits, with_it(bag_of(5)[None]).logits)
