from .cells import cell_shares
from .cleaning import extended_test_set, with_extended
from .cohort import COLUMNS, Cohort, with_types
from .encode import EncodeSummary, encode_cohort
from .feature_folder import feature_files, feature_path
from .options import CohortOptions, EncodeCohortOptions
from .patients import FoundPatient, find_patients, named_patients
from .published import PUBLISHED, PublishedCohort, ask_the_hub, get_cohort
from .read import read_cohort
from .splits import split_into_parts
from .synthetic import SyntheticPatients

__all__ = [
    "COLUMNS",
    "PUBLISHED",
    "Cohort",
    "CohortOptions",
    "EncodeCohortOptions",
    "EncodeSummary",
    "FoundPatient",
    "PublishedCohort",
    "SyntheticPatients",
    "ask_the_hub",
    "cell_shares",
    "encode_cohort",
    "extended_test_set",
    "feature_files",
    "feature_path",
    "find_patients",
    "get_cohort",
    "named_patients",
    "read_cohort",
    "split_into_parts",
    "with_extended",
    "with_types",
]
