"""``model.json``: everything that must be known to use a model, and how it was trained.

Each member's file has a seal, the SHA-256 of those sections that give its numbers their meaning (encoder, classes,
targets, architecture). So an edited ``model.json`` is noticed, and a member of another model is too.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.hemoglobin_error import ErrorInterval
from napari_caltomorph.diagnosis.options import (
    AggregatorOptions,
    ConceptsOptions,
    FrozenModel,
    GenBloomOptions,
    is_share,
)
from napari_caltomorph.diagnosis.prevalence import Prevalence
from napari_caltomorph.diagnosis.training_record import TrainingRecord
from napari_caltomorph.errors import ModelRefused, counted
from napari_caltomorph.reading import read_as
from napari_caltomorph.storage import StrPath
from napari_caltomorph.taxonomy import Taxonomy

GET_AGAIN = "get the model again"
AGGREGATOR_FILE = "aggregator.safetensors"

# A real one has a few kilobytes; a file of this size is not read into memory.
_MAX_BYTES = 16_000_000

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class EncoderNeed(FrozenModel):
    """The encoder of the training features; None where the feature files do not record it."""

    name: str | None
    weights_sha256: Sha256 | None
    preprocessing: str | None
    width: PositiveInt
    # `FeatureOrigin.views`: how many the members were trained on, and how they differ; None without views
    views: str | None = None


class HemoglobinTarget(FrozenModel):
    """The members estimate hemoglobin, with this error; each has its own scale."""

    error: ErrorInterval | None = None


class Threshold(FrozenModel):
    """The malignancy from which a patient counts as malignant, and how it was chosen."""

    value: float = Field(ge=0, le=1)
    rule: str
    cohort: str | None = None

    @property
    def is_chosen(self) -> bool:
        """Whether it was chosen by numbers, and is more than "more probably malignant than not"."""
        return self.cohort is not None or self.value != 0.5

    def at(self, prevalence: Prevalence | None) -> Threshold:
        """Return it at a stated prevalence, where it calls the same patients if it was chosen."""
        if prevalence is None or prevalence.stated is None or not self.is_chosen:
            return self
        value = prevalence.move_malignancy(self.value)
        rule = f"{self.value:.3g} before it was moved with the prevalence; {self.rule}"
        return Threshold(value=value, rule=rule, cohort=self.cohort)

    @property
    def in_words(self) -> str:
        """How it was chosen."""
        return self.rule if self.cohort is None else f"{self.rule}, on {self.cohort}"


class MemberFile(FrozenModel):
    file: str = Field(pattern=r"^fold_\d+\.safetensors$")
    sha256: Sha256


class AggregatorFile(FrozenModel):
    """``aggregator.safetensors``: weights of the aggregator that all members share; their own files lack them."""

    sha256: Sha256


class DomainFile(FrozenModel):
    """The training domain, ``domain.safetensors``, and the number of held-out patients that it was scaled on."""

    sha256: Sha256
    patients: PositiveInt


class ModelDescription(FrozenModel):
    """The content of ``model.json``."""

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    description: str
    synthetic: bool
    created: str
    encoder: EncoderNeed
    field_of_view_um: PositiveFloat | None
    taxonomy: Taxonomy
    hemoglobin: HemoglobinTarget | None
    aggregator: AggregatorOptions
    classifier_width: PositiveInt = 128
    threshold: Threshold
    calibration: Calibration | None = None
    training: TrainingRecord
    members: tuple[MemberFile, ...] = Field(min_length=1)
    domain: DomainFile | None = None
    shared_aggregator: AggregatorFile | None = None
    library_versions: dict[str, str]

    @model_validator(mode="after")
    def _members_are_unique(self) -> ModelDescription:
        if shared := [file for file, count in Counter(m.file for m in self.members).items() if count > 1]:
            raise ValueError(f"{shared[0]} is named twice")
        return self

    @model_validator(mode="after")
    def _reference_is_a_class(self) -> ModelDescription:
        if self.reference is not None and self.reference >= len(self.taxonomy.classes):
            raise ValueError(f"the reference of the aggregator, {self.reference}, is no class")
        return self

    @model_validator(mode="after")
    def _calibration_is_of_these_classes(self) -> ModelDescription:
        if self.calibration is not None:
            self.calibration.refuse_other_classes(self.taxonomy.slugs)
        return self

    @property
    def members_in_words(self) -> str:
        """E.g. ``"5 members"`` or ``"5 members, 1 unfinished"``."""
        unfinished = sum(fold.stopped_by == "hand" for fold in self.training.folds)
        return counted(len(self.members), "member") + (f", {unfinished} unfinished" if unfinished else "")

    @property
    def hemoglobin_error(self) -> ErrorInterval | None:
        """The error of hemoglobin, with what its patients were; None where it was not measured."""
        if self.hemoglobin is None or self.hemoglobin.error is None:
            return None
        return self.hemoglobin.error.model_copy(update={"stopped_training": self.training.stops_on_own_fold})

    @property
    def reference(self) -> int | None:
        """Number of the class that is called where the aggregator finds nothing; None where it has none."""
        return self.aggregator.reference if isinstance(self.aggregator, ConceptsOptions) else None

    @property
    def shares_aggregator(self) -> bool:
        """Whether all members have the same aggregator, as no training changed it."""
        return isinstance(self.aggregator, GenBloomOptions) and self.aggregator.frozen

    @property
    def encoder_name(self) -> str:
        """Name of the encoder; `ModelRefused` where the training features do not record it."""
        if self.encoder.name is None:
            raise ModelRefused(
                f"{self.name} was trained on features that do not record their encoder, so no cell can be "
                "encoded for it; train it on features of `caltomorph encode`."
            )
        return self.encoder.name

    def views_to_average(self, *, asked: bool = True, where: str = "") -> str | None:
        """Return the views that a prediction is averaged over.

        Parameters
        ----------
        asked : bool
            Whether that is asked for; otherwise None is returned.
        where : str
            Where it is asked for, for the message.

        Raises
        ------
        ModelRefused
            It is asked for, and the model was trained without views.
        """
        if asked and self.encoder.views is None:
            raise ModelRefused(
                f"{self.name} was trained without views, so none can be averaged; leave out --average-views{where}, or "
                "train it on features of `caltomorph encode --views`."
            )
        return self.encoder.views if asked else None

    @property
    def prevalence(self) -> Prevalence | None:
        """Where the probabilities hold; None where that is not recorded, or all classes are malignant, or none is."""
        classes, training = self.taxonomy.classes, self.training
        counts = {one.slug: training.patients.get(one.slug, 0) for one in classes}
        balance = training.options.get("balance")
        if not any(counts.values()) or (balance is None and not training.prior_shift):
            return None
        is_equal = balance != "none" and not training.prior_shift
        weights = dict.fromkeys(counts, 1) if is_equal else counts
        share = sum(weights[one.slug] for one in classes if one.malignant) / sum(weights.values())
        return Prevalence(trained=share, of_equal_classes=is_equal) if is_share(share) else None

    def prevalence_at(self, stated: float | None) -> Prevalence | None:
        """Return where the probabilities hold with a stated prevalence; `ModelRefused` where they cannot be moved."""
        if stated is None:
            return self.prevalence
        if self.prevalence is None:
            raise ModelRefused(
                f"{self.name} cannot be moved to a prevalence: its model.json does not record how many malignant and "
                "other patients it was trained on, or it has no classes of both kinds; predict without a prevalence."
            )
        return self.prevalence.at(stated)

    @property
    def seal(self) -> str:
        """SHA-256 of the sections that give the members' numbers their meaning."""
        sealed = self.model_dump(
            mode="json",
            include={"encoder", "field_of_view_um", "taxonomy", "hemoglobin", "aggregator", "classifier_width"},
        )
        if self.encoder.views is None:  # as before there were views, so that older seals hold
            del sealed["encoder"]["views"]
        return hashlib.sha256(json.dumps(sealed, sort_keys=True).encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the seal, of all members, of domain and calibration: it identifies the model of a prediction."""
        sums = [self.seal, *(m.sha256 for m in self.members)]
        sums += [file.sha256 for file in (self.shared_aggregator, self.domain) if file is not None]
        if self.calibration is not None:
            sums.append(json.dumps(self.calibration.model_dump(mode="json"), sort_keys=True))
        return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def read_description(folder: StrPath) -> ModelDescription:
    """Read a model folder's ``model.json``.

    Raises `ModelRefused` where it is no model, newer than this version, or invalid; the message names the field.
    """
    path = Path(folder) / "model.json"
    if not path.is_file():
        raise ModelRefused(f"{path.parent} is not a model folder: there is no {path.name} in it.")
    return read_as(ModelDescription, path, "a model's description", ModelRefused, GET_AGAIN, at_most=_MAX_BYTES)
