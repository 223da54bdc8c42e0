"""The pages of the site that are made from the code and the pictures leave nothing out."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest
import site_pages
import site_reference
from mkdocs.exceptions import PluginError

from napari_caltomorph import PredictOptions
from napari_caltomorph.cli.app import app
from napari_caltomorph.cohort import EncodeCohortOptions
from napari_caltomorph.smear import Grade

ROOT = Path(__file__).parents[1]


def test_every_picture_is_shown_by_a_page_with_a_caption_and_made_by_a_script():
    figures = {one.name: one for one in site_pages.figures()}
    assert figures.keys() == {path.name for path in (ROOT / "docs/images").iterdir()}
    assert [name for name, one in figures.items() if not one.script or len(one.caption) < 8] == []


def test_every_public_name_is_in_the_reference_with_a_sentence():
    text = "".join(site_reference.python_pages().values())
    for path, names in site_reference.public_names().items():
        module = importlib.import_module(path)
        assert sorted(names) == sorted(module.__all__ if hasattr(module, "__all__") else names)
        if path != site_reference.PACKAGE:
            assert [name for name in names if f"::: {path}.{name}\n" not in text] == []
        values = {name: getattr(module, name) for name in names}
        kinds = inspect.isroutine, inspect.isclass
        assert [name for name, one in values.items() if any(kind(one) for kind in kinds) and not one.__doc__] == []


def test_every_verb_and_every_option_is_in_the_reference():
    pages, checked = site_reference.command_line_pages(), 0
    for title, one in site_reference.apps():
        _, *words = title.split()
        page = pages[f"reference/command-line/{words[0] if words else 'index'}.md"]
        section = page.partition(f"# {title if words else 'Command line'}\n")[2].partition("\n## ")[0]
        assert section, title
        assert not words or (one.help_epilogue or "") in section
        for argument in one.assemble_argument_collection() if one.default_command else ():
            if argument.show and argument.name != "*":
                assert f"`{argument.name}" in section, (title, argument.name)
                checked += 1
    assert checked > 200
    for argument in app.meta.assemble_argument_collection():
        assert not argument.show or f"| `{argument.name}` |" in pages["reference/command-line/index.md"]


def test_a_field_has_its_default_its_limits_and_what_the_code_says_of_it():
    rows = {name: row for name, *row in site_reference.fields(PredictOptions)}
    assert {"`device`", "`model`", "`batch_size`"} <= rows.keys()
    assert rows["`precision`"][1] == "`'auto'`"
    assert rows["`batch_size`"][2] == PredictOptions.model_fields["batch_size"].description
    grades = {name: row for name, *row in site_reference.fields(Grade)}
    assert grades["`blur`"][2].startswith("0 (sharp)")
    views = {name: row for name, *row in site_reference.fields(EncodeCohortOptions)}["`views`"]
    assert views[0] == "`NonNegativeInt, ≤ 16`"


def test_what_another_server_would_learn_is_refused():
    page = SimpleNamespace(file=SimpleNamespace(src_uri="a.md"))
    site_pages.on_post_page('<link rel="canonical" href="https://a.b/"><a href="https://a.b/">b</a>', page=page)
    for tag in (
        '<script src="https://a.b/c.js">',
        '<img alt="" src="http://a.b/c.png">',
        "<link rel=stylesheet href=https://a.b>",
    ):
        with pytest.raises(PluginError, match="another server"):
            site_pages.on_post_page(f"<p>{tag}", page=page)
