"""A linear probe: features of a frozen encoder -> type of each cell, and how far it is to be believed.

Everything about it stands in one safetensors file, whose header holds the description as JSON; loading runs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from napari_caltomorph.differential.cell_types import cell_type
from napari_caltomorph.differential.count import Differential
from napari_caltomorph.differential.options import ProbeOptions
from napari_caltomorph.encoding import Features
from napari_caltomorph.errors import FeaturesRefused, ProbeRefused, invalid_field
from napari_caltomorph.storage import replacing

_HEADER = "probe"
SCHEMA_VERSION = 1


class ProbeDescription(BaseModel):
    """What must be known to use a probe, and how it came to be.

    Attributes
    ----------
    encoder, encoder_weights_sha256, preprocessing, width
        Of the features that it takes; None where those that it learnt from did not say.
    types : tuple of str
        Names of the K types it tells apart, in the order in which a differential is read.
    cells : tuple of int
        (K,) labelled cells of each that it learnt from.
    left_out : dict of str to int
        Types with too few labelled cells, and how many these were.
    patients : int
        Whose cells it learnt from.
    validation : {"patient", "cell"}
        What the cross-validation held out at a time. By cell, the confusion does not tell how the probe errs on
        another patient: it is too good.
    by_cell : tuple of str
        Types that one patient only has: they were held out cell by cell all the same.
    confusion : (K, K) tuple of int
        Cells by true and called type, out of fold.
    correlation : float or None
        How alike cells of one type and one patient are called (`correlation_within_patients`); None: one patient.
    options : ProbeOptions
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    encoder: str | None
    encoder_weights_sha256: str | None
    preprocessing: str | None
    width: PositiveInt
    types: Annotated[tuple[str, ...], Field(min_length=2)]
    cells: tuple[PositiveInt, ...]
    left_out: dict[str, PositiveInt]
    patients: PositiveInt
    validation: Literal["patient", "cell"]
    by_cell: tuple[str, ...] = ()
    confusion: tuple[tuple[Annotated[int, Field(ge=0)], ...], ...]
    correlation: Annotated[float, Field(ge=0, le=1)] | None
    options: ProbeOptions
    created: str
    library_version: str

    @model_validator(mode="after")
    def _shapes_agree(self) -> ProbeDescription:
        types = len(self.types)
        if len(set(self.types)) != types or len(self.cells) != types:
            raise ValueError(f"{len(self.cells)} counts of cells for {types} types")
        if [len(row) for row in self.confusion] != [types] * types:
            raise ValueError(f"the confusion does not fit {types} types")
        return self

    @cached_property
    def recalls(self) -> dict[str, float]:
        """Type -> share of its cells that are called so, out of fold."""
        table = np.array(self.confusion)
        return dict(zip(self.types, (table.diagonal() / table.sum(axis=1)).tolist(), strict=True))

    @property
    def accuracy(self) -> float:
        """Share of the labelled cells that are called as they are labelled, out of fold."""
        table = np.array(self.confusion)
        return float(table.trace() / table.sum())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be said before anybody believes a count of this probe."""
        found = []
        if self.validation == "cell":
            found.append("the labels are of one patient, so how the probe errs on another is not known")
        elif self.by_cell:
            found.append(f"one patient only has {', '.join(self.by_cell)}: errors there are underestimated")
        if self.left_out:
            few = ", ".join(f"{name} ({count})" for name, count in self.left_out.items())
            found.append(f"too few labelled cells to tell apart: {few}")
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Probe:
    """Multinomial logistic regression on features; `train_probe` makes one.

    Attributes
    ----------
    description : ProbeDescription
    weights, bias : (K, D), (K,) float64
        Of the features as they come: the scales that they were trained on are multiplied in.
    """

    description: ProbeDescription
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def probabilities(self, features: Features) -> NDArray[np.float64]:
        """(N, K) probabilities of the types for each cell.

        Raises
        ------
        FeaturesRefused
            The features come from another encoder than the probe's; both are named.
        """
        self._refuse_other_features(features)
        scores = features.values.astype(np.float64) @ self.weights.T + self.bias
        exps = np.exp(scores - scores.max(axis=1, keepdims=True))
        result: NDArray[np.float64] = exps / exps.sum(axis=1, keepdims=True)
        return result

    def differential(self, features: Features, corrections: Mapping[str, str] | None = None) -> Differential:
        """Count the cells of one smear by type.

        Parameters
        ----------
        features : Features
            Of N cells.
        corrections : mapping, optional
            Cell -> its type as a person says, which stands whatever the probe says (`CellLabels.of`).

        Raises
        ------
        FeaturesRefused
            The features come from another encoder than the probe's.
        """
        probabilities = self.probabilities(features)
        by_hand = {cell: cell_type(name).name for cell, name in (corrections or {}).items()}
        return Differential(
            patient_id=features.patient_id,
            smear_fingerprint=features.origin.smear_fingerprint,
            probe_fingerprint=self.fingerprint,
            types=self.description.types,
            confusion=self.description.confusion,
            correlation=self.description.correlation,
            cells=features.cells,
            called=tuple(self.description.types[i] for i in probabilities.argmax(axis=1)),
            certainty=tuple(probabilities.max(axis=1).tolist()),
            by_hand={cell: by_hand[cell] for cell in features.cells if cell in by_hand},
            warnings=self.description.warnings,
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the saved file."""
        return hashlib.sha256(self._content).hexdigest()

    @cached_property
    def _content(self) -> bytes:
        header = {_HEADER: self.description.model_dump_json()}
        return save({"weights": self.weights, "bias": self.bias}, metadata=header)

    def save(self, path: Path) -> None:
        """Write the probe as one ``.safetensors`` file; `OutputRefused` when it cannot be written."""
        with replacing(path) as part:
            part.write_bytes(self._content)

    @classmethod
    def load(cls, path: Path) -> Probe:
        """Read a saved probe.

        Raises
        ------
        ProbeRefused
            No probe there, damaged, or written by a newer version.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                header = (file.metadata() or {}).get(_HEADER)
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError) as error:
            raise ProbeRefused(f"{path} is no probe that can be read ({error}); choose another file.") from error
        if header is None:
            raise ProbeRefused(f"{path} holds weights, but not those of a probe; choose a file saved by the probe.")
        try:
            description = ProbeDescription.model_validate_json(header)
        except ValidationError as error:
            raise ProbeRefused(
                f"{path} is not a probe of this version ({invalid_field(error, 'its description')}); train it again, "
                "or run `pip install --upgrade napari-caltomorph`."
            ) from error
        shape = (len(description.types), description.width)
        found = {name: array.shape for name, array in arrays.items()}
        if found != {"weights": shape, "bias": shape[:1]} or not all(np.isfinite(a).all() for a in arrays.values()):
            raise ProbeRefused(f"{path} is damaged (its weights do not fit its types); train the probe again.")
        return cls(description, arrays["weights"].astype(np.float64), arrays["bias"].astype(np.float64))

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
                    f"{str(needed)[:40]} ({mine.encoder or 'unknown encoder'}); encode the smear with that encoder."
                )
