"""The shortcut audit: it finds what tells the label without the cells, and nothing where there is nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import fisher_exact, kstest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from napari_caltomorph.audit.columns import origin_columns, origins, routine_columns, routine_table
from napari_caltomorph.audit.image_traits import ImageTraits, border_traits, colour_traits, image_traits
from napari_caltomorph.audit.patients import AuditOptions
from napari_caltomorph.audit.result import Audit
from napari_caltomorph.audit.run import audit, audit_of_traits
from napari_caltomorph.cohort import Cohort, CohortOptions, with_types
from napari_caltomorph.cohort.synthetic import SyntheticPatients
from napari_caltomorph.errors import CellUnreadable, SmearUnreadable
from napari_caltomorph.progress import Cancelled, Progress
from napari_caltomorph.smear import Smear, smear_from_array
from napari_caltomorph.smear.sources import ArraySource
from napari_caltomorph.synthetic import Stain, SynthOptions, synthesize_patient
from napari_caltomorph.taxonomy import caltomorph_taxonomy

SIDE = 64
PALE = Stain(light=(250, 232, 210), gain=(0.95, 0.95, 0.95), blur=0.05, unevenness=0.02, noise=1.0, crowding=0.7)
DARK = replace(PALE, light=(240, 215, 205), gain=(1.15, 1.1, 1.2))
QUICK = AuditOptions(shufflings=80, cells=6)
QUICKER = AuditOptions(shufflings=20)  # where p does not matter


def cohort_of(classes: list[str], *, folds: int | None = 4, **columns: object) -> Cohort:
    """Patients p000 ... of these coarse classes, dealt into folds in turn within each class."""
    table = pd.DataFrame({"patient_id": [f"p{i:03d}" for i in range(len(classes))], "coarse": classes, **columns})
    if folds is not None:
        table["fold"] = table.groupby("coarse").cumcount() % folds
        table["split"] = "train"
    return Cohort("made up", Path("/nowhere"), "table", caltomorph_taxonomy(), with_types(table))


def halves(count: int) -> list[str]:
    return ["acute_leukemia", "lymphoma"] * (count // 2)


def traits_of(cohort: Cohort, rng: np.random.Generator, shift: float = 0.0) -> ImageTraits:
    """Random traits; those of the borders are shifted in lymphoma."""
    ids, is_second = cohort.table["patient_id"].astype(str), (cohort.table["coarse"] == "lymphoma").to_numpy(dtype=bool)

    def table(width: int) -> pd.DataFrame:
        return pd.DataFrame(rng.standard_normal((len(ids), width)), index=ids, columns=[f"t{i}" for i in range(width)])

    borders, colours, sizes = table(4), table(4), table(2)
    borders.loc[is_second, "t0"] += shift
    return ImageTraits(borders, colours, sizes, {})


def nothing_measured(cohort: Cohort) -> ImageTraits:
    empty = pd.DataFrame(index=cohort.table["patient_id"].astype(str))
    return ImageTraits(empty, empty, empty, {})


def drawn(patient: str, label: str, stain: Stain) -> Smear:
    """Three cells of a patient with the hemoglobin of everybody, so that red cells know nothing of the disease."""
    number = int(patient[1:])
    detailed = {"acute_leukemia": "aml", "lymphoma": "cll"}[label]
    made = replace(synthesize_patient(detailed, cells=3, seed=number), stain=stain, hemoglobin_g_dl=13.0)
    return smear_from_array(np.stack(list(made.images(SIDE))), patient)


def audit_of_stains(stains: list[Stain]) -> Audit:
    cohort = cohort_of(halves(len(stains)))
    labels = dict(zip(cohort.table["patient_id"], cohort.table["coarse"], strict=True))
    return audit(cohort, QUICK, open_smear=lambda patient: drawn(patient, labels[patient], stains[int(patient[1:])]))


def row_of(found: Audit, name: str):
    return next(row for row in found.rows if row.name == name)


def a_cell() -> NDArray[np.uint8]:
    return replace(synthesize_patient("cll", cells=1, seed=1), stain=PALE).image(0, 144)


# Traits of images


def test_what_is_inside_the_frame_cannot_leak_into_the_border() -> None:
    image = a_cell()
    painted = image.copy()
    painted[17:-17, 17:-17] = np.random.default_rng(0).integers(0, 256, size=(110, 110, 3))
    assert border_traits(painted) == border_traits(image)
    assert colour_traits(painted) != colour_traits(image)


def test_a_cell_that_reaches_into_the_frame_is_masked() -> None:
    # Glass all around: which red cells a nucleus hides would matter as well.
    image = np.random.default_rng(0).normal((250, 227, 203), 2, (144, 144, 3)).clip(0, 255).astype(np.uint8)
    painted = image.copy()
    painted[40:100, :60] = (95, 60, 140)  # a nucleus; no red cell is that blue
    before, after = border_traits(image), border_traits(painted)
    assert after.pop("grain") == pytest.approx(before.pop("grain"), rel=0.1)
    assert after == pytest.approx(before, abs=0.02)
    assert colour_traits(painted)["red mean"] > colour_traits(image)["red mean"] + 0.05


def test_stain_and_background_are_seen_in_the_border() -> None:
    patient = synthesize_patient("cll", cells=1, seed=1)
    pale, dark = (border_traits(replace(patient, stain=stain).image(0, 144)) for stain in (PALE, DARK))
    assert all(dark[f"{channel} 0.5"] > pale[f"{channel} 0.5"] for channel in ("red", "green", "blue"))


def test_a_border_that_is_mostly_cells_says_nothing_and_nor_does_a_tiny_image() -> None:
    image = np.full((60, 60, 3), (250, 235, 215), dtype=np.uint8)
    image[:, 5:] = (95, 60, 140)
    assert border_traits(image) == {}
    assert border_traits(image[:4, :4]) == {}


def test_percentiles_of_density_are_those_of_numpy() -> None:
    image = a_cell()
    density = -np.log10((image[..., 1].astype(float) + 1) / 256)
    found = colour_traits(image)
    assert found["green mean"] == pytest.approx(density.mean())
    assert found["green spread"] == pytest.approx(density.std())
    for share in (0.05, 0.5, 0.95):
        assert found[f"green {share:g}"] == pytest.approx(np.quantile(density, share, method="nearest"), abs=1e-3)


def test_whole_fields_and_repeats_are_not_measured_and_patients_without_images_are_told() -> None:
    cells = np.stack([a_cell(), a_cell()])
    smears = {"p000": smear_from_array(cells, "p000"), "p001": smear_from_array(cells[:1], "p001")}

    def open_smear(patient: str) -> Smear:
        if patient == "p002":
            raise SmearUnreadable("p002: nothing there.")
        return smears[patient]

    table = cohort_of(["lymphoma"] * 3).table
    found = image_traits(table, open_smear=open_smear)
    assert found.unreadable == {"p002": "p002: nothing there."}
    assert found.borders.loc["p000"].to_dict() == found.borders.loc["p001"].to_dict()
    assert found.borders.loc["p002"].isna().all()
    assert found.sizes.loc["p000", "height"] == 144


class OneIsBroken(ArraySource):
    """Cells in memory, of which the first cannot be decoded."""

    def image(self, index: int) -> NDArray[np.uint8]:
        if index == 0:
            raise CellUnreadable("cell 0 is broken")
        return super().image(index)


def test_single_images_that_cannot_be_read_are_counted_and_said() -> None:
    cells = np.stack([a_cell(), a_cell()[::-1], a_cell()[:, ::-1]])
    cohort = cohort_of(halves(20))
    broken = replace(smear_from_array(cells, "p003"), source=OneIsBroken(cells))
    found = image_traits(
        cohort.table, open_smear=lambda patient: broken if patient == "p003" else smear_from_array(cells, patient)
    )
    assert found.passed_over == {"p003": 1}
    assert found.unreadable == {}
    notes = " ".join(audit_of_traits(cohort, found, QUICKER).notes)
    assert "1 single images of 1 patients could not be read and were left out (first: p003)" in notes


# The audit of images


def test_a_stain_that_depends_on_the_class_is_found() -> None:
    found = audit_of_stains([PALE, DARK] * 10)
    borders = row_of(found, "borders")
    assert borders.is_found
    assert borders.estimates["auroc"].value > 0.95
    assert borders.chance["auroc"].high < 0.9
    assert found.shortcuts[0] is borders
    assert found.findings[0].startswith("The borders of the images, without what is stained like a cell, alone predict")
    assert "may come from stain, background or red cells" in found.findings[0]


def test_no_shortcut_is_found_where_the_stain_knows_nothing_of_the_class() -> None:
    rng = np.random.default_rng(5)
    found = audit_of_stains([Stain.sample(rng) for _ in range(20)])
    assert "borders" not in [row.name for row in found.shortcuts]
    assert "Nothing differs in number of usable cells and size of their images" in " ".join(found.notes)


@pytest.mark.parametrize("shortcut", [True, False])
def test_a_synthetic_cohort_has_the_shortcut_that_it_was_given_and_no_other(shortcut: bool) -> None:
    drawn = SyntheticPatients.synthesize(SynthOptions(patients=40, cells=4, seed=1, shortcut=shortcut))
    cohort = drawn.cohort(CohortOptions(test_fraction=0, folds=4))
    found = audit(cohort, QUICK, open_smear=drawn.open_smear)
    assert len(found.classes) == 8
    assert [row.name for row in found.shortcuts] == (["borders", "colours"] if shortcut else [])
    assert ("The borders of the images" in found.findings[0]) == shortcut
    assert any(sentence.startswith("No shortcut was found") for sentence in found.findings) != shortcut


def test_the_audit_stops_when_asked_to() -> None:
    cohort = cohort_of(halves(20))
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if progress.done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        audit(cohort, QUICK, open_smear=lambda patient: smear_from_array(np.stack([a_cell()]), patient), progress=stop)
    assert seen[-1].in_words == "Measuring images: 2/20 patients"


# The audit of traits


def test_nothing_is_found_in_noise_and_that_is_said_to_prove_nothing_else() -> None:
    cohort = cohort_of(halves(40))
    found = audit_of_traits(cohort, traits_of(cohort, np.random.default_rng(1)), QUICK)
    assert found.shortcuts == ()
    assert found.findings[-1].startswith("No shortcut was found. Tested: the borders of the images")
    assert "Other shortcuts" in found.findings[-1]
    assert "is not excluded" in found.findings[0]


def test_numbers_are_those_of_scikit_learn() -> None:
    cohort = cohort_of(halves(40))
    traits = traits_of(cohort, np.random.default_rng(2), shift=1.0)
    row = row_of(audit_of_traits(cohort, traits, QUICKER), "borders")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", tol=1e-3, max_iter=5000))
    truth = (cohort.table["coarse"] == "lymphoma").to_numpy(dtype=int)
    folds = PredefinedSplit(cohort.table["fold"].to_numpy(dtype=int))
    said = cross_val_predict(model, traits.borders.to_numpy(), truth, cv=folds, method="predict_proba")[:, 1]
    assert row.estimates["auroc"].value == pytest.approx(roc_auc_score(truth, said))
    assert row.estimates["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(truth, said > 0.5))
    assert (row.patients, row.traits, row.metric) == (40, 4, "auroc")


def test_p_values_are_corrected_for_how_many_were_looked_at() -> None:
    cohort = cohort_of(halves(40), age=np.arange(40) % 7)
    found = audit_of_traits(cohort, traits_of(cohort, np.random.default_rng(3), shift=0.5), QUICKER)
    ordered = sorted(found.rows, key=lambda row: row.p)
    assert len(ordered) == 4
    assert ordered[0].p_corrected == pytest.approx(min(1, 4 * ordered[0].p))
    assert ordered[1].p_corrected == pytest.approx(min(1, max(4 * ordered[0].p, 3 * ordered[1].p)))


def test_what_would_be_found_alone_is_called_a_hint() -> None:
    cohort = cohort_of(halves(40))
    found = audit_of_traits(cohort, traits_of(cohort, np.random.default_rng(1)), QUICKER)
    row = replace(found.rows[0], p=0.04, p_corrected=0.12)
    hinted = replace(found, rows=(row, *found.rows[1:]))
    assert row.is_hint
    assert "a hint" in hinted.findings[0]
    assert not any("No shortcut was found" in sentence for sentence in hinted.findings)


def test_p_values_spread_evenly_where_there_is_nothing_to_find() -> None:
    cohort = cohort_of(halves(20), folds=3)
    found = []
    for seed in range(30):
        borders = traits_of(cohort, np.random.default_rng(100 + seed)).borders
        traits = replace(nothing_measured(cohort), borders=borders)
        audited = audit_of_traits(cohort, traits, AuditOptions(shufflings=24, seed=seed))
        found.append(row_of(audited, "borders").p)
    assert kstest(found, "uniform").pvalue > 0.001
    assert np.mean(np.array(found) < 0.05) <= 0.2


def test_three_classes_are_judged_by_macro_auroc_and_small_ones_left_out() -> None:
    classes = ["acute_leukemia", "lymphoma", "mds"] * 8 + ["mpn"] * 2
    cohort = cohort_of(classes, folds=4)
    found = audit_of_traits(cohort, traits_of(cohort, np.random.default_rng(4), shift=3.0), QUICK)
    row = row_of(found, "borders")
    assert row.metric == "macro_auroc"
    assert row.is_found
    assert found.classes == {"Acute leukemia": 8, "Lymphoma": 8, "MDS": 8}
    assert "Classes with fewer than 5 patients are left out: MPN (2)." in found.notes
    assert "the 3 classes" in found.findings[0]


def test_patients_without_folds_are_dealt_out_and_groups_stay_together() -> None:
    cohort = cohort_of(halves(40), folds=None, group=[f"g{i // 2}" for i in range(40)])
    found = audit_of_traits(cohort, traits_of(cohort, np.random.default_rng(5)), QUICKER)
    assert found.folds == "folds split for the audit"
    assert row_of(found, "borders").patients == 40


def test_sites_that_are_classes_cannot_be_judged_and_that_is_said() -> None:
    cohort = cohort_of(halves(20), folds=None, group=halves(20))
    found = audit_of_traits(cohort, traits_of(cohort, np.random.default_rng(6)), QUICKER)
    assert found.rows == ()
    assert any("Every fold has one class only" in note for note in found.notes)
    assert found.findings[0].startswith("Nothing could be audited")


@pytest.mark.parametrize("classes", [["lymphoma"] * 12, [], ["lymphoma"], ["lymphoma"] * 8 + ["mds"] * 2])
def test_a_cohort_without_two_classes_is_told_apart_by_nothing(classes: list[str]) -> None:
    found = audit(cohort_of(classes, folds=None), QUICK)
    assert found.rows == ()
    assert found.findings == (
        "Nothing could be audited: fewer than two classes have 5 patients or more that can be split into folds.",
    )


def test_a_cohort_of_features_is_audited_by_what_its_table_says() -> None:
    cohort = cohort_of(halves(20), age=[30, 70] * 10, n_cells=[100, 101] * 10)
    found = audit(cohort, QUICK)
    assert [row.name for row in found.rows] == ["sizes", "routine"]
    assert all(row.is_found for row in found.rows)
    assert any("no images, only features" in note for note in found.notes)


def test_what_is_the_same_of_all_who_have_it_is_not_judged() -> None:
    cohort = cohort_of(halves(20))
    sizes = pd.DataFrame({"height": [144.0] * 19 + [np.nan]}, index=cohort.table["patient_id"].astype(str))
    found = audit_of_traits(cohort, replace(nothing_measured(cohort), sizes=sizes), QUICK)
    assert found.rows == ()
    assert "Nothing differs in number of usable cells and size of their images" in " ".join(found.notes)


def test_the_same_seed_gives_the_same_audit_and_json_brings_it_back() -> None:
    cohort = cohort_of(halves(20), age=[30.0, None] * 10, scanner=["a", "b"] * 10)
    traits = replace(nothing_measured(cohort), borders=traits_of(cohort, np.random.default_rng(7)).borders)
    said = predictions_of(cohort, np.random.default_rng(8), 1.0)
    first, second = (audit_of_traits(cohort, traits, QUICKER, predictions=said) for _ in range(2))
    assert first == second
    written = json.loads(json.dumps(first.to_json(), allow_nan=False))
    assert Audit.from_json(written) == first
    assert written["findings"] == list(first.findings)


# Routine data


def test_columns_are_found_by_their_names() -> None:
    table = with_types(
        pd.DataFrame(
            {
                "patient_id": ["a", "b", "c"],
                "age": [30, 40, 50],
                "sex": ["female", "male", None],
                "leucocytes_per_µl": ["1000", "2000", "99"],
                "pb_myeloblast": [1, 2, 3],
                "pb_total": [99, 98, 97],
                "comment": ["x", "y", "z"],
                "Blast type": ["x", "y", "z"],
                "Scanner": ["one", "two", "two"],
                "Year of sampling": [2019, 2020, None],
                "site visits": ["only"] * 3,
            }
        )
    )
    assert routine_columns(table) == ("age", "sex", "leucocytes_per_µl", "pb_myeloblast")
    assert routine_columns(table, ["comment", "nothing"]) == ("comment",)
    assert origin_columns(table) == ("Scanner", "Year of sampling")
    assert origins(table["Year of sampling"]).tolist() == ["2019", "2020", "(not given)"]
    numbers = routine_table(table, ("age", "sex", "leucocytes_per_µl"))
    assert numbers["age"].tolist() == [30, 40, 50]
    assert numbers["leucocytes_per_µl"].tolist() == pytest.approx(np.log1p([1000, 2000, 99]))
    assert numbers["sex is missing"].tolist() == [0, 0, 1]


def test_many_dates_are_compared_by_year() -> None:
    dates = pd.Series([f"{2018 + i % 2}-0{1 + i % 9}-{10 + i}" for i in range(21)])
    assert set(origins(dates)) == {"2018", "2019"}


def test_an_age_that_tells_the_class_is_found_also_when_it_tells_by_missing() -> None:
    for ages in ([30, 70] * 20, [50, None] * 20):
        cohort = cohort_of(halves(40), age=ages)
        found = audit_of_traits(cohort, nothing_measured(cohort), QUICK)
        assert row_of(found, "routine").is_found
        assert found.shortcuts == ()
        assert found.findings[0].startswith("Routine data (age) alone predict")


# Predictions


def predictions_of(cohort: Cohort, rng: np.random.Generator, signal: float) -> pd.DataFrame:
    is_second = (cohort.table["coarse"] == "lymphoma").to_numpy(dtype=bool)
    logit = rng.standard_normal(len(cohort)) + signal * np.where(is_second, 1, -1)
    p = 1 / (1 + np.exp(-logit))
    return pd.DataFrame(
        {"patient_id": cohort.table["patient_id"], "p_acute_leukemia": 1 - p, "p_lymphoma": p, "p_mds": 0.0}
    )


def test_images_that_add_to_routine_data_are_said_to_and_others_not() -> None:
    rng = np.random.default_rng(10)
    cohort = cohort_of(halves(60), age=50 + 10 * rng.standard_normal(60) + np.tile([0, 6], 30))
    traits = nothing_measured(cohort)
    good = audit_of_traits(cohort, traits, QUICKER, predictions=predictions_of(cohort, rng, 1.5))
    poor = audit_of_traits(cohort, traits, QUICKER, predictions=predictions_of(cohort, rng, 0.0))
    assert good.added is not None
    assert good.added.gain is not None
    assert good.added.both is not None
    assert good.added.routine is not None
    assert good.added.gain.low is not None
    assert good.added.gain.low > 0
    assert good.added.gain.value == pytest.approx(good.added.both["auroc"].value - good.added.routine["auroc"].value)
    assert any(sentence.startswith("The images add to routine data: AUROC") for sentence in good.findings)
    assert any(sentence.startswith("It is not shown that the images add") for sentence in poor.findings)
    said = predictions_of(cohort, np.random.default_rng(11), 1.5)
    alone = audit_of_traits(cohort, traits, QUICKER, predictions=said).added
    assert alone is not None
    truth = cohort.table["coarse"] == "lymphoma"
    assert alone.model["auroc"].value == pytest.approx(roc_auc_score(truth, said["p_lymphoma"]))


def test_predictions_stand_beside_what_shortcuts_reach() -> None:
    cohort, rng = cohort_of(halves(40)), np.random.default_rng(3)
    said = rng.random(40)
    predictions = pd.DataFrame(
        {"patient_id": cohort.table["patient_id"], "p_acute_leukemia": said, "p_lymphoma": 1 - said}
    )
    found = audit_of_traits(cohort, traits_of(cohort, rng, shift=3), QUICK, predictions=predictions)
    borders, model = row_of(found, "borders").estimates["auroc"].value, found.added.model["auroc"].value
    (sentence,) = (one for one in found.findings if one.startswith("The given predictions"))
    assert f"reach AUROC {model:.2f}" in sentence
    assert f"the borders alone {borders:.2f} (40 patients)" in sentence
    assert sentence.endswith("a model that reads cells should do better.")


def test_without_routine_data_it_is_said_that_there_is_nothing_to_add_to() -> None:
    cohort = cohort_of(halves(20))
    rng = np.random.default_rng(12)
    said = predictions_of(cohort, rng, 1.0)
    found = audit_of_traits(cohort, nothing_measured(cohort), QUICKER, predictions=said)
    assert found.added is not None
    assert found.added.gain is None
    assert "There are no routine data that the images could add to." in found.findings


def test_a_scanner_on_which_the_model_fails_is_found() -> None:
    scanners = ["old"] * 20 + ["new"] * 20
    cohort = cohort_of(halves(40), scanner=scanners, n_visits=range(40))
    said = pd.DataFrame(
        {
            "patient_id": cohort.table["patient_id"],
            "p_acute_leukemia": [0.9, 0.1] * 10 + [0.9, 0.9, 0.1, 0.1] * 5,  # right for all, then for half of each
            "p_lymphoma": [0.1, 0.9] * 10 + [0.1, 0.1, 0.9, 0.9] * 5,
        }
    )
    found = audit_of_traits(cohort, nothing_measured(cohort), QUICKER, predictions=said)
    (column,) = found.columns
    accuracies = {one.value: one.accuracy for one in column.values}
    assert {value: accuracy.value for value, accuracy in accuracies.items() if accuracy} == {"new": 0.5, "old": 1.0}
    old = accuracies["old"]
    assert old is not None
    assert old.low == pytest.approx(20 / (20 + 1.959964**2), abs=1e-4)  # Wilson's bound where all are right
    assert column.p_accuracy == pytest.approx(fisher_exact([[10, 10], [20, 0]])[1])
    assert column.p_accuracy_corrected is not None
    assert column.p_accuracy_corrected < 0.01
    assert column.p_classes == pytest.approx(1)
    assert any("Accuracy differs by 'scanner' beyond what the classes explain" in one for one in found.findings)


def test_a_site_with_the_harder_class_is_no_worse_for_that() -> None:
    # Leukemia is always right and lymphoma never, wherever it comes from; site b has more lymphoma.
    classes = ["acute_leukemia"] * 20 + ["lymphoma"] * 20
    cohort = cohort_of(classes, site=["a"] * 16 + ["b"] * 4 + ["a"] * 4 + ["b"] * 16)
    said = pd.DataFrame({"patient_id": cohort.table["patient_id"], "p_acute_leukemia": 1.0, "p_lymphoma": 0.0})
    found = audit_of_traits(cohort, nothing_measured(cohort), QUICKER, predictions=said)
    (column,) = found.columns
    assert column.p_accuracy is not None
    assert column.p_accuracy < 0.01
    assert column.p_accuracy_within_classes == 1
    assert any("classes are spread unevenly over 'site'" in one for one in found.findings)
    assert not any("Accuracy differs" in one for one in found.findings)


def test_columns_with_few_patients_a_value_are_shown_and_not_tested() -> None:
    cohort = cohort_of(halves(20), site=["a"] * 17 + ["b", "c", "d"])
    said = predictions_of(cohort, np.random.default_rng(15), 1.0)
    found = audit_of_traits(cohort, nothing_measured(cohort), QUICKER, predictions=said)
    (column,) = found.columns
    assert [one.patients for one in column.values] == [17, 1, 1, 1]
    assert column.p_accuracy is None
    assert column.note == "Not tested: fewer than two values have 5 patients."


def test_two_predictions_of_one_patient_are_refused() -> None:
    cohort = cohort_of(halves(20))
    said = predictions_of(cohort, np.random.default_rng(17), 1.0)
    with pytest.raises(ValueError, match="two predictions of one patient: p000"):
        audit_of_traits(
            cohort,
            nothing_measured(cohort),
            QUICKER,
            predictions=pd.concat([said, said.iloc[:1]]),
        )
