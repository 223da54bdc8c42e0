"""What must hold for smears and cohorts on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest
import tifffile
from pydantic import ValidationError

from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.progress import Cancelled, Progress
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort, synthesize_patient, write_smear
from napari_caltomorph.taxonomy import caltomorph_taxonomy

SMALL = SynthOptions(patients=10, cells=3, seed=2)


def digest(folder: Path) -> str:
    sha = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        sha.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return sha.hexdigest()


def test_smear_is_named_as_the_scanner_names_it_and_carries_its_truth(tmp_path):
    patient = synthesize_patient("aml", cells=4, seed=0)
    write_smear(patient, tmp_path / "smear")
    names = [f"Gal-00000{k}.RGB.TIF" for k in (1, 2, 3, 4)]
    assert sorted(p.name for p in (tmp_path / "smear").iterdir()) == [*names, "truth.csv"]
    truth = pd.read_csv(tmp_path / "smear" / "truth.csv")
    assert list(truth.columns) == ["cell", "type"]
    assert list(truth["cell"]) == names
    assert tuple(truth["type"]) == patient.cell_types
    assert (tifffile.imread(tmp_path / "smear" / names[2]) == patient.image(2)).all()


def test_tiffs_state_the_pixel_size(tmp_path):
    write_smear(synthesize_patient("pv", cells=1, seed=0), tmp_path / "smear")
    with tifffile.TiffFile(tmp_path / "smear" / "Gal-000001.RGB.TIF") as file:
        tags = file.pages[0].tags
        for name in ("XResolution", "YResolution"):
            numerator, denominator = tags[name].value
            assert 10_000 / (numerator / denominator) == pytest.approx(25 / 144)
        assert tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER
        assert tags["PhotometricInterpretation"].value == tifffile.PHOTOMETRIC.RGB


def test_cohort_lies_on_disk_as_the_contract_says(tmp_path):
    synthesize_cohort(tmp_path / "cohort", SMALL)
    table = pd.read_csv(tmp_path / "cohort" / "patients.csv")
    columns = ["patient_id", "diagnosis", "coarse_class", "hemoglobin_g_dl", "age", "sex", "split", "synthetic"]
    assert list(table.columns) == columns
    slugs = {c.name: c.slug for c in caltomorph_taxonomy().classes}
    detailed = {c.name: [d.name for d in c.detailed] for c in caltomorph_taxonomy().classes}
    assert set(table["coarse_class"]) == set(slugs)
    for row in table.itertuples():
        folder = tmp_path / "cohort" / slugs[row.coarse_class] / row.patient_id
        assert row.diagnosis in detailed[row.coarse_class]
        assert len(list(folder.glob("*.TIF"))) == SMALL.cells
        assert (folder / "truth.csv").is_file()
    assert not [p for p in tmp_path.iterdir() if p.name != "cohort"]


def test_a_fifth_of_every_class_is_for_testing(tmp_path):
    synthesize_cohort(tmp_path / "cohort", SynthOptions(patients=80, cells=1))
    table = pd.read_csv(tmp_path / "cohort" / "patients.csv")
    assert set(table["split"]) == {"train", "test"}
    assert set(table[table["split"] == "test"]["coarse_class"].value_counts()) == {2}


def test_same_seed_writes_the_same_cohort(tmp_path):
    for name in ("first", "second"):
        synthesize_cohort(tmp_path / name, SMALL)
    synthesize_cohort(tmp_path / "third", SMALL.model_copy(update={"seed": 3}))
    first, second, third = (digest(tmp_path / name) for name in ("first", "second", "third"))
    assert first == second != third


def test_progress_counts_every_cell_of_the_cohort(tmp_path):
    seen: list[Progress] = []
    synthesize_cohort(tmp_path / "cohort", SMALL, progress=seen.append)
    assert {p.total for p in seen} == {30}
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1].done == 30


def stop_at_third_cell(progress: Progress) -> None:
    if progress.done == 2:
        raise Cancelled


def test_cancelling_a_smear_leaves_nothing_behind(tmp_path):
    patient = synthesize_patient("all", cells=3, seed=0)
    with pytest.raises(Cancelled):
        write_smear(patient, tmp_path / "out", progress=stop_at_third_cell)
    assert not list(tmp_path.iterdir())


def test_cancelling_a_cohort_leaves_nothing_behind(tmp_path):
    with pytest.raises(Cancelled):
        synthesize_cohort(tmp_path / "out", SMALL, progress=stop_at_third_cell)
    assert not list(tmp_path.iterdir())


def test_filled_output_is_refused_and_left_alone_unless_overwriting(tmp_path):
    (tmp_path / "notes.txt").write_text("keep")
    with pytest.raises(OutputRefused, match="not empty"):
        synthesize_cohort(tmp_path, SMALL)
    with pytest.raises(OutputRefused, match="not empty"):
        write_smear(synthesize_patient("all", cells=1, seed=0), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]

    out = tmp_path / "cohort"
    synthesize_cohort(out, SMALL)
    before = digest(out)
    synthesize_cohort(out, SMALL.model_copy(update={"seed": 9, "overwrite": True}))
    assert digest(out) != before


def test_overwriting_spares_what_is_no_cohort(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputRefused, match="no cohort"):
        synthesize_cohort(tmp_path, SMALL.model_copy(update={"overwrite": True}))
    assert (tmp_path / "thesis.txt").is_file()


def test_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    synthesize_cohort(tmp_path / "out", SynthOptions(patients=1, cells=1))
    assert (tmp_path / "out" / "patients.csv").is_file()


@pytest.mark.parametrize("bad", [{"cells": 0}, {"patients": -1}, {"seed": -1}, {"colour": "red"}])
def test_impossible_options_are_refused(bad):
    with pytest.raises(ValidationError):
        SynthOptions(**bad)
