from .candidates import Candidate, find_candidates
from .check import QUALITY_RULES, check_smear
from .read import find_slides, open_place, patient_id, read_smear
from .smear import Grade, LeftOut, Reason, Smear, smear_fingerprint, smear_from_array

__all__ = [
    "QUALITY_RULES",
    "Candidate",
    "Grade",
    "LeftOut",
    "Reason",
    "Smear",
    "check_smear",
    "find_candidates",
    "find_slides",
    "open_place",
    "patient_id",
    "read_smear",
    "smear_fingerprint",
    "smear_from_array",
]
