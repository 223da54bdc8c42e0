"""What must hold for label maps: every label means one thing, in any spelling, and what is not sure is reported."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from skimage.color import rgb2lab

from napari_caltomorph.taxonomy import SHIPPED_LABEL_MAPS, Match, caltomorph_taxonomy, load_label_map
from napari_caltomorph.taxonomy.label_text import fold, key

CALTOMORPH = load_label_map("caltomorph")
CLASS_OF = {d.slug: c.slug for c in caltomorph_taxonomy().classes for d in c.detailed}
LABELS = [(label, slug) for slug, labels in CALTOMORPH.labels.items() for label in labels]

# What one laboratory writes and another does not; none of it changes the diagnosis.
HABITS = (
    str.upper,
    str.lower,
    str.swapcase,
    lambda label: f"  {label}\t",
    lambda label: label.replace(" ", "   "),
    lambda label: label.replace("-", " "),
    lambda label: label.replace("-", ""),
    lambda label: label.replace("-", "–"),
    lambda label: label.replace("-", "\N{NON-BREAKING HYPHEN}"),
    lambda label: label.replace(" ", "_"),
    lambda label: label.replace("::", "-"),
    lambda label: label.replace(",", ""),
    lambda label: label.replace("ä", "ae").replace("ö", "oe").replace("ü", "ue").replace("ß", "ss"),
    lambda label: label.replace("ä", "a\N{COMBINING DIAERESIS}").replace("ö", "o\N{COMBINING DIAERESIS}"),
    lambda label: label.replace("ä", "a").replace("ö", "o").replace("é", "e"),
    lambda label: label.replace("leukemia", "leukaemia").replace("anemia", "anaemia").replace("smold", "smould"),
    lambda label: f'"{label}".',
)


@given(st.sampled_from(LABELS), st.lists(st.sampled_from(HABITS), max_size=4))
def test_every_shipped_label_matches_its_class_in_any_spelling(entry, habits):
    label, slug = entry
    for habit in habits:
        label = habit(label)
    match = CALTOMORPH.match(label)
    assert match.kind == "matched"
    assert slug in (match.detailed, match.coarse)
    assert slug not in CLASS_OF or match == Match("matched", slug, CLASS_OF[slug])


@pytest.mark.parametrize("name", SHIPPED_LABEL_MAPS)
def test_no_shipped_label_is_listed_twice(name):
    label_map = load_label_map(name)
    listed = [
        *itertools.chain(*label_map.labels.values()),
        *label_map.double,
        *label_map.rare,
        *label_map.follow_up,
        *label_map.unclear,
    ]
    assert not [one for one, count in Counter(map(key, listed)).items() if count > 1]


@pytest.mark.parametrize("name", SHIPPED_LABEL_MAPS)
def test_every_entry_of_a_shipped_label_map_has_the_meaning_of_its_place(name):
    label_map = load_label_map(name)
    for slug, labels in label_map.labels.items():
        assert {slug in (match.detailed, match.coarse) for match in map(label_map.match, labels)} == {True}
    for label, slugs in label_map.double.items():
        assert (label_map.match(label).kind, set(label_map.match(label).classes)) == ("double", set(slugs))
    for kind in ("rare", "follow_up", "unclear"):
        assert {label_map.match(label) for label in getattr(label_map, kind)} <= {Match(kind)}


def test_the_paper_book_has_labels_for_all_19_classes_and_more_than_the_papers_168():
    assert set(CLASS_OF) <= set(CALTOMORPH.labels)
    assert all(len(CALTOMORPH.labels[slug]) >= 5 for slug in CLASS_OF)
    assert len(LABELS) > 250
    assert CALTOMORPH.taxonomy == caltomorph_taxonomy()


@pytest.mark.parametrize(
    ("label", "detailed"),
    [
        ("PML_RARA", "aml"),
        ("NPM1", "aml"),
        ("CBFB_MYH11", "aml"),
        ("RUNX1_RUNX1T1", "aml"),
        ("control", "stem_cell_donor"),
        ("SCD", "stem_cell_donor"),
        ("APL", "aml"),
        ("AML", "aml"),
        ("Akute myeloische Leukämie", "aml"),
        ("AKUTE MYELOISCHE LEUKAEMIE", "aml"),
        ("Ph+ ALL", "all"),
        ("BPDCN", "other_al"),
        ("Morbus Waldenstrom", "b_cell_neoplasm"),
        ("HCL-v", "b_cell_neoplasm"),
        ("B-CLL", "cll"),
        ("Haarzell-Leukaemie", "hcl"),
        ("Sezary-Syndrom", "t_cell_neoplasm"),
        ("MDS EB2", "mds"),
        ("5q- syndrome", "mds"),
        ("CMML 2", "cmml"),
        ("MDS/MPN-RS-T", "mpn_mds_rs_t"),
        ("aCML", "other_mds_mpn"),
        ("CML", "cml"),
        ("Polyzythaemia vera", "pv"),
        ("JMML", "other_mpn"),
        ("OMF", "other_mpn"),
        ("smouldering multiple myeloma", "mm"),
        ("Plasmazell-Leukämie", "pcl"),
        ("reaktiv", "reactive_changes"),
    ],
)
def test_labels_of_the_field_match(label, detailed):
    assert CALTOMORPH.match(label) == Match("matched", detailed, CLASS_OF[detailed])


@pytest.mark.parametrize(("label", "name"), [(c.slug, c.name) for c in caltomorph_taxonomy().classes])
def test_names_and_slugs_of_coarse_classes_are_labels(label, name):
    assert CALTOMORPH.match(name).coarse == CALTOMORPH.match(label).coarse == label


def test_a_coarse_label_names_a_detailed_class_only_where_there_is_one():
    assert CALTOMORPH.match("Lymphoma").detailed is None
    assert CALTOMORPH.match("Healthy").detailed == "stem_cell_donor"


@pytest.mark.parametrize(
    ("label", "classes"),
    [
        ("MDS/AML", "acute_leukemia mds"),
        ("AML / MDS", "acute_leukemia mds"),
        ("MDS-AML borderline", "acute_leukemia mds"),
        ("MDS-EB-2 – AML (borderline)", "acute_leukemia mds"),
        ("MDS in transition to AML", "acute_leukemia mds"),
        ("transformation of MDS into AML", ""),
        ("MDS, transformation to AML", "acute_leukemia mds"),
        ("Übergang MDS in AML", "acute_leukemia mds"),
        ("Grenzfall MDS/AML", "acute_leukemia mds"),
        ("AML and multiple myeloma", "acute_leukemia plasma_cell_neoplasm"),
        ("CLL und Multiples Myelom", "lymphoma plasma_cell_neoplasm"),
        ("CLL & MM", "lymphoma plasma_cell_neoplasm"),
        ("CLL; MM", "lymphoma plasma_cell_neoplasm"),
        ("AML vs. MDS", "acute_leukemia mds"),
        ("MPN in blast crisis", "acute_leukemia mpn"),
        ("PMF in Blastenkrise", "acute_leukemia mpn"),
        ("CML blast phase", "acute_leukemia mpn"),
        ("MDS/MPN and AML", "acute_leukemia mds_mpn"),
        ("MDS + MPN", "mds mpn"),
        ("MDS; MPN", "mds mpn"),
        ("MPN, JAK2+ and CLL", "lymphoma mpn"),
        ("CLL + MCL", "lymphoma"),
        ("MGUS and MDS", "mds"),
        ("AML/MDS and CLL/SLL", "acute_leukemia lymphoma mds"),
        ("AML / MDS / MM", "acute_leukemia mds plasma_cell_neoplasm"),
    ],
)
def test_two_diagnoses_in_one_label_give_the_classes_of_both(label, classes):
    match = CALTOMORPH.match(label)
    assert match == (Match("double", classes=tuple(classes.split())) if classes else Match("unknown"))


@given(st.sampled_from(LABELS), st.sampled_from(LABELS), st.sampled_from([" + ", " and ", " vs ", "; "]))
def test_any_two_labels_joined_give_their_classes(first, second, joiner):
    # "BL; BL" is spelled like B-LBL: a whole label wins over its parts.
    assume(key(first[0] + joiner + second[0]) not in {key(label) for label, *_ in LABELS})
    one, other = CALTOMORPH.match(first[0]), CALTOMORPH.match(second[0])
    match = CALTOMORPH.match(first[0] + joiner + second[0])
    if one == other:
        assert match == one
    else:
        assert match.kind == "double"
        assert {one.coarse, other.coarse} <= set(match.classes)


@pytest.mark.parametrize(
    "label", ["MDS/MPN", "MPN/MDS", "mds-mpn", "CLL/SLL", "SLL/CLL", "B-ALL/LBL", "ATLL", "LPL/WM"]
)
def test_a_class_with_a_slash_is_no_double_diagnosis(label):
    assert CALTOMORPH.match(label).kind == "matched"


@pytest.mark.parametrize("label", ["RARS / RCMD", "MDS-EB-1/MDS-EB-2", "FL + MCL", "AML M1 / AML M2"])
def test_two_labels_of_one_detailed_class_are_that_class(label):
    assert CALTOMORPH.match(label).kind == "matched"


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("AML in remission", "follow_up"),
        ("Z. n. AML", "follow_up"),
        ("CML, Verlaufskontrolle", "follow_up"),
        ("AML, relapsed/refractory", "follow_up"),
        ("V. a. MDS", "unclear"),
        ("MDS?", "unclear"),
        ("? MDS", "unclear"),
        ("suspected AML", "unclear"),
        ("AML, DD MDS", "unclear"),
        ("Cytopenia, unklar", "unclear"),
        ("", "unclear"),
        ("   ", "unclear"),
        ("MGUS", "rare"),
        ("systemic mastocytosis", "rare"),
        ("MBL", "rare"),
        ("CHIP / CCUS", "rare"),
    ],
)
def test_labels_that_are_left_out_name_the_reason(label, kind):
    assert CALTOMORPH.match(label) == Match(kind)


@pytest.mark.parametrize(
    "label", ["follicular", "no AML", "kein Anhalt für AML", "AMLs", "Leuk?mie", "ALL right", "-", "borderline"]
)
def test_nothing_is_guessed_from_a_word_within_a_label(label):
    assert CALTOMORPH.match(label) == Match("unknown")


@pytest.mark.parametrize("possessive", ["{}'s", "{}’s", "{}´s", "{}ʼs", "{}\x92s", "{}?s", "{}\ufffds", "{}s", "{}'S"])
@pytest.mark.parametrize(
    ("label", "plain"),
    [
        ("{} lymphoma", "Hodgkin"),
        ("non–{} lymphoma", "Hodgkin"),
        ("{} disease", "Hodgkin"),
        ("{} lymphoma", "Burkitt"),
        ("{} transformation", "Richter"),
        ("{} macroglobulinemia", "Waldenström"),
    ],
)
def test_the_possessive_of_a_name_does_not_count(label, plain, possessive):
    match = CALTOMORPH.match(label.format(possessive.format(plain)))
    assert match == CALTOMORPH.match(label.format(plain))
    assert match.coarse == "lymphoma"


@pytest.mark.parametrize(
    ("label", "listed"),
    [
        ("AML de novo", "de novo AML"),
        ("AML (de-novo)", "de novo AML"),
        ("Lymphoma, Hodgkin's", "Hodgkin lymphoma"),
        ("Lymphoma, Non-Hodgkin", "non-Hodgkin lymphoma"),
        ("Leukemia, Myeloid, Acute", "acute myeloid leukemia"),
        ("Leukemia, Lymphocytic, Chronic, B-Cell", "CLL"),
        ("Anemia, aplastic", "aplastic anemia"),
        ("ALL, Ph+", "Ph+ ALL"),
        ("Syndrome, Sezary", "Sézary syndrome"),
    ],
)
def test_a_known_label_in_another_order_has_its_meaning_and_is_marked(label, listed):
    assert CALTOMORPH.match(label) == replace(CALTOMORPH.match(listed), is_reordered=True)


@pytest.mark.parametrize("label", ["Hodgkin lymphoma, non", "AML, no", "AML excluded", "MDS from AML", "CML, Ph-"])
def test_an_order_that_may_change_the_meaning_is_not_guessed(label):
    assert CALTOMORPH.match(label) == Match("unknown")


@given(st.sampled_from([label for label, _ in LABELS] + list(CALTOMORPH.rare)), st.data())
def test_another_order_never_leads_to_another_class(label, data):
    words = data.draw(st.permutations(label.replace(",", " ").split()))
    match, exact = CALTOMORPH.match(" ".join(words)), CALTOMORPH.match(label)
    assert not match.is_reordered or replace(match, is_reordered=False) == exact


def test_a_plus_is_not_a_spelling():
    assert CALTOMORPH.match("CML, Ph+").detailed == "cml"
    assert CALTOMORPH.match("CML, Ph-").kind == "unknown"


@given(st.text())
def test_any_text_has_one_meaning_whatever_the_case_and_spaces(label):
    assert CALTOMORPH.match(label) == CALTOMORPH.match(f" {label.casefold()}  ")
    assert key(fold(label)) == key(label)


def test_prose_full_of_joiners_is_unknown_at_once():
    assert CALTOMORPH.match(" and ".join(["AML"] * 400)).kind == "unknown"
    assert CALTOMORPH.match("x/" * 5000).kind == "unknown"


# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("name", ["aml-hehr", "apl-aml"])
def test_colours_differ_for_all_kinds_of_colour_vision(name, vision):
    srgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in load_label_map(name).taxonomy.colors])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(VISION[vision]).T, 0, 1)
    lab = rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)) > 15


def test_books_of_the_public_cohorts_have_their_own_classes():
    hehr, apl = load_label_map("aml-hehr"), load_label_map("apl-aml")
    folders = ["PML_RARA", "NPM1", "CBFB_MYH11", "RUNX1_RUNX1T1", "control"]
    assert [hehr.match(folder).coarse for folder in folders] == hehr.taxonomy.slugs
    assert hehr.match("SCD").coarse == "control"
    assert hehr.taxonomy.is_malignant.tolist() == [True, True, True, True, False]
    assert [apl.match("APL").coarse, apl.match("AML").coarse] == apl.taxonomy.slugs == ["apl", "aml"]
    assert apl.taxonomy.is_malignant.all()
    assert hehr.match("AML").kind == "unknown"
