"""What the network of concepts guarantees: further cells never lower the logit of a class."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_caltomorph.diagnosis import ConceptsOptions, ModelDescription
from napari_caltomorph.diagnosis.model_card import model_card

WIDTH = 24


def cells_of(count, seed, scale=1.0):
    return scale * torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def logits_of(member, *parts):
    with torch.inference_mode():
        return member.double()(torch.cat(parts)[None]).logits[0]


seeds = st.integers(0, 1000)
scales = st.sampled_from([0.1, 1.0, 10.0, 1000.0])
references = pytest.mark.parametrize("reference", [None, 0, 7])


@references
@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.integers(1, 100), seeds, seeds, scales)
def test_further_cells_never_lower_the_logit_of_a_class(make_member, reference, few, more, seed, other, scale):
    member = make_member(seed=seed % 5, kind="concepts", reference=reference)
    bag, further = cells_of(few, seed), cells_of(more, other, scale)
    before, after = logits_of(member, bag), logits_of(member, bag, further)
    assert (after >= before - 1e-9).all()
    # The same cells again, however often, are further cells too
    assert (logits_of(member, bag, *[further] * 5) >= after - 1e-9).all()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.integers(1, 100), seeds, scales)
def test_further_cells_never_make_the_reference_class_more_probable(make_member, few, more, seed, scale):
    member = make_member(kind="concepts", reference=6)
    bag, further = cells_of(few, seed), cells_of(more, seed + 1, scale)
    before, after = logits_of(member, bag), logits_of(member, bag, further)
    assert float(after[6]) == float(before[6])  # no cell has anything to do with it
    assert float(after.softmax(0)[6]) <= float(before.softmax(0)[6]) + 1e-12
    assert ((after - after[6]) >= (before - before[6]) - 1e-9).all()  # the odds of each class against it


def test_without_a_reference_every_class_needs_evidence(make_member):
    member = make_member(kind="concepts", reference=None)
    changes = logits_of(member, cells_of(5, 0), cells_of(200, 1, 5.0)) - logits_of(member, cells_of(5, 0))
    assert (changes > 0).all()


def test_the_outputs_are_counts_of_cells_and_patterns_of_concepts(make_member):
    member, bag = make_member(kind="concepts", reference=7), cells_of(6, 3).float()
    kept: list[tuple[torch.Tensor, ...]] = []
    outputs = member(bag[None], keep=kept.append)
    attention = member.aggregator.attention(kept)
    w = {key: value.double() for key, value in member.state_dict().items()}
    shown = []
    for cell in bag.double():
        hidden = w["aggregator.read.0.weight"] @ cell + w["aggregator.read.0.bias"]
        hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
        shown.append(1 / (1 + (-w["aggregator.read.3.weight"] @ hidden - w["aggregator.read.3.bias"]).exp()))
    exponent, needed = w["aggregator.log_exponent"].exp(), w["aggregator.log_needed"].exp()
    raised = torch.stack(shown) ** exponent
    norm = raised.sum(0) ** (1 / exponent)
    presence = norm / (norm + needed)
    assert torch.allclose(outputs.embedding[0].double(), (norm / needed).log(), atol=1e-4)
    patterns = torch.stack([(presence**powers).prod() for powers in w["classifier.powers"].abs()])
    logits = w["classifier.evidence.weight"].abs() @ patterns + w["classifier.evidence.bias"]
    assert torch.allclose(outputs.logits[0, :7].double(), logits[:7], atol=1e-4)
    assert torch.allclose(outputs.logits[0, 7].double(), w["classifier.evidence.bias"][7])
    expected = (raised / raised.sum(0)) @ (presence / presence.sum())
    assert torch.allclose(attention.double(), expected, atol=1e-5)


def test_the_card_names_the_reference_class_and_a_model_without_it_is_refused(make_ensemble):
    description = make_ensemble(aggregator=ConceptsOptions(width=16, concepts=8, reference=7)).description
    assert "no cell is evidence for Healthy" in model_card(description)
    changed = description.model_dump(mode="json")
    changed["aggregator"]["reference"] = 8
    with pytest.raises(ValidationError, match="reference of the aggregator, 8"):
        ModelDescription.model_validate(changed)
