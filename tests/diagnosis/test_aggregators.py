"""What must hold for every aggregator: bags have no order, padding has no influence, and asking costs nothing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.diagnosis.factories import SMALL

from napari_caltomorph.diagnosis import AGGREGATOR_OPTIONS
from napari_caltomorph.diagnosis.aggregators import Dropout
from napari_caltomorph.diagnosis.member import AGGREGATORS, Member
from napari_caltomorph.diagnosis.options import GENBLOOM

WIDTH = 24
GARBAGE = st.sampled_from([0.0, -1.0, 1e4, 1e30, math.inf, -math.inf, math.nan])
# GenBloom's are transformers.
EACH = [*[(kind, {}) for kind in AGGREGATORS if kind not in GENBLOOM], ("transformer", {"pooling": "mean"})]
every_aggregator = pytest.mark.parametrize(
    ("kind", "options"), EACH, ids=[f"{k}{''.join(o.values())}" for k, o in EACH]
)


def bag_of(cells, seed=0):
    return torch.randn(cells, WIDTH, generator=torch.Generator().manual_seed(seed))


def outputs_and_attention(member, bag):
    kept = []
    with torch.inference_mode():
        outputs = member(bag[None], keep=kept.append)
        return outputs, member.aggregator.attention(kept)


def scaled(member):
    """The member, with scales that are not the neutral ones."""
    member.feature_mean.copy_(torch.linspace(-2, 2, WIDTH))
    member.feature_std.copy_(torch.linspace(0.5, 2, WIDTH))
    return member


def test_each_kind_has_its_options_and_its_network():
    assert list(AGGREGATORS) == list(AGGREGATOR_OPTIONS)
    for kind, options in AGGREGATOR_OPTIONS.items():
        assert options().kind == kind


@every_aggregator
@settings(deadline=None, max_examples=25)
@given(st.integers(1, 12), st.integers(1, 12), GARBAGE, st.integers(0, 5))
def test_padding_does_not_change_the_outputs(make_member, kind, options, cells, padding, garbage, seed):
    member, bag = scaled(make_member(kind=kind, **options)), bag_of(cells, seed)
    padded = torch.cat([bag, torch.full((padding, WIDTH), garbage)])
    mask = torch.arange(cells + padding) < cells
    with torch.inference_mode():
        alone, outputs = member(bag[None]), member(padded[None], mask[None])
    assert torch.allclose(outputs.logits, alone.logits, atol=1e-5)
    assert torch.allclose(outputs.hemoglobin, alone.hemoglobin, atol=1e-5)
    assert torch.allclose(outputs.embedding, alone.embedding, atol=1e-5)


@every_aggregator
def test_padding_anywhere_does_not_change_gradients(make_member, kind, options):
    member, bag = scaled(make_member(kind=kind, **options)), bag_of(9)
    mask = torch.tensor([False, True, True, False, True, True, True, True, False])
    bag[~mask] = math.nan
    bag.requires_grad_()
    for given_bag, given_mask in ((bag, mask), (bag[mask], None)):
        member.zero_grad()
        outputs = member(given_bag[None], None if given_mask is None else given_mask[None])
        (outputs.logits.square().sum() + outputs.hemoglobin.sum()).backward()
        if given_mask is not None:
            padded = [p.grad.clone() for p in member.parameters()]
            assert (bag.grad[~mask] == 0).all()
            assert (bag.grad[mask] != 0).any()
    for with_padding, without in zip(padded, (p.grad for p in member.parameters()), strict=True):
        assert torch.allclose(with_padding, without, atol=1e-4, rtol=1e-4)


@every_aggregator
def test_bags_of_a_batch_are_independent(make_member, kind, options):
    member = make_member(kind=kind, **options)
    bags = [bag_of(n, seed=n) for n in (1, 7, 30)]
    batch = torch.nn.utils.rnn.pad_sequence(bags, batch_first=True, padding_value=7.0)
    logits = member(batch, torch.arange(30)[None] < torch.tensor([[1], [7], [30]])).logits
    for got, bag in zip(logits, bags, strict=True):
        assert torch.allclose(got, member(bag[None]).logits[0], atol=1e-5)


@every_aggregator
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_mask_that_is_not_boolean_is_refused(make_member, kind, options, dtype):
    with pytest.raises(TypeError, match="boolean"):
        make_member(kind=kind, **options)(bag_of(4)[None], torch.ones(1, 4, dtype=dtype))


@every_aggregator
@settings(deadline=None, max_examples=15)
@given(st.permutations(range(15)))
def test_order_of_cells_does_not_matter(make_member, kind, options, order):
    member, bag = make_member(kind=kind, **options), bag_of(15)
    plain, attention = outputs_and_attention(member, bag)
    shuffled, shuffled_attention = outputs_and_attention(member, bag[list(order)])
    assert torch.allclose(shuffled.logits, plain.logits, atol=1e-5)
    if attention is not None:
        assert torch.allclose(shuffled_attention, attention[list(order)], atol=1e-5)


@every_aggregator
def test_attention_does_not_change_a_bit_of_the_outputs(make_member, kind, options):
    member, bag = make_member(kind=kind, **options), bag_of(80)
    with torch.inference_mode():
        silent = member(bag[None])
    requested, attention = outputs_and_attention(member, bag)
    assert torch.equal(silent.logits, requested.logits)
    assert torch.equal(silent.embedding, requested.embedding)
    assert (attention is None) == (AGGREGATOR_OPTIONS[kind].attention_kind == "none")


@every_aggregator
def test_bag_of_one_cell(make_member, kind, options):
    outputs, attention = outputs_and_attention(make_member(kind=kind, **options), bag_of(1))
    assert outputs.logits.isfinite().all()
    assert attention is None or attention.shape == (1,)


@every_aggregator
def test_gradients_reach_every_parameter(make_member, kind, options):
    member = make_member(kind=kind, **options).train()
    outputs = member(torch.stack([bag_of(6), bag_of(6, seed=1)]))
    (outputs.logits.logsumexp(1).sum() + outputs.hemoglobin.square().sum()).backward()
    # A softmax does not feel what is added to all of its scores.
    constant = {"aggregator.score.bias", "aggregator.scores.2.bias"}
    idle = [n for n, p in member.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert set(idle) <= constant


@every_aggregator
def test_in_half_precision_padding_is_still_masked(make_member, kind, options):
    member, bag = make_member(kind=kind, **options), bag_of(9)
    padded = torch.cat([bag, torch.full((4, WIDTH), math.nan)])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = member(padded[None], torch.arange(13)[None] < 9).logits
        expected = member(bag[None]).logits
    assert torch.allclose(logits.float(), expected.float(), atol=0.1, rtol=0.1)


@every_aggregator
def test_dropout_acts_in_training_only_and_is_not_saved(kind, options):
    chosen = AGGREGATOR_OPTIONS[kind](**SMALL[kind] | options)
    torch.manual_seed(0)
    plain = Member(WIDTH, 8, chosen, classifier_width=12, hemoglobin=True)
    dropping = Member(WIDTH, 8, chosen, classifier_width=12, hemoglobin=True, dropout=0.5)
    dropping.load_state_dict(plain.state_dict(), strict=True)
    bag = bag_of(9)[None]
    assert torch.equal(dropping.eval()(bag).logits, plain.eval()(bag).logits)
    assert torch.equal(plain.train()(bag).logits, plain.eval()(bag).logits)
    dropping.train()
    assert not torch.equal(dropping(bag).logits, dropping(bag).logits)
    assert not torch.equal(dropping(bag).hemoglobin, dropping(bag).hemoglobin)


@every_aggregator
def test_scales_act_before_the_aggregator(make_member, kind, options):
    member, bag = make_member(kind=kind, **options), bag_of(9)
    expected = member(((bag - torch.linspace(-2, 2, WIDTH)) / torch.linspace(0.5, 2, WIDTH))[None]).logits
    assert torch.allclose(scaled(member)(bag[None]).logits, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["abmil", "wbcmil", "concepts"])
@pytest.mark.parametrize("cells", [1, 2, 300])
def test_weights_of_a_bag_sum_to_one(make_member, kind, cells):
    _, attention = outputs_and_attention(make_member(kind=kind), bag_of(cells))
    assert attention.shape == (cells,)
    assert (attention >= 0).all()
    assert float(attention.sum()) == pytest.approx(1, abs=1e-5)


def test_abmil_is_ilses_gated_attention(make_member):
    """Their equations 7 and 9, cell by cell."""
    member, bag = make_member(kind="abmil"), bag_of(7)
    w = {key.removeprefix("aggregator."): value.double() for key, value in member.state_dict().items()}
    cells, scores = [], []
    for cell in bag.double():
        h = (w["project.0.weight"] @ cell + w["project.0.bias"]).clamp(min=0)
        content = torch.tanh(w["content.0.weight"] @ h + w["content.0.bias"])
        gate = 1 / (1 + torch.exp(-(w["gate.0.weight"] @ h + w["gate.0.bias"])))
        cells.append(h)
        scores.append(w["score.weight"][0] @ (content * gate) + w["score.bias"][0])
    raised = torch.stack(scores).exp()
    weights = raised / raised.sum()
    outputs, attention = outputs_and_attention(member, bag)
    assert torch.allclose(attention.double(), weights, atol=1e-5)
    assert torch.allclose(
        outputs.embedding[0].double(), sum(a * h for a, h in zip(weights, cells, strict=True)), atol=1e-5
    )


def test_wbcmil_pools_each_class_with_its_own_weights_and_head(make_member):
    member, bag = make_member(kind="wbcmil"), bag_of(7)
    w = {key: value.double() for key, value in member.state_dict().items()}
    all_weights, logits = [], []
    for c in range(8):
        scores = []
        for cell in bag.double():
            hidden = torch.tanh(w["aggregator.scores.0.weight"] @ cell + w["aggregator.scores.0.bias"])
            scores.append(w["aggregator.scores.2.weight"][c] @ hidden + w["aggregator.scores.2.bias"][c])
        raised = torch.stack(scores).exp()
        weights = raised / raised.sum()
        head = f"classifier.heads.{c}"
        hidden = w[f"{head}.0.weight"] @ (weights @ bag.double()) + w[f"{head}.0.bias"]
        hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        logits.append(w[f"{head}.3.weight"][0] @ hidden + w[f"{head}.3.bias"][0])
        all_weights.append(weights)
    outputs, attention = outputs_and_attention(member, bag)
    assert outputs.embedding.shape == (1, 8 * WIDTH)
    assert torch.allclose(outputs.logits[0].double(), torch.stack(logits), atol=1e-5)
    assert torch.allclose(attention.double(), sum(all_weights) / 8, atol=1e-5)


@pytest.mark.parametrize(("kind", "pooled"), [("mean", lambda b: b.mean(0)), ("max", lambda b: b.max(0).values)])
def test_baselines_pool_feature_by_feature(make_member, kind, pooled):
    bag = bag_of(7)
    outputs, attention = outputs_and_attention(make_member(kind=kind), bag)
    assert torch.allclose(outputs.embedding[0], pooled(bag), atol=1e-6)
    assert attention is None


@pytest.mark.parametrize("cells", [1, 2, 50, 700])
def test_rollout_of_mean_pooling_averages_all_rows_of_the_full_product(make_member, cells):
    member, bag = make_member(pooling="mean"), bag_of(cells)
    transformer, product = member.aggregator, torch.eye(cells, dtype=torch.float64)
    assert transformer.cls_token is None
    with torch.inference_mode():
        x = transformer.project(bag)
        for block in transformer.blocks:
            normed = block.norm1(x)
            queries, keys, _ = (block.attn.qkv(normed)).double().chunk(3, dim=-1)
            per_head = zip(queries.chunk(2, dim=-1), keys.chunk(2, dim=-1), strict=True)
            heads = [(q @ k.T / math.sqrt(8)).softmax(-1) for q, k in per_head]
            product = (sum(heads) / 2 + torch.eye(cells, dtype=torch.float64)) / 2 @ product
            x = block(x[None], cells, None, None)[0]
        embedding = transformer.norm(x).mean(0)
    outputs, attention = outputs_and_attention(member, bag)
    assert torch.allclose(outputs.embedding[0], embedding, atol=1e-5)
    assert torch.allclose(attention.double(), product.mean(0), rtol=1e-4, atol=1e-8)
    assert float(attention.sum()) == pytest.approx(1, abs=1e-5)  # nothing is lost to a CLS token


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dropout_drops_its_share_scales_the_rest_and_follows_the_seed(share):
    dropout, x = Dropout(share), torch.ones(1000, 203, requires_grad=True)  # no multiple of four
    torch.manual_seed(1)
    once = dropout(x)
    torch.manual_seed(1)
    assert torch.equal(dropout(x), once)
    assert not torch.equal(dropout(x), once)
    assert float((once == 0).float().mean()) == pytest.approx(share, abs=0.005)
    assert once.unique().tolist() == pytest.approx([0, 1 / (1 - share)], rel=1e-4)
    once.sum().backward()
    assert torch.equal(x.grad, once)
    assert dropout.eval()(x) is x


def test_dropout_of_nearly_everything_is_finite():
    assert Dropout(1 - 1e-9)(torch.ones(100)).isfinite().all()


def test_member_returns_hemoglobin_in_g_per_dl_on_its_own_scale(make_member):
    member, bag = make_member(), bag_of(9)[None]
    member.hemoglobin_mean.fill_(11.0)
    member.hemoglobin_std.fill_(2.0)
    with torch.inference_mode():
        outputs = member(bag)
    assert float(member.hemoglobin_g_dl(outputs)) == pytest.approx(11 + 2 * float(outputs.hemoglobin))
    member.hemoglobin = None
    assert member.hemoglobin_g_dl(member(bag)) is None
