"""Training options: a recipe fills in what was not given, and nothing else."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_caltomorph.diagnosis import AGGREGATOR_OPTIONS
from napari_caltomorph.jobs import flags
from napari_caltomorph.training import TrainOptions
from napari_caltomorph.training.options import AggregatorName


def test_the_defaults_are_those_of_robust():
    for name, field in TrainOptions.model_fields.items():
        assert getattr(TrainOptions(), name) == field.default


@pytest.mark.parametrize(("recipe", "patience"), [("robust", 25), ("paper", 20)])
def test_a_recipe_fills_in_what_was_not_given(recipe, patience):
    options = TrainOptions(recipe=recipe, batch_size=3)
    assert options.given == {"recipe": recipe, "batch_size": 3}
    assert options.batch_size == 3
    assert options.patience == patience


def test_the_learning_rate_follows_the_aggregator():
    mean = TrainOptions(aggregator="mean")
    assert mean.learning_rate > 3 * TrainOptions().learning_rate
    assert mean.changed == mean.given == {"aggregator": "mean"}
    assert TrainOptions(aggregator="mean", learning_rate=2e-5).learning_rate == 2e-5
    assert TrainOptions(aggregator="mean", recipe="paper").learning_rate == 5e-5
    assert {TrainOptions(aggregator=name).aggregator for name in get_args(AggregatorName)} == AGGREGATOR_OPTIONS.keys()


def test_epochs_that_are_given_are_not_replaced_by_a_number_of_steps():
    for epochs in (60, TrainOptions().epochs):
        assert TrainOptions(epochs=epochs).least_steps == 0
    assert TrainOptions(epochs=60, least_steps=30).least_steps == 30
    assert TrainOptions(epochs=60).changed == {"epochs": 60}


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "recipe": st.sampled_from(["robust", "paper"]),
            "aggregator": st.sampled_from(get_args(AggregatorName)),
            "epochs": st.sampled_from([60, 150]),
            "least_steps": st.sampled_from([0, 140, 500]),
            "learning_rate": st.sampled_from([3e-5, 5e-5, 1e-3]),
        },
    )
)
def test_what_was_changed_makes_the_same_options_again(values):
    options = TrainOptions(**values)
    assert TrainOptions(**options.changed) == options
    assert TrainOptions(**options.given) == options


def test_the_papers_numbers_are_the_papers():
    paper = TrainOptions(recipe="paper")
    assert (paper.learning_rate, paper.weight_decay, paper.epochs) == (5e-5, 0.01, 150)
    assert (paper.depth, paper.heads, paper.width, paper.mlp_width, paper.pooling) == (10, 8, 512, 2048, "cls")


def test_options_that_were_written_and_read_are_equal():
    options = TrainOptions(recipe="paper", depth=4)
    assert TrainOptions(**options.model_dump(mode="json")) == options


def test_what_differs_from_the_recipe_is_what_a_command_must_say():
    options = TrainOptions(recipe="paper", depth=4, hemoglobin=True)
    assert options.changed == {"recipe": "paper", "hemoglobin": True, "depth": 4}
    assert flags(options, options.changed) == ["--recipe", "paper", "--hemoglobin", "--depth", "4"]
    assert flags(TrainOptions(elsewhere=False)) == ["--no-elsewhere"]
    assert flags(TrainOptions(batch_size=4)) == ["--patients-per-batch", "4"]


@pytest.mark.parametrize("values", [{"recipe": "mine"}, {"depth": 0}, {"learning_rate": float("nan")}, {"dept": 2}])
def test_values_that_cannot_be_are_refused(values):
    with pytest.raises(ValidationError):
        TrainOptions(**values)


def test_heads_must_divide_the_width_of_a_transformer_only():
    with pytest.raises(ValidationError, match="do not divide"):
        TrainOptions(width=100, heads=8)
    assert TrainOptions(aggregator="abmil", width=100, heads=8).width == 100
