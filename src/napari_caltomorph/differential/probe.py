"""A linear probe: features of a frozen encoder -> type of each cell, or "other", with its errors on held-out cells.

It is one safetensors file, with the description as JSON in its header; loading it runs no code of the file.
"""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, model_validator
from safetensors.numpy import save

from napari_caltomorph.differential.cell_types import OTHER, cell_type
from napari_caltomorph.differential.count import Differential
from napari_caltomorph.differential.other import TypeClouds
from napari_caltomorph.encoding import Features
from napari_caltomorph.errors import FeaturesRefused, ProbeRefused, shortened
from napari_caltomorph.reading import explained, parse_document, read_arrays, refuse_misfit, validated
from napari_caltomorph.statistics.interval import percent
from napari_caltomorph.storage import StrPath, replacing

BLOOD_CELLS = "blood-cells"
"""The probe that is in the package: normal blood cells by `blood-lite`. It never saw a blast."""

_SHIPPED = {BLOOD_CELLS: "blood_cells.safetensors"}
_HEADER = "probe"


class ProbeOptions(BaseModel, frozen=True, extra="forbid"):
    """How a probe is trained on labelled cells."""

    min_cells: int = Field(
        5, ge=2, title="Min cells per type", description="A type with fewer labelled cells is left out, with a warning."
    )
    folds: int = Field(5, ge=2, description="Parts of the cross-validation, by patient where there are several.")
    strength: PositiveFloat = Field(
        10.0, description="Inverse of the penalty on weights, for features of any width (scikit-learn's C times width)."
    )
    seed: int = Field(0, ge=0, description="How cells are split into parts where there is one patient.")


_Count = Annotated[int, Field(ge=0)]
_Correlation = Annotated[float, Field(ge=0, le=1)]


