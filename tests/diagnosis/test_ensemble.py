"""What an ensemble says of one patient, against the same numbers computed another way from its members."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_caltomorph.diagnosis import (
    AbmilOptions,
    Ensemble,
    MaxOptions,
    MeanOptions,
    Prediction,
    TransformerOptions,
    WbcmilOptions,
)
from napari_caltomorph.diagnosis.model_file import HemoglobinTarget
from napari_caltomorph.diagnosis.model_folder import TrainingPatients
from napari_caltomorph.diagnosis.prediction_files import patient_row
from napari_caltomorph.errors import FeaturesRefused
from napari_caltomorph.progress import Cancelled
from napari_caltomorph.taxonomy import Taxonomy, caltomorph_taxonomy

DERIVED_FROM_TIME = {"created": "2026-01-01T00:00:00+00:00"}


def undated(prediction: Prediction) -> Prediction:
    return prediction.model_copy(update=DERIVED_FROM_TIME)


def logits_of(member, values):
    with torch.inference_mode():
        return member(torch.tensor(values)[None]).logits[0].numpy().astype(np.float64)


def exponentials_over_their_sum(logits):
    raised = [2.718281828459045**value for value in logits]
    return np.array([value / sum(raised) for value in raised])


def test_probabilities_are_the_mean_of_the_members_softmaxes(make_ensemble, make_features):
    ensemble, features = make_ensemble(), make_features()
    prediction = ensemble.predict(features)
    each = np.array([exponentials_over_their_sum(logits_of(m, features.values)) for m in ensemble.members])
    assert prediction.member_probabilities == pytest.approx(each, abs=1e-6)
    assert prediction.probabilities == pytest.approx(each.mean(axis=0), abs=1e-6)
    of_mean_logits = exponentials_over_their_sum(np.mean([logits_of(m, features.values) for m in ensemble.members], 0))
    assert prediction.probabilities != pytest.approx(of_mean_logits, abs=1e-4)  # the fixture tells the two apart


def test_malignancy_is_the_sum_of_the_papers_six_malignant_classes(make_ensemble, make_features):
    prediction = make_ensemble().predict(make_features())
    row = patient_row(prediction)
    six = ("acute_leukemia", "lymphoma", "mds", "mds_mpn", "mpn", "plasma_cell_neoplasm")
    assert prediction.malignancy == pytest.approx(sum(row[f"p_{slug}"] for slug in six))
    assert 1 - prediction.malignancy == pytest.approx(row["p_reactive_changes"] + row["p_healthy"])


def test_hemoglobin_is_in_g_per_dl_and_its_interval_is_that_of_unseen_patients(make_ensemble, make_features):
    ensemble, features = make_ensemble(), make_features()
    prediction = ensemble.predict(features)
    with torch.inference_mode():
        raw = [float(m(torch.tensor(features.values)[None]).hemoglobin) for m in ensemble.members]
    assert prediction.member_hemoglobin == pytest.approx([11.5 + k + 2.5 * raw[k] for k in range(3)])
    assert prediction.hemoglobin == pytest.approx(12.5 + 2.5 * sum(raw) / 3)
    assert prediction.hemoglobin_range == pytest.approx((prediction.hemoglobin - 3.0, prediction.hemoglobin + 3.5))


def test_hemoglobin_of_a_model_without_interval_has_none(make_ensemble, make_features):
    prediction = make_ensemble(hemoglobin=HemoglobinTarget()).predict(make_features())
    assert prediction.hemoglobin is not None
    assert prediction.hemoglobin_range is None


def test_model_without_hemoglobin_has_none(make_ensemble, make_features):
    prediction = make_ensemble(hemoglobin=None).predict(make_features())
    assert (prediction.hemoglobin, prediction.hemoglobin_range, prediction.member_hemoglobin) == (None, None, None)
    assert patient_row(prediction)["hemoglobin_g_dl"] is None


@pytest.mark.parametrize("cells", [1, 2, 300])
def test_response_to_a_cell_alone_is_the_prediction_of_a_bag_of_that_cell(make_ensemble, make_features, cells):
    ensemble, features = make_ensemble(), make_features(cells)
    prediction = ensemble.predict(features)
    for i in {0, cells // 2, cells - 1}:
        alone = ensemble.predict(make_features(values=features.values[i : i + 1]))
        assert prediction.alone[i] == pytest.approx(alone.probabilities, abs=1e-6)


def test_bag_of_one_cell_pays_it_all_its_attention(make_ensemble, make_features):
    prediction = make_ensemble().predict(make_features(1))
    assert prediction.attention.tolist() == [1.0]
    assert prediction.ranks.tolist() == [1]
    assert prediction.alone[0] == pytest.approx(prediction.probabilities, abs=1e-6)


@pytest.mark.parametrize("cells", [2, 60, 700])
def test_attention_is_one_on_average_in_each_member_and_in_the_ensemble(make_ensemble, make_features, cells):
    ensemble, features = make_ensemble(), make_features(cells)
    votes = [Ensemble(ensemble.description, (m,)).predict(features).attention for m in ensemble.members]
    assert [vote.mean() for vote in votes] == pytest.approx([1.0] * 3)
    assert ensemble.predict(features).attention == pytest.approx(np.mean(votes, axis=0))


def test_attention_that_never_leaves_the_cls_token_makes_all_cells_average(make_ensemble, make_features):
    ensemble = make_ensemble(members=1)
    with torch.no_grad():
        for block in ensemble.members[0].aggregator.blocks:
            block.norm1.weight.zero_()
            block.norm1.bias.zero_()
            block.attn.qkv.weight.zero_()
            block.attn.qkv.bias.zero_()
        # Keys and queries such that CLS outweighs every cell beyond float32: only CLS has a first coordinate.
        first = ensemble.members[0].aggregator
        first.project.weight.zero_()
        first.project.bias.copy_(torch.tensor([-1.0] + [1.0] * 15))
        first.cls_token.copy_(torch.tensor([1.0] + [-1.0] * 15))
        for block in first.blocks:
            block.norm1.weight.fill_(1)
            block.attn.qkv.weight[0, 0] = block.attn.qkv.weight[8, 0] = 100.0
            block.attn.qkv.weight[16, 0] = block.attn.qkv.weight[24, 0] = 100.0
    prediction = ensemble.predict(make_features(20))
    assert prediction.attention.tolist() == [1.0] * 20


def test_ranks_follow_attention(make_ensemble, make_features):
    prediction = make_ensemble().predict(make_features(80))
    by_rank = prediction.attention[np.argsort(prediction.ranks)]
    assert sorted(prediction.ranks) == list(range(1, 81))
    assert (np.diff(by_rank) <= 0).all()
    assert prediction.cell_table()["rank"].tolist() == list(range(1, 81))


@pytest.mark.parametrize("repeats", [2, 5])
def test_repeated_cells_have_equal_attention_and_responses(make_ensemble, make_features, repeats):
    values = np.tile(make_features(8).values, (repeats, 1))
    prediction = make_ensemble().predict(make_features(values=values))
    assert prediction.attention.reshape(repeats, 8) == pytest.approx(np.tile(prediction.attention[:8], (repeats, 1)))
    assert prediction.alone.reshape(repeats, 8, -1)[-1] == pytest.approx(prediction.alone[:8], abs=1e-6)


def test_bag_of_five_thousand_cells_is_predicted(make_ensemble, make_features):
    options = TransformerOptions(depth=1, heads=2, width=16, mlp_width=32)
    prediction = make_ensemble(members=1, aggregator=options).predict(make_features(5000))
    assert prediction.alone.shape == (5000, 8)
    assert prediction.attention.mean() == pytest.approx(1)


@settings(deadline=None, max_examples=15)
@given(st.permutations(range(12)))
def test_order_of_cells_does_not_matter_to_a_prediction(make_ensemble, make_features, order):
    ensemble, features = make_ensemble(members=2), make_features(12)
    plain, shuffled = ensemble.predict(features), ensemble.predict(make_features(values=features.values[list(order)]))
    assert shuffled.probabilities == pytest.approx(plain.probabilities, abs=1e-5)
    assert shuffled.attention == pytest.approx(plain.attention[list(order)], abs=1e-4)
    assert shuffled.alone == pytest.approx(plain.alone[list(order)], abs=1e-5)


@pytest.mark.parametrize(
    "form",
    [
        lambda v: v.astype(np.float64),
        lambda v: v.astype(">f4"),
        lambda v: np.asfortranarray(v),
        lambda v: np.ascontiguousarray(v[::-1])[::-1],
        lambda v: np.broadcast_to(v, v.shape),  # read-only
    ],
    ids=["float64", "big-endian", "fortran", "backwards", "read-only"],
)
def test_the_memory_that_holds_the_features_does_not_matter(make_ensemble, make_features, form):
    ensemble, features = make_ensemble(), make_features()
    other = ensemble.predict(replace(features, values=form(features.values)))
    assert undated(other) == undated(ensemble.predict(features))


def test_features_in_half_precision_are_predicted(make_ensemble, make_features):
    ensemble, features = make_ensemble(), make_features()
    half = ensemble.predict(replace(features, values=features.values.astype(np.float16)))
    assert half.probabilities == pytest.approx(ensemble.predict(features).probabilities, abs=0.01)


def test_predicting_does_not_change_the_features(make_ensemble, make_features):
    features = make_features()
    before = features.values.copy()
    make_ensemble().predict(features)
    assert (features.values == before).all()


def test_fewer_than_fifty_cells_warn(make_ensemble, make_features):
    ensemble = make_ensemble()
    assert ensemble.predict(make_features(50)).warnings == ()
    assert any(w.startswith("Only 49 cells:") for w in ensemble.predict(make_features(49)).warnings)
    assert any(w.startswith("Only 1 cell:") for w in ensemble.predict(make_features(1)).warnings)


@pytest.mark.parametrize(
    ("origin", "both"),
    [
        ({"encoder": "dinobloom-b"}, "encoder dinobloom-b .* trained on demo-vit"),
        ({"weights_sha256": "b" * 64}, "encoder weights bbbbbbbbbbbb... .* trained on aaaaaaaaaaaa..."),
        ({"preprocessing": "another"}, "preprocessing another .* trained on resize-and-so-on"),
    ],
)
def test_features_of_another_encoder_are_refused_with_both_named(make_ensemble, make_features, origin, both):
    with pytest.raises(FeaturesRefused, match=both):
        make_ensemble().predict(make_features(**origin))


def test_features_of_another_width_are_refused_with_both_named(make_ensemble, make_features):
    with pytest.raises(FeaturesRefused, match="patient: features are 768 wide, tiny takes 24"):
        make_ensemble().predict(make_features(values=np.zeros((60, 768), np.float32)))


def test_features_without_an_encoder_warn(make_ensemble, make_features):
    silent = make_features(encoder=None, weights_sha256=None, preprocessing=None)
    (warning,) = make_ensemble().predict(silent).warnings
    assert "does not record its encoder, encoder weights, preprocessing" in warning


@pytest.mark.parametrize(("width", "seems"), [(22.4, "larger"), (27.6, "smaller"), (50.0, "smaller")])
def test_field_of_view_more_than_a_tenth_off_warns_and_names_both(make_ensemble, make_features, width, seems):
    (warning,) = make_ensemble().predict(make_features(field_of_view_um=width)).warnings
    assert f"{width:.1f} µm" in warning
    assert "25.0 µm" in warning
    assert seems in warning


@pytest.mark.parametrize("width", [22.5, 25.0, 27.5])
def test_field_of_view_up_to_a_tenth_off_does_not_warn(make_ensemble, make_features, width):
    assert make_ensemble().predict(make_features(field_of_view_um=width)).warnings == ()


@pytest.mark.parametrize("width", [None, 0.0, -25.0, float("nan"), float("inf")])
def test_unknown_or_impossible_field_of_view_warns(make_ensemble, make_features, width):
    prediction = make_ensemble().predict(make_features(field_of_view_um=width))
    assert prediction.field_of_view_um is None
    (warning,) = prediction.warnings
    assert "no scale" in warning


def test_an_assumed_field_of_view_is_recorded_and_a_warning(make_ensemble, make_features):
    prediction = make_ensemble().predict(make_features(field_of_view_um=25.0, assumed_export="Metafer"))
    assert prediction.assumed_export == "Metafer"
    (warning,) = prediction.warnings
    assert "assumed" in warning
    assert "Metafer" in warning


def test_model_of_unknown_field_of_view_does_not_compare_the_scale(make_ensemble, make_features):
    ensemble = make_ensemble(field_of_view_um=None)
    assert ensemble.predict(make_features(field_of_view_um=None)).warnings == ()
    assert ensemble.predict(make_features(field_of_view_um=80.0)).warnings == ()


def test_classes_are_those_of_the_model(make_ensemble, make_features):
    two = Taxonomy(name="two", classes=caltomorph_taxonomy().classes[-2:])
    prediction = make_ensemble(taxonomy=two).predict(make_features())
    assert prediction.predicted_class in {"Reactive changes", "Healthy"}
    assert prediction.malignancy == 0
    assert not prediction.is_malignant


def test_progress_counts_every_layer_and_every_cell_of_every_member(make_ensemble, make_features):
    calls = []
    make_ensemble(members=2).predict(make_features(600), progress=calls.append)
    layers, alone = [[(c.done, c.total) for c in calls if c.unit == unit] for unit in ("layers", "cells")]
    assert sorted(set(layers)) == [(done, 4) for done in range(5)]  # two layers a member
    assert (alone[0], alone[-1]) == ((256, 1200), (1200, 1200))
    for done in (layers, alone):
        assert done == sorted(done)


def test_cancelling_at_any_call_stops_and_leaves_the_ensemble_usable(make_ensemble, make_features):
    ensemble, features = make_ensemble(members=2), make_features(300)
    calls = []
    expected = undated(ensemble.predict(features, progress=calls.append))
    for stop in range(len(calls)):
        seen = []

        def cancel(progress, seen=seen, stop=stop):
            seen.append(progress)
            if len(seen) > stop:
                raise Cancelled

        with pytest.raises(Cancelled):
            ensemble.predict(features, progress=cancel)
        assert len(seen) == stop + 1
    assert undated(ensemble.predict(features)) == expected


def test_members_in_training_mode_predict_as_in_evaluation(make_ensemble, make_features):
    ensemble, features = make_ensemble(), make_features()
    expected = undated(ensemble.predict(features))
    for member in ensemble.members:
        member.train()
    assert undated(ensemble.predict(features)) == expected


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (TransformerOptions(depth=1, heads=2, width=16, mlp_width=32, pooling="mean"), "rollout"),
        (AbmilOptions(width=16, attention_width=8), "weights"),
        (WbcmilOptions(attention_width=8), "weights"),
        (MeanOptions(), "none"),
        (MaxOptions(), "none"),
    ],
)
def test_any_aggregator_is_saved_loaded_and_predicts(make_ensemble, make_features, tmp_path, options, kind):
    created, features = make_ensemble(aggregator=options), make_features(60)
    created.save(tmp_path / "model")
    prediction = Ensemble.load(tmp_path / "model").predict(features)
    assert undated(prediction).probabilities == pytest.approx(created.predict(features).probabilities)
    assert prediction.attention_kind == kind
    assert prediction.attention.mean() == pytest.approx(1)
    assert (prediction.attention == 1).all() == (kind == "none")
    assert prediction.has_attention == (kind != "none")
    if kind == "none":
        assert prediction.order.tolist() == list(range(60))
    prediction.save(tmp_path / "prediction.json")
    assert Prediction.load(tmp_path / "prediction.json") == prediction


def test_member_outputs_are_what_predict_averages(make_ensemble, make_features):
    ensemble, features = make_ensemble(), make_features()
    outputs, prediction = ensemble.member_outputs(features), ensemble.predict(features)
    np.testing.assert_allclose(outputs.probabilities, prediction.member_probabilities, atol=1e-6)
    np.testing.assert_allclose(outputs.hemoglobin, prediction.member_hemoglobin, atol=1e-5)
    assert outputs.embeddings.shape == (3, 16)
    some = ensemble.member_outputs(features, (2, 0))
    np.testing.assert_array_equal(some.probabilities, outputs.probabilities[[2, 0]])
    np.testing.assert_array_equal(some.embeddings, outputs.embeddings[[2, 0]])
    assert make_ensemble(hemoglobin=None).member_outputs(features).hemoglobin is None


def test_outputs_that_are_not_finite_and_features_of_another_encoder_are_refused(make_ensemble, make_features):
    with pytest.raises(FeaturesRefused, match="was trained on"):
        make_ensemble().member_outputs(make_features(encoder="dinobloom-b"))
    with pytest.raises(FeaturesRefused, match="finite"):
        make_ensemble().member_outputs(make_features(values=np.full((3, 24), 3e38, dtype=np.float32)))


def test_a_loaded_model_has_its_training_patients_only_with_private(make_ensemble, tmp_path):
    ensemble = make_ensemble()
    assert ensemble.training_patients() is None
    ensemble.save(tmp_path / "exported")
    assert Ensemble.load(tmp_path / "exported").training_patients() is None
    texts = dict.fromkeys(("coarse", "detailed", "group", "fingerprint"), ensemble.description.taxonomy.slugs[0])
    table = pd.DataFrame({"patient_id": ["a", "b"], "fold": [0, 1], "hemoglobin_g_dl": [9.5, 12.0], **texts})
    Ensemble(ensemble.description, ensemble.members, TrainingPatients(table, torch.zeros(3, 2, 16))).save(
        tmp_path / "m"
    )
    known = Ensemble.load(tmp_path / "m").training_patients()
    assert list(known.table["patient_id"]) == ["a", "b"]
