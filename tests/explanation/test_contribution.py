"""Contributions: captum's numbers, reproducible, and without padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients
from tests.stopping import Cancels
from torch.nn.utils.rnn import pad_sequence

from napari_caltomorph.diagnosis.inference import member_log_odds
from napari_caltomorph.errors import FeaturesRefused
from napari_caltomorph.explanation.contribution import contributions
from napari_caltomorph.progress import Cancelled

SLUG = "acute_leukemia"


def reference(ensemble, features, attribute):
    """(N,) captum's attribution of the class's log-odds, summed over features and averaged over members."""
    index, bag = ensemble.description.taxonomy.slugs.index(SLUG), torch.from_numpy(features.values)[None]
    result = []
    for member in ensemble.members:

        def log_odds(bags, member=member):
            p = member(bags).logits.double().softmax(-1)[:, index]
            return (p / (1 - p)).log()

        result.append(attribute(log_odds, bag, member.average_cell.expand_as(bag)).sum(-1)[0].detach().numpy())
    return np.mean(result, axis=0)


@pytest.fixture
def with_scales(every_kind):
    """Every kind of ensemble, with an average cell, and a mean and a scale of features unlike 0 and 1."""
    for member in every_kind.members:
        member.feature_mean.fill_(0.1)
        member.average_cell.fill_(0.25)
        member.feature_std.fill_(1.5)
    yield every_kind
    for member in every_kind.members:
        member.feature_mean.zero_()
        member.average_cell.zero_()
        member.feature_std.fill_(1)


def test_contributions_are_captums_integrated_gradients(with_scales, make_features):
    features = make_features(cells=9)
    expected = reference(
        with_scales,
        features,
        lambda forward, bag, mean: IntegratedGradients(forward).attribute(
            bag, baselines=mean, n_steps=12, method="gausslegendre"
        ),
    )
    result = contributions(with_scales, features, SLUG)
    assert result.values == pytest.approx(expected, abs=1e-4)
    assert result.unaccounted == pytest.approx(result.log_odds - result.baseline_log_odds - expected.sum(), abs=1e-3)


def test_contributions_at_the_bag_are_captums_gradient_times_input(with_scales, make_features):
    features = make_features(cells=9)
    expected = reference(
        with_scales,
        features,
        lambda forward, bag, mean: InputXGradient(lambda shifted: forward(mean + shifted)).attribute(
            (bag - mean).requires_grad_()
        ),
    )
    assert contributions(with_scales, features, SLUG, along_path=False).values == pytest.approx(expected, abs=1e-4)


def test_scales_of_the_members_do_not_change_what_a_cell_is_worth(make_ensemble, make_features):
    """The number is about standardised features: the same bag on another scale gives the same."""
    ensemble, scaled = make_ensemble(members=1), make_ensemble(members=1)
    scaled.members[0].feature_mean.fill_(3.0)
    scaled.members[0].average_cell.fill_(3.0)
    scaled.members[0].feature_std.fill_(7.0)
    features = make_features(cells=12)
    moved = make_features(values=(features.values * 7 + 3).astype(np.float32))
    expected = contributions(ensemble, features, SLUG)
    assert contributions(scaled, moved, SLUG).values == pytest.approx(expected.values, abs=1e-4)


def test_an_average_cell_contributes_nothing(with_scales, make_features):
    values = make_features(cells=6).values.copy()
    values[2] = 0.25
    found = contributions(with_scales, make_features(values=values), SLUG)
    assert found.values[2] == 0
    assert found.baseline_in_words == "average cells"


def test_cells_of_a_model_that_knows_no_average_cell_are_counted_from_zero_and_it_is_said(make_ensemble, make_features):
    assert "features are all 0" in contributions(make_ensemble(), make_features(cells=6), SLUG).baseline_in_words


def test_contributions_are_reproducible_and_do_not_change_the_model(every_kind, make_features):
    features = make_features(cells=20)
    before = every_kind.member_outputs(features).probabilities
    first = contributions(every_kind, features, SLUG)
    np.testing.assert_array_equal(contributions(every_kind, features, SLUG).values, first.values)
    np.testing.assert_array_equal(every_kind.member_outputs(features).probabilities, before)
    assert all(parameter.grad is None for member in every_kind.members for parameter in member.parameters())


def test_order_of_cells_does_not_matter(every_kind, make_features):
    features = make_features(cells=15)
    shuffle = np.random.default_rng(3).permutation(15)
    moved = make_features(values=features.values[shuffle])
    result = contributions(every_kind, features, SLUG).values
    assert contributions(every_kind, moved, SLUG).values == pytest.approx(result[shuffle], abs=1e-4)


def test_padding_neither_contributes_nor_changes_what_others_do(every_kind, make_features):
    features = make_features(cells=7)
    result = contributions(replace(every_kind, members=every_kind.members[:1]), features, SLUG, along_path=False)
    bag = torch.from_numpy(features.values)
    padded = pad_sequence([bag, torch.full((10, bag.shape[1]), 9.0)], batch_first=True).requires_grad_()
    mask = torch.arange(10)[None] < torch.tensor([[7], [10]])
    member = every_kind.members[0]
    odds = member_log_odds(member(padded, mask).logits, every_kind.description.taxonomy.slugs.index(SLUG))
    (gradient,) = torch.autograd.grad(odds[0], padded)
    values = (padded * gradient).detach().sum(-1)
    assert (gradient[0, 7:] == 0).all()
    assert (gradient[1] == 0).all()
    assert values[0, :7].numpy() == pytest.approx(result.values, abs=1e-4)


def test_a_linear_model_is_accounted_for_to_the_last_bit(make_ensemble, make_features):
    """Mean pooling and a linear head: then the sum of the cells is the log-odds less the baseline's, by definition."""
    from napari_caltomorph.diagnosis import MeanOptions
    from napari_caltomorph.taxonomy import Taxonomy, caltomorph_taxonomy

    known = caltomorph_taxonomy()
    two = Taxonomy(name="two", classes=known.classes[:2])
    ensemble = make_ensemble(members=2, aggregator=MeanOptions(), taxonomy=two)
    for member in ensemble.members:
        member.classifier[1] = torch.nn.Identity()  # the activation between the two layers
    for along_path in (True, False):
        result = contributions(ensemble, make_features(cells=30), two.slugs[0], along_path=along_path)
        assert result.unaccounted == pytest.approx(0, abs=1e-5)


