"""The map of patients (paper, figures 2G, 4C): the embeddings of one member in two dimensions, and their figure.

The map is computed from training patients where the model includes them, so that two cohorts evaluated with one model
share a map. Evaluated patients are placed next to their nearest training patients. Coordinates and parameters are
stored as plain numbers: a UMAP object would have to be pickled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from safetensors.numpy import save

from napari_caltomorph.errors import PackageMissing
from napari_caltomorph.evaluation import Embeddings, Evaluation
from napari_caltomorph.explanation.cell_map import fit_umap, pca
from napari_caltomorph.report.drawing import PAPER, PlotStyle, draw_sentence, legend_beside, legend_dot, short, title
from napari_caltomorph.storage import replacing

FILE_NAME = "map.safetensors"
FEWEST = 10
"""With fewer patients, a map shows nothing."""

_NEIGHBOURS = 5
_FAR_QUANTILE = 0.99
_CACHE: WeakKeyDictionary[Evaluation, PatientMap] = WeakKeyDictionary()


@dataclass(frozen=True)
class PatientMap:
    """The places of patients, and how they were computed."""

    evaluated: NDArray[np.float32]  # (P, 2), in the order of `Evaluation.patients`
    # (T, 2), in the order of `Embeddings.training`; empty where the map is computed from the evaluated patients.
    training: NDArray[np.float32]
    # (P,): the nearest training patient is farther away than for 99 % of the training patients. Always false
    # where there are no training patients.
    is_far: NDArray[np.bool_]
    parameters: dict[str, Any]  # Of the projection and of the placing; `why_none` where there is no map

    @property
    def why_none(self) -> str:
        """Why there is no map; empty where there is one."""
        return str(self.parameters.get("why_none", ""))

    @property
    def projection(self) -> str:
        """``"UMAP"``, or ``"PCA"`` where the package for UMAP is not installed."""
        return str(self.parameters["method"]).split()[0]

    @property
    def in_words(self) -> str:
        """How it was computed, for a caption."""
        if self.why_none:
            return f"No map: {self.why_none}."
        member, count = f"member {self.parameters['member'] + 1}", len(self.evaluated)
        if len(self.training):
            words = (
                f"{self.projection} of {len(self.training)} training patients by {member}. {count} evaluated patients "
                f"are placed next to their {self.parameters['placed_by_neighbours']} nearest. {self.is_far.sum()} are "
                "far from all (hollow): farther from their nearest training patient than 99 % of the training patients."
            )
        else:
            words = f"{self.projection} of {count} evaluated patients by {member}."
        if trained_on := self.parameters["judged_learnt_from"]:
            known = f"{member.capitalize()} was trained on {trained_on} of the evaluated patients"
            words += f" {known}: new patients separate less well."
        return f"{words} {self.parameters['why_pca']}" if "why_pca" in self.parameters else words

    def save(self, folder: Path) -> Path:
        """Write ``map.safetensors`` into a folder; return its path. Raises `OutputRefused`."""
        path = folder / FILE_NAME
        tensors = {"judged": self.evaluated, "training": self.training, "is_far": self.is_far}
        metadata = {"parameters": json.dumps(self.parameters)}
        with replacing(path) as part:
            part.write_bytes(save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata=metadata))
        return path


def patient_map(evaluation: Evaluation) -> PatientMap:
    """Return the map of an evaluation; computed once for each, since UMAP takes seconds."""
    if evaluation not in _CACHE:
        _CACHE[evaluation] = _compute_map(evaluation)
    return _CACHE[evaluation]


def draw_map(axes: Axes, evaluation: Evaluation, style: PlotStyle = PAPER) -> PathCollection:
    """Draw evaluated and training patients in the colour of the true class; evaluated ones far from all are hollow.

    Returns the evaluated patients, in the order of `Evaluation.patients`; none where a sentence explains why there is
    no map.
    """
    patients = patient_map(evaluation)
    if patients.why_none:
        draw_sentence(axes, patients.in_words, style)
        return axes.scatter([], [])
    style.prepare(axes)
    taxonomy, embeddings = evaluation.taxonomy, evaluation.embeddings
    assert embeddings is not None
    color_of = dict(zip(taxonomy.slugs, taxonomy.colors, strict=True))
    if len(patients.training):
        colors = [color_of.get(slug, style.faint) for slug in embeddings.training_classes]
        axes.scatter(
            patients.training[:, 0], patients.training[:, 1], s=10, c=colors, alpha=0.35, linewidth=0, zorder=2
        )
    edges = [taxonomy.colors[c] if c >= 0 else style.text for c in evaluation.classes]
    faces = ["none" if far else edge for far, edge in zip(patients.is_far, edges, strict=True)]
    rims = [edge if far else style.text for far, edge in zip(patients.is_far, edges, strict=True)]
    is_external = evaluation.is_external
    dots = axes.scatter(
        patients.evaluated[:, 0],
        patients.evaluated[:, 1],
        s=30 if is_external else 24,
        marker="D" if is_external else "o",
        facecolors=faces,
        edgecolors=rims,
        linewidth=np.where(patients.is_far, 1.3, 0.6),
        zorder=4,
    )
    axes.set(xticks=[], yticks=[], xlabel=f"{patients.projection} of member {patients.parameters['member'] + 1}")
    legend_beside(axes, _handles(evaluation, patients, style), style)
    training = f" on {len(patients.training)} training patients" if len(patients.training) else ""
    title(axes, f"{len(patients.evaluated)} evaluated patients{training}", style)
    return dots


def _compute_map(evaluation: Evaluation) -> PatientMap:
    count, embeddings = len(evaluation), evaluation.embeddings
    nowhere, no_training = np.full((count, 2), np.nan, np.float32), np.zeros((0, 2), np.float32)
    why_none = _why_no_map(evaluation)
    if embeddings is None or why_none:
        return PatientMap(nowhere, no_training, np.zeros(count, bool), {"why_none": why_none})
    base = _base(embeddings)
    fold = evaluation.patients["fold"]
    parameters: dict[str, Any] = {
        "judged_learnt_from": int((fold.notna() & (fold != embeddings.member)).sum()),
        "member": embeddings.member,
        "seed": evaluation.options.seed,
        "model": evaluation.provenance.model_fingerprint,
        "cohort": evaluation.provenance.cohort_fingerprint,
    }
    places = _project(base, parameters)
    if base is embeddings.evaluated:
        return PatientMap(places, no_training, np.zeros(count, bool), parameters)
    neighbours = min(_NEIGHBOURS, len(base))
    distances, nearest = _nearest(base, embeddings.evaluated, neighbours)
    among_themselves, _ = _nearest(base, base, 2)  # the first is the patient
    reach = float(np.quantile(among_themselves[:, 1], _FAR_QUANTILE))
    weights = 1 / (distances + 1e-6 * max(reach, 1e-6))
    weights /= weights.sum(axis=1, keepdims=True)
    evaluated = (weights[..., None] * places[nearest]).sum(axis=1).astype(np.float32)
    parameters |= {"placed_by_neighbours": neighbours, "far_quantile": _FAR_QUANTILE, "far_distance": reach}
    return PatientMap(evaluated, places, distances[:, 0] > reach, parameters)


def _base(embeddings: Embeddings) -> NDArray[np.float32]:
    """(B, width): the patients from which the map is computed."""
    has_training = embeddings.training is not None and len(embeddings.training) >= FEWEST
    return embeddings.training if embeddings.training is not None and has_training else embeddings.evaluated


def _why_no_map(evaluation: Evaluation) -> str:
    if evaluation.embeddings is None:
        return "the evaluation has no embeddings"
    base = _base(evaluation.embeddings)
    if len(base) < FEWEST:
        return f"it needs {FEWEST} patients, there are {len(base)}"
    if not (np.isfinite(base).all() and np.isfinite(evaluation.embeddings.evaluated).all()):
        return "some embeddings are not finite"
    if len(np.unique(base, axis=0)) < FEWEST:
        return "most patients have the same embedding"
    return ""


def _project(base: NDArray[np.float32], parameters: dict[str, Any]) -> NDArray[np.float32]:
    """(B, 2): by UMAP, or by PCA where its package is missing; adds to `parameters` what was done."""
    neighbours = min(15, len(base) - 1)
    # Of few patients, the spectrum from which UMAP starts by default is not well defined.
    start = "spectral" if len(base) > 3 * neighbours else "pca"
    options = {"n_neighbors": neighbours, "min_dist": 0.3, "metric": "euclidean", "init": start}
    try:
        places = fit_umap(base, "The UMAP of patients", seed=parameters["seed"], **options)
    except PackageMissing as error:
        parameters |= {"method": f"PCA (scikit-learn {version('scikit-learn')})", "why_pca": str(error)}
        return pca(base)[0].astype(np.float32)
    parameters |= options | {"method": f"UMAP (umap-learn {version('umap-learn')})"}
    return places.astype(np.float32)


def _nearest(
    base: NDArray[np.float32], others: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """(P, count) distances to the nearest of the base, and which those are."""
    from sklearn.neighbors import NearestNeighbors

    distances, nearest = NearestNeighbors(n_neighbors=count).fit(base).kneighbors(others)
    return np.asarray(distances, dtype=float), np.asarray(nearest, dtype=np.intp)


def _handles(evaluation: Evaluation, patients: PatientMap, style: PlotStyle) -> list[Line2D]:
    embeddings, has_training = evaluation.embeddings, len(patients.training) > 0
    shown = set(embeddings.training_classes if embeddings is not None and has_training else ())
    shown |= {evaluation.taxonomy.slugs[c] for c in evaluation.classes if c >= 0}

    def dot(label: str, color: str, *, marker: str = "o", face: str | None = None, size: float = 6) -> Line2D:
        fill = {"markerfacecolor": face or color, "markeredgewidth": 1, "markersize": size}
        return legend_dot(label, color, marker=marker, **fill)

    handles = [dot(short(one.name), one.color) for one in evaluation.taxonomy.classes if one.slug in shown]
    if (evaluation.classes < 0).any():
        handles.append(dot("no one class", style.text))
    marker = "D" if evaluation.is_external else "o"
    handles.append(dot("evaluated", style.text, marker=marker, face=style.faint))
    if patients.is_far.any():
        handles.append(dot("evaluated, far from all", style.text, marker=marker, face="none"))
    if has_training:
        handles.append(dot("training", style.faint, size=4))
    return handles
