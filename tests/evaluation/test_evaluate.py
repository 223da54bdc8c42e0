"""Real members on small cohorts: which member predicts which patient, what is refused, and what is written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.conftest import write_cell_tiff
from tests.evaluation.factories import FAST, cohort_of
from tests.stopping import Cancels
from tests.training.factories import ORIGIN, save_features, with_column

from napari_caltomorph.diagnosis import Ensemble, Prediction
from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.domain_fit import fit_domain
from napari_caltomorph.diagnosis.model_folder import TrainingPatients
from napari_caltomorph.diagnosis.prediction_files import patient_row
from napari_caltomorph.encoding import Features
from napari_caltomorph.errors import EvaluationRefused, EvaluationUnreadable, FeaturesRefused
from napari_caltomorph.evaluation import Evaluation, evaluate
from napari_caltomorph.progress import Cancelled

OUT_OF_FOLD = FAST.model_copy(update={"split": "train", "out_of_fold": True})
ALL = FAST.model_copy(update={"split": "all"})


@pytest.fixture
def strangers(tmp_path):
    """``strangers(labels...)``: a cohort of new patients with features, in the given coarse classes or none."""

    def make(*coarse: str | None, **columns: list[object]):
        (tmp_path / "features").mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        rows = []
        for i, slug in enumerate(coarse):
            patient = f"new-{i}"
            mark = f"{i:064x}"
            save_features(tmp_path, patient, rng.normal(size=(6, 8)), replace(ORIGIN, smear_fingerprint=mark))
            row = {"patient_id": patient, "coarse": slug, "raw_label": slug, "fingerprint": mark}
            rows.append(row | {name: values[i] for name, values in columns.items()})
        return cohort_of(rows), tmp_path / "features"

    return make


def ids_of(cohort, split):
    return list(cohort.table.loc[cohort.table["split"] == split, "patient_id"])


def with_fingerprints(ensemble: Ensemble, marks: dict[str, str]) -> Ensemble:
    """The same model, which knows the smears of some of its training patients."""
    known = ensemble.training_patients()
    table = known.table.assign(fingerprint=known.table["patient_id"].map(marks).astype("string"))
    return replace(ensemble, patients=TrainingPatients(table, known.embeddings))


def test_the_test_split_is_evaluated_as_predict_would(ensemble, trained, evaluation):
    assert list(evaluation.patients["patient_id"]) == ids_of(trained.cohort, "test")
    for row in evaluation.patients.itertuples(index=False):
        prediction = ensemble.predict(Features.load(trained.features / f"{row.patient_id}.h5"))
        row_probabilities = [getattr(row, f"p_{slug}") for slug in evaluation.taxonomy.slugs]
        np.testing.assert_allclose(row_probabilities, prediction.probabilities, atol=1e-6)
        assert row.hemoglobin_g_dl == pytest.approx(prediction.hemoglobin, abs=1e-4)
    table = evaluation.table()
    assert set(patient_row(prediction)) - set(table.columns) <= {"stands_out", "prevalence", "training_prevalence"}
    last = table.iloc[-1]
    assert last["predicted_class"] == prediction.predicted_class
    assert last["second_class"] == prediction.top(2)[1][0]
    assert last["malignancy"] == pytest.approx(prediction.malignancy, abs=1e-6)
    assert evaluation.patients["fold"].isna().all()


def test_a_calibrated_model_is_evaluated_by_the_probabilities_it_shows(ensemble, trained, evaluation):
    slugs = ensemble.description.taxonomy.slugs
    calibration = Calibration(
        temperature=2.0, alpha=0.1, quantiles=dict.fromkeys(slugs), patients=dict.fromkeys(slugs, 0), source="made"
    )
    warm = replace(ensemble, description=ensemble.description.model_copy(update={"calibration": calibration}))
    result = evaluate(warm, trained.cohort, trained.features, FAST)
    first = Features.load(trained.features / f"{result.patients['patient_id'].iloc[0]}.h5")
    prediction: Prediction = warm.predict(first)
    np.testing.assert_allclose(result.probabilities[0], prediction.probabilities, atol=1e-6)
    assert not np.allclose(result.probabilities[0], evaluation.probabilities[0], atol=1e-3)
    assert result.table()["calibrated"].all()
    assert result.table()["prediction_set"].iloc[0] == "; ".join(prediction.prediction_set)
    assert result.headline["set_coverage"].value == 1.0  # no class has a quantile, so that none is ever excluded
    assert "too few calibration patients" in result.by_class[slugs[0]].numbers["set_coverage"].remark
    assert evaluation.headline["set_coverage"].remark == "the model is not calibrated"
    assert "set_coverage" not in evaluation.by_class[slugs[0]].numbers
    sharp = calibration.model_copy(update={"quantiles": dict.fromkeys(slugs, 0.65)})
    sharper = replace(ensemble, description=ensemble.description.model_copy(update={"calibration": sharp}))
    result = evaluate(sharper, trained.cohort, trained.features, FAST)
    own = result.probabilities[np.arange(len(result)), result.classes]
    is_in = 1 - own <= 0.65 + 1e-9
    assert result.headline["set_coverage"].value == pytest.approx(np.mean(is_in))
    for index, one in enumerate(result.by_class.values()):
        coverage = one.numbers["set_coverage"]
        assert (coverage.value, coverage.method) == (pytest.approx(is_in[result.classes == index].mean()), "Wilson")


def test_a_smear_unlike_the_training_cohort_is_evaluated_raw_as_predict_would(ensemble, strangers):
    slugs = ensemble.description.taxonomy.slugs
    calibration = Calibration(
        temperature=2.0, alpha=0.1, quantiles=dict.fromkeys(slugs), patients=dict.fromkeys(slugs, 0), source="made"
    )
    rng = np.random.default_rng(0)
    fitted = [rng.normal(size=(6, 8)).astype(np.float32) for _ in range(30)]
    stranger = Features.load(strangers(None)[1] / "new-0.h5")
    embeddings = np.stack([ensemble.member_outputs(stranger).embeddings] * 30, axis=1)
    embeddings += rng.normal(size=embeddings.shape).astype(np.float32)
    knowing = replace(
        ensemble,
        description=ensemble.description.model_copy(update={"calibration": calibration}),
        domain=fit_domain(fitted, embeddings, np.arange(30) % len(ensemble.members)),
    )
    cohort, features = strangers(slugs[0], slugs[0])
    save_features(features.parent, "new-1", rng.normal(size=(6, 8)) + 9, replace(ORIGIN, smear_fingerprint="f" * 64))
    result = evaluate(knowing, cohort, features, ALL)
    assert list(result.is_outside_domain) == [False, True]
    for i in range(2):
        prediction = knowing.predict(Features.load(features / f"new-{i}.h5"))
        assert prediction.is_outside_domain == result.is_outside_domain[i]
        np.testing.assert_allclose(result.probabilities[i], prediction.probabilities, atol=1e-6)
    table = result.table()
    assert list(table["calibrated"]) == [True, False]
    assert table["prediction_set"].iloc[0]
    assert pd.isna(table["prediction_set"].iloc[1])
    assert "Unlike the training cohort" in table["warnings"].iloc[1]
    assert list(result.patients["far_aspects"]) == ["", "|".join(prediction.domain.far)]
    assert prediction.domain.far
    assert result.headline["set_coverage"].patients == 1
    assert any(
        "1 of 2 smears are unlike the training cohort" in row_probabilities for row_probabilities in result.statements
    )


def test_training_patients_are_refused_by_id(ensemble, trained):
    with pytest.raises(EvaluationRefused, match=r"trained on 36 of the 48 patients .*found by id.*--out-of-fold"):
        evaluate(ensemble, trained.cohort, trained.features, ALL)


def test_training_patients_are_found_by_their_smear_under_another_id(ensemble, trained, strangers):
    cohort, features = strangers("acute_leukemia", "healthy")
    knows = with_fingerprints(ensemble, {ids_of(trained.cohort, "train")[0]: f"{1:064x}"})
    with pytest.raises(EvaluationRefused, match="new-1, found by the same cells"):
        evaluate(knows, cohort, features, FAST)
    only_the_files_say_it = with_column(cohort, "fingerprint", {"new-0": None, "new-1": None})
    with pytest.raises(EvaluationRefused, match="new-1, found by the same cells"):
        evaluate(knows, only_the_files_say_it, features, FAST)


def test_training_patients_are_found_by_shared_images(ensemble, trained):
    someone, other = ids_of(trained.cohort, "train")[0], ids_of(trained.cohort, "test")[0]
    cohort = with_column(trained.cohort, "shared_images", {someone: "3", other: "3 4"})
    with pytest.raises(EvaluationRefused, match=f"{other}, found by shared images"):
        evaluate(ensemble, cohort, trained.features, FAST)


def test_training_patients_are_found_where_either_is_a_slide_of_the_other(ensemble, trained, strangers):
    someone = ids_of(trained.cohort, "train")[0]
    cohort, features = strangers("acute_leukemia", "healthy", slide_of=[someone, None])
    with pytest.raises(EvaluationRefused, match=r"1 of the 2 patients .*new-0, found by slides of one patient"):
        evaluate(ensemble, cohort, features, FAST)
    known = ensemble.training_patients()
    table = known.table.assign(slide_of=known.table["patient_id"].map({someone: "new-1"}).astype("string"))
    changed = replace(ensemble, patients=TrainingPatients(table, known.embeddings))
    with pytest.raises(EvaluationRefused, match=r"1 of the 2 patients .*new-1, found by slides of one patient"):
        evaluate(changed, strangers("acute_leukemia", "healthy")[0], features, FAST)
    result = evaluate(changed, cohort_of_one(cohort, "new-1"), features, FAST.model_copy(update={"out_of_fold": True}))
    assert result.patients["fold"].tolist() == [int(table["fold"][table["patient_id"] == someone].iloc[0])]


def with_groups(ensemble: Ensemble, groups: dict[str, str]) -> Ensemble:
    """The same model, trained with groups for some of its patients."""
    known = ensemble.training_patients()
    table = known.table.assign(group=known.table["patient_id"].map(groups).astype("string"))
    return replace(ensemble, patients=TrainingPatients(table, known.embeddings))


# Group of the training patient {id}, id and group of the evaluated one, and how the latter is found.
SECOND_SMEARS = {
    "one group": ("ann", "new-0", "ann", "by group ann"),
    "one group, spelled otherwise": (" Ann", "new-0", "ANN", "by group"),
    "the training has smears, the cohort has persons": ("new-0", "new-0", None, "by group new-0"),
    "the training has persons, the cohort has smears": (None, "new-0", "{id}", "by group {id}"),
    "an id that is spelled otherwise": (None, "{id}".upper(), None, "by id, {id} in training"),
}


@pytest.mark.parametrize("case", SECOND_SMEARS)
def test_another_smear_of_a_training_patient_is_found_and_evaluated_by_the_member_without_the_person(
    ensemble, trained, strangers, case
):
    someone = ids_of(trained.cohort, "train")[5]
    theirs, name, group, how = (None if text is None else text.replace("{id}", someone) for text in SECOND_SMEARS[case])
    knows = with_groups(ensemble, {} if theirs is None else {someone: theirs})
    cohort, features = strangers("acute_leukemia", "healthy", group=[group, None])
    if case.startswith("an id"):
        name = someone.upper()
        cohort = with_column(cohort, "patient_id", {"new-0": name})
        (features / "new-0.h5").rename(features / f"{name}.h5")
    with pytest.raises(EvaluationRefused, match=rf"trained on 1 of the 2 patients .*{name}, found {how}"):
        evaluate(knows, cohort, features, FAST)
    result = evaluate(knows, cohort, features, FAST.model_copy(update={"out_of_fold": True}))
    table = ensemble.training_patients().table.set_index("patient_id")
    assert result.patients["fold"].tolist() == [table["fold"][someone], pd.NA]


def test_who_shares_a_group_with_a_training_patient_of_the_cohort_is_found(ensemble, trained):
    someone, other = ids_of(trained.cohort, "train")[0], ids_of(trained.cohort, "test")[0]
    cohort = with_column(trained.cohort, "group", {someone: "ann", other: "ann"})
    with pytest.raises(EvaluationRefused, match=f"1 of the 12 patients .*{other}, found by group ann"):
        evaluate(ensemble, cohort, trained.features, FAST)


def test_ids_and_groups_that_number_different_things_are_not_compared(ensemble, strangers):
    ids = list(ensemble.training_patients().table["patient_id"])
    knows = with_groups(ensemble, {ids[0]: "new-0", ids[1]: "new-1"})
    cohort, features = strangers("acute_leukemia", "healthy", group=["new-1", "site 3"])
    with pytest.raises(EvaluationRefused, match=r"1 of the 2 patients .*new-0, found by group new-1"):
        evaluate(knows, cohort, features, FAST)  # new-1 is a site: that it is a patient's id as well says nothing


def test_what_groups_could_be_compared_is_a_statement(ensemble, strangers):
    someone = ensemble.training_patients().table["patient_id"][0]
    knows = with_groups(ensemble, {someone: "ann"})
    without, features = strangers("acute_leukemia", "healthy")
    having, _ = strangers("acute_leukemia", "healthy", group=["eve", "eve"])
    found = {
        evaluation.provenance.training_groups: any(
            "another smear of a training patient" in s for s in evaluation.statements
        )
        for model in (ensemble, knows)
        for evaluation in (evaluate(model, cohort, features, FAST) for cohort in (without, having))
    }
    assert found == {"in neither": True, "not in training": True, "not in the cohort": True, "compared": False}


def cohort_of_one(cohort, patient):
    return replace(cohort, table=cohort.table[cohort.table["patient_id"] == patient].reset_index(drop=True))


def test_out_of_fold_each_is_evaluated_by_the_member_that_was_not_trained_on_them(ensemble, trained):
    result = evaluate(ensemble, trained.cohort, trained.features, OUT_OF_FOLD)
    kept = ensemble.training_patients().table.set_index("patient_id").loc[result.patients["patient_id"]]
    assert result.patients["fold"].tolist() == kept["fold"].tolist()
    for slug in result.taxonomy.slugs:
        np.testing.assert_allclose(result.patients[f"p_{slug}"], kept[f"out_of_fold_p_{slug}"], atol=1e-6)
    np.testing.assert_allclose(result.patients["hemoglobin_g_dl"], kept["out_of_fold_hemoglobin_g_dl"], atol=1e-4)
    assert result.statements[0].startswith("Out of fold")
    assert "single members, not of the ensemble" in result.statements[0]
    assert result.embeddings.training.shape[0] == 0  # all of them are evaluated
    recorded = ensemble.description.training.out_of_fold.pooled["accuracy"].value
    assert result.headline["accuracy"].value == pytest.approx(recorded)


def test_patients_that_all_members_trained_on_are_not_evaluated_even_out_of_fold(ensemble, trained):
    known = ensemble.training_patients()
    table = known.table.astype({"fold": float})
    table.loc[[0, 1], "fold"] = [np.nan, -1]
    changed = replace(ensemble, patients=TrainingPatients(table, known.embeddings))
    result = evaluate(changed, trained.cohort, trained.features, OUT_OF_FOLD)
    assert result.not_evaluated.values.tolist() == [[table["patient_id"][0], "all members were trained on the patient"]]
    assert len(result) == 35
    assert any("Set aside in training: 1 patient" in note for note in result.notes)
    aside = result.patients.set_index("patient_id").loc[table["patient_id"][1]]
    assert pd.isna(aside["fold"])
    features = Features.load(trained.features / f"{table['patient_id'][1]}.h5")
    everyone = ensemble.member_outputs(features).probabilities.mean(axis=0)
    np.testing.assert_allclose([aside[f"p_{slug}"] for slug in result.taxonomy.slugs], everyone, atol=1e-6)


def test_images_of_two_folds_leave_no_eligible_member(ensemble, trained):
    table = ensemble.training_patients().table
    one, two = (table.loc[table["fold"] == k, "patient_id"].iloc[0] for k in (0, 1))
    cohort = with_column(trained.cohort, "shared_images", {one: "7", two: "7"})
    result = evaluate(ensemble, cohort, trained.features, OUT_OF_FOLD)
    assert sorted(result.not_evaluated["patient_id"]) == sorted([one, two])
    assert "several folds" in result.not_evaluated["reason"].iloc[0]


def test_out_of_fold_is_refused_where_no_patient_is_known(ensemble, trained):
    with pytest.raises(EvaluationRefused, match="--split train"):
        evaluate(ensemble, with_marks(trained.cohort), trained.features, FAST.model_copy(update={"out_of_fold": True}))


def with_marks(cohort):
    return replace(cohort, table=cohort.table.assign(fingerprint=[f"{i:064x}" for i in range(len(cohort))]))


def test_an_exported_model_reports_that_overlap_could_not_be_checked(trained, tmp_path):
    exported = shutil.copytree(trained.model, tmp_path / "exported", ignore=shutil.ignore_patterns("private"))
    result = evaluate(Ensemble.load(exported), trained.cohort, trained.features, ALL)
    assert len(result) == 48
    assert result.provenance.training_check == "not possible"
    assert any("could not be checked" in one for one in result.statements)
    assert result.embeddings.training is None
    with pytest.raises(EvaluationRefused, match="exported copy"):
        evaluate(Ensemble.load(exported), trained.cohort, trained.features, OUT_OF_FOLD)


def test_embeddings_are_those_of_one_named_member(ensemble, trained, evaluation):
    kept = ensemble.training_patients()
    assert evaluation.embeddings.member == 0
    assert evaluation.embeddings.evaluated.shape == (12, 16)
    np.testing.assert_array_equal(evaluation.embeddings.training, kept.embeddings[0].numpy())
    assert list(evaluation.embeddings.training_classes) == kept.table["coarse"].tolist()
    assert list(evaluation.embeddings.training_held_out) == kept.table["fold"].isin([0, -1]).tolist()
    first = Features.load(trained.features / f"{evaluation.patients['patient_id'].iloc[0]}.h5")
    np.testing.assert_allclose(
        evaluation.embeddings.evaluated[0], ensemble.member_outputs(first).embeddings[0], atol=1e-6
    )


def test_what_is_saved_comes_back_and_gives_the_same_numbers(evaluation, tmp_path):
    paths = evaluation.save(tmp_path / "out")
    assert {path.name for path in paths} == {"evaluation.json", "predictions.csv", "embeddings.safetensors"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in paths}
    back = Evaluation.load(tmp_path / "out")
    pd.testing.assert_frame_equal(back.patients, evaluation.patients)
    np.testing.assert_array_equal(back.embeddings.evaluated, evaluation.embeddings.evaluated)
    assert back.embeddings.training_classes == evaluation.embeddings.training_classes
    assert back.embeddings.training_held_out == evaluation.embeddings.training_held_out != ()
    assert (back.provenance, back.options) == (evaluation.provenance, evaluation.options)
    assert back.headline == evaluation.headline
    assert back.statements == evaluation.statements
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert content["numbers"]["headline"]["accuracy"]["value"] == evaluation.headline["accuracy"].value
    assert content["provenance"]["model_fingerprint"] == evaluation.provenance.model_fingerprint
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 12
    assert len(back.covariates) == 12


def test_a_damaged_or_newer_evaluation_is_one_sentence(evaluation, tmp_path):
    evaluation.save(tmp_path)
    path = tmp_path / "evaluation.json"
    content = json.loads(path.read_text())
    for text, why in (
        ("no json", "cannot|can be read"),
        (json.dumps(content | {"schema_version": 9}), "pip install --upgrade"),
        (json.dumps(content | {"surprise": 1}), "surprise"),
        (json.dumps(content | {"embeddings_sha256": "0" * 64}), "another evaluation"),
    ):
        path.write_text(text)
        with pytest.raises(EvaluationUnreadable, match=why):
            Evaluation.load(tmp_path)
    with pytest.raises(EvaluationUnreadable):
        Evaluation.load(tmp_path / "nowhere")


def test_an_empty_cohort_and_an_empty_split_are_refused(ensemble, trained):
    empty = replace(trained.cohort, table=trained.cohort.table.iloc[:0])
    with pytest.raises(EvaluationRefused, match="has no patients"):
        evaluate(ensemble, empty, trained.features, FAST)
    only_training = replace(trained.cohort, table=trained.cohort.table.query("split == 'train'"))
    with pytest.raises(EvaluationRefused, match=r"no patients in its test split \(36 train\)"):
        evaluate(ensemble, only_training, trained.features, FAST)


def test_a_cohort_without_splits_is_evaluated_whole(ensemble, strangers):
    cohort, features = strangers("acute_leukemia", "lymphoma", "healthy", None)
    result = evaluate(ensemble, cohort, features, FAST)
    assert len(result) == 4
    assert result.counts["no label"] == 1
    assert any("1 patient without a label" in one for one in result.statements)


def test_one_patient_is_evaluated(ensemble, strangers):
    result = evaluate(ensemble, *strangers("healthy"), FAST)
    assert result.headline["accuracy"].patients == 1
    assert result.at().sensitivity.remark == "no malignant patient"


def test_a_cohort_of_other_classes_only_and_one_without_labels(ensemble, strangers):
    cohort, features = strangers("mds", "plasma_cell_neoplasm")
    result = evaluate(ensemble, cohort, features, FAST)
    assert [row.name for row in result.confusion.rows if row.kind == "other"] == ["MDS", "Plasma cell neoplasm"]
    assert result.headline["accuracy"].value is None
    cohort, features = strangers(None, None)
    result = evaluate(ensemble, cohort, features, FAST)
    assert not result.is_labelled
    assert len(result.table()) == 2


def test_hemoglobin_that_some_lack_is_evaluated_on_the_others(ensemble, strangers):
    cohort, features = strangers(*["healthy"] * 5, hemoglobin_g_dl=[14.0, None, 13.0, 12.0, 15.0])
    result = evaluate(ensemble, cohort, features, FAST)
    assert result.hemoglobin[0].patients == 4
    assert result.hemoglobin[0].numbers["mae"].is_defined
    cohort, features = strangers("healthy")
    assert evaluate(ensemble, cohort, features, FAST).hemoglobin[0].numbers["mae"].remark == (
        "no patient's hemoglobin was measured"
    )


def test_features_of_another_encoder_and_damaged_ones_are_refused(ensemble, strangers, tmp_path):
    cohort, features = strangers("healthy", "lymphoma")
    save_features(tmp_path, "new-1", np.zeros((3, 8)), replace(ORIGIN, encoder="dinobloom-s"))
    with pytest.raises(FeaturesRefused, match="dinobloom-s made these features"):
        evaluate(ensemble, cohort, features, FAST)
    save_features(tmp_path, "new-1", np.zeros((3, 9)), ORIGIN)
    with pytest.raises(FeaturesRefused, match="9 wide"):
        evaluate(ensemble, cohort, features, FAST)
    import h5py

    with h5py.File(features / "new-1.h5", "w") as file:
        file["features"] = np.full((3, 8), np.nan, dtype=np.float32)
    with pytest.raises(FeaturesRefused, match="not finite"):
        evaluate(ensemble, cohort, features, FAST)


def test_missing_features_are_refused_or_skipped_and_counted(ensemble, strangers):
    cohort, features = strangers("healthy", "lymphoma")
    (features / "new-1.h5").unlink()
    with pytest.raises(EvaluationRefused, match=r"1 of 2 patients have no features .*--skip-missing"):
        evaluate(ensemble, cohort, features, FAST)
    result = evaluate(ensemble, cohort, features, FAST.model_copy(update={"skip_missing": True}))
    assert result.not_evaluated.values.tolist() == [["new-1", "no features"]]
    assert any("Not evaluated: 1 patient" in one for one in result.statements)


@pytest.mark.parametrize(("name", "text"), [("map.json", '{"mds": "acute_leukemia", "mpn": null}'),
                                            ("map.toml", 'mds = "acute_leukemia"\nmpn = "none"')])  # fmt: skip
def test_classes_are_mapped_by_an_explicit_file(ensemble, strangers, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    cohort, features = strangers("mds", "acute_leukemia", "mpn", "healthy")
    result = evaluate(ensemble, cohort, features, FAST.model_copy(update={"classes_map": tmp_path / name}))
    assert result.patients["truth"].fillna("-").tolist() == ["acute_leukemia", "acute_leukemia", "-", "healthy"]
    assert result.patients["row"].iloc[2] == "MPN"
    assert "mds = acute_leukemia, mpn = none" in " ".join(result.statements)


def test_sets_of_right_answers_go_through_the_map(ensemble, strangers, tmp_path):
    (tmp_path / "map.json").write_text('{"mds": "acute_leukemia"}')
    sets = ["acute_leukemia|mds", "acute_leukemia|lymphoma", "acute_leukemia|mpn"]
    cohort, features = strangers(None, None, None, coarse_set=sets)
    result = evaluate(ensemble, cohort, features, FAST.model_copy(update={"classes_map": tmp_path / "map.json"}))
    assert result.patients["truth"].fillna("-").tolist() == ["acute_leukemia", "-", "-"]
    assert result.patients["coarse_set"].fillna("-").tolist() == ["-", "acute_leukemia|lymphoma", "-"]
    assert result.patients["row"].fillna("-").tolist() == ["-", "-", "Acute leukemia or MPN"]


def test_labels_of_no_class_are_grouped_by_the_file_and_by_their_spelling(ensemble, strangers, tmp_path):
    labels = ["MGUS IgG", "MGUS, IgM", "Mastocytosis", "mastocytosis", "Mastocytosis", "AML NOS", "MPN"]
    (tmp_path / "map.toml").write_text(
        '"mgus IgG" = "none: MGUS"\n"MGUS IgM" = "none: MGUS"\n"AML NOS" = "acute_leukemia"\nmpn = "none: Other MPN"'
    )
    cohort, features = strangers(*[None] * 6, "mpn", raw_label=labels)
    result = evaluate(ensemble, cohort, features, FAST.model_copy(update={"classes_map": tmp_path / "map.toml"}))
    assert result.patients["row"].fillna("-").tolist() == [
        "MGUS", "MGUS", "Mastocytosis", "Mastocytosis", "Mastocytosis", "-", "Other MPN",
    ]  # fmt: skip
    assert result.patients["truth"].dropna().tolist() == ["acute_leukemia"]
    assert [(row.name, row.kind) for row in result.confusion.rows[3:]] == [
        ("Mastocytosis", "other"), ("MGUS", "other"), ("Other MPN", "other"),
    ]  # fmt: skip


def test_predictions_are_shown_against_a_column_or_the_share_of_a_cell_type(ensemble, strangers, tmp_path, make_cell):
    paths = []
    for number, kind in enumerate(("Myeloblast", "Lymphocyte", "Myeloblast")):
        place = tmp_path / "cells" / f"new-{number}" / kind
        place.mkdir(parents=True)
        write_cell_tiff(place / "1.tif", make_cell(number))
        paths.append(str(place.parent))
    paths[2] = str(tmp_path / "gone")
    cohort, features = strangers("acute_leukemia", "lymphoma", "healthy", path=paths, wbc=[3, 9, 5])
    against = FAST.model_copy(update={"against": ("wbc", "myeloblast")})
    result = evaluate(ensemble, cohort, features, against)
    assert [one.column for one in result.covariate_associations] == ["wbc", "share of labelled cells: myeloblast"]
    assert [one.patients for one in result.covariate_associations] == [3, 2]
    assert result.covariates["share of labelled cells: myeloblast"].fillna(-1).tolist() == [1, 0, -1]
    with pytest.raises(EvaluationRefused, match=r"--against blasts: .* labelled are Lymphocyte, Myeloblast"):
        evaluate(ensemble, cohort, features, FAST.model_copy(update={"against": ("blasts",)}))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"nothing": "healthy"}', "'nothing' is no class of the cohort"),
        ('{"mds": "nothing"}', "'nothing' is no class of the model"),
        ('["mds"]', "one object"),
        ("mds", "map.json .*write it as JSON or TOML"),
    ],
)
def test_a_bad_classes_map_is_one_sentence(ensemble, strangers, tmp_path, text, why):
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(EvaluationRefused, match=why):
        evaluate(ensemble, *strangers("mds"), FAST.model_copy(update={"classes_map": tmp_path / "map.json"}))


def test_a_callback_can_cancel_it(ensemble, trained):
    with pytest.raises(Cancelled):
        evaluate(ensemble, trained.cohort, trained.features, FAST, progress=Cancels(lambda now: now.done == 3))
