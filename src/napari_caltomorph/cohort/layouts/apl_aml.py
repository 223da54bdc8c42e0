"""APL-AML (Sidhom et al. 2021): ``master.csv`` and ``All/Patient_XX/{Signed slides/<cell type>,Unsigned slides}/``."""

from __future__ import annotations

from pathlib import Path

from napari_caltomorph.cohort.layout_result import Found
from napari_caltomorph.cohort.layouts.folders import frame, join
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.errors import CohortUnreadable


def recognises(path: Path) -> bool:
    """Whether the folder has the cohort's own table and image folder."""
    return (path / "master.csv").is_file() and (path / "All").is_dir()


def read(path: Path, options: CohortOptions) -> Found:
    """Read the cohort; cell types stay with the cells, as `read_smear` takes them from the sub-folders.

    Raises
    ------
    CohortUnreadable
        The image folder is not there.
    """
    images = path / "All"
    if not images.is_dir():
        raise CohortUnreadable(f"{images} does not exist; unpack the cohort's images there.")
    found = frame((p, None) for p in sorted(images.iterdir()) if p.is_dir())
    options = options.with_columns(id_column="Patient_ID", label_column="Diagnosis")
    return join(found, path / "master.csv", options, labels_from_table=True)
