"""The map of patients (paper, figures 2G, 4C): the embeddings of one member in two dimensions, and their figure.

The map is computed from patients that the member was trained on, where the model includes them, so that two cohorts
evaluated with one model share a map. These separate better than others do, so they are marked, also among the
evaluated. All others are placed on the map. A place is found for any smear, so how far they are from those patients is
measured in the embedding. Coordinates are plain numbers: a UMAP object would have to be pickled.
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
from numpy.typing import NDArray
from safetensors.numpy import save

from napari_caltomorph.errors import PackageMissing
from napari_caltomorph.evaluation import Embeddings, Evaluation
from napari_caltomorph.explanation.cell_map import fit_umap, pca
from napari_caltomorph.report.drawing import PAPER, PlotStyle, short
from napari_caltomorph.report.plot import Axis, Dots, Entry, Plot, draw_plot
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
    training: NDArray[np.float32]  # (T, 2), in the order of `Embeddings.training`
    # (P,), (T,): the member was trained on the patient. With too few of them, the map is computed from all patients.
    is_trained: NDArray[np.bool_]
    training_is_trained: NDArray[np.bool_]
    # (P,) distance to the nearest patient that the member was trained on, of that which is usual: 1 is the median of
    # `_usual_distances`. NaN where the map is computed from all patients, and for those that it was trained on.
    distance: NDArray[np.float32]
    is_far: NDArray[np.bool_]  # (P,): that distance is larger than 99 % of the usual ones
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
        base, trained_on = self.parameters["computed_from"], int(self.is_trained.sum())
        if not np.isfinite(self.distance).any():
            words = f"{self.projection} of {base} patients by {member}."
        else:
            words = f"{self.projection} of {base} patients that {member} was trained on. {self._placing}"
        if trained_on:
            words += (
                f" {member.capitalize()} was trained on {trained_on} of the {count} evaluated patients (crosses): new "
                "patients separate less well."
            )
        return f"{words} {self.parameters['why_pca']}" if "why_pca" in self.parameters else words

    @property
    def _placing(self) -> str:
        """How the others were placed, and how far they are."""
        neighbours, distances = self.parameters.get("placed_by_neighbours"), self.distance[~self.is_trained]
        how = "by UMAP's transform" if neighbours is None else f"at the mean place of their {neighbours} nearest"
        return (
            f"All others are placed {how}, which finds a place for any smear. To the nearest of those patients it is "
            f"{np.median(distances):.1f} times as far (median of the evaluated; at most {distances.max():.1f}) as for "
            f"{self.parameters['usual_of']}. {self.is_far.sum()} are far (hollow): farther than 99 % of these."
        )

    def save(self, folder: Path) -> Path:
        """Write ``map.safetensors`` into a folder; return its path. Raises `OutputRefused`."""
        path = folder / FILE_NAME
        tensors = {
            "judged": self.evaluated,
            "training": self.training,
            "is_trained": self.is_trained,
            "training_is_trained": self.training_is_trained,
            "distance": self.distance,
            "is_far": self.is_far,
        }
        metadata = {"parameters": json.dumps(self.parameters)}
        with replacing(path) as part:
            part.write_bytes(save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata=metadata))
        return path


def patient_map(evaluation: Evaluation) -> PatientMap:
    """Return the map of an evaluation; computed once for each, since UMAP takes seconds."""
    if evaluation not in _CACHE:
        _CACHE[evaluation] = _compute_map(evaluation)
    return _CACHE[evaluation]


def map_plot(evaluation: Evaluation, style: PlotStyle = PAPER) -> Plot:
    """Return patients in the colour of the true class: crosses where the member was trained on them, else dots.

    Evaluated patients have a rim, and are hollow where they are far from all that the member was trained on. A sentence
    explains why there is no map.
    """
    patients = patient_map(evaluation)
    if patients.why_none:
        return Plot(sentence=patients.in_words)
    taxonomy, embeddings = evaluation.taxonomy, evaluation.embeddings
    assert embeddings is not None
    color_of = dict(zip(taxonomy.slugs, taxonomy.colors, strict=True))
    training = np.array([color_of.get(slug, style.faint) for slug in embeddings.training_classes], dtype=object)
    own = np.array([taxonomy.colors[c] if c >= 0 else style.text for c in evaluation.classes], dtype=object)
    is_new, far = ~patients.is_trained, patients.is_far
    cross: dict[str, Any] = {"marker": "x", "width": 0.8, "alpha": 0.45}
    seen, unseen = patients.training_is_trained, ~patients.training_is_trained
    groups = (
        Dots(patients.training[seen], list(training[seen]), "none", 3.2, **cross),
        Dots(patients.evaluated[patients.is_trained], list(own[patients.is_trained]), "none", 3.2, **cross),
        Dots(patients.training[unseen], list(training[unseen]), "none", 3.2, 0, alpha=0.7),
        Dots(
            patients.evaluated[is_new],
            list(np.where(far, "none", own)[is_new]),
            list(np.where(far, own, style.text)[is_new]),
            size=5.5 if evaluation.is_external else 4.9,
            width=0.8,
            marker="D" if evaluation.is_external else "o",
        ),
    )
    on = f" on {patients.parameters['computed_from']} training patients" if np.isfinite(patients.distance).any() else ""
    everyone = np.vstack([patients.evaluated, patients.training])
    return Plot(
        Axis.around(everyone[:, 0], f"{patients.projection} of member {patients.parameters['member'] + 1}"),
        Axis.around(everyone[:, 1]),
        tuple(group for group in groups if len(group.places)),
        legend=_legend(evaluation, patients, style),
        title=f"{len(patients.evaluated)} evaluated patients{on}",
    )


def draw_map(axes: Axes, evaluation: Evaluation, style: PlotStyle = PAPER) -> None:
    """Draw `map_plot`."""
    draw_plot(axes, map_plot(evaluation, style), style)


def _compute_map(evaluation: Evaluation) -> PatientMap:
    embeddings, count = evaluation.embeddings, len(evaluation)
    if embeddings is None:
        nowhere, why_none = np.full((count, 2), np.nan, np.float32), "the evaluation has no embeddings"
        return _split(count, nowhere, np.zeros(count, bool), nowhere[:, 0], {"why_none": why_none})
    values = np.vstack([embeddings.evaluated, *([] if embeddings.training is None else [embeddings.training])])
    is_trained = _is_trained(evaluation, embeddings)
    is_base = is_trained if is_trained.sum() >= FEWEST else np.ones(len(values), bool)
    places, distances = np.full((len(values), 2), np.nan, np.float32), np.full(len(values), np.nan, np.float32)
    parameters: dict[str, Any] = {"why_none": _why_no_map(values, is_base)}
    if not parameters["why_none"]:
        parameters = {
            "computed_from": int(is_base.sum()),
            "judged_learnt_from": int(is_trained[:count].sum()),
            "member": embeddings.member,
            "seed": evaluation.options.seed,
            "model": evaluation.provenance.model_fingerprint,
            "cohort": evaluation.provenance.cohort_fingerprint,
        }
        places[is_base], places[~is_base] = _project(values[is_base], values[~is_base], parameters)
        if not is_base.all():
            distances[~is_base] = _distances(values, is_base, count, parameters)
    return _split(count, places, is_trained, distances, parameters)


def _split(
    evaluated: int,
    places: NDArray[np.float32],
    is_trained: NDArray[np.bool_],
    distances: NDArray[np.float32],
    parameters: dict[str, Any],
) -> PatientMap:
    """Return the map of so many evaluated patients, which are followed by training patients."""
    own, rest = slice(None, evaluated), slice(evaluated, None)
    is_far = np.nan_to_num(distances[own]) > parameters.get("far_distance", np.inf)
    return PatientMap(places[own], places[rest], is_trained[own], is_trained[rest], distances[own], is_far, parameters)


def _is_trained(evaluation: Evaluation, embeddings: Embeddings) -> NDArray[np.bool_]:
    """(P + T,) whether the member was trained on the evaluated patients, and on the others of its training cohort.

    Where it is not known which of these it was not trained on, all count as trained on.
    """
    fold = evaluation.patients["fold"]
    training = np.ones(0 if embeddings.training is None else len(embeddings.training), dtype=bool)
    if embeddings.training_held_out:
        training = ~np.array(embeddings.training_held_out, dtype=bool)
    return np.concatenate([(fold.notna() & (fold != embeddings.member)).to_numpy(dtype=bool), training])


def _why_no_map(values: NDArray[np.float32], is_base: NDArray[np.bool_]) -> str:
    base = values[is_base]
    if len(base) < FEWEST:
        return f"it needs {FEWEST} patients, there are {len(base)}"
    if not np.isfinite(values).all():
        return "some embeddings are not finite"
    if len(np.unique(base, axis=0)) < FEWEST:
        return "most patients have the same embedding"
    return ""


def _project(
    base: NDArray[np.float32], others: NDArray[np.float32], parameters: dict[str, Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(B, 2) and (O, 2): by UMAP, or by PCA where its package is missing; adds to `parameters` what was done."""
    neighbours = min(15, len(base) - 1)
    # Of few patients, the spectrum from which UMAP starts by default is not well defined.
    start = "spectral" if len(base) > 3 * neighbours else "pca"
    options = {"n_neighbors": neighbours, "min_dist": 0.3, "metric": "euclidean", "init": start}
    try:
        places, placed = fit_umap(base, "The UMAP of patients", others=others, seed=parameters["seed"], **options)
    except PackageMissing as error:
        parameters |= {"method": f"PCA (scikit-learn {version('scikit-learn')})", "why_pca": str(error)}
        places = pca(base)[0]
        if len(others):
            parameters["placed_by_neighbours"] = min(_NEIGHBOURS, len(base))
            distances, nearest = _nearest(base, others, parameters["placed_by_neighbours"])
            weights = 1 / np.maximum(distances, 1e-9)
            placed = (weights[..., None] * places[nearest]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
        else:
            placed = np.zeros((0, 2))
    else:
        parameters |= options | {"method": f"UMAP (umap-learn {version('umap-learn')})"}
    return places.astype(np.float32), placed.astype(np.float32)


def _distances(
    values: NDArray[np.float32], is_base: NDArray[np.bool_], evaluated: int, parameters: dict[str, Any]
) -> NDArray[np.float64]:
    """(O,) distances of those not in the base to the nearest that is, as multiples of what is usual.

    Usual is the distance of training patients that the member was not trained on, which is larger than that of those it
    was trained on from each other; where there are too few, the latter. Adds to `parameters` what was usual.
    """
    distances = _nearest(values[is_base], values[~is_base], 1)[0][:, 0]
    usual = distances[np.flatnonzero(~is_base) >= evaluated]
    usual_of = f"{len(usual)} training patients that it was not trained on"
    if len(usual) < FEWEST:
        usual = _nearest(values[is_base], values[is_base], 2)[0][:, 1]  # the first is the patient
        usual_of = "these patients among themselves"
    unit = float(np.median(usual)) or 1.0
    far = float(np.quantile(usual, _FAR_QUANTILE)) / unit
    parameters |= {"usual_of": usual_of, "usual_distance": unit, "far_quantile": _FAR_QUANTILE, "far_distance": far}
    return distances / unit


def _nearest(
    base: NDArray[np.float32], others: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """(P, count) distances to the nearest of the base, and which those are."""
    from sklearn.neighbors import NearestNeighbors

    distances, nearest = NearestNeighbors(n_neighbors=count).fit(base).kneighbors(others)
    return np.asarray(distances, dtype=float), np.asarray(nearest, dtype=np.intp)


def _legend(evaluation: Evaluation, patients: PatientMap, style: PlotStyle) -> tuple[Entry, ...]:
    embeddings = evaluation.embeddings
    shown = set(() if embeddings is None else embeddings.training_classes)
    shown |= {evaluation.taxonomy.slugs[c] for c in evaluation.classes if c >= 0}
    entries = [Entry(short(one.name), one.color) for one in evaluation.taxonomy.classes if one.slug in shown]
    if (evaluation.classes < 0).any():
        entries.append(Entry("no one class", style.text))
    marker = "D" if evaluation.is_external else "o"
    rows = (
        (not patients.is_trained.all(), Entry("evaluated", style.text, marker, style.faint)),
        (bool(patients.is_far.any()), Entry("evaluated, far from all", style.text, marker, "none")),
        (not patients.training_is_trained.all(), Entry("training, unseen", style.text, size=3)),
        (
            bool(patients.is_trained.any() or patients.training_is_trained.any()),
            Entry("training, seen", style.text, "x", size=4),
        ),
    )
    return (*entries, *(entry for is_there, entry in rows if is_there))
