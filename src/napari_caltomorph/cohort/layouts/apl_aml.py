"""APL-AML (Sidhom et al. 2021): ``master.csv`` and ``All/Patient_XX/{Signed slides/<cell type>,Unsigned slides}/``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from napari_caltomorph.cohort.layouts.folders import join
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.tables import Found
from napari_caltomorph.errors import CohortUnreadable
from napari_caltomorph.names import printable


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
    rows = [(printable(p.name), None, printable(str(p))) for p in sorted(images.iterdir()) if p.is_dir()]
    found = pd.DataFrame(rows, columns=["patient_id", "raw_label", "path"])
    columns = {
        "id_column": "Patient_ID",
        "label_column": "Diagnosis",
        "age_column": "Age at Diagnosis",
        "sex_column": "Gender",
    }
    return join(found, path / "master.csv", options.model_copy(update=columns), labels_from_table=True)
