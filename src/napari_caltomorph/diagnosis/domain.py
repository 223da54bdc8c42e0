"""Whether a smear is like the training cohort: the result in a `Prediction`, and the measurements in a model folder.

Each member describes its training patients as three distributions: of cells around the commonest types of appearance,
of smears (their average cell), and of its own embeddings. Distances are compared with those of patients that the member
was not trained on, measured in the same way. No number here belongs to one patient: means and variances over many, and
scores that are sorted one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from safetensors.numpy import save

from napari_caltomorph.diagnosis.image_domain import ImageDomain, as_far_out
from napari_caltomorph.diagnosis.options import FrozenModel
from napari_caltomorph.errors import ModelRefused
from napari_caltomorph.reading import explained, read_arrays, refuse_misfit
from napari_caltomorph.statistics.interval import percent

Aspect = Literal["cells", "smear", "embedding", "images"]

IN_WORDS: dict[Aspect, str] = {
    "cells": "its single cells",
    "smear": "the average of its cells",
    "embedding": "its embeddings",
    "images": "its images away from the cells (stain, background, size)",
}
FALSE_WARNING_RATE = 0.05
"""Share of smears of the training domain itself that are called unlike it: the nominal rate of false warnings."""
RARE = 0.01
"""A cell is unusual when at most this share of the training cells is as far out."""
UNKNOWN = "Whether this smear is like the training cohort is unknown: the model has no data on its training domain."
UNLIKE = "Unlike the training cohort"
WITHDRAWN = "calibration and prediction sets are withdrawn"


class AspectResult(FrozenModel):
    """One way in which a smear can be unlike the training cohort."""

    aspect: Aspect
    # Share of training patients that are as far out, each measured by a member that was not trained on them
    p_value: float = Field(gt=0, le=1)
    score: float  # How far out: 0 is the median of those patients, 1 their (robust) standard deviation
    # Quantiles of their scores in even steps, the smallest first and the largest last
    reference: tuple[float, ...] = Field(min_length=2)


class DomainResult(FrozenModel):
    """A smear of N cells compared with the training cohort."""

    # Of all aspects together: the share of training patients, measured in the same way, that are as far out
    p_value: float = Field(gt=0, le=1)
    patients: PositiveInt  # The number of those training patients
    aspects: tuple[AspectResult, ...] = Field(min_length=1)
    # (N,): for each cell the share of training cells that are as far out; 0 where none is
    cell_tails: tuple[float, ...] = Field(min_length=1)
    level: float = Field(FALSE_WARNING_RATE, gt=0, lt=1)  # A smear is outside where `p_value` is at most this

    @property
    def is_outside(self) -> bool:
        """Whether the smear is called unlike the training cohort."""
        return self.p_value <= self.level

    @property
    def unusual(self) -> NDArray[np.intp]:
        """(N,) indices of the cells, the most unusual first; ties in the smear's order."""
        return np.asarray(np.argsort(np.array(self.cell_tails), kind="stable"))

    @property
    def unusual_cells(self) -> NDArray[np.intp]:
        """The cells that are as far out as only `RARE` of the training cells, the most unusual first."""
        return self.unusual[: int((np.array(self.cell_tails) <= RARE).sum())]

    @property
    def unusual_share(self) -> float:
        return len(self.unusual_cells) / len(self.cell_tails)

    @property
    def as_far_out(self) -> int:
        """How many of `patients` are as far out."""
        return round(self.p_value * (self.patients + 1)) - 1

    @property
    def far(self) -> tuple[Aspect, ...]:
        """The aspects in which a smear outside is far out, or the farthest; none where it is not outside."""
        if not self.is_outside:
            return ()
        far = tuple(one.aspect for one in self.aspects if one.p_value <= self.level)
        return far or (max(self.aspects, key=lambda one: one.score).aspect,)

    @property
    def in_words(self) -> str:
        """The comparison as a sentence without its full stop."""
        rank = (
            f"{self.as_far_out} of {self.patients} training patients are as far out or farther, each measured by a "
            f"member that was not trained on them; {percent(self.unusual_share, 0)} of the cells are "
            f"unusual ({percent(RARE, 0)} expected)"
        )
        if not self.is_outside:
            return f"Like the training cohort: {rank}"
        *others, last = [IN_WORDS[aspect] for aspect in self.far]
        where = f"{', '.join(others)} and {last}" if others else last
        return f"{UNLIKE} in {where}: {rank}"


DOMAIN_FILE = "domain.safetensors"
ASPECTS: tuple[Aspect, ...] = ("cells", "smear", "embedding")
TAILS = np.concatenate([np.linspace(1, 0.05, 20), np.linspace(0.045, 0.005, 9), [0.002, 0.001, 0.0005, 0.0]])
"""(T,) the shares of training cells at which the distance that so many exceed is kept; 0 is the farthest cell."""
_STEPS = 41
_TINY = 1e-12
_ORDINARY = -1.0
_LEAST_VARIANCE = 1e-30  # Distances are divided by variances, as numbers of 32 bits

