"""What must hold for the classes: the paper's, and no two that could be mistaken for each other."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from napari_caltomorph.taxonomy import Taxonomy, caltomorph_taxonomy


def test_classes_are_the_papers_8_coarse_and_19_detailed():
    taxonomy = caltomorph_taxonomy()
    assert taxonomy.names == [
        "Acute leukemia",
        "Lymphoma",
        "MDS",
        "MDS/MPN",
        "MPN",
        "Plasma cell neoplasm",
        "Reactive changes",
        "Healthy",
    ]
    assert sum(len(c.detailed) for c in taxonomy.classes) == 19
    assert taxonomy.coarse("mds_mpn").name == "MDS/MPN"


def test_all_but_reactive_and_healthy_are_malignant():
    taxonomy = caltomorph_taxonomy()
    benign = [name for name, malignant in zip(taxonomy.names, taxonomy.is_malignant, strict=True) if not malignant]
    assert benign == ["Reactive changes", "Healthy"]


@pytest.mark.parametrize(
    ("slugs", "expected"),
    [
        (["mds", "reactive_changes", "healthy"], "healthy"),
        (["mds", "reactive_changes"], "reactive_changes"),
        (["healthy", "mds"], "healthy"),
        (["mds", "mpn"], None),
        (["reactive_changes", "healthy"], None),
    ],
)
def test_the_reference_class_is_the_last_that_is_not_malignant(slugs, expected):
    whole = caltomorph_taxonomy()
    taxonomy = Taxonomy(name="some", classes=tuple(whole.coarse(slug) for slug in slugs))
    assert taxonomy.reference == (None if expected is None else slugs.index(expected))


def test_colours_tell_the_classes_apart():
    assert len(set(caltomorph_taxonomy().colors)) == 8


def test_unknown_class_names_the_known_ones():
    with pytest.raises(KeyError, match=r"no class of caltomorph; it has acute_leukemia"):
        caltomorph_taxonomy().coarse("aml")


def test_taxonomy_survives_its_own_json():
    taxonomy = caltomorph_taxonomy()
    assert Taxonomy.model_validate_json(taxonomy.model_dump_json()) == taxonomy


def classes(**changes) -> list[dict[str, object]]:
    a = {"slug": "a", "name": "A", "malignant": True, "color": "#000000", "detailed": [{"slug": "x", "name": "X"}]}
    b = {"slug": "b", "name": "B", "malignant": False, "color": "#ffffff", "detailed": [{"slug": "y", "name": "Y"}]}
    return [a, b | changes]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slug": "a"}, "both called 'a'"),
        ({"name": "A"}, "both called 'A'"),
        ({"detailed": [{"slug": "x", "name": "Z"}]}, "both called 'x'"),
        ({"detailed": [{"slug": "z", "name": "X"}]}, "both called 'X'"),
        ({"slug": "B/C"}, "should match pattern"),
        ({"color": "red"}, "should match pattern"),
        ({"weight": 1}, "Extra inputs"),
    ],
)
def test_ambiguous_or_unknown_entries_are_refused(changes, words):
    assert Taxonomy(name="t", classes=classes()).slugs == ["a", "b"]
    with pytest.raises(ValidationError, match=words):
        Taxonomy(name="t", classes=classes(**changes))


def test_one_class_is_no_taxonomy():
    with pytest.raises(ValidationError):
        Taxonomy(name="t", classes=classes()[:1])


def test_malignancy_sums_the_malignant_classes_of_one_and_of_many_patients():
    taxonomy = caltomorph_taxonomy()
    probabilities = np.random.default_rng(0).dirichlet(np.ones(8), size=5)
    expected = [sum(p for p, one in zip(row, taxonomy.classes, strict=True) if one.malignant) for row in probabilities]
    np.testing.assert_allclose(taxonomy.malignancy(probabilities), expected)
    assert taxonomy.malignancy(probabilities[2]) == pytest.approx(expected[2])


def test_malignancy_is_at_most_one_whatever_rounding_does():
    assert caltomorph_taxonomy().malignancy(np.full(8, 0.2)) == 1
