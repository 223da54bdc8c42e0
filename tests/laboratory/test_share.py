"""What must hold for exported results: pseudonyms, what leaves the laboratory, and FHIR that others can read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from tests.report.factories import make_prediction

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.domain import ASPECTS, AspectResult, DomainResult
from napari_caltomorph.diagnosis.hemoglobin_error import ErrorBand, ErrorInterval
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.diagnosis.policy import Policy
from napari_caltomorph.diagnosis.prediction_fields import LeftOutCell
from napari_caltomorph.diagnosis.prevalence import Prevalence
from napari_caltomorph.errors import ExportRefused
from napari_caltomorph.jobs import export_results
from napari_caltomorph.laboratory.review import Review, Reviews, seen
from napari_caltomorph.laboratory.share import KEPT, STRIPPED, pseudonym, read_key, shared
from napari_caltomorph.taxonomy import caltomorph_taxonomy

KEY = "0123456789abcdefghijklmnopqrstuv"
# The classes are the result, and keys of these tables are their slugs.
OF_THE_RESULT = ("taxonomy.classes", "calibration.quantiles", "calibration.patients")


def full(**update: Any) -> Prediction:
    """A prediction in which every field has a value."""
    slugs = caltomorph_taxonomy().slugs
    aspects = tuple(AspectResult(aspect=one, p_value=0.5, score=0.1, reference=(0.0, 1.0)) for one in ASPECTS)
    before = make_prediction(7, seed=1, patient_id="P17", attention_kind="weights")
    fields = {
        "smear_path": "/home/ann/P17",
        "smear_fingerprint": "0" * 64,
        "field_of_view_um": 25.0,
        "assumed_export": "Metafer",
        "averaged_views": "4 views",
        "threshold": Threshold(value=0.5, rule="Youden", cohort="our cohort"),
        "hemoglobin_error": ErrorInterval(
            level=0.9, low=-2, high=2, patients=9, bands=(ErrorBand(start=None, end=10, low=-2, high=2, patients=9),)
        ),
        "calibration": Calibration(
            temperature=1.5, quantiles=dict.fromkeys(slugs, 0.9), patients=dict.fromkeys(slugs, 20), source="ours"
        ),
        "prevalence": Prevalence(trained=0.5, stated=0.2),
        "policy": Policy(name="ours", version="1", max_left_out_share=0.5),
        "domain": DomainResult(p_value=0.5, patients=9, aspects=aspects, cell_tails=(0.5,) * 6),
        "image_traits": {"grain": 1.0},
        "labels": ("blast",) * 6,
        "left_out": (LeftOutCell(cell="6.tif", reason="blurred", note="by Ann", by="user"),),
        "passed_over": 2,
        "warnings": ("P17: blurred",),
        "library_version": "0.1.0",
    }
    fields |= {"cells": before.cells[:6], "attention": [1.0] * 6, "alone": before.alone[:6]}
    shared_fields = {name: fields[name] for name in ("prevalence", "policy")}
    return before.model_copy(update=fields | {"original": before.model_copy(update=shared_fields)} | update)


def reviews_of(prediction: Prediction, *reviews: dict[str, Any]) -> Reviews:
    of = seen(prediction)
    common = {"patient_id": prediction.patient_id, "prediction": of["fingerprint"], "predicted": of["predicted"]}
    common |= {"at": "2026-12-01T00:00:00+00:00", "reviewer": "Ann"}
    return Reviews(of, tuple(Review(**common | one) for one in reviews))


def paths(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every field of a model and of the models in it."""
    for name, field in kind.model_fields.items():
        yield prefix + name
        for inner in models_in(field.annotation):
            if prefix + name not in STRIPPED:
                yield from paths(inner, f"{prefix}{name}.")


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from models_in(one)


def test_every_field_is_kept_or_stripped_by_name() -> None:
    there = {*paths(Prediction), *paths(Review, "review.")}
    assert KEPT.keys() & STRIPPED.keys() == set()
    assert there == KEPT.keys() | STRIPPED.keys()


def test_a_field_in_no_list_does_not_go_out() -> None:
    class Newer(Prediction):
        birthday: str | None = None

    newer = Newer.model_validate(full().model_dump() | {"birthday": "1. 2. 1950"})
    assert "1950" not in str(shared(newer, reviews_of(newer), "X")[0].model_dump())


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all texts in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from leaves(one, (*path, key))
    if isinstance(value, str):
        yield path


def planted(document: dict[str, Any], path: tuple[Any, ...], text: str) -> dict[str, Any]:
    copy = json.loads(json.dumps(document))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = text
    return copy


