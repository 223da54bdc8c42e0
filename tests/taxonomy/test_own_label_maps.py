"""What must hold for label maps of one's own: read as they are meant, or refused with the place that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_caltomorph.errors import TaxonomyUnreadable
from napari_caltomorph.taxonomy import LabelMap, Match, load_label_map, taxonomy_of_labels
from napari_caltomorph.taxonomy.label_text import fold, key


def own_book(**changes):
    a = {"slug": "a", "name": "A one", "malignant": True, "color": "#000000", "detailed": [{"slug": "x", "name": "X"}]}
    b = {"slug": "b", "name": "B", "malignant": False, "color": "#ffffff", "detailed": [{"slug": "y", "name": "Y"}]}
    return {"taxonomy": {"name": "own", "classes": [a, b]}, "labels": {"x": ["Ex"], "y": ["Why"]}} | changes


def test_a_file_of_ones_own_is_read(tmp_path):
    path = tmp_path / "own.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(own_book(rare=["Zed"])).encode())
    label_map = load_label_map(str(path))
    assert label_map.match("EX") == label_map.match("a-one") == Match("matched", "x", "a")
    assert label_map.match("zed").kind == "rare"


def test_the_example_of_the_docs_is_read(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "taxonomies.md"
    example = page.read_text("utf-8").split("```json\n")[1].split("```")[0]
    path = tmp_path / "own.json"
    path.write_text(example, "utf-8")
    assert load_label_map(str(path)).match("AML in blast crisis") == Match("double", classes=("myeloid",))


def test_a_book_survives_its_own_json(tmp_path):
    path = tmp_path / "copy.json"
    path.write_text(load_label_map("caltomorph").model_dump_json(indent=1), "utf-8")
    assert load_label_map(str(path)) == load_label_map("caltomorph")


def test_the_papers_taxonomy_has_a_name(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"taxonomy": "caltomorph", "labels": {"aml": ["Blutkrebs"]}}), "utf-8")
    assert load_label_map(str(path)).match("BLUTKREBS") == Match("matched", "aml", "acute_leukemia")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": {"x": ["Ex"], "y": ["e-X"]}}, "'Ex' of x and 'e-X' of y are the same label"),
        ({"labels": {"y": ["x"]}}, "'x' of x and 'x' of y are the same label"),
        ({"rare": ["EX"]}, "'Ex' of x and 'EX' of rare"),
        ({"follow_up": ["CR"], "unclear": ["C R"]}, "'CR' of follow_up and 'C R' of unclear"),
        ({"labels": {"z": ["Zed"]}}, "'z', which is no class of own"),
        ({"double": {"XY": ["x", "b"]}}, "'x', which is no coarse class of own"),
        ({"labels": {"x": [" "]}}, "x has an empty label"),
        ({"labels": {"x": [1]}}, r"own.json .*labels.x.0: "),
        ({"label": {}}, r"own.json .*label: "),
        ({"taxonomy": "aml"}, r"taxonomy: 'aml' is no taxonomy"),
        ({"taxonomy": {"name": "own", "classes": []}}, r"taxonomy.classes: "),
    ],
)
def test_a_file_that_is_wrong_names_itself_and_the_field(tmp_path, changes, words):
    path = tmp_path / "own.json"
    path.write_text(json.dumps(own_book(**changes)), "utf-8")
    with pytest.raises(TaxonomyUnreadable, match=words) as error:
        load_label_map(str(path))
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"label;class\nAML;x", b"[" * 100_000, b"\x00"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "own.json"
    path.write_bytes(content)
    with pytest.raises(TaxonomyUnreadable, match=r"own\.json"):
        load_label_map(str(path))


@pytest.mark.parametrize("path", ["missing.json", "WHO", ".", "a\0b", "x" * 5000, ""])
def test_a_name_that_is_no_book_lists_the_shipped_ones(path):
    with pytest.raises(TaxonomyUnreadable, match="caltomorph, aml-hehr, apl-aml, none"):
        load_label_map(path)


def test_none_is_no_book():
    assert load_label_map("none") is None


@given(st.lists(st.text(), max_size=12))
def test_without_a_taxonomy_each_label_is_a_class(labels):
    distinct = {key(label) for label in labels if fold(label)}
    if len(distinct) < 2:
        with pytest.raises(TaxonomyUnreadable, match=r"need two|No patient has a label"):
            taxonomy_of_labels(labels)
        return
    label_map = taxonomy_of_labels(labels)
    result = [label_map.match(label) for label in labels if fold(label)]
    assert {match.kind for match in result} == {"matched"}
    assert len({match.coarse for match in result}) == len(label_map.taxonomy.classes) == len(distinct)
    assert not label_map.taxonomy.is_malignant.any()


def test_classes_from_labels_keep_their_spelling():
    label_map = taxonomy_of_labels(["AML", "aml ", "JAK2+", "JAK2-", "健康"])
    assert label_map.taxonomy.names == ["AML", "JAK2+", "JAK2-", "健康"]
    assert label_map.taxonomy.slugs == ["aml", "jak2_plus", "jak2", "class_4"]


def test_a_book_equals_its_like_after_use():
    one, other = LabelMap(**own_book()), LabelMap(**own_book())
    one.match("Ex")
    assert one == other
