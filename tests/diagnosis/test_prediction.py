"""A prediction as a value and as ``prediction.json``: what it derives, and that it comes back exactly."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.diagnosis.prediction_files import patient_row
from napari_caltomorph.errors import OutputRefused, PredictionUnreadable


def one_hot_free(weights):
    """Rows of positive numbers that sum to 1."""
    return weights / weights.sum(axis=1, keepdims=True)


@st.composite
def any_prediction(draw, base):
    members, cells = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    share = st.floats(1e-300, 1e3)
    update = {
        "patient_id": draw(st.text(min_size=1, max_size=20)),
        "member_probabilities": one_hot_free(draw(arrays(float, (members, 8), elements=share))),
        "member_hemoglobin": draw(st.none() | arrays(float, members, elements=st.floats(-1e300, 1e300))),
        "cells": tuple(draw(st.lists(st.text(), min_size=cells, max_size=cells))),
        "labels": tuple(draw(st.lists(st.none() | st.text(), min_size=cells, max_size=cells))),
        "attention": draw(arrays(float, cells, elements=st.floats(0, 1e300))),
        "alone": one_hot_free(draw(arrays(float, (cells, 8), elements=share))),
        "warnings": tuple(draw(st.lists(st.text(), max_size=2))),
    }
    return base.model_copy(update=update)


@pytest.fixture(scope="session")
def base(make_ensemble, make_features):
    return make_ensemble().predict(make_features(60))


def with_probabilities(base, *rows):
    return base.model_copy(update={"member_probabilities": rows, "member_hemoglobin": None})


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_saved_prediction_comes_back_to_the_last_bit(base, tmp_path_factory, data):
    prediction = data.draw(any_prediction(base))
    path = tmp_path_factory.mktemp("p") / "prediction.json"
    prediction.save(path)
    loaded = Prediction.load(path)
    assert loaded == prediction
    for name in ("member_probabilities", "member_hemoglobin", "attention", "alone"):
        before, after = getattr(prediction, name), getattr(loaded, name)
        assert (before is None and after is None) or before.tobytes() == after.tobytes()
    assert (loaded.malignancy, loaded.hemoglobin) == (prediction.malignancy, prediction.hemoglobin)
    assert loaded.cell_table().equals(prediction.cell_table())


def test_folder_that_holds_a_prediction_is_loaded_too(tmp_path, base):
    base.save(tmp_path / "new" / "prediction.json")
    assert Prediction.load(tmp_path / "new") == base


def test_top_two_and_their_difference(base):
    first = [0.1, 0.0, 0.5, 0.0, 0.4, 0.0, 0.0, 0.0]
    second = [0.1, 0.0, 0.3, 0.0, 0.6, 0.0, 0.0, 0.0]
    prediction = with_probabilities(base, first, second)
    assert [name for name, _ in prediction.top(3)] == ["MPN", "MDS", "Acute leukemia"]
    assert [p for _, p in prediction.top(2)] == pytest.approx([0.5, 0.4])
    assert prediction.predicted_class == "MPN"
    assert prediction.delta_probability == pytest.approx(0.1)
    assert len(prediction.top(99)) == 8


def test_of_equally_probable_classes_the_taxonomys_first_wins(base):
    prediction = with_probabilities(base, [0, 0.25, 0, 0.25, 0, 0.25, 0.25, 0])
    assert [name for name, _ in prediction.top(4)] == [
        "Lymphoma",
        "MDS/MPN",
        "Plasma cell neoplasm",
        "Reactive changes",
    ]
    assert prediction.delta_probability == 0


def test_no_class_stands_out_where_the_members_differ_by_more_than_the_lead(base):
    agree, torn = [0.3, 0.2, 0.5, 0, 0, 0, 0, 0], [0.3, 0.45, 0.25, 0, 0, 0, 0, 0]
    clear, unclear = with_probabilities(base, agree, agree, agree), with_probabilities(base, agree, torn, agree)
    assert (clear.stands_out, clear.lead_spread) == (True, pytest.approx(0))
    assert clear.call_in_words == "MDS 0.50, then Acute leukemia 0.30 (difference 0.20)"
    close = with_probabilities(base, [0.249, 0.2, 0.5449, 0, 0, 0, 0, 0.0061])  # 0.2959 apart
    assert close.lead_in_words.endswith("0.25 (difference 0.29)")
    leads = [0.2, -0.05, 0.2]
    assert unclear.lead_spread == pytest.approx(np.std(leads, ddof=1))
    assert (unclear.stands_out, unclear.class_color) == (False, None)
    assert unclear.predicted_class == "MDS"
    assert unclear.call_in_words.startswith("No class stands out: MDS 0.42, Acute leukemia 0.30 (difference 0.12;")
    assert patient_row(unclear)["stands_out"] is False
    assert with_probabilities(base, agree).stands_out  # a single member differs from no other
    assert not with_probabilities(base, [0.5, 0.5, 0, 0, 0, 0, 0, 0]).stands_out


def test_malignancy_at_the_threshold_is_malignant_and_never_above_one(base):
    prediction = with_probabilities(base, [0.5, 0, 0, 0, 0, 0, 0.25, 0.25])
    assert prediction.malignancy == prediction.threshold.value == 0.5
    assert prediction.is_malignant
    stricter = prediction.model_copy(update={"threshold": Threshold(value=0.51, rule="ours")})
    assert not stricter.is_malignant
    for seed in range(200):
        weights = np.random.default_rng(seed).random((5, 8)) * [1, 1, 1, 1, 1, 1, 0, 0]
        assert with_probabilities(base, *one_hot_free(weights)).malignancy <= 1


def test_equally_attended_cells_keep_the_order_of_the_smear(base):
    prediction = base.model_copy(update={"attention": np.array([0.5, 1.25] * 30)})
    assert prediction.order.tolist() == [*range(1, 60, 2), *range(0, 60, 2)]
    assert prediction.ranks[[1, 3, 0]].tolist() == [1, 2, 31]


def test_copy_with_other_numbers_derives_again(base):
    before = base.order, base.ranks, base.probabilities, base.alone_class
    changed = base.model_copy(
        update={"attention": base.attention[::-1], "alone": base.alone[::-1], "member_probabilities": [[0.125] * 8] * 3}
    )
    assert changed.probabilities.tolist() == [0.125] * 8
    assert (changed.alone_class == base.alone_class[::-1]).all()
    assert (changed.ranks[::-1] == base.ranks).all()
    assert all((one == other).all() for one, other in zip(before, (base.order, base.ranks), strict=False))


def test_copy_is_checked_like_any_prediction(base):
    with pytest.raises(ValidationError, match="do not fit 60 cells"):
        base.model_copy(update={"attention": [1.0]})
    with pytest.raises(ValidationError, match="Extra inputs"):
        base.model_copy(update={"atention": [1.0]})


def test_predictions_are_compared_by_value(base):
    assert base == base.model_copy()
    assert hash(base) == hash(base.model_copy())
    assert base != base.model_copy(update={"attention": base.attention[::-1]})
    assert base != base.model_copy(update={"member_hemoglobin": None})
    assert base != "a prediction"


def test_numbers_of_a_prediction_cannot_be_changed(base):
    for values in (base.attention, base.alone, base.member_probabilities, base.member_hemoglobin):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 0


def test_arrays_may_change_after_a_prediction_was_built_from_them(base):
    attention = np.ones(60)
    prediction = base.model_copy(update={"attention": attention})
    attention[0] = 7
    assert prediction.attention[0] == 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("schema_version", 2, "schema version 2, this version reads 1; run `pip install --upgrade"),
        ("schema_version", "new", "schema_version"),
        ("attention", None, "attention: .*not finite|attention: .*missing"),
        ("attention", {"a": 1}, "attention: .*no array of numbers"),
        ("attention", [10**400] * 60, "more than 64 bits"),
        ("attention", [float("nan")] * 60, "attention"),
        ("attention", [-1.0] * 60, "attention is negative"),
        ("attention", [1.0] * 59, "do not fit 60 cells"),
        ("alone", [[1.0] * 8, [1.0]], "alone"),
        ("alone", [[1.0] * 8] * 60, "alone are not probabilities"),
        ("member_probabilities", [[0.5] * 8], "not probabilities that sum to 1"),
        ("member_probabilities", [[2.0, -1.0, 0, 0, 0, 0, 0, 0]], "not probabilities that sum to 1"),
        ("member_probabilities", [], "0 members"),
        ("member_probabilities", [[0.5, 0.5]], "for 8 classes"),
        ("member_probabilities", 0.5, "0 members"),
        ("member_hemoglobin", [11.0], "for 3 members"),
        ("cells", [], "0 cells|do not fit"),
        ("labels", [None], "do not fit"),
        ("taxonomy", None, "taxonomy"),
        ("surprise", 1, "surprise: Extra inputs"),
    ],
)
def test_damaged_prediction_is_refused_with_the_field_named(tmp_path, base, field, value, message):
    path = tmp_path / "prediction.json"
    content = json.loads(base.model_dump_json()) | {field: value}
    if field == "member_probabilities":
        content["member_hemoglobin"] = None
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(PredictionUnreadable, match=message) as caught:
        Prediction.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b"[" * 100_000, b'{"schema_version": 1}'])
def test_file_that_is_no_prediction_is_refused(tmp_path, content):
    (tmp_path / "prediction.json").write_bytes(content)
    with pytest.raises(PredictionUnreadable, match=r"prediction\.json is .*not a prediction"):
        Prediction.load(tmp_path)


def test_newer_prediction_with_new_fields_names_the_upgrade(tmp_path, base):
    content = json.loads(base.model_dump_json()) | {"schema_version": 3, "contributions": [1], "attention": "moved"}
    (tmp_path / "prediction.json").write_text(json.dumps(content))
    with pytest.raises(PredictionUnreadable, match="pip install --upgrade"):
        Prediction.load(tmp_path)


def test_missing_prediction_is_one_sentence(tmp_path):
    with pytest.raises(PredictionUnreadable, match=r"prediction\.json cannot be read \(No such file"):
        Prediction.load(tmp_path)


def test_prediction_that_cannot_be_written_leaves_nothing(tmp_path, base):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputRefused):
        base.save(tmp_path / "file" / "prediction.json")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