@cache
def plantable() -> list[tuple[Any, ...]]:
    """Where any text may be in a prediction: in each field of text but those of the result."""
    document = json.loads(full().model_dump_json())
    found = []
    for path in leaves({name: value for name, value in document.items() if name != "original"}):
        named = ".".join(str(key) for key in path if isinstance(key, str))
        try:
            Prediction.model_validate(planted(document, path, "Text"))
        except ValidationError:
            continue
        found += [path] * (not named.startswith(OF_THE_RESULT))
    return found


@settings(max_examples=6)
@given(text=st.text("ABCdef =@-/.ü:", min_size=1, max_size=6), form=st.sampled_from([".csv", ".ndjson"]))
def test_no_planted_text_goes_out(tmp_path_factory: pytest.TempPathFactory, text: str, form: str) -> None:
    assert len(plantable()) > 20
    mark = f"Zq{text}Zq".replace("/", "|")
    folder, document = tmp_path_factory.mktemp("planted"), json.loads(full(original=None).model_dump_json())
    for path in plantable():
        document = planted(document, path, f"{mark}{path[-1]}" if path[0] == "cells" else mark)
    document |= {"image_traits": {mark: 1.0}, "created": "1951-02-03T00:00:00+00:00"}
    prediction = Prediction.model_validate(document)
    prediction.save(folder / mark / "prediction.json")
    texts = dict.fromkeys(("diagnosis", "comment", "reviewer", "at"), mark)
    said = {"verdict": "other", **texts, "labels": {mark: mark}}
    (folder / "reviews.jsonl").write_text(reviews_of(prediction, said).reviews[0].model_dump_json() + "\n", "utf-8")
    made = export_results(folder, folder / f"out{form}", "csv" if form == ".csv" else "fhir", share=True)
    content = made.path.read_text("utf-8")
    assert "Zq" not in content
    assert "1951" not in content
    assert str(tmp_path_factory.getbasetemp()) not in content
    assert len(made.stripped) > 12
    assert "other diagnosis" in content or "amended" in content


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"original": None, "smear_path": "/data/P17.h5"},  # of features, whose left-out cells are not known
        {"policy": Policy(name="ours", version="1", min_cells=50), "original": None},
        {"policy": None, "prevalence": None, "calibration": None, "domain": None, "original": None},
    ],
)
def test_what_is_shared_has_the_same_numbers_and_is_withheld_alike(update: dict[str, Any]) -> None:
    before = full(**update)
    after, said, stripped = shared(before, reviews_of(before, {"verdict": "cannot tell"}), "X")
    for name in ("withheld", "malignancy", "is_malignant", "hemoglobin", "hemoglobin_range", "is_outside_domain"):
        assert getattr(after, name) == getattr(before, name)
    assert after.top(8) == before.top(8)
    assert (after.patient_id, said.state, said.of_this[0].reviewer) == ("X", "cannot tell", "reviewer 1")
    assert "paths" in stripped


def test_reviewers_who_differ_still_differ_when_their_diagnoses_are_not_shared() -> None:
    before = full(original=None)
    a, b = ({"verdict": "other", "diagnosis": name, "reviewer": name} for name in ("Rare one", "rare two"))
    for said, state in (((a, b), "reviewers differ"), ((a, a | {"diagnosis": "RARE ONE"}), "diagnosis stated")):
        reviews = reviews_of(before, *said)
        assert (reviews.state, shared(before, reviews, "X")[1].state) == (state, state)


def test_a_pseudonym_is_the_hmac_of_the_id(tmp_path: Path) -> None:
    file = tmp_path / "key.txt"
    file.write_text(KEY + "\n")
    key = read_key(file)
    assert key == KEY.encode()
    # printf P17 | openssl dgst -sha256 -hmac 0123456789abcdefghijklmnopqrstuv
    assert pseudonym("P17", key) == "Pc96f5e4627fa696468d6841227159d4a"
    assert pseudonym("Mu\u0308ller", key) == pseudonym("Müller", key)
    assert len({pseudonym(str(number), key) for number in range(1000)}) == 1000
    for content, why in ((b"short", "5 bytes"), (b"0" * 64, "1 different"), (b"x" * 200_000, "larger")):
        file.write_bytes(content)
        with pytest.raises(ExportRefused, match=rf"{why}.*secrets\.token_hex"):
            read_key(file)
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(ExportRefused, match=r"secrets\.token_hex"):
            read_key(missing)
