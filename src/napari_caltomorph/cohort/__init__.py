"""Many labelled patients: reading them from disk, cleaning, splitting, encoding them all."""

from typing import TYPE_CHECKING, Any

from napari_caltomorph.cohort.cohort import COLUMNS, Cohort, with_types
from napari_caltomorph.cohort.encode_options import EncodeCohortOptions
from napari_caltomorph.cohort.options import CohortOptions

if TYPE_CHECKING:
    from napari_caltomorph.cohort.encode import EncodeSummary, encode_cohort
    from napari_caltomorph.cohort.encode_folder import feature_path
    from napari_caltomorph.cohort.patients import FoundPatient, find_patients
    from napari_caltomorph.cohort.read import read_cohort

_LATE = {
    "EncodeSummary": "napari_caltomorph.cohort.encode",
    "FoundPatient": "napari_caltomorph.cohort.patients",
    "encode_cohort": "napari_caltomorph.cohort.encode",
    "feature_path": "napari_caltomorph.cohort.encode_folder",
    "find_patients": "napari_caltomorph.cohort.patients",
    "read_cohort": "napari_caltomorph.cohort.read",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        from importlib import import_module

        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "COLUMNS",
    "Cohort",
    "CohortOptions",
    "EncodeCohortOptions",
    "EncodeSummary",
    "FoundPatient",
    "encode_cohort",
    "feature_path",
    "find_patients",
    "read_cohort",
    "with_types",
]