class OtherRule(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """When a cell is called `OTHER`, and how often this was right and wrong on held-out cells of K types."""

    limit: Annotated[float, Field(gt=1e-6)]  # Distance to the nearest type (`TypeClouds`) above which a cell is `OTHER`
    false: tuple[_Count, ...]  # (K,) cells of each type that are called `OTHER`
    # (K, K + 1) what the cells of a type are called where it is unknown; the last column is `OTHER`
    left_out: tuple[tuple[_Count, ...], ...]
    correlation: _Correlation  # Of these calls within a type, as of `ProbeDescription.correlation` within a patient


class ProbeDescription(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What a probe needs and how it was trained."""

    schema_version: Literal[1] = 1
    # Of the features that it takes; None where its training features did not record it
    encoder: str | None
    encoder_weights_sha256: str | None
    preprocessing: str | None
    width: PositiveInt
    # Names of the K types it distinguishes, in the order of a differential
    types: Annotated[tuple[str, ...], Field(min_length=2)]
    cells: tuple[PositiveInt, ...]  # (K,) labelled cells of each type that it was trained on
    left_out: dict[str, PositiveInt]  # Types with too few labelled cells, and their number
    patients: PositiveInt  # The number of patients on whose cells its errors were counted
    # What was held out at a time. By cell, the confusion is optimistic: it does not contain the errors on another
    # patient. Laboratories are made up, by changing all cells of one alike.
    validation: Literal["patient", "cell", "laboratory"]
    by_cell: tuple[str, ...] = ()  # Types that only one patient has: these were held out cell by cell in any case
    # (K, K) tuple of int: cells by true and called type, held out, without those that are called `OTHER`
    confusion: tuple[tuple[_Count, ...], ...]
    # Of the called types within a patient (`correlation_within_patients`); None with one patient
    correlation: _Correlation | None
    other: OtherRule | None = None  # None where it calls no cell `OTHER`: of few labelled cells, or of an old version
    note: Annotated[str, Field(max_length=400)] = ""  # What else limits its counts, as a sentence without its full stop
    options: ProbeOptions
    created: str
    library_version: str

    @model_validator(mode="after")
    def _shapes_agree(self) -> ProbeDescription:
        types = len(self.types)
        if len(set(self.types)) != types:
            raise ValueError("a type is there twice")
        if len(self.cells) != types:
            raise ValueError(f"{len(self.cells)} counts of cells for {types} types")
        if [len(row) for row in self.confusion] != [types] * types:
            raise ValueError(f"the confusion does not fit {types} types")
        if self.other and (len(self.other.false), *map(len, self.other.left_out)) != (types, *[types + 1] * types):
            raise ValueError(f"the calls of other cells do not fit {types} types")
        return self

    @cached_property
    def recalls(self) -> dict[str, float]:
        """Type -> share of its cells that are called so, of held-out cells that are not called `OTHER`."""
        table = np.array(self.confusion)
        return dict(zip(self.types, (table.diagonal() / np.maximum(table.sum(axis=1), 1)).tolist(), strict=True))

    @property
    def accuracy(self) -> float:
        """Share of the held-out cells that are called as they are labelled, of those that are not called `OTHER`."""
        table = np.array(self.confusion)
        return float(table.trace() / max(table.sum(), 1))

    @property
    def false_other(self) -> float | None:
        """Share of the held-out cells that are called `OTHER`, though they are of a learnt type."""
        if self.other is None:
            return None
        false = sum(self.other.false)
        return false / max(false + int(np.sum(self.confusion)), 1)

    @property
    def errors_in_words(self) -> str:
        """E.g. ``"of cells of 8 held-out patients, 5 % are called other, and 81 % of the rest as labelled"``."""
        many = "held-out patients" if self.validation == "patient" else "made-up laboratories"
        judged = "held-out cells of one patient" if self.validation == "cell" else f"cells of {self.patients} {many}"
        if self.false_other is None:
            return f"of {judged}, {percent(self.accuracy, 0)} are called as labelled"
        return (
            f"of {judged}, {percent(self.false_other, 0)} are called {OTHER}, and {percent(self.accuracy, 0)} of the "
            "rest as labelled"
        )

    @property
    def calls(self) -> tuple[tuple[str, ...], tuple[tuple[float, ...], ...], tuple[float, ...]]:
        """What a cell is called: the types, cells by true and called type, and the correlation of each true type.

        `OTHER` is the last type. Its row is that of cells whose own type is left out of the probe, with the weight of
        an average type.
        """
        correlation = (self.correlation or 0.0,) * len(self.types)
        if self.other is None:
            return self.types, self.confusion, correlation
        rows = [(*row, false) for row, false in zip(self.confusion, self.other.false, strict=True)]
        unknown = np.sum(self.other.left_out, axis=0) / len(self.types)
        return (*self.types, OTHER), (*rows, tuple(unknown.tolist())), (*correlation, self.other.correlation)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The limits of every count of this probe."""
        warnings = [self.note] if self.note else []
        if self.validation == "cell":
            warnings.append("the labels are of one patient, so how the probe errs on another is not known")
        elif self.by_cell:
            warnings.append(f"one patient only has {', '.join(self.by_cell)}: errors there are underestimated")
        if self.left_out:
            few = ", ".join(f"{name} ({count})" for name, count in self.left_out.items())
            warnings.append(f"labelled, and not learnt (too few cells, or of no one type): {few}")
        return tuple(warnings)


@dataclass(frozen=True, eq=False)
class Probe:
    """Multinomial logistic regression on features; `train_probe` makes one."""

    description: ProbeDescription
    # (K, D), (K,) float64: for unscaled features: the scales of the training features are multiplied in
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    clouds: TypeClouds | None = None  # Where `description.other` is

    def probabilities(self, features: Features) -> NDArray[np.float64]:
        """(N, K) probabilities of the types; `FeaturesRefused` where another encoder made the features."""
        self._refuse_other_features(features)
        scores = features.values.astype(np.float64) @ self.weights.T + self.bias
        exps = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(exps / exps.sum(axis=1, keepdims=True))

    def differential(self, features: Features, corrections: Mapping[str, str] | None = None) -> Differential:
        """Count the cells of one smear by type.

        Parameters
        ----------
        features : Features
            (N, D) by the encoder that the probe was trained on.
        corrections : mapping of str to str, optional
            Cell -> type by hand (`CellLabels.of`), which replaces the one that the probe calls.

        Returns
        -------
        Differential
            Of N cells.

        Raises
        ------
        FeaturesRefused
            Another encoder made the features.
        """
        probabilities, distances = self.probabilities(features), self.distances(features)
        is_other = distances > 1
        called = np.where(is_other, OTHER, np.array(self.description.types)[probabilities.argmax(axis=1)])
        by_hand = {cell: cell_type(name).name for cell, name in (corrections or {}).items()}
        types, confusion, correlation = self.description.calls
        return Differential(
            patient_id=features.patient_id,
            smear_fingerprint=features.origin.smear_fingerprint,
            probe_fingerprint=self.fingerprint,
            types=types,
            confusion=confusion,
            correlation=correlation,
            cells=features.cells,
            called=tuple(called.tolist()),
            certainty=tuple(np.where(is_other, np.nan, probabilities.max(axis=1)).tolist()),
            distance=tuple(distances.tolist()),
            by_hand={cell: by_hand[cell] for cell in features.cells if cell in by_hand},
            false_other=self.description.false_other,
            probe_warnings=self.description.warnings,
            assumptions=features.origin.assumptions,
        )

    def distances(self, features: Features) -> NDArray[np.float64]:
        """(N,) distance to the nearest type, by the limit above which a cell is `OTHER`; 0 where none is called so."""
        self._refuse_other_features(features)
        if self.clouds is None or self.description.other is None:
            return np.zeros(len(features))
        return np.asarray(self.clouds.distances(features.values).min(axis=1) / self.description.other.limit)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the saved file."""
        return hashlib.sha256(self._content).hexdigest()

    @cached_property
    def _content(self) -> bytes:
        header = {_HEADER: self.description.model_dump_json()}
        clouds = {} if self.clouds is None else {"space": self.clouds.space, "centres": self.clouds.centres}
        return save({"weights": self.weights, "bias": self.bias, **clouds}, metadata=header)

    def save(self, path: StrPath) -> None:
        """Write the probe as one ``.safetensors`` file; `OutputRefused` when it cannot be written."""
        with replacing(Path(path)) as partial:
            partial.write_bytes(self._content)

    @classmethod
    def load(cls, path: StrPath) -> Probe:
        """Read a saved probe; `ProbeRefused` where the file is missing, no probe, damaged, or of a newer version."""
        path = Path(path)
        with explained(path, "a probe", ProbeRefused, "train the probe again, or choose another file"):
            metadata, arrays = read_arrays(path)
            if _HEADER not in metadata:
                raise ValueError("it contains weights, but not those of a probe")
            description = validated(ProbeDescription, parse_document(metadata[_HEADER]), path, ProbeRefused)
            shape = (len(description.types), description.width)
            refuse_misfit(arrays, {"weights": shape, "bias": shape[:1]})
            clouds = None
            if description.other is not None:
                refuse_misfit(arrays, {"space": (None, shape[1]), "centres": (shape[0], len(arrays["space"]))})
                clouds = TypeClouds(arrays["space"].astype(np.float32), arrays["centres"].astype(np.float32))
        return cls(description, arrays["weights"].astype(np.float64), arrays["bias"].astype(np.float64), clouds)

    def _refuse_other_features(self, features: Features) -> None:
        mine, origin = self.description, features.origin
        pairs = (
            ("width", features.values.shape[1], mine.width),
            ("encoder", origin.encoder, mine.encoder),
            ("encoder weights", origin.weights_sha256, mine.encoder_weights_sha256),
            ("preprocessing", origin.preprocessing, mine.preprocessing),
        )
        for what, theirs, needed in pairs:
            if theirs is not None and needed is not None and theirs != needed:
                raise FeaturesRefused(
                    f"{features.patient_id}: the features have {what} {str(theirs)[:40]}, the probe was trained on "
                    f"{str(needed)[:40]} ({shortened(mine.encoder or 'unknown encoder', 40)}); encode the smear with "
                    "that encoder."
                )


def load_probe(name: StrPath) -> Probe:
    """Load a probe of the package by its name (`BLOOD_CELLS`), or a saved one; raises as `Probe.load` does."""
    if str(name) in _SHIPPED:
        name = Path(str(importlib.resources.files(__package__) / _SHIPPED[str(name)]))
    return Probe.load(name)
