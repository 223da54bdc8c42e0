"""Training options: a recipe fills in what was not given, and nothing else."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_caltomorph.diagnosis import AGGREGATOR_OPTIONS
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.jobs import flags
from napari_caltomorph.training import TrainOptions, options_from
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


@pytest.mark.parametrize("values", [{"recipe": "mine"}, {"depth": 0}, {"learning_rate": float("nan")}, {"dept": 2}])
def test_values_that_cannot_be_are_refused(values):
    with pytest.raises(ValidationError):
        TrainOptions(**values)


def test_heads_must_divide_the_width_of_a_transformer_only():
    with pytest.raises(ValidationError, match="do not divide"):
        TrainOptions(width=100, heads=8)
    assert TrainOptions(aggregator="abmil", width=100, heads=8).width == 100


# Each list contains the one before six times: 6 ** 20 numbers in a few hundred characters.
BOMB = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 6)}]\n" for i in range(1, 20))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep.yaml", "[" * 20_000),
        ("recipe.yaml", "recipe: [paper]"),
        ("recipe.yaml", "recipe: {paper: 1}"),
        ("bomb.yaml", BOMB + "recipe: *a19"),
        ("bomb.yaml", BOMB.replace("a19:", "depth:")),
        ("twice.yaml", "depth: 3\ndepth: 4"),
        ("long.yaml", "depth: " + "x" * 20_000),
        ("long.yaml", "x" * 20_000 + ": 1"),
        ("deep.toml", "depth = " + "[" * 5000),
        ("digits.toml", "depth = " + "9" * 4000),
        ("infinite.toml", "learning_rate = inf"),
        ("large.yaml", "# " + "x" * 200_000),
        ("pages.yaml", "depth: 1\n---\ndepth: 2"),
        ("none.yaml", None),
    ],
)
def test_a_file_of_options_that_is_damaged_or_does_harm_is_refused_in_a_short_sentence(tmp_path, name, text):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(TrainingRefused, match=name) as error:
        options_from(tmp_path / name)
    assert len(str(error.value)) < 900  # where an option is unknown, all are listed


@pytest.mark.parametrize(("option", "fix"), [("least_share", "leave it out"), ("fixed-epochs", "least_steps")])
def test_an_option_of_an_earlier_version_is_refused_with_what_to_do(tmp_path, option, fix):
    (tmp_path / "old.yaml").write_text(f"{option}: 1")
    with pytest.raises(TrainingRefused, match=rf"old\.yaml.*earlier version.*{fix}"):
        options_from(tmp_path / "old.yaml")
