"""Published embeddings and images become cohorts of ours, whole or not at all, against a local server of the Hub."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.hub_server import EMBEDDINGS, Hub, embeddings, sha256

from napari_caltomorph.cohort import PUBLISHED, Cohort, ask_the_hub, get_cohort, read_cohort
from napari_caltomorph.encoding import Features
from napari_caltomorph.errors import CohortUnreadable, DownloadRefused, OutputRefused
from napari_caltomorph.progress import Cancelled, Progress

# Two patients of each label, as the authors number them.
AML_HEHR = {f"patient_embeddings/aml_hehr/{name}{label}.h5": label for label in range(5) for name in "AB"}
HELD = {path: embeddings(label, seed=seed) for seed, (path, label) in enumerate(AML_HEHR.items())}


@pytest.fixture(autouse=True)
def repository(hub: Hub) -> dict[str, bytes]:
    """What the repository holds; a test may change it."""
    return hub.repositories.setdefault(EMBEDDINGS, {"README.md": b"embeddings"} | HELD)


def test_embeddings_become_a_cohort_with_classes_encoder_and_origin(hub, tmp_path, home):
    cohort = get_cohort("aml-hehr-embeddings", tmp_path / "mine")
    classes = dict(zip(cohort.table["patient_id"], cohort.table["coarse"], strict=True))
    assert {classes[f"A{label}"] for label in range(5)} == set(cohort.taxonomy.slugs)
    names = ("cbfb_myh11", "npm1", "pml_rara", "runx1_runx1t1", "control")
    assert classes == {f"{name}{label}": slug for label, slug in enumerate(names) for name in "AB"}
    saved = Cohort.load(tmp_path / "mine" / "cohort.json")
    assert saved.table["features"].tolist() == cohort.table["features"].tolist()
    for path in map(Path, saved.table["features"]):
        features = Features.load(path)
        assert features.origin.encoder == "dinobloom-b"
        given = tmp_path / "given.h5"
        given.write_bytes(HELD[f"patient_embeddings/aml_hehr/{path.name}"])
        assert np.array_equal(features.values, Features.load(given).values)
    origin = json.loads((tmp_path / "mine" / "origin.json").read_text())
    assert (origin["commit"], origin["licence"]) == (hub.commit(EMBEDDINGS), "apache-2.0")
    assert origin["checksums"] == {name: sha256(content) for name, content in HELD.items()}
    assert [note for note in cohort.notes if origin["commit"] in note]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given.h5", "mine"]
    assert not list((home / "cache").rglob("*.part"))
    again = read_cohort(tmp_path / "mine")  # a folder like any other
    assert set(again.table["coarse"]) == {"acute_leukemia", "healthy"}


def test_a_folder_that_exists_is_refused_before_anything_is_asked(hub, tmp_path):
    with pytest.raises(OutputRefused, match="exists already"):
        get_cohort("aml-hehr-embeddings", tmp_path)
    assert hub.asked == []


def test_a_cancelled_cohort_leaves_no_folder_and_continues(hub, tmp_path):
    def cancel(progress: Progress) -> None:
        if progress.stage == "Reading headers":
            raise Cancelled

    with pytest.raises(Cancelled):
        get_cohort("aml-hehr-embeddings", tmp_path / "mine", progress=cancel)
    assert list(tmp_path.iterdir()) == []
    hub.asked = []
    assert len(get_cohort("aml-hehr-embeddings", tmp_path / "mine")) == len(HELD)
    assert hub.ranges() == []


def test_the_list_is_what_the_hub_holds(hub, repository):
    assert hub.asked == []
    repository["patient_embeddings/new_set/P1.h5"] = embeddings(0)
    online = {row.name: row for row in ask_the_hub()}
    assert online["aml-hehr-embeddings"].patients == 10
    assert online["new-set-embeddings"].patients == 1
    assert "--label" in online["new-set-embeddings"].needs
    assert "apl-aml-embeddings" not in online
    assert {row.name for row in PUBLISHED} - {*online} == {"apl-aml-embeddings", "caitomorph-embeddings"}


def test_labels_of_unknown_meaning_are_asked_for_and_then_used(repository, hub, tmp_path):
    names = [f"patient_embeddings/new_set/{number}.h5" for number in range(6)]
    repository |= {name: embeddings(number % 2, seed=number) for number, name in enumerate(names)}
    with pytest.raises(CohortUnreadable, match=r"--label.*0="):
        get_cohort("new-set-embeddings", tmp_path / "new")
    assert hub.ranges() == []
    with pytest.raises(CohortUnreadable, match=r"1 \(3 patients\).*--label.*1="):
        get_cohort("new-set-embeddings", tmp_path / "new", labels=["0=AML"])
    with pytest.raises(CohortUnreadable, match="NUMBER=LABEL"):
        get_cohort("new-set-embeddings", tmp_path / "new", labels=["AML"])
    assert list(tmp_path.iterdir()) == []
    cohort = get_cohort("new-set-embeddings", tmp_path / "new", labels=["0=AML", "1=healthy donor"])
    assert cohort.table["raw_label"].value_counts().to_dict() == {"AML": 3, "healthy donor": 3}
    assert set(cohort.table["label_kind"]) == {"matched"}
    assert len(hub.ranges()) == 6  # what was refused is not downloaded again


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (embeddings(0, width=384), "768 wide"),
        (embeddings(None), "'labels'"),
        (b"<html>not found</html>", "patient_embeddings/aml_hehr/"),
    ],
)
def test_files_of_another_form_are_refused_or_left_out_by_name(repository, tmp_path, content, words):
    broken = "patient_embeddings/aml_hehr/C0.h5"
    repository[broken] = content
    notes = get_cohort("aml-hehr-embeddings", tmp_path / "one_of_them").notes
    assert [note for note in notes if "1 file" in note and broken in note and words in note]
    for name in HELD:
        repository[name] = content
    with pytest.raises(CohortUnreadable, match=words):
        get_cohort("aml-hehr-embeddings", tmp_path / "all")
    assert [path.name for path in tmp_path.iterdir()] == ["one_of_them"]


def test_a_repository_without_the_expected_files_says_what_is_published(repository, tmp_path):
    for name in HELD:
        del repository[name]
    repository["patient_embeddings/other/P1.h5"] = embeddings(0)
    with pytest.raises(DownloadRefused, match=r"patient_embeddings/aml_hehr is not there.*other-embeddings.*apl-aml"):
        get_cohort("aml-hehr-embeddings", tmp_path / "mine")
    with pytest.raises(DownloadRefused, match="There is no nothing"):
        get_cohort("nothing", tmp_path / "mine")


def test_images_need_a_browser_and_are_taken_where_they_are(make_export, tmp_path, hub):
    with pytest.raises(DownloadRefused, match=r"browser.*kaggle.*master\.csv.*--folder"):
        get_cohort("apl-aml", tmp_path / "mine")
    with pytest.raises(CohortUnreadable, match=r"master\.csv"):
        get_cohort("apl-aml", tmp_path / "mine", folder=tmp_path)
    for number in range(4):
        make_export(tmp_path / "images" / "All" / f"Patient_0{number}", cells=50, seed=number)
    rows = [f"Patient_0{number},{('APL', 'AML')[number % 2]}" for number in range(4)]
    (tmp_path / "images" / "master.csv").write_text("\n".join(["Patient_ID,Diagnosis", *rows]))
    cohort = get_cohort("apl-aml", tmp_path / "mine", folder=tmp_path / "images")
    assert Cohort.load(tmp_path / "mine" / "cohort.json").table["path"].tolist() == cohort.table["path"].tolist()
    assert set(cohort.table["coarse"]) == {"apl", "aml"}
    assert hub.asked == []


def test_every_row_can_be_read_and_its_labels_match_its_taxonomy():
    from napari_caltomorph.taxonomy import load_label_map

    for row in PUBLISHED:
        assert row.about
        assert row.needs
        assert row.name in row.how
        label_map = load_label_map(row.taxonomy)
        assert label_map is not None
        assert {label_map.match(label).kind for label in row.labels.values()} <= {"matched"}
        assert bool(row.labels) != bool(row.page)
