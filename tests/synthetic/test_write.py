"""What must hold for smears and cohorts on disk."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from pydantic import ValidationError
from tests.stopping import Cancels

from napari_caltomorph.cohort import CohortOptions, read_cohort
from napari_caltomorph.errors import OutputRefused
from napari_caltomorph.progress import Cancelled, Progress
from napari_caltomorph.synthetic import (
    SyntheticPatient,
    SynthOptions,
    synthesize_cohort,
    synthesize_patient,
    synthesize_patients,
    write,
    write_smear,
)
from napari_caltomorph.synthetic.write import CELLS_A_STRIP
from napari_caltomorph.taxonomy import caltomorph_taxonomy

SMALL = SynthOptions(patients=10, cells=3, seed=2)
HEHR = SynthOptions(patients=10, cells=20, seed=4, layout="aml-hehr")


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


def test_a_cohort_on_disk_follows_the_contract(tmp_path):
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


def test_cancelling_a_smear_leaves_nothing_behind(tmp_path):
    patient = synthesize_patient("all", cells=3, seed=0)
    with pytest.raises(Cancelled):
        write_smear(patient, tmp_path / "out", progress=Cancels(lambda now: now.done == 2))
    assert not list(tmp_path.iterdir())


def test_cancelling_a_cohort_leaves_nothing_behind(tmp_path):
    with pytest.raises(Cancelled):
        synthesize_cohort(tmp_path / "out", SMALL, progress=Cancels(lambda now: now.done == 2))
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
    with pytest.raises(OutputRefused, match="is no cohort"):
        synthesize_cohort(tmp_path, SMALL.model_copy(update={"overwrite": True}))
    assert (tmp_path / "thesis.txt").is_file()


def test_overwriting_spares_a_cohort_of_real_patients(tmp_path):
    for name in ("patients.csv", "metadata.csv"):
        (tmp_path / name).write_text("patient_id,bag_label\nAQQ,NPM1\n")
        with pytest.raises(OutputRefused, match="synthetic patients"):
            synthesize_cohort(tmp_path, SMALL.model_copy(update={"overwrite": True}))
        assert [p.name for p in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()


def test_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    synthesize_cohort(tmp_path / "out", SynthOptions(patients=1, cells=1))
    assert (tmp_path / "out" / "patients.csv").is_file()


@pytest.mark.parametrize(
    "bad",
    [{"cells": 0}, {"patients": -1}, {"seed": -1}, {"colour": "red"}, {"workers": 0}, {"layout": "tcga"}],
)
def test_impossible_options_are_refused(bad):
    with pytest.raises(ValidationError):
        SynthOptions(**bad)


@pytest.fixture
def eager(monkeypatch):
    """Processes start however little there is to draw."""
    monkeypatch.setattr(write, "CELLS_WORTH_A_PROCESS", 1)


def test_several_processes_write_the_same_bytes_and_count_every_cell(tmp_path, eager):
    seen: list[Progress] = []
    for workers in (1, 2):
        chosen = SynthOptions(patients=3, cells=CELLS_A_STRIP + 2, seed=2, workers=workers)
        assert chosen.processes == workers
        seen.clear()
        synthesize_cohort(tmp_path / str(workers), chosen, progress=seen.append)
    assert digest(tmp_path / "1") == digest(tmp_path / "2")
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert (seen[-1].done, {p.total for p in seen}) == (3 * (CELLS_A_STRIP + 2), {3 * (CELLS_A_STRIP + 2)})
    assert multiprocessing.active_children() == []


def test_no_process_is_started_for_a_handful_of_cells():
    assert SynthOptions(patients=10, cells=3, workers=8).processes == 1
    assert SynthOptions(patients=80, cells=200, workers=2).processes == 2


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system gives each process all processors")
def test_a_job_draws_on_the_processors_that_a_cluster_gave_it(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 4, 5})
    assert SynthOptions(patients=80, cells=200).processes == 3


def test_cancelling_several_processes_is_quick_and_leaves_nothing_behind(tmp_path, eager):
    stop = Cancels(lambda now: now.done)
    with pytest.raises(Cancelled):
        synthesize_cohort(tmp_path / "out", SynthOptions(patients=8, cells=5_000, workers=2), progress=stop)
    assert stop.seen[-1].done < 1_000  # of 40,000: the rest is not drawn
    assert not list(tmp_path.iterdir())
    assert multiprocessing.active_children() == []


SCRIPT = """
    import resource, sys
    from pathlib import Path
    from napari_caltomorph.errors import OutputRefused
    from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort, write
    from napari_caltomorph.synthetic.write import WorkersLost

    write.CELLS_WORTH_A_PROCESS = 1
    {guard}
        if {limit}:
            resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        try:
            synthesize_cohort(Path(sys.argv[1]), SynthOptions(patients=4, cells=20, workers={workers}))
        except (OutputRefused, WorkersLost) as error:
            if __name__ != "__main__":
                raise  # a process that is to draw, and runs this script again
            print(type(error).__name__, error)
