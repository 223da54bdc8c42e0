"""`caltomorph synth`: a cohort on disk, twice the same, and never over somebody's files."""

from __future__ import annotations

import pandas as pd


def test_a_cohort_is_drawn_where_it_was_asked_for(run, tmp_path):
    code, out, err = run("synth", tmp_path / "new cohort", "--patients", "8", "--cells", "3")
    assert (code, err) == (0, "")
    assert str(tmp_path / "new cohort" / "patients.csv") in out
    table = pd.read_csv(tmp_path / "new cohort" / "patients.csv")
    assert len(table) == 8
    assert table["coarse_class"].nunique() == 8
    assert len(list((tmp_path / "new cohort").glob("*/*/*.TIF"))) == 24


def test_the_same_seed_draws_the_same_cohort_and_another_does_not(run, tmp_path):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert run("synth", tmp_path / name, "--patients", "1", "--cells", "2", "--seed", seed).code == 0
    a, b, c = ([p.read_bytes() for p in sorted((tmp_path / name).glob("*/*/*.TIF"))] for name in "abc")
    assert a == b
    assert a != c


def test_what_stands_there_is_not_overwritten_unless_asked_and_a_cohort(run, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("mine")
    for flags in ([], ["--overwrite"]):
        code, out, err = run("synth", tmp_path / "home", "--patients", "1", "--cells", "1", *flags)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert str(tmp_path / "home") in err
    assert (tmp_path / "home" / "thesis.txt").read_text() == "mine"
    for flags in ([], ["--overwrite"]):
        assert run("synth", tmp_path / "cohort", "--patients", "1", "--cells", "1", *flags).code == 0
