"""The training patients that a smear resembles most, by the members' embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.storage import path_of
from napari_caltomorph.taxonomy import Taxonomy

if TYPE_CHECKING:  # it loads torch, and panels import this file
    from napari_caltomorph.diagnosis.model_folder import TrainingPatients

# So many training patients measure the distance between nearest neighbours; more take time and change nothing.
_FOR_SCALE = 500


@dataclass(frozen=True)
class SimilarPatient:
    """One training patient."""

    patient_id: str
    # Name of the class, and slug of the detailed one; empty where the table has none
    label: str
    detailed: str
    hemoglobin_g_dl: float | None
    # In the members' embedding spaces, mean over the members; 1 is how far a typical training patient is from the
    # nearest other one
    distance: float
    path: Path | None  # Where the images were in training; None where only features were available

    @property
    def has_images(self) -> bool:
        """Whether the images are still where they were."""
        return self.path is not None and self.path.exists()


@dataclass(frozen=True)
class Similar:
    """The nearest training patients, the nearest first, and whether the smear itself was one of them."""

    patients: tuple[SimilarPatient, ...]
    was_trained_on: bool


def similar_patients(
    training: TrainingPatients,
    embeddings: NDArray[np.float32],
    taxonomy: Taxonomy,
    *,
    patient_id: str,
    smear_fingerprint: str | None,
    count: int = 5,
) -> Similar:
    """Find the `count` training patients nearest to a smear, by its embeddings (M, E).

    `patient_id` and `smear_fingerprint` identify the smear: a training patient is not its own neighbour. The
    fingerprint decides; the id does where a fingerprint is missing.

    The spaces of two members have nothing in common, not even their size. So each member's distances are divided by its
    own median distance between nearest training patients before they are averaged.
    """
    theirs = training.embeddings.float().numpy()  # (M, P, E)
    is_itself = _is_itself(training.table, patient_id, smear_fingerprint)
    distances = np.mean(
        [
            np.linalg.norm(space - mine, axis=1) / _typical(space[~is_itself])
            for space, mine in zip(theirs, embeddings, strict=True)
        ],
        axis=0,
    )
    order = [int(i) for i in np.argsort(distances, kind="stable") if not is_itself[i]][:count]
    names = dict(zip(taxonomy.slugs, taxonomy.names, strict=True))
    rows = training.table.to_dict("records")
    patients = tuple(_patient(rows[i], names, float(distances[i])) for i in order)
    return Similar(patients, bool(is_itself.any()))


def _is_itself(table: pd.DataFrame, patient_id: str, fingerprint: str | None) -> NDArray[np.bool_]:
    same_cells = table["fingerprint"].eq(fingerprint or "").fillna(False).to_numpy(dtype=bool)
    is_marked = table["fingerprint"].notna().to_numpy(dtype=bool) & (fingerprint is not None)
    same_id = table["patient_id"].eq(patient_id).to_numpy(dtype=bool)
    is_itself = np.asarray(np.where(is_marked, same_cells, same_id))
    if "slide_of" in table:  # the other slides of the same patient
        is_itself |= table["slide_of"].isin(table["slide_of"][is_itself].dropna()).to_numpy(dtype=bool)
    return is_itself


def _typical(space: NDArray[np.float32]) -> float:
    """Return the median distance from a training patient to the nearest other one."""
    if len(space) < 2:
        return 1.0
    from sklearn.neighbors import NearestNeighbors

    some = space[:: max(1, len(space) // _FOR_SCALE)]
    nearest, _ = NearestNeighbors(n_neighbors=2).fit(space).kneighbors(some)  # the first is the patient itself
    return float(np.median(nearest[:, 1])) or 1.0


def _patient(row: dict[Any, Any], names: dict[str, str], distance: float) -> SimilarPatient:
    path, hemoglobin = row.get("path"), row["hemoglobin_g_dl"]
    return SimilarPatient(
        patient_id=str(row["patient_id"]),
        label=names.get(str(row["coarse"]), str(row["coarse"])),
        detailed="" if pd.isna(row["detailed"]) else str(row["detailed"]),
        hemoglobin_g_dl=None if pd.isna(hemoglobin) else float(hemoglobin),
        distance=distance,
        path=None if path is None or pd.isna(path) else path_of(str(path)),
    )
