"""Sample data: one synthetic smear a coarse class, drawn when opened."""

from __future__ import annotations

from pathlib import Path

from napari_caltomorph.plugin.reader import LayerData, smear_layer
from napari_caltomorph.smear import read_smear
from napari_caltomorph.storage import home
from napari_caltomorph.synthetic import synthesize_patient, write_smear

CELLS = 200
SEED = 20_260


def sample_smear(detailed: str) -> Path:
    """Return the folder of a synthetic smear, drawn on the first call and kept."""
    patient = synthesize_patient(detailed, cells=CELLS, seed=SEED, patient_id=f"synthetic_{detailed}")
    folder = home("cache") / "samples" / patient.patient_id
    if not folder.is_dir():
        write_smear(patient, folder)  # under a temporary name, then renamed
    return folder


def _sample(detailed: str) -> list[LayerData]:
    return [smear_layer(read_smear(sample_smear(detailed)))]


def acute_leukemia() -> list[LayerData]:
    """An acute myeloid leukemia."""
    return _sample("aml")


def lymphoma() -> list[LayerData]:
    """A chronic lymphocytic leukemia."""
    return _sample("cll")


def mds() -> list[LayerData]:
    """A myelodysplastic neoplasm."""
    return _sample("mds")


def mds_mpn() -> list[LayerData]:
    """A chronic myelomonocytic leukemia."""
    return _sample("cmml")


def mpn() -> list[LayerData]:
    """A chronic myeloid leukemia."""
    return _sample("cml")


def plasma_cell_neoplasm() -> list[LayerData]:
    """A plasma cell leukemia."""
    return _sample("pcl")


def reactive_changes() -> list[LayerData]:
    """Reactive changes."""
    return _sample("reactive_changes")


def healthy() -> list[LayerData]:
    """A stem cell donor."""
    return _sample("stem_cell_donor")
