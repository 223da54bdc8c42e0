"""One patient's blood smear: reading its cells from disk, and grading their images."""

from napari_caltomorph.names import printable
from napari_caltomorph.smear.check import QUALITY_RULES, check_smear
from napari_caltomorph.smear.read import find_smears, patient_id, read_smear
from napari_caltomorph.smear.smear import Grade, LeftOut, Reason, Smear, smear_fingerprint, smear_from_array

__all__ = [
    "QUALITY_RULES",
    "Grade",
    "LeftOut",
    "Reason",
    "Smear",
    "check_smear",
    "find_smears",
    "patient_id",
    "printable",
    "read_smear",
    "smear_fingerprint",
    "smear_from_array",
]
