"""A patient's report holds what the prediction says, stands alone, takes no text for HTML, and prints on two pages."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.factories import EVIL, Page, make_prediction

from napari_caltomorph.diagnosis import NO_ATTENTION
from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.domain import AspectResult, DomainResult
from napari_caltomorph.diagnosis.prediction_fields import LeftOutCell
from napari_caltomorph.differential import CELL_TYPES, Differential
from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.explanation.similar import Similar, SimilarPatient
from napari_caltomorph.explanation.trust import Trust
from napari_caltomorph.report.html import save_page
from napari_caltomorph.report.patient_report import patient_report
from napari_caltomorph.report.patient_texts import Excerpt
from napari_caltomorph.smear import smear_from_array
from napari_caltomorph.taxonomy import caltomorph_taxonomy


def make_smear(prediction, size=20):
    cells = np.random.default_rng(0).integers(0, 255, (len(prediction.cells), size, size, 3), np.uint8)
    return replace(smear_from_array(cells, prediction.patient_id), cells=prediction.cells)


def make_full(cells=60):
    """A prediction of which all is known, with its trust and differential."""
    taxonomy = caltomorph_taxonomy()
    aspect = AspectResult(aspect="cells", p_value=0.4, score=0.2, reference=(0.0, 1.0))
    prediction = make_prediction(
        cells,
        domain=DomainResult(
            p_value=0.4, patients=400, aspects=(aspect,), cell_tails=tuple(np.linspace(1, 0.01, cells))
        ),
        calibration=Calibration(
            temperature=1.3,
            quantiles=dict.fromkeys(taxonomy.slugs, 0.7),
            patients=dict.fromkeys(taxonomy.slugs, 30),
            source="a fifth of the training patients",
        ),
        left_out=(LeftOutCell(cell="x.tif", reason="left out by hand", note="", by="user"),),
        passed_over=2,
        warnings=("The images do not say their scale",),
    )
    neighbours = tuple(SimilarPatient(f"private {i}", "MDS", "mds", 9.5, 0.8 + i / 10, None) for i in range(5))
    types = tuple(list(CELL_TYPES)[:12])
    differential = Differential(
        prediction.patient_id,
        None,
        "ab" * 32,
        types,
        tuple(tuple(40 if i == j else 1 for j in range(12)) for i in range(12)),
        (0.1,) * 12,
        prediction.cells,
        tuple(types[i % 12] for i in range(cells)),
        (0.9,) * cells,
        (0.0,) * cells,
        {prediction.cells[0]: types[0]},
        None,
    )
    return prediction, Trust(prediction, Similar(neighbours, was_trained_on=False)), differential


def test_the_headline_is_a_class_only_where_one_stands_out():
    agreed, torn = (make_prediction(member_probabilities=np.eye(8)[chosen]) for chosen in ([0] * 5, [0, 1, 2, 3, 0]))
    assert "Acute leukemia 1.00 then Lymphoma 0.00 (difference 1.00)" in Page(patient_report(agreed)).text
    assert f"No class stands out {torn.lead_in_words}" in Page(patient_report(torn)).text


def test_the_report_contains_the_prediction():
    prediction, trust, differential = make_full()
    metadata = {"age": "61", "diagnosis of the clinic": "AML"}
    text = Page(patient_report(prediction, trust=trust, differential=differential, metadata=metadata)).text
    (first, p), _ = prediction.top(2)
    low, high = prediction.hemoglobin_range
    for words in (
        f"{first} {p:.2f}",
        prediction.lead_in_words,
        f"Malignant {prediction.malignancy:.2f}",
        "threshold 0.37",
        "ours",
        f"{prediction.hemoglobin:.1f} g/dl",
        f"with its error {low:.1f} to {high:.1f}",
        prediction.hemoglobin_in_words,
        prediction.prediction_set_in_words,
        prediction.calibration_in_words,
        "The images do not say their scale",
        "age 61",
        "diagnosis of the clinic AML",
        "1 left out by hand a person x.tif",
        "2 other files ignored",
        "Like the training cohort",
        f"all blasts {differential.blasts.cells}",
        prediction.model_fingerprint,
        prediction.encoder_weights_sha256,
        prediction.created,
    ):
        assert words in text
    assert text.count("Research use only. Not for diagnosis.") == 2
    assert text.count("Synthetic model") == 2


def test_other_patients_ids_stay_with_the_model():
    prediction, trust, _ = make_full()
    html = patient_report(prediction, trust=trust)
    assert "nearest training patients" in html
    assert "private" not in Page(html).text


def test_first_cells_are_shown_in_the_frames_of_their_class():
    prediction, _, _ = make_full()
    page = Page(patient_report(prediction, smear=make_smear(prediction)))
    first = [prediction.cells[i] for i in prediction.order[:20]]
    assert [one["alt"] for one in page.thumbnails][:20] == first
    unusual = [prediction.cells[i] for i in prediction.domain.unusual[:10]]
    assert [one["alt"] for one in page.thumbnails][20:] == unusual
    colors = [one["style"].split()[-1] for one in page.of("div") if one.get("style", "").startswith("--class")]
    taxonomy = prediction.taxonomy
    expected = [taxonomy.colors[prediction.alone_class[i]] for i in prediction.order[:20]]
    assert colors[1:21] == expected
    assert f"#1 {prediction.attention.max():.2f}x" in page.text


def test_without_images_the_cells_are_named_with_the_reason():
    prediction = make_prediction(smear_path="/nowhere/patient_7")
    page = Page(patient_report(prediction))
    assert not page.thumbnails
    assert "No thumbnails. /nowhere/patient_7 does not exist" in page.text
    assert prediction.cells[prediction.order[0]] in page.text


def test_a_cell_that_cannot_be_read_has_a_place_without_a_picture():
    prediction = make_prediction(3)
    smear = make_smear(prediction)
    gone = prediction.model_copy(update={"cells": ("gone.tif", *prediction.cells[1:])})
    page = Page(patient_report(gone, smear=smear))
    assert len(page.thumbnails) == 2
    assert "cannot be read" in page.text


def test_missing_attention_and_hemoglobin_are_noted():
    plain = make_prediction(
        attention=np.ones(30), attention_kind="none", member_hemoglobin=None, hemoglobin_error=None, synthetic=False
    )
    text = Page(patient_report(plain)).text
    assert NO_ATTENTION in text
    assert "in no order of importance" in text
    assert "was not trained to estimate it" in text
    assert "Synthetic" not in text
    assert "g/dl" not in text


def test_outside_the_training_domain_no_claim_is_made():
    prediction, trust, _ = make_full()
    outside = prediction.model_copy(update={"domain": prediction.domain.model_copy(update={"p_value": 0.002})})
    text = Page(patient_report(outside, trust=Trust(outside, trust.similar))).text
    assert "Unlike the training cohort" in text
    assert "calibration and prediction sets are withdrawn" in text
    assert "its error is not known" in text
    assert "Not excluded" not in text


def make_what_if(cells=30):
    """An answer without three cells, beside the original."""
    original = make_prediction(cells, member_probabilities=np.tile([0.9, 0.1, 0, 0, 0, 0, 0, 0], (5, 1)))
    return original.model_copy(
        update={
            "member_probabilities": np.tile([0.1, 0.1, 0, 0, 0, 0, 0, 0.8], (5, 1)),
            "cells": original.cells[3:],
            "labels": original.labels[3:],
            "attention": original.attention[3:],
            "alone": original.alone[3:],
            "left_out": tuple(
                LeftOutCell(cell=cell, reason="left out by hand", note="", by="user") for cell in original.cells[:3]
            ),
            "original": original,
        }
    )


def test_removed_cells_and_their_effect_are_next_to_the_original():
    answer = make_what_if()
    page = Page(patient_report(answer))
    assert "Healthy 0.80 then" in page.text
    assert "3 cells were left out by hand; before: Acute leukemia 0.90, malignant 1.00" in page.text
    assert "3 left out by hand a person 0.tif" in page.text
    assert "Diagnosis: Healthy 0.80 instead of Acute leukemia 0.90" in page.text
    assert sum("the original as outlines" in one["alt"] for one in page.of("img")) == 1
    assert "outlines" not in patient_report(answer.original)


def test_pictures_are_inside_and_nothing_is_fetched():
    prediction, trust, differential = make_full()
    html = patient_report(prediction, smear=make_smear(prediction), trust=trust, differential=differential)
    page = Page(html)
    kinds = [re.match(r"data:image/([a-z+]+);base64,(.*)", one["src"]).groups() for one in page.of("img")]
    assert [kind for kind, _ in kinds[:2]] == ["svg+xml", "svg+xml"]
    assert all(b"<svg" in base64.b64decode(content) for kind, content in kinds if kind == "svg+xml")
    assert "http:" not in html
    assert "https:" not in html
    assert not page.of("script")
    assert not page.of("link")
    assert "default-src 'none'" in next(one["content"] for one in page.of("meta") if "http-equiv" in one)


def test_no_text_is_taken_for_html():
    prediction, _, _ = make_full()
    classes = [one.model_copy(update={"name": f"{one.name} {EVIL}"}) for one in prediction.taxonomy.classes]
    evil = prediction.model_copy(
        update={
            "patient_id": EVIL,
            "smear_path": EVIL,
            "model_name": EVIL,
            "warnings": (EVIL,),
            "cells": (EVIL, *prediction.cells[1:]),
            "left_out": (LeftOutCell(cell=EVIL, reason=EVIL, note=EVIL, by="rule"),),
            "taxonomy": prediction.taxonomy.model_copy(update={"classes": tuple(classes)}),
        }
    )
    page = Page(patient_report(evil, metadata={EVIL: EVIL}))
    assert not page.of("script")
    assert all(one["src"].startswith("data:image/svg+xml;base64,") for one in page.of("img"))
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


@given(st.lists(st.integers(), max_size=30), st.integers(1, 10))
def test_what_a_list_does_not_show_it_counts(things, most):
    short = Excerpt.of(things, most)
    assert list(short.shown) == things[: len(short.shown)]
    assert len(short.shown) + short.more == len(things)
    assert len(short.shown) <= most + 1
    assert short.more != 1


def test_it_is_one_file(tmp_path):
    path = save_page(patient_report(make_prediction()), tmp_path / "out" / "report.html")
    assert "smear_a" in path.read_text("utf-8")
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputRefused):
        save_page(patient_report(make_prediction()), tmp_path / "file" / "report.html")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser to print with")
@pytest.mark.parametrize("case", ["full", "what if", "long", "bare"])
def test_it_prints_on_two_pages(case, tmp_path):
    prediction, trust, differential = make_full(500)
    if case == "what if":
        prediction, trust, differential = make_what_if(500), None, replace(differential, by_hand={})
    if case == "bare":
        prediction, trust, differential = make_prediction(1), None, None
    if case == "long":
        prediction = prediction.model_copy(
            update={
                "patient_id": "Müller, Hans-Joachim " * 20,
                "warnings": tuple(
                    f"Warning {i}, which is as long as warnings are, and still goes on" for i in range(300)
                ),
                "left_out": tuple(
                    LeftOutCell(cell=f"folder/{'long ' * 20}/{i}.tif", reason=f"reason {i % 9}", note="", by="rule")
                    for i in range(200)
                ),
            }
        )
        trust = Trust(prediction, trust.similar)
    smear = make_smear(prediction) if case == "full" else None
    html = patient_report(prediction, smear=smear, trust=trust, differential=differential)
    report = save_page(html, tmp_path / "report.html")
    pdf = tmp_path / "report.pdf"
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    subprocess.run(
        [*browser, profile, f"--print-to-pdf={pdf}", report.as_uri()], check=True, capture_output=True, timeout=120
    )
    pages = re.findall(rb"/Type\s*/Page\b(?!s)", pdf.read_bytes())
    assert len(pages) == 2
