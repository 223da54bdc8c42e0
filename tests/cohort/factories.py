"""What the tests of encoding a cohort share: a small cohort to encode, and what is in a feature folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from napari_caltomorph.cohort import Cohort, CohortOptions, EncodeCohortOptions, with_types
from napari_caltomorph.encoding import Features
from napari_caltomorph.synthetic import SynthOptions, synthesize_patients
from napari_caltomorph.taxonomy import caltomorph_taxonomy

PATIENTS, CELLS = 6, 12

# As float32 on the CPU every machine computes the same.
OPTIONS = EncodeCohortOptions(encoder="demo-vit", device="cpu", precision="float32", batch_size=4)


# The patients of the fixture `images`, which need not be written.
SYNTHETIC = {p.patient_id: p for p in synthesize_patients(SynthOptions(patients=PATIENTS, cells=CELLS, seed=5))}


def streamed_cohort() -> Cohort:
    return cohort_from({"patient_id": list(SYNTHETIC), "path": [None] * PATIENTS})


FEW = CohortOptions(min_cells=3, names_only=True)
CHECKED = CohortOptions(min_cells=3)


def with_options(**changes: object) -> CohortOptions:
    return FEW.model_copy(update=changes)


def edit(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], **how: object) -> None:
    change(pd.read_csv(path)).to_csv(path, index=False, **how)


def rules(cohort: Cohort) -> dict[str, int]:
    return cohort.left_out_counts()


def rewrite(flat: Path, text: str | bytes) -> Path:
    path = flat / "diagnoses.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines_of(flat: Path) -> list[str]:
    return (flat / "diagnoses.csv").read_text().splitlines()


def patient_folders(images: Path) -> list[Path]:
    return sorted((p for p in images.glob("*/*") if p.is_dir()), key=lambda p: p.name)


def cohort_of(images: Path, patients: int | None = None) -> Cohort:
    folders = patient_folders(images)[:patients]
    return cohort_from({"patient_id": [p.name for p in folders], "path": [str(p) for p in folders]})


def cohort_from(columns: dict[str, list[str | None]]) -> Cohort:
    table = with_types(pd.DataFrame(columns))
    return Cohort("test", Path("test"), "folders", caltomorph_taxonomy(), table)


def values_in(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: Features.load(path).values for path in folder.glob("*.h5")}


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.h5")}


def times_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.h5")}


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob("*.part")) + list(folder.glob(".*.part"))


def journal(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text("utf-8"))


def assert_same(result: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float = 0.0) -> None:
    assert result.keys() == expected.keys()
    for patient, values in result.items():
        np.testing.assert_allclose(values, expected[patient], rtol=0, atol=tolerance)
