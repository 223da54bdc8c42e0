"""Synthetic patients as a cohort that is never written."""

from __future__ import annotations

import pickle

import numpy as np

from napari_caltomorph.cohort import CohortOptions, read_cohort
from napari_caltomorph.cohort.synthetic import SyntheticPatients
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort

OPTIONS = SynthOptions(patients=16, cells=3, seed=5)


def test_they_are_the_patients_that_would_be_written(tmp_path):
    synthesize_cohort(tmp_path / "written", OPTIONS)
    written = read_cohort(tmp_path / "written", CohortOptions(min_cells=1, min_patients=1)).table.set_index(
        "patient_id"
    )
    drawn = SyntheticPatients.synthesize(OPTIONS)
    table = drawn.cohort().table.set_index("patient_id")
    for column in ("coarse", "hemoglobin_g_dl", "age"):
        assert table[column].to_dict() == written.loc[table.index, column].to_dict()
    smear = drawn.open_smear("synthetic_001")
    assert smear.cells == ("Gal-000001.RGB.TIF", "Gal-000002.RGB.TIF", "Gal-000003.RGB.TIF")
    np.testing.assert_array_equal(smear.image(0), drawn.patients["synthetic_001"].image(0))


def test_no_patient_is_held_out_with_a_test_fraction_of_zero():
    table = SyntheticPatients.synthesize(OPTIONS).cohort(CohortOptions(test_fraction=0)).table
    assert set(table["split"]) == {"train"}
    assert table["fold"].notna().all()


def test_what_opens_smears_can_be_sent_to_workers():
    drawn = SyntheticPatients.synthesize(OPTIONS)
    sent = pickle.loads(pickle.dumps(drawn.open_smear))  # noqa: S301 (our own)
    assert sent("synthetic_002").cells == drawn.open_smear("synthetic_002").cells