"""
GUARD = 'if __name__ == "__main__":'


def told_by_script(tmp_path: Path, **parts: object) -> str:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT.format(**parts)))
    command = [sys.executable, str(script), str(tmp_path / "cohort")]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["script.py"]
    return output


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on files is how a full disk is had, on POSIX")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_reported_and_leaves_no_files(tmp_path, workers):
    output = told_by_script(tmp_path, guard=GUARD, limit=30_000, workers=workers)
    assert output.startswith("OutputRefused")
    assert "cohort could not be written" in output
    assert "free some space" in output


def test_a_script_that_cannot_start_processes_gets_the_fix(tmp_path):
    output = told_by_script(tmp_path, guard="if True:", limit=0, workers=2)
    assert output.startswith("WorkersLost")
    assert "__main__" in output


def test_aml_hehr_has_the_layout_of_the_public_cohort(tmp_path):
    assert synthesize_cohort(tmp_path / "cohort", HEHR) == tmp_path / "cohort" / "metadata.csv"
    table = pd.read_csv(tmp_path / "cohort" / "metadata.csv")
    assert list(table.columns) == [
        *("patient_id", "sex_1f_2m", "age", "bag_label", "instance_count", "leucocytes_per_µl"),
        *("pb_myeloblast", "pb_promyelocyte", "pb_myelocyte", "pb_metamyelocyte", "pb_neutrophil_band"),
        *("pb_neutrophil_segmented", "pb_eosinophil", "pb_basophil", "pb_monocyte", "pb_lymph_typ"),
        *("pb_lymph_atyp_react", "pb_lymph_atyp_neopl", "pb_other", "pb_total"),
    ]
    assert set(table["bag_label"]) == {"PML_RARA", "NPM1", "CBFB_MYH11", "RUNX1_RUNX1T1", "control"}
    assert set(table["sex_1f_2m"]) <= {1, 2}
    for row in table.itertuples():
        folder = tmp_path / "cohort" / "data" / row.bag_label / row.patient_id
        assert {p.name for p in folder.glob("*.tif")} == {f"image_{n}.tif" for n in range(20)}
        types = Counter(pd.read_csv(folder / "truth.csv")["type"])
        assert row.instance_count == 20
        assert row.pb_promyelocyte == 5 * types["promyelocyte"]
        assert row.pb_monocyte == 5 * types["monocyte"]
        assert row.pb_neutrophil_segmented == 5 * (types["segmented_neutrophil"] + types["dysplastic_neutrophil"])
    shares = table.loc[:, "pb_myeloblast":"pb_other"].sum(axis=1)
    assert list(shares.round(1)) == [100.0] * 10
    assert list(table["pb_total"]) == [100.0] * 10


def test_aml_hehr_is_read_without_options(tmp_path, monkeypatch):
    def noise(patient: SyntheticPatient, index: int) -> np.ndarray:  # What the cells look like does not matter here.
        return np.random.default_rng([patient.seed, index]).integers(0, 255, (144, 144, 3), np.uint8)

    monkeypatch.setattr(SyntheticPatient, "image", noise)
    synthesize_cohort(tmp_path / "cohort", HEHR.model_copy(update={"patients": 10, "cells": 50, "workers": 1}))
    cohort = read_cohort(tmp_path / "cohort")
    assert cohort.layout == "aml-hehr"
    assert len(cohort) == 10
    assert set(cohort.table["coarse"]) == {"acute_leukemia", "healthy"}
    own = read_cohort(tmp_path / "cohort", CohortOptions(taxonomy="aml-hehr", names_only=True))
    assert sorted(own.table["coarse"].unique()) == ["cbfb_myh11", "control", "npm1", "pml_rara", "runx1_runx1t1"]
    drawn = {p.patient_id: p for p in synthesize_patients(HEHR.model_copy(update={"patients": 10, "cells": 50}))}
    for row in own.table.itertuples():
        assert row.coarse == drawn[row.patient_id].coarse


def test_what_was_written_is_read_again_with_its_classes(tmp_path):
    synthesize_cohort(tmp_path / "cohort", SMALL.model_copy(update={"shortcut": True}))
    cohort = read_cohort(tmp_path / "cohort", CohortOptions(min_cells=0, min_patients=1))
    invented = {p.patient_id: p.coarse for p in synthesize_patients(SMALL)}
    assert dict(zip(cohort.table["patient_id"], cohort.table["coarse"], strict=True)) == invented
