"""Training options: a recipe fills in what was not given, and nothing else."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from napari_caltomorph.jobs import flags
from napari_caltomorph.training import RECIPES, TrainOptions


def test_the_defaults_are_those_of_robust():
    for name, value in RECIPES["robust"].items():
        assert TrainOptions.model_fields[name].default == value


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_fills_in_what_was_not_given(recipe):
    options = TrainOptions(recipe=recipe, batch_size=3)
    assert options.given == {"recipe": recipe, "batch_size": 3}
    assert options.batch_size == 3
    assert options.patience == RECIPES[recipe]["patience"]


def test_both_recipes_set_the_same_options():
    assert RECIPES["robust"].keys() == RECIPES["paper"].keys()


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
    assert flags(options, TrainOptions(recipe="paper")) == ["--hemoglobin", "--depth", "4"]


@pytest.mark.parametrize("values", [{"recipe": "mine"}, {"depth": 0}, {"learning_rate": float("nan")}, {"dept": 2}])
def test_values_that_cannot_be_are_refused(values):
    with pytest.raises(ValidationError):
        TrainOptions(**values)


def test_heads_must_divide_the_width_of_a_transformer_only():
    with pytest.raises(ValidationError, match="do not divide"):
        TrainOptions(width=100, heads=8)
    assert TrainOptions(aggregator="abmil", width=100, heads=8).width == 100
