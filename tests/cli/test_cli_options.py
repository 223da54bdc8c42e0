"""Options of every verb: the groups of the help, files, variables, and how much a run says in which form."""

from __future__ import annotations

import json
from importlib import import_module

import pytest
from pydantic import BaseModel

from napari_caltomorph.cli.app import VERBS
from napari_caltomorph.cli.options import _GROUPS, Verb

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
def test_a_file_of_options_that_is_damaged_or_does_harm_is_refused_in_a_short_sentence(run, tmp_path, name, text):
    if text is not None:
        (tmp_path / name).write_text(text)
    code, out, err = run("train", "cohort", "--out", "model", "--config", tmp_path / name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert name in err
    assert len(err) < 1200


def test_a_file_has_options_of_every_verb_and_of_one(run, tmp_path):
    config = tmp_path / "all.yaml"
    config.write_text("seed: 3\nsynth:\n  patients: 2\n  cells: 2\nweights:\n  list: {}\n")
    assert run("synth", tmp_path / "cohort", "--config", config, "--patients", "1", "-v").code == 0
    table = (tmp_path / "cohort" / "patients.csv").read_text().splitlines()
    assert len(table) == 2  # the command line wins
    assert len([*tmp_path.glob("cohort/*/*/*.TIF")]) == 2


def test_an_option_that_is_none_of_the_verb_is_refused_with_the_nearest(run, tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text("dept: 2")
    code, out, err = run("train", "cohort", "--out", "model", "--config", config)
    assert (code, out) == (2, "")
    assert all(word in err for word in ("train.yaml", "'dept'", "depth"))


def test_variables_give_options_and_misspelt_ones_are_refused(run, tmp_path, monkeypatch):
    monkeypatch.setenv("CALTOMORPH_SYNTH_CELLS", "3")
    monkeypatch.setenv("CALTOMORPH_PREDICT_ANYTHING", "of another verb")
    assert run("synth", tmp_path / "cohort", "--patients", "1").code == 0
    assert len([*tmp_path.glob("cohort/*/*/*.TIF")]) == 3
    monkeypatch.setenv("CALTOMORPH_SYNTH_CELLS", "many")
    code, _, err = run("synth", tmp_path / "other", "--patients", "1")
    assert code == 2
    assert "--cells many" in err
    assert "environment" in err
    monkeypatch.setenv("CALTOMORPH_SYNTH_CELS", "3")
    code, _, err = run("synth", tmp_path / "other", "--patients", "1")
    assert code == 2
    assert "CALTOMORPH_SYNTH_CELS" in err


def test_a_value_of_a_file_is_refused_with_the_name_of_the_file(run, tmp_path):
    (tmp_path / "train.toml").write_text("schedule = 'deep'")
    code, _, err = run("train", "cohort", "--out", "model", "--config", tmp_path / "train.toml")
    assert code == 2
    assert "train.toml" in err
    assert "--schedule deep" in err


def test_json_is_the_only_thing_on_standard_output(run, tmp_path):
    code, out, err = run("synth", tmp_path / "cohort", "--patients", "1", "--cells", "2", "--json")
    document = json.loads(out)
    assert (code, document["exit_code"], document["errors"]) == (0, 0, [])
    assert document["files"] == [str(tmp_path / "cohort" / "patients.csv")]
    assert "synthetic patients" in err
    code, out, err = run("synth", tmp_path / "cohort", "--patients", "1", "--json")
    document = json.loads(out)
    assert (code, document["exit_code"]) == (2, 2)
    assert document["errors"][0] in " ".join(err.split())
    assert run("models", "list", "--json").out.startswith("{")
    assert not run("models", "list").out.startswith("{")  # what one run asked for does not stay


def test_quiet_says_only_what_went_wrong_and_a_log_file_has_all(run, tmp_path):
    log = tmp_path / "logs" / "run.log"
    assert run("models", "list", "--quiet", "--log-file", log) == (0, "", "")
    text = log.read_text("utf-8")
    assert "models list" in text.splitlines()[0]
    assert all(word in text for word in ("Classes", "exit code 0"))
    code, out, err = run("models", "show", "unknown", "-q", "--log-file", log)
    assert (code, out) == (2, "")
    assert "unknown" in err
    assert log.read_text("utf-8").count("exit code") == 2
    assert run("models", "list", "--quiet", "--verbose").code == 2
    (tmp_path / "file").touch()
    code, _, err = run("models", "list", "--log-file", tmp_path / "file" / "run.log")
    assert code == 2
    assert "run.log" in err


def test_verbose_says_where_options_come_from(run, tmp_path, monkeypatch):
    monkeypatch.setenv("CALTOMORPH_SYNTH_SEED", "5")
    _, _, err = run("synth", tmp_path / "cohort", "--patients", "1", "--cells", "2", "--verbose")
    assert "--seed 5 is from the environment" in " ".join(err.split())


def test_every_option_of_a_model_is_in_a_group_that_is_named():
    """Also those of a model that is new: `_GROUPS` is where its groups are named."""
    owners = set()
    for verb in VERBS:
        pending = [import_module(f"napari_caltomorph.cli.{verb}").app]
        while pending:
            one = pending.pop()
            pending += [one[name] for name in one if not name.startswith("-")]
            if one.default_command is None:
                continue
            assert isinstance(one, Verb) or one.name[0] != verb
            for root in one.assemble_argument_collection():
                if isinstance(root.hint, type) and issubclass(root.hint, BaseModel):
                    owners |= {owner.__name__ for owner in root.hint.__mro__}
                    for child in root.children:
                        assert [group.name for group in child.parameter.group] != ["Options"], child.name
    assert {key.partition(".")[0] for key in _GROUPS} <= owners


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_no_words_of_python(run, verb):
    out = run(verb, "--help").out
    assert not any(word in out for word in ("None]", "default: (", "True]", "False]", "default: ]"))
    assert "Every command" in out


def test_a_variable_that_names_no_verb_is_refused(run, monkeypatch):
    monkeypatch.setenv("CALTOMORPH_TRIAN_DEPTH", "4")
    code, out, err = run("models", "list")
    assert (code, out) == (2, "")
    assert "CALTOMORPH_TRIAN_DEPTH" in err


def test_an_option_with_another_name_than_its_field_is_named_so_everywhere(run, tmp_path):
    (tmp_path / "old.yaml").write_text("batch_size: 4")
    words = ("train", tmp_path / "cohort", "--out", tmp_path / "model")
    assert "did you mean patients_per_batch?" in run(*words, "--config", tmp_path / "old.yaml").err
    assert "--patients-per-batch 0: " in run(*words, "--patients-per-batch", "0").err
    text = run("train", "--help").out
    assert "--patients-per-batch NUMBER" in text
    assert "--batch-size" not in text


@pytest.mark.parametrize(
    ("words", "result"),
    [
        ("evaluate c --model demo --out {}", "evaluation.json"),
        ("validate c --model demo --out {}", "validation.json"),
        ("differential s --out {}", "differential.csv"),
        ("differential train s --out {}/p.safetensors", "p.safetensors"),
        ("labels import s --out {}/l.csv", "l.csv"),
        ("describe s --out {}/d.csv", "d.csv"),
        ("cohort show c --save {}/c.json", "c.json"),
        ("review r --export {}/r.csv", "r.csv"),
    ],
)
def test_results_are_not_replaced_silently(run, tmp_path, words, result):
    (tmp_path / result).write_text("precious")
    command = words.format(tmp_path).split()
    code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert result in err
    assert "--overwrite" in err
    assert "exists already" not in run(*command, "--overwrite").err  # but c, s and r do not exist
    assert (tmp_path / result).read_text() == "precious"