def test_contributions_add_up_along_the_path(every_kind, make_features):
    """To what lies between the bag and as many average cells; kinks and norms near nothing make the sum coarse."""
    features = make_features(values=make_features(cells=25).values + np.float32(0.6))
    result = contributions(every_kind, features, SLUG)
    size = np.abs(result.values).sum()
    assert size > 0.2  # or there would be nothing to add up to
    assert result.unaccounted == pytest.approx(0, abs=0.15 * size)


def test_contributions_of_a_certain_model_do_not_vanish(make_ensemble, make_features):
    """Where the slope at the bag is flat, the way there was not."""
    from napari_caltomorph.diagnosis import AbmilOptions

    ensemble = make_ensemble(members=1, aggregator=AbmilOptions(width=16, attention_width=12))
    head = ensemble.members[0].classifier
    ensemble.members[0].classifier = torch.nn.Sequential(head[0], torch.nn.Tanh(), head[2], head[3])  # it saturates
    head[0].weight.data.mul_(30)
    features = make_features(cells=25)
    flat = contributions(ensemble, features, SLUG, along_path=False)
    path = contributions(ensemble, features, SLUG)
    assert abs(flat.unaccounted) > 0.9 * abs(flat.log_odds - flat.baseline_log_odds)
    assert abs(path.unaccounted) < 0.5 * abs(path.log_odds - path.baseline_log_odds)


def test_strongest_cells_are_those_that_support_and_those_that_oppose(make_ensemble, make_features):
    result = contributions(make_ensemble(), make_features(cells=40), SLUG)
    supporting, opposing = result.strongest(5)
    assert list(result.values[supporting]) == sorted(result.values[result.values > 0], reverse=True)[:5]
    assert list(result.values[opposing]) == sorted(result.values[result.values < 0])[:5]
    supporting, opposing = result.strongest(1000)
    assert len(supporting) + len(opposing) == np.count_nonzero(result.values)


def test_one_cell_is_a_bag(every_kind, make_features):
    assert contributions(every_kind, make_features(cells=1), SLUG).values.shape == (1,)


def test_other_features_and_unknown_classes_are_refused(make_ensemble, make_features):
    with pytest.raises(FeaturesRefused, match="made these features"):
        contributions(make_ensemble(), make_features(encoder="dinobloom-b"), SLUG)
    with pytest.raises(ValueError, match="nowhere"):
        contributions(make_ensemble(), make_features(), "nowhere")


def test_cancelling_stops(make_ensemble, make_features):
    with pytest.raises(Cancelled):
        contributions(make_ensemble(), make_features(), SLUG, progress=Cancels())
