"""Files of ours, damaged or made to do harm: bounded, and refused in one short sentence that names file and fix."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import save_file

from napari_caltomorph.errors import CohortUnreadable
from napari_caltomorph.reading import (
    explained,
    parse_document,
    read_arrays,
    read_as,
    read_document,
    refuse_misfit,
    table_of,
    typed,
)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((kind, "[" * 60 + "]" * 60) for kind in (".json", ".yaml")),
        *((kind, "[" * 20_000) for kind in (".json", ".yaml")),
        (".toml", "a = " + "[" * 5000),
        (".json", '{"a": 1, "a": 2}'),
        (".yaml", "depth: 4\nseed: 1\ndepth: 5"),
        (".json", "1" + "0" * 400),
        (".json", "9" * 5000),
        (".yaml", "seed: 0x" + "f" * 400),
        (".json", r'["\ud800"]'),
        (".yaml", "a: &a [*a]"),
        (".yaml", "depth: !!bool x"),
        (".yaml", "depth: !!timestamp x"),
        (".yaml", "? [a]\n: 1"),
        (".yaml", "!!python/object/apply:os.getcwd []"),
        (".json", b"\xff\xfe\x00"),
        (".json", ""),
    ],
)
def test_what_no_file_of_ours_contains_is_refused(kind, text):
    with pytest.raises(ValueError) as error:
        parse_document(text, kind)
    assert len(str(error.value)) < 300


def test_what_people_write_is_read():
    assert parse_document("\ufeff{}".encode()) == {}
    assert parse_document("base: &base {depth: 3}\nchosen: *base", ".yaml")["chosen"] == {"depth": 3}
    assert parse_document("<<: {depth: 3}\nseed: 1", ".yaml") == {"depth": 3, "seed": 1}
    assert parse_document("depth = 3", ".toml") == {"depth": 3}
    assert parse_document("[[[[[[[[[9223372036854775807]]]]]]]]]")


class Described(BaseModel):
    schema_version: Literal[1] = 1
    name: str


def test_a_refusal_names_file_and_fix_and_repeats_no_long_text(tmp_path):
    path = tmp_path / "c.json"
    for content in (
        b'{"name": 1}',
        b"{",
        b"[" * 10_000,
        b"\xff",
        b"[]",
        b'{"name": "a", "name": "b"}',
        b'{"n": ' + b"1" * 9999,
    ):
        path.write_bytes(content)
        with pytest.raises(CohortUnreadable) as error:
            read_as(Described, path, "a cohort", CohortUnreadable, "inspect again")
        assert "c.json" in str(error.value)
        assert "inspect again" in str(error.value)
        assert len(str(error.value)) - len(str(path)) < 300
    path.write_text('{"schema_version": 2}')
    with pytest.raises(CohortUnreadable, match="pip install --upgrade"):
        read_as(Described, path, "a cohort", CohortUnreadable, "inspect again")


class Exact(BaseModel, extra="forbid"):
    pass


def test_a_hostile_name_of_a_field_is_shortened(tmp_path):
    (tmp_path / "c.json").write_text('{"%s": 1}' % ("x" * 100_000))
    with pytest.raises(CohortUnreadable) as error:
        read_as(Exact, tmp_path / "c.json", "a cohort", CohortUnreadable, "inspect again")
    assert len(str(error.value)) - len(str(tmp_path)) < 300


def test_a_file_is_not_read_beyond_its_bound(tmp_path):
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(2**40)  # sparse: a terabyte that takes no disk
    with pytest.raises(ValueError, match="MB"):
        read_document(tmp_path / "large.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    for read in (read_document, read_arrays):
        with pytest.raises(ValueError, match="not a file"):
            read(tmp_path / "pipe.json")


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    for read in (read_document, read_arrays):
        missing = pytest.raises(CohortUnreadable, match=r"(?i)no such file.*check the path")
        with missing, explained(tmp_path / "none", "a cohort", CohortUnreadable, "inspect again"):
            read(tmp_path / "none")


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float8_e4m3fn])
def test_numbers_that_numpy_lacks_are_refused(tmp_path, kind):
    save_file({"a": torch.ones(2).to(kind)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="type"):
        read_arrays(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "array",
    [
        np.ones(3),
        np.ones((2, 2)),
        np.ones(2, int),
        np.ones(2, bool),
        np.array([1, np.inf]),
        np.array([np.nan, 1]),
        np.array([1, 1e30]),
    ],
)
def test_an_array_of_another_shape_type_or_without_end_is_refused(array):
    refuse_misfit({"a": np.ones(2, np.float16)}, {"a": (None,)})
    with pytest.raises(ValueError, match=r"^a "):
        refuse_misfit({"a": array}, {"a": (2,)})
    with pytest.raises(ValueError, match="missing"):
        refuse_misfit({}, {"a": (2,)})


@pytest.mark.parametrize(
    ("columns", "rows"),
    [(["a"], [[1, 2]]), (["a"], [[]]), (["a"], ["x"]), (["a"], [None]), (["a"], [[{}]]), (["a", "a"], [[1, 2]])],
)
def test_a_table_that_is_none_is_refused(columns, rows):
    with pytest.raises(ValueError, match="table"):
        table_of(columns, rows)


@pytest.mark.parametrize(
    ("values", "kind"),
    [(["x"], "Int64"), ([1.5], "Int64"), ([True, "x"], float), ([float("inf")], "Float64"), ([float("inf")], float)],
)
def test_a_column_of_other_values_is_refused(values, kind):
    with pytest.raises(ValueError, match=r"^a: "):
        typed(table_of(["a"], [[value] for value in values]), {"a": kind})
    with pytest.raises(ValueError, match="no column b"):
        typed(table_of(["a"], []), {"b": kind})


def test_a_table_is_read_with_its_types():
    table = typed(table_of(["a", "b"], [[1, "x"], [None, None]]), {"a": "Int64"})
    assert table["a"].dtype == "Int64"
    assert table["a"].tolist()[0] == 1
    assert list(table.columns) == ["a", "b"]
