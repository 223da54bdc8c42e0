"""A map of patients: the two-dimensional UMAP of what one member makes of them, kept as plain numbers.

The map is made of training patients where the model brings them, so that two cohorts judged by one model stand on
the same map; the judged are placed beside their nearest neighbours, and say so where these are far away. A UMAP
object would have to be pickled to be kept; coordinates and parameters are all that is needed to draw it again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from napari_caltomorph.errors import EvaluationUnreadable
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.storage import replacing

FILE_NAME = "map.safetensors"
FEWEST = 10
"""With fewer patients to make it of, a map shows nothing."""

_NEIGHBOURS = 5
_FAR_QUANTILE = 0.99
_MADE: WeakKeyDictionary[Evaluation, PatientMap] = WeakKeyDictionary()


@dataclass(frozen=True)
class PatientMap:
    """Where patients stand, and how that came about.

    Attributes
    ----------
    judged : (P, 2) float32
        In the order of `Evaluation.patients`.
    training : (T, 2) float32
        In the order of `Embeddings.training`; empty where the map is made of the judged themselves.
    is_far : (P,) bool
        Whose nearest training patient is farther away than those of 99 % of the training patients from each other.
        Always false where there are no training patients.
    parameters : dict
        Of UMAP and of the placing; ``why_none`` where there is no map.
    """

    judged: NDArray[np.float32]
    training: NDArray[np.float32]
    is_far: NDArray[np.bool_]
    parameters: dict[str, Any]

    @property
    def why_none(self) -> str:
        """Why there is no map; empty where there is one."""
        return str(self.parameters.get("why_none", ""))

    @property
    def in_words(self) -> str:
        """How it was made, for a caption."""
        if self.why_none:
            return f"No map: {self.why_none}."
        member = f"member {self.parameters['member'] + 1}"
        learnt = self.parameters["judged_learnt_from"]
        known = f" {learnt} of the judged taught {member}: new patients would not part so well." if learnt else ""
        if not len(self.training):
            return f"UMAP of {len(self.judged)} judged patients by {member}.{known}"
        far = int(self.is_far.sum())
        return (
            f"UMAP of {len(self.training)} training patients by {member}; {len(self.judged)} judged patients placed "
            f"beside their {self.parameters['placed_by_neighbours']} nearest. {far} are far from all (hollow): "
            "farther from their nearest training patient than 99 % of the training patients are from theirs." + known
        )

    def save(self, folder: Path) -> Path:
        """Write ``map.safetensors`` into a folder.

        Raises
        ------
        OutputRefused
            It cannot be written.
        """
        path = folder / FILE_NAME
        tensors = {"judged": self.judged, "training": self.training, "is_far": self.is_far}
        metadata = {"parameters": json.dumps(self.parameters)}
        with replacing(path) as part:
            part.write_bytes(save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata=metadata))
        return path

    @classmethod
    def load(cls, path: Path) -> PatientMap:
        """Read what `save` wrote.

        Raises
        ------
        EvaluationUnreadable
            No map there, or damaged.
        """
        try:
            tensors = load_file(path)
            with safe_open(path, framework="np") as opened:
                parameters = json.loads((opened.metadata() or {})["parameters"])
            return cls(tensors["judged"], tensors["training"], tensors["is_far"], parameters)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise EvaluationUnreadable(f"{path} is no map that can be read ({error}); evaluate again.") from error


def patient_map(evaluation: Evaluation) -> PatientMap:
    """Return the map of an evaluation; made once for each, since UMAP takes seconds."""
    if evaluation not in _MADE:
        _MADE[evaluation] = _make(evaluation)
    return _MADE[evaluation]


def _make(evaluation: Evaluation) -> PatientMap:
    count, embeddings = len(evaluation), evaluation.embeddings
    nowhere = np.full((count, 2), np.nan, np.float32)
    if embeddings is None:
        return _none(nowhere, "the evaluation holds no embeddings")
    training = embeddings.training
    has_training = training is not None and len(training) >= FEWEST
    base = training if training is not None and has_training else embeddings.evaluated  # (B, width)
    if len(base) < FEWEST:
        return _none(nowhere, f"it needs {FEWEST} patients, there are {len(base)}")
    if not (np.isfinite(base).all() and np.isfinite(embeddings.evaluated).all()):
        return _none(nowhere, "some embeddings are no numbers")
    if len(np.unique(base, axis=0)) < FEWEST:
        return _none(nowhere, "most patients have the same embedding")
    fold = evaluation.patients["fold"]
    parameters: dict[str, Any] = {
        "judged_learnt_from": int((fold.notna() & (fold != embeddings.member)).sum()),
        "method": f"UMAP (umap-learn {version('umap-learn')})",
        "member": embeddings.member,
        "n_neighbors": min(15, len(base) - 1),
        "min_dist": 0.3,
        "metric": "euclidean",
        "seed": evaluation.options.seed,
        "model": evaluation.provenance.model_fingerprint,
        "cohort": evaluation.provenance.cohort_fingerprint,
    }
    places = _umap(base, parameters)
    if not has_training:
        return PatientMap(places, np.zeros((0, 2), np.float32), np.zeros(count, bool), parameters)
    neighbours = min(_NEIGHBOURS, len(base))
    distances, nearest = _nearest(base, embeddings.evaluated, neighbours)
    among_themselves, _ = _nearest(base, base, 2)  # the first is the patient
    reach = float(np.quantile(among_themselves[:, 1], _FAR_QUANTILE))
    weights = 1 / (distances + 1e-6 * max(reach, 1e-6))
    weights /= weights.sum(axis=1, keepdims=True)
    judged = (weights[..., None] * places[nearest]).sum(axis=1).astype(np.float32)
    parameters |= {"placed_by_neighbours": neighbours, "far_quantile": _FAR_QUANTILE, "far_distance": reach}
    return PatientMap(judged, places, distances[:, 0] > reach, parameters)


def _none(nowhere: NDArray[np.float32], why: str) -> PatientMap:
    return PatientMap(nowhere, np.zeros((0, 2), np.float32), np.zeros(len(nowhere), bool), {"why_none": why})


def _umap(base: NDArray[np.float32], parameters: dict[str, Any]) -> NDArray[np.float32]:
    """(B, 2)"""
    import torch
    from umap import UMAP  # compiles for seconds when imported

    # numba sets the number of OpenMP's threads, which are torch's too; with another number the same seed trains other
    # weights.
    threads = torch.get_num_threads()
    # Of few patients, the spectrum that UMAP otherwise starts from is not defined well.
    start = "spectral" if len(base) > 3 * parameters["n_neighbors"] else "pca"
    parameters["init"] = start
    made = UMAP(
        n_neighbors=parameters["n_neighbors"],
        min_dist=parameters["min_dist"],
        metric=parameters["metric"],
        random_state=parameters["seed"],
        init=start,
        n_jobs=1,
    )
    try:
        places: NDArray[np.float32] = np.asarray(made.fit_transform(base), dtype=np.float32)
    finally:
        torch.set_num_threads(threads)
    return places


def _nearest(
    base: NDArray[np.float32], others: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """(P, count) distances to the nearest of the base, and which those are."""
    from sklearn.neighbors import NearestNeighbors

    distances, nearest = NearestNeighbors(n_neighbors=count).fit(base).kneighbors(others)
    return np.asarray(distances, dtype=float), np.asarray(nearest, dtype=np.intp)
