"""Encoding a cohort: what exists is kept, what is missing is encoded, and failures are reported."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from pydantic import ValidationError
from tests.cohort.factories import (
    CELLS,
    OPTIONS,
    PATIENTS,
    SYNTHETIC,
    assert_same,
    bytes_in,
    cohort_from,
    cohort_of,
    journal,
    leftovers,
    patient_folders,
    streamed_cohort,
    times_in,
    values_in,
)

from napari_caltomorph.cohort import EncodeCohortOptions, encode_cohort, encode_patient, feature_path
from napari_caltomorph.cohort.encode import _files
from napari_caltomorph.cohort.feature_folder import LOCK
from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.errors import FeaturesRefused, OutputRefused, SmearUnreadable
from napari_caltomorph.synthetic import (
    synthesize_patient,
    synthetic_smear,
    write_smear,
)


def test_every_patient_gets_the_features_of_their_own_cells(images, reference, tmp_path):
    summary = encode_cohort(cohort_of(images), tmp_path / "f", OPTIONS)
    assert (summary.encoded, summary.skipped, summary.cells, summary.failed) == (PATIENTS, 0, PATIENTS * CELLS, ())
    assert_same(values_in(tmp_path / "f"), reference, tolerance=1e-5)
    assert not leftovers(tmp_path / "f")


def test_the_journal_records_encoder_and_options(images, tmp_path):
    summary = encode_cohort(cohort_of(images, 2), tmp_path / "f", OPTIONS)
    result = journal(tmp_path / "f")
    (run,) = result["runs"]
    assert (run["outcome"], run["encoded"], run["failed"]) == ("complete", 2, 0)
    assert run["made_with"]["weights_sha256"] == summary.made_with.weights_sha256
    assert run["made_with"]["library_versions"]["torch"]
    patient = result["patients"]["synthetic_001"]
    assert patient["fingerprint"] == Features.load(tmp_path / "f" / patient["file"]).origin.smear_fingerprint
    assert (patient["cells"], patient["left_out"]) == (CELLS, {})


@pytest.mark.parametrize("is_skipped", [False, True])
def test_no_success_is_claimed_for_features_that_are_deleted_meanwhile(images, tmp_path, is_skipped):
    folder, lost = tmp_path / "f", "synthetic_001"
    if is_skipped:
        encode_cohort(cohort_of(images, 1), folder, OPTIONS)

    def delete_the_first(progress):
        if progress.stage == "Encoding" and progress.done > CELLS:
            shutil.rmtree(folder, ignore_errors=True)

    summary = encode_cohort(cohort_of(images, 3), folder, OPTIONS, progress=delete_the_first)
    failed = {record.patient_id: record.reason for record in summary.failed}
    assert "deleted during the run" in failed[lost]
    assert set(values_in(folder)) == {"synthetic_001", "synthetic_002", "synthetic_003"} - set(failed)
    assert summary.encoded + summary.skipped + len(failed) == 3
    (*_, run) = journal(folder)["runs"]
    assert (run["encoded"], run["skipped"], run["failed"]) == (summary.encoded, summary.skipped, len(failed))
    again = encode_cohort(cohort_of(images, 3), folder, OPTIONS)
    assert (again.encoded, again.failed) == (len(failed), ())


def test_a_bag_opens_as_the_field_expects_it(images, reference, tmp_path):
    encode_cohort(cohort_of(images, 1), tmp_path / "f", OPTIONS)
    with h5py.File(tmp_path / "f" / "synthetic_001.h5", "r") as file:
        features = file["features"][:]  # CLAM, TRIDENT and GenBloom's loaders read just this
    assert features.shape == (CELLS, 128)
    np.testing.assert_allclose(features, reference["synthetic_001"], atol=1e-5)


def test_a_second_run_opens_no_image(images, tmp_path, monkeypatch):
    encode_cohort(cohort_of(images), tmp_path / "f", OPTIONS)
    before = times_in(tmp_path / "f")
    monkeypatch.setattr(encode_patient, "open_place", None)
    summary = encode_cohort(cohort_of(images), tmp_path / "f", OPTIONS)
    assert (summary.encoded, summary.skipped) == (0, PATIENTS)
    assert times_in(tmp_path / "f") == before


def test_a_changed_cell_encodes_only_its_patient_again(own_images, tmp_path, make_cell):
    encode_cohort(cohort_of(own_images), tmp_path / "f", OPTIONS)
    before = bytes_in(tmp_path / "f")
    changed = patient_folders(own_images)[2]
    tifffile.imwrite(changed / "Gal-000003.RGB.TIF", make_cell(7), photometric="rgb")
    summary = encode_cohort(cohort_of(own_images), tmp_path / "f", OPTIONS)
    assert (summary.encoded, summary.skipped) == (1, PATIENTS - 1)
    after = bytes_in(tmp_path / "f")
    assert {name for name in after if after[name] != before[name]} == {f"{changed.name}.h5"}


@pytest.mark.parametrize("spoil", ["touch the cells", "lose the journal", "damage the journal"])
def test_unchanged_patients_are_kept_after_new_dates_and_a_lost_journal(own_images, tmp_path, spoil):
    encode_cohort(cohort_of(own_images, 3), tmp_path / "f", OPTIONS)
    before = times_in(tmp_path / "f")
    if spoil == "touch the cells":
        for cell in own_images.rglob("*.TIF"):
            os.utime(cell)
    elif spoil == "lose the journal":
        (tmp_path / "f" / "run.json").unlink()
    else:
        (tmp_path / "f" / "run.json").write_text('{"schema_version": 1, "runs": [')
    summary = encode_cohort(cohort_of(own_images, 3), tmp_path / "f", OPTIONS)
    assert (summary.encoded, summary.skipped) == (0, 3)
    assert times_in(tmp_path / "f") == before


def test_a_damaged_file_is_encoded_again(images, tmp_path):
    encode_cohort(cohort_of(images, 3), tmp_path / "f", OPTIONS)
    before = bytes_in(tmp_path / "f")
    target = tmp_path / "f" / "synthetic_002.h5"
    target.write_bytes(target.read_bytes()[:3000])
    assert encode_cohort(cohort_of(images, 3), tmp_path / "f", OPTIONS).encoded == 1
    assert bytes_in(tmp_path / "f") == before


def test_bad_patients_are_reported_and_do_not_stop_the_others(own_images, tmp_path):
    cohort = cohort_of(own_images)
    gone, empty, dead, featured = patient_folders(own_images)[:4]
    shutil.rmtree(gone)
    for cell in empty.iterdir():
        cell.unlink()
    for cell in dead.glob("*.TIF"):
        cell.write_bytes(b"\0" * 100)
    cohort.table.loc[3, "path"] = pd.NA
    summary = encode_cohort(cohort, tmp_path / "f", OPTIONS)
    reasons = {record.patient_id: record.reason for record in summary.failed}
    assert "does not exist" in reasons[gone.name]
    assert "holds no cell image" in reasons[empty.name]
    assert "none usable (12 unreadable" in reasons[dead.name]
    assert "no images to encode" in reasons[featured.name]
    assert set(values_in(tmp_path / "f")) == {p.name for p in patient_folders(own_images)} - reasons.keys()
    assert {k for k, p in journal(tmp_path / "f")["patients"].items() if p["outcome"] == "failed"} == reasons.keys()

    write_smear(synthesize_patient("aml", cells=3, seed=1), gone)
    again = encode_cohort(cohort, tmp_path / "f", OPTIONS)
    assert (again.encoded, again.skipped, len(again.failed)) == (1, PATIENTS - 4, 3)


def test_features_of_a_patient_without_images_are_kept(own_images, tmp_path):
    cohort = cohort_of(own_images, 2)
    encode_cohort(cohort, tmp_path / "f", OPTIONS)
    shutil.rmtree(patient_folders(own_images)[0])
    (failed,) = encode_cohort(cohort, tmp_path / "f", OPTIONS).failed
    assert "Its features of an earlier run stay in synthetic_001.h5." in failed.reason
    assert (tmp_path / "f" / "synthetic_001.h5").exists()


def test_odd_ids_stay_in_the_folder(images, tmp_path):
    ids = ["../a", "b/c", "..", "ä 1"]
    paths = [str(p) for p in patient_folders(images)[:4]]
    summary = encode_cohort(cohort_from({"patient_id": ids, "path": paths}), tmp_path / "f", OPTIONS)
    assert (summary.encoded, summary.failed) == (4, ())
    for patient in ids:
        assert feature_path(tmp_path / "f", patient).parent == tmp_path / "f"
        assert len(Features.load(feature_path(tmp_path / "f", patient))) == CELLS
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_patient_whose_file_cannot_be_written_has_a_reason_and_the_others_go_on(images, tmp_path):
    (tmp_path / "f" / "b.h5").mkdir(parents=True)
    table = {"patient_id": ["a", "b", "A" * 300], "path": [str(p) for p in patient_folders(images)[:3]]}
    summary = encode_cohort(cohort_from(table), tmp_path / "f", OPTIONS)
    assert (summary.encoded, [record.patient_id for record in summary.failed]) == (2, ["b"])
    assert str(tmp_path / "f" / "b.h5") in summary.failed[0].reason
    assert encode_cohort(cohort_from(table), tmp_path / "f", OPTIONS).skipped == 2


def test_two_patients_never_share_a_file(images, tmp_path):
    paths = [str(p) for p in patient_folders(images)[:2]]
    with pytest.raises(OutputRefused, match="'P1' and 'p1'; rename one"):
        encode_cohort(cohort_from({"patient_id": ["P1", "p1"], "path": paths}), tmp_path / "f", OPTIONS)


def test_a_loop_of_links_ends(own_images, tmp_path):
    for patient in patient_folders(own_images)[:2]:
        (patient / "again").symlink_to(patient)
    assert encode_cohort(cohort_of(own_images, 2), tmp_path / "f", OPTIONS).encoded == 2
    assert encode_cohort(cohort_of(own_images, 2), tmp_path / "f", OPTIONS).skipped == 2


@pytest.mark.parametrize(
    ("origin", "named"),
    [
        (FeatureOrigin("dinobloom-b", "ab" * 32, "resize224", "float32"), "dinobloom-b .weights abababababab, float32"),
        (FeatureOrigin(), "unknown .weights unknown, unknown"),
    ],
)
def test_two_encoders_are_not_mixed(images, tmp_path, origin, named):
    Features("other", np.ones((3, 8), np.float32), ("a", "b", "c"), origin).save(tmp_path / "f" / "other.h5")
    with pytest.raises(FeaturesRefused, match=rf"{named}.* and demo-vit .*float32.*other\.h5"):
        encode_cohort(cohort_of(images), tmp_path / "f", OPTIONS)
    assert {p.name for p in (tmp_path / "f").glob("[!.]*")} == {"other.h5"}


def test_two_precisions_are_not_mixed(images, tmp_path):
    encode_cohort(cohort_of(images, 1), tmp_path / "f", OPTIONS)
    with pytest.raises(FeaturesRefused, match=r"float32.* and .*bf16"):
        encode_cohort(cohort_of(images, 2), tmp_path / "f", OPTIONS.model_copy(update={"precision": "bf16"}))


def test_a_run_with_views_resumes_and_is_not_mixed_with_one_without(images, tmp_path):
    cohort, options = cohort_of(images, 2), OPTIONS.model_copy(update={"views": 1})
    assert encode_cohort(cohort, tmp_path / "f", options).made_with.views.startswith("1 of")
    assert encode_cohort(cohort, tmp_path / "f", options).skipped == len(cohort)
    with pytest.raises(FeaturesRefused, match="views 1 of"):
        encode_cohort(cohort, tmp_path / "f", OPTIONS)


def test_progress_counts_the_cells_that_are_left(images, tmp_path):
    seen = []
    encode_cohort(cohort_of(images, 2), tmp_path / "f", OPTIONS)
    encode_cohort(cohort_of(images), tmp_path / "f", OPTIONS, progress=seen.append)
    encoding = [p for p in seen if p.stage == "Encoding"]
    assert {(p.total, p.unit) for p in encoding} == {((PATIENTS - 2) * CELLS, "cells")}
    done = [p.done for p in encoding]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, (PATIENTS - 2) * CELLS)
    assert len(set(done)) > PATIENTS


def test_the_next_patient_is_read_while_this_one_is_encoded(tmp_path):
    has_read, in_hand = [], []

    def recording(patient_id):
        has_read.append(patient_id)
        return draw(patient_id)

    def wait_for_the_next(progress):
        if progress.stage == "Encoding" and 0 < progress.done < CELLS and not in_hand:
            deadline = time.monotonic() + 60
            while len(has_read) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            in_hand.append(list(has_read))

    encode_cohort(streamed_cohort(), tmp_path / "f", OPTIONS, open_smear=recording, progress=wait_for_the_next)
    assert in_hand[0][:2] == ["synthetic_001", "synthetic_002"]


def test_workers_and_scheduler_exclude_each_other():
    with pytest.raises(ValidationError, match="a scheduler has its own workers; leave out --workers"):
        EncodeCohortOptions(workers=2, scheduler="tcp://node:8786")


def draw(patient_id):
    return synthetic_smear(SYNTHETIC[patient_id])


def test_smears_that_are_never_written_give_the_features_of_those_that_are(images, tmp_path):
    encode_cohort(cohort_of(images), tmp_path / "read", OPTIONS)
    summary = encode_cohort(streamed_cohort(), tmp_path / "streamed" / "f", OPTIONS, open_smear=draw)
    assert (summary.encoded, summary.skipped, summary.cells, summary.failed) == (PATIENTS, 0, PATIENTS * CELLS, ())
    assert_same(values_in(tmp_path / "streamed" / "f"), values_in(tmp_path / "read"))
    written = {p.name for p in (tmp_path / "streamed").rglob("*") if p.is_file()} - {LOCK}
    assert written == {f"{patient}.h5" for patient in SYNTHETIC} | {"run.json"}


def test_a_streamed_run_resumes(tmp_path):
    folder = tmp_path / "f"
    encode_cohort(streamed_cohort(), folder, OPTIONS, open_smear=draw)
    (folder / "synthetic_003.h5").unlink()
    before = times_in(folder)
    again = encode_cohort(streamed_cohort(), folder, OPTIONS, open_smear=draw)
    assert (again.encoded, again.skipped) == (1, PATIENTS - 1)
    assert before.items() <= times_in(folder).items()
    outcomes = {name: p["outcome"] for name, p in journal(folder)["patients"].items()}
    assert outcomes == {name: "encoded" if name == "synthetic_003" else "found" for name in SYNTHETIC}


def test_a_smear_that_changes_is_seen_though_the_files_at_its_path_do_not(images, tmp_path):
    cells = dict(SYNTHETIC)

    def stream():
        return encode_cohort(
            cohort_of(images), tmp_path / "f", OPTIONS, open_smear=lambda name: synthetic_smear(cells[name])
        )

    stream()
    cells["synthetic_002"] = synthesize_patient("aml", cells=CELLS, seed=77)
    again = stream()
    assert (again.encoded, again.skipped) == (1, PATIENTS - 1)


def test_a_smear_that_cannot_be_opened_fails_its_patient_only(tmp_path):
    def open_smear(patient_id):
        if patient_id == "synthetic_002":
            raise SmearUnreadable("the microscope is off")
        return draw(patient_id)

    summary = encode_cohort(streamed_cohort(), tmp_path / "f", OPTIONS, open_smear=open_smear)
    assert summary.encoded == PATIENTS - 1
    assert [(p.patient_id, p.reason) for p in summary.failed] == [("synthetic_002", "the microscope is off")]


def test_all_files_are_listed_on_a_drive_that_numbers_no_folders(tmp_path, monkeypatch):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.tif").touch()
    status = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path: os.stat_result((status(path)[0], 0, *status(path)[2:10])))
    assert [name for name, _ in _files(tmp_path)] == ["a/1.tif", "b/1.tif"]
