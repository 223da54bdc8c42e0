from .cohort import COLUMNS, Cohort, with_types
from .encode import EncodeSummary, encode_cohort
from .encode_options import EncodeCohortOptions
from .feature_folder import feature_files, feature_path
from .options import CohortOptions
from .patients import FoundPatient, find_patients
from .read import read_cohort

__all__ = [
    "COLUMNS",
    "Cohort",
    "CohortOptions",
    "EncodeCohortOptions",
    "EncodeSummary",
    "FoundPatient",
    "encode_cohort",
    "feature_files",
    "feature_path",
    "find_patients",
    "read_cohort",
    "with_types",
]
