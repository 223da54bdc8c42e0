"""What ``prediction.json`` contains of one prediction, checked as a whole. `Prediction` derives everything else."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, PlainSerializer, model_validator

from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.domain import DomainResult
from napari_caltomorph.diagnosis.hemoglobin_error import ErrorInterval
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.diagnosis.options import AttentionKind, FrozenModel
from napari_caltomorph.diagnosis.policy import Policy
from napari_caltomorph.diagnosis.prevalence import Prevalence
from napari_caltomorph.taxonomy import Taxonomy


def _numbers(values: Any) -> NDArray[np.float64]:
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, OverflowError) as error:
        raise ValueError("no array of numbers") from error
    if not np.isfinite(numbers).all():
        raise ValueError("a number is missing or not finite")
    numbers.setflags(write=False)  # no view may change what all of them derive from
    return numbers


# Float64 written by JSON's shortest representation comes back as the same number.
Numbers = Annotated[NDArray[np.float64], BeforeValidator(_numbers), PlainSerializer(lambda values: values.tolist())]


class LeftOutCell(FrozenModel):
    """A cell that is not in the bag, why, and by whom: ``"rule"`` or ``"user"``."""

    cell: str
    reason: str
    note: str
    by: Literal["rule", "user"]


class PredictionFields(FrozenModel, arbitrary_types_allowed=True, protected_namespaces=()):
    """What is stored of the diagnosis of one patient."""

    schema_version: Literal[1] = 1
    # The patient, and where the cells were read
    patient_id: str
    smear_path: str | None = None
    smear_fingerprint: str | None = None
    # Version of `QUALITY_RULES`; files of the first one do not have it. None where the features do not say
    quality_rules: str | None = "1"
    field_of_view_um: float | None = None
    assumed_export: str | None = None  # The export whose width that is; None where the files or the user state it
    # Over which views of each cell, and the cell as it is, members' probabilities and hemoglobin are averaged
    averaged_views: str | None = None
    # What predicted. `synthetic`: the model was trained on synthetic cells only.
    encoder: str | None
    encoder_weights_sha256: str | None
    model_name: str
    model_fingerprint: str
    synthetic: bool
    taxonomy: Taxonomy  # The C classes
    member_probabilities: Numbers  # (M, C): softmax of each member, raw whether calibrated or not
    member_hemoglobin: Numbers | None  # (M,) or None: g/dl by each member
    # Error of hemoglobin on other patients than those of the training; never the spread of the members
    hemoglobin_error: ErrorInterval | None = None
    threshold: Threshold
    # Turns the members' average into `probabilities`; None: they are that average, raw. It is withdrawn for a smear
    # outside the training domain.
    calibration: Calibration | None = None
    # The malignant share at which members' probabilities hold, and that of the user's clinic, to which `probabilities`
    # are moved; None where the training's is not known
    prevalence: Prevalence | None = None
    # The laboratory's rules by which a prediction is withheld; None: none was given
    policy: Policy | None = None
    # Whether the smear is like the training cohort; None where the model has no training domain
    domain: DomainResult | None = None
    # What its images show away from the cells, where they were measured for `domain`
    image_traits: dict[str, float] = {}  # noqa: RUF012 (pydantic copies it)
    # The N cells of the bag, and their types where sub-folders named them
    cells: tuple[str, ...]
    labels: tuple[str | None, ...]
    attention: Numbers  # (N,): as a ratio to uniform: 1.0 means as much as an average cell. Mean over the members.
    # Attention rollout, the aggregator's own weights, or none: then `attention` is 1.0 for all cells, and their order
    # is the smear's
    attention_kind: AttentionKind = "rollout"
    # (N, C): the model's response to a bag of that one cell, mean over the members. No such bag was trained on: it is
    # not a probability that the cell is anything.
    alone: Numbers
    # Cells that are not in the bag, and the number of files that are not cells
    left_out: tuple[LeftOutCell, ...] = ()
    passed_over: int = 0
    warnings: tuple[str, ...] = ()
    created: str
    library_version: str

    @model_validator(mode="before")
    @classmethod
    def _calibrated_is_derived(cls, fields: Any) -> Any:
        # In files written before there was a calibration, where it is always false.
        if isinstance(fields, dict) and "calibrated" in fields:
            if fields["calibrated"] is not False or fields.get("calibration") is not None:
                raise ValueError("calibrated is not a field; it follows from calibration")
            return {name: value for name, value in fields.items() if name != "calibrated"}
        return fields

    @model_validator(mode="after")
    def _calibration_is_of_these_classes(self) -> Self:
        if self.calibration is not None:
            self.calibration.refuse_other_classes(self.taxonomy.slugs)
        return self

    @model_validator(mode="after")
    def _shapes_agree(self) -> Self:
        classes, cells = len(self.taxonomy.classes), len(self.cells)
        members = len(self.member_probabilities) if self.member_probabilities.ndim else 0
        if not members or not cells:
            raise ValueError(f"{members} members and {cells} cells are not a prediction")
        if self.member_probabilities.shape != (members, classes):
            raise ValueError(f"member_probabilities: {self.member_probabilities.shape} for {classes} classes")
        if self.member_hemoglobin is not None and self.member_hemoglobin.shape != (members,):
            raise ValueError(f"member_hemoglobin: {self.member_hemoglobin.shape} for {members} members")
        if self.attention.shape != (cells,) or self.alone.shape != (cells, classes) or len(self.labels) != cells:
            raise ValueError(f"attention, alone or labels do not fit {cells} cells")
        if self.domain is not None and len(self.domain.cell_tails) != cells:
            raise ValueError(f"domain: {len(self.domain.cell_tails)} cells, the prediction has {cells}")
        return self

    @model_validator(mode="after")
    def _probabilities_sum_to_one(self) -> Self:
        for name, values in (("member_probabilities", self.member_probabilities), ("alone", self.alone)):
            if values.min() < 0 or np.abs(values.sum(axis=1) - 1).max() > 1e-6:
                raise ValueError(f"{name} are not probabilities that sum to 1")
        if self.attention.min() < 0:
            raise ValueError("attention is negative")
        return self
