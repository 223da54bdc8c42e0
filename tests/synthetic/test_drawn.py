"""Smears that are drawn when looked at hold what the written ones hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_caltomorph.smear import check_smear, read_smear
from napari_caltomorph.synthetic import SynthOptions, drawn_smear, invent_patients, synthesize_cohort


def test_a_drawn_smear_shows_the_cells_that_would_be_written(tmp_path: Path) -> None:
    options = SynthOptions(patients=3, cells=4, seed=5)
    synthesize_cohort(tmp_path / "cohort", options)
    for patient in invent_patients(options):
        drawn = check_smear(drawn_smear(patient))
        written = check_smear(read_smear(tmp_path / "cohort" / patient.coarse / patient.patient_id))
        assert drawn.cells == written.cells
        assert len(drawn.usable) == len(written.usable) == 4
        assert abs(drawn.pixel_size_um / written.pixel_size_um - 1) < 1e-4
        assert all(np.array_equal(drawn.image(i), written.image(i)) for i in range(4))


def test_patients_come_one_at_a_time() -> None:
    stream = invent_patients(SynthOptions(patients=1_000_000, cells=3))
    assert [next(stream).patient_id for _ in range(2)] == ["synthetic_0000001", "synthetic_0000002"]