Numbers = NDArray[np.floating]


@dataclass(frozen=True)
class MemberDomain:
    """The patients that one member was trained on."""

    centre: Numbers  # (D,): mean cell, each patient counting once
    # (D, D): unit directions along which the cells of one smear vary independently, and so do the averages of smears
    axes: Numbers
    # (D,): variance along each: of the cells of one smear, and of the smears' true averages
    within: Numbers
    between: Numbers
    # (K, D): centres of the commonest appearances of a cell, along the axes and divided by the root of `within`
    cell_centres: Numbers
    embedding_centre: Numbers  # (E,)
    embedding_basis: Numbers  # (E, R): orthonormal directions of the largest variance of the embeddings
    embedding_variances: Numbers  # (R + 1,): along each, and last along any other direction

    def distances(self, values: Numbers, embedding: Numbers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return how far out a smear is in each aspect, (A,), and each of its cells, (N,): logs of squared distances.

        `values` (N, D) are the features of its cells, `embedding` (E,) is this member's.

        The distance of a cell is that to the nearest centre, so that another mixture of known cells is not unusual. A
        smear's average varies between patients, and by chance as the average of N cells does: the variance is larger
        for smears of few cells. All are Mahalanobis distances, divided by the number of directions.
        """
        placed = (values.astype(np.float64) - self.centre) @ self.axes.astype(np.float64)  # (N, D)
        cells = squared_distances(placed / np.sqrt(self.within), self.cell_centres).min(axis=1) / len(self.centre)
        smear = (placed.mean(axis=0) ** 2 / (self.between + self.within / len(values))).mean()
        shift = embedding.astype(np.float64) - self.embedding_centre
        along = shift @ self.embedding_basis.astype(np.float64)  # (R,)
        rest = max(float(shift @ shift - along @ along), 0.0) / self.embedding_variances[-1]
        embedded = ((along**2 / self.embedding_variances[:-1]).sum() + rest) / len(shift)
        return np.log(np.array([cells.mean(), smear, embedded]) + _TINY), np.log(cells + _TINY)


@dataclass(frozen=True)
class Domain:
    """The training domain: what M members have measured of their training cohort."""

    members: tuple[MemberDomain, ...]
    # (A, 2): median and robust standard deviation of `MemberDomain.distances`, of patients held out from the member
    scale: Numbers
    # Tuple of (A + 1, n): for each member the scores of the n patients that it was not trained on, and in the last row
    # each patient's total; every row is sorted separately
    held_out: tuple[Numbers, ...]
    cell_distances: Numbers  # (T,): the distances that the shares `TAILS` of the held-out patients' cells exceed
    images: ImageDomain | None = None  # None where the training patients had no images, and in older models

    @property
    def patients(self) -> int:
        """The number of patients that were measured by a member that was not trained on them."""
        return sum(rows.shape[1] for rows in self.held_out)

    def compare(self, values: Numbers, embeddings: Numbers, traits: Mapping[str, float] | None = None) -> DomainResult:
        """Compare a smear, its cells (N, D) and its embeddings (M, E) by each member, with the training cohort.

        `traits` are those of its images, where it has images. The rate of false warnings is the same with and without.

        Cross-conformal p-values (Vovk 2015): each member ranks the smear among the patients it was not trained on. A
        smear of the training domain is called outside at about the nominal level; the proven bound is twice that.
        """
        measured = [m.distances(values, e) for m, e in zip(self.members, embeddings, strict=True)]
        scores = np.stack([with_total((aspects - self.scale[:, 0]) / self.scale[:, 1]) for aspects, _ in measured])
        p_values = (as_far_out(self.held_out, scores.T) + 1) / (self.patients + 1)  # (A + 1,)
        pooled = np.concatenate(self.held_out, axis=1)
        aspects = [_aspect(name, p_values[i], scores[:, i], pooled[i]) for i, name in enumerate(ASPECTS)]
        p_value, patients = p_values[-1], self.patients
        if self.images is not None and traits:
            of_images, patients = self.images.scores(traits, scores[:, -1]), self.images.patients
            p_image, p_value = (as_far_out(self.images.held_out, of_images) + 1) / (patients + 1)
            pooled = np.concatenate(self.images.held_out, axis=1)
            aspects.append(_aspect("images", p_image, of_images[0], pooled[0]))
        cells = np.mean([cells for _, cells in measured], axis=0)
        tails = np.interp(cells, self.cell_distances, TAILS, right=0.0)
        return DomainResult(
            p_value=float(p_value),
            patients=patients,
            aspects=tuple(aspects),
            cell_tails=tuple(tails.round(6).tolist()),
        )

    def to_bytes(self, seal: str) -> bytes:
        """Return the content of ``domain.safetensors``, bound to a model by its seal."""
        tensors = {
            "scale": self.scale.astype(np.float32),
            "cell_distances": self.cell_distances.astype(np.float32),
            **{f"unseen.{k}": rows.astype(np.float32) for k, rows in enumerate(self.held_out)},
        }
        if self.images is not None:
            tensors |= {name: values.astype(np.float32) for name, values in self.images.to_tensors().items()}
        for name, tensor in _MEMBER_TENSORS.items():
            # Three digits less do not change a distance, and halve the file.
            kind = np.float16 if name in ("axes", "cell_centres", "embedding_basis") else np.float32
            for k, member in enumerate(self.members):
                tensors[f"{tensor}.{k}"] = getattr(member, name).astype(kind)
        return bytes(save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata={"seal": seal}))

    @classmethod
    def load(cls, path: Path, seal: str, width: int, embedding_widths: Sequence[int]) -> Domain:
        """Read a model's ``domain.safetensors``; `ModelRefused` where it is damaged, or belongs to another model.

        `width` is that of the features, D, and `embedding_widths` those of the M members' embeddings, E.
        """
        with explained(path, "a training domain", ModelRefused, "get the model again"):
            metadata, tensors = read_arrays(path)
            if metadata.get("seal") != seal:
                raise ValueError("it belongs to another model than the model.json next to it")
            refuse_misfit(tensors, {"scale": (len(ASPECTS), 2), "cell_distances": (len(TAILS),)})
            members = tuple(_member_of(tensors, k, width, embedded) for k, embedded in enumerate(embedding_widths))
            refuse_misfit(tensors, {f"unseen.{k}": (len(ASPECTS) + 1, None) for k in range(len(members))})
            held_out = tuple(tensors[f"unseen.{k}"] for k in range(len(members)))
            if not all((np.diff(one) >= 0).all() for one in (*held_out, tensors["cell_distances"])):
                raise ValueError("distances in it are not sorted")
            if not (tensors["scale"][:, 1] > 0).all() or not sum(one.shape[1] for one in held_out):
                raise ValueError("it has no scale, or no patients")
            images = ImageDomain.of_tensors(tensors, len(members))
        return cls(members, tensors["scale"], held_out, tensors["cell_distances"], images)


def _aspect(aspect: Aspect, p_value: float, scores: Numbers, reference: Numbers) -> AspectResult:
    """Return one aspect from its scores by each member, (M,), and those of all held-out patients."""
    return AspectResult(
        aspect=aspect,
        p_value=float(p_value),
        score=float(scores.mean()),
        reference=tuple(np.quantile(reference, np.linspace(0, 1, _STEPS)).round(4).tolist()),
    )


def squared_distances(points: Numbers, centres: Numbers) -> NDArray[np.float64]:
    """Return the squared distances, (N, K), of points (N, D) from centres (K, D)."""
    centres = centres.astype(np.float64)
    squares = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2 * points @ centres.T
    return np.asarray(np.maximum(squares, 0), dtype=np.float64)


def with_total(scores: Numbers) -> NDArray[np.float64]:
    """Append to scores (..., A) their total: a shift shows a little in every aspect.

    Scores below -1 count as -1, so that a very ordinary aspect does not hide an unusual one.
    """
    return np.concatenate([scores, np.maximum(scores, _ORDINARY).sum(axis=-1, keepdims=True)], axis=-1)


def robust_scale(distances: Sequence[Numbers]) -> NDArray[np.float64]:
    """Return median and robust standard deviation, (A, 2), of the distances (A,) of many smears."""
    all_of_them = np.stack(distances)
    median = np.median(all_of_them, axis=0)
    spread = 1.4826 * np.median(np.abs(all_of_them - median), axis=0)
    return np.stack([median, np.maximum(spread, 1e-6)], axis=1)


# Field -> tensor in the file, where one has an older name.
_MEMBER_TENSORS = {name: {"cell_centres": "looks"}.get(name, name) for name in MemberDomain.__dataclass_fields__}


def _member_of(tensors: Mapping[str, Numbers], k: int, width: int, embedding_width: int) -> MemberDomain:
    """Return what a file has of one member; ValueError where its shapes do not fit, or a variance is none."""
    basis = tensors.get(f"embedding_basis.{k}")
    rank = basis.shape[-1] if basis is not None and basis.ndim else None
    shapes = {
        "centre": (width,),
        "axes": (width, width),
        "within": (width,),
        "between": (width,),
        "cell_centres": (None, width),
        "embedding_centre": (embedding_width,),
        "embedding_basis": (embedding_width, rank),
        "embedding_variances": (None if rank is None else rank + 1,),
    }
    refuse_misfit(tensors, {f"{_MEMBER_TENSORS[name]}.{k}": shape for name, shape in shapes.items()})
    member = MemberDomain(**{name: tensors[f"{_MEMBER_TENSORS[name]}.{k}"] for name in shapes})
    if not (len(member.cell_centres) and (member.between >= 0).all()):
        raise ValueError("a variance in it is negative, or cells have no centre")
    if not all((variances > _LEAST_VARIANCE).all() for variances in (member.within, member.embedding_variances)):
        raise ValueError("a variance in it is not positive, or far too small")
    return member
