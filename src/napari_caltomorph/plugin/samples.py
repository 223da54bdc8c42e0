"""Sample data: one synthetic smear for each coarse class, made when it is first opened."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from napari_caltomorph.plugin.gallery.layers import LayerData, smear_layer
from napari_caltomorph.smear import read_smear
from napari_caltomorph.storage import home
from napari_caltomorph.synthetic import synthesize_patient, write_smear

CELLS = 200
SEED = 20_260


def sample_smear(detailed: str) -> Path:
    """Return the folder of a synthetic smear of a detailed class, made on the first call and kept."""
    patient = synthesize_patient(detailed, cells=CELLS, seed=SEED, patient_id=f"synthetic_{detailed}")
    folder = home("cache") / "samples" / patient.patient_id
    if not folder.is_dir():
        write_smear(patient, folder)  # under a temporary name, then renamed
    return folder


def _sample(detailed: str) -> list[LayerData]:
    return [smear_layer(read_smear(sample_smear(detailed)))]


# The manifest refers to these by name.
acute_leukemia = partial(_sample, "aml")
lymphoma = partial(_sample, "cll")
mds = partial(_sample, "mds")
mds_mpn = partial(_sample, "cmml")
mpn = partial(_sample, "cml")
plasma_cell_neoplasm = partial(_sample, "pcl")
reactive_changes = partial(_sample, "reactive_changes")
healthy = partial(_sample, "stem_cell_donor")
