"""What must hold for one invented patient."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_caltomorph.synthetic import CELL_TYPES, COMPOSITIONS, UnknownClass, synthesize_patient
from napari_caltomorph.synthetic.compositions import NORMAL_CELLS
from napari_caltomorph.taxonomy import caltomorph_taxonomy


def test_every_detailed_class_of_the_taxonomy_has_a_composition():
    detailed = {one.slug for coarse in caltomorph_taxonomy().classes for one in coarse.detailed}
    assert set(COMPOSITIONS) == detailed


def test_compositions_name_only_cell_types_that_can_be_drawn():
    for cells in (NORMAL_CELLS, *(row.cells for row in COMPOSITIONS.values())):
        assert set(cells) <= set(CELL_TYPES)


@settings(deadline=None, max_examples=50)
@given(detailed=st.sampled_from(sorted(COMPOSITIONS)), cells=st.integers(1, 400), seed=st.integers(0, 2**63))
def test_any_seed_gives_a_plausible_patient(detailed, cells, seed):
    patient = synthesize_patient(detailed, cells=cells, seed=seed)
    assert len(patient) == len(patient.cell_types) == cells
    assert 4 < patient.hemoglobin_g_dl < 22
    assert 18 <= patient.age <= 95
    assert patient.detailed in {one.slug for one in caltomorph_taxonomy().coarse(patient.coarse).detailed}


def test_same_seed_is_the_same_patient_to_the_byte():
    first, second = (synthesize_patient("mds", cells=6, seed=4) for _ in range(2))
    assert first == second
    assert all((a == b).all() for a, b in zip(first.images(), second.images(), strict=True))
    assert synthesize_patient("mds", cells=6, seed=5) != first


def test_a_cell_drawn_alone_is_the_cell_drawn_in_order():
    patient = synthesize_patient("cml", cells=5, seed=1)
    assert (list(patient.images())[3] == patient.image(3)).all()


def test_patients_of_one_class_vary_and_classes_overlap():
    def blasts(detailed: str, seed: int) -> float:
        patient = synthesize_patient(detailed, cells=300, seed=seed)
        return Counter(patient.cell_types)["myeloblast"] / 300

    aml = [blasts("aml", seed) for seed in range(60)]
    mds = [blasts("mds", seed) for seed in range(60)]
    assert np.std(aml) > 0.1
    assert np.median(aml) > np.max(mds)
    assert np.min(aml) < np.max(mds)


def test_hemoglobin_tells_classes_apart_only_in_part():
    values = {d: [synthesize_patient(d, cells=1, seed=s).hemoglobin_g_dl for s in range(80)] for d in COMPOSITIONS}
    assert np.mean(values["pv"]) > np.mean(values["stem_cell_donor"]) > np.mean(values["aml"])
    assert np.max(values["aml"]) > np.min(values["stem_cell_donor"])


def test_unknown_class_is_refused_and_the_known_ones_are_named():
    with pytest.raises(UnknownClass, match="reactive_changes"):
        synthesize_patient("leukemia", cells=1, seed=0)
