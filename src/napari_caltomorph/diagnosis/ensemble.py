"""A model in use: its members, which average their softmax, and the prediction of one patient from features."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_caltomorph.about import library_version
from napari_caltomorph.diagnosis.domain import WITHDRAWN, Domain, DomainResult
from napari_caltomorph.diagnosis.inference import MemberOutputs, as_bag, run_members, run_with_cells
from napari_caltomorph.diagnosis.member import Member
from napari_caltomorph.diagnosis.model_file import ModelDescription, read_description
from napari_caltomorph.diagnosis.model_folder import TrainingPatients, load_domain, load_members, write_model
from napari_caltomorph.diagnosis.prediction import Prediction
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.errors import FeaturesRefused, OutputRefused
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.storage import StrPath, replacing_folder

# Below this the paper left patients out (section 2.2); a prediction is made, with a warning.
_FEW_CELLS = 50
# Cells are seen at another scale than in training beyond this relative difference of the field of view.
_FIELD_OF_VIEW_TOLERANCE = 0.10


@dataclass(frozen=True)
class Ensemble:
    """A model: its description and its members, which average their softmax (paper, section 2.4)."""

    description: ModelDescription
    members: tuple[Member, ...]
    # Set by `train` for `save`; for a loaded model `training_patients` reads them from the folder
    patients: TrainingPatients | None = None
    folder: Path | None = field(default=None, compare=False)  # Where the model was loaded from, or saved
    domain: Domain | None = field(default=None, compare=False, repr=False)  # The training domain, where it is known

    @classmethod
    def load(cls, folder: StrPath, device: torch.device | str = "cpu") -> Ensemble:
        """Load a model folder; nothing in it is executed.

        Parameters
        ----------
        folder : str or Path
        device : torch.device or str
            Where the members compute.

        Returns
        -------
        Ensemble
            M members in evaluation mode.

        Raises
        ------
        ModelRefused
            It is no model, a member is missing or changed, or ``model.json`` was edited.
        """
        folder = Path(folder)
        description = read_description(folder)
        members = tuple(member.to(device) for member in load_members(folder, description))
        return cls(description, members, folder=folder, domain=load_domain(folder, description, members))

    def save(self, folder: StrPath, *, overwrite: bool = False, scratch: StrPath | None = None) -> Ensemble:
        """Write the model folder: ``model.json``, one safetensors a member, the domain, the card, and ``private/``.

        Parameters
        ----------
        folder : str or Path
        overwrite : bool
            The folder of another model is replaced, with all files in it.
        scratch : str or Path, optional
            Where the files are written first (see `storage.replacing_folder`).

        Returns
        -------
        Ensemble
            With the description that names its files.

        Raises
        ------
        OutputRefused
            The folder exists, or cannot be written; nothing half-written remains.
        """
        folder, scratch = Path(folder), None if scratch is None else Path(scratch)
        if overwrite and folder.is_dir() and any(folder.iterdir()) and not (folder / "model.json").is_file():
            raise OutputRefused(f"{folder} is not empty and contains no model to overwrite; choose another name.")
        with replacing_folder(folder, overwrite=overwrite, scratch=scratch) as part:
            description = write_model(part, self.description, self.members, self.domain, self.patients)
        return Ensemble(description, self.members, self.patients, folder, self.domain)

    def training_patients(self) -> TrainingPatients | None:
        """Return the patients that the model was trained on; None where the model has no ``private/``.

        Raises `ModelRefused` where ``private/`` is damaged.
        """
        if self.patients is not None or self.folder is None:
            return self.patients
        return TrainingPatients.load(self.folder, self.description)

    def predict(
        self,
        features: Features,
        *,
        alone: NDArray[np.float64] | None = None,
        traits: Mapping[str, float] | None = None,
        progress: OnProgress = ignore,
    ) -> Prediction:
        """Diagnose one patient from a bag of cells.

        Parameters
        ----------
        features : Features
            (N, D) of N >= 1 cells, by the encoder that the ensemble was trained on. Where they have views, the members'
            outputs are averaged over these.
        alone : ndarray, optional
            (N, C) float64: `Prediction.alone` of these cells, where it is known. It does not depend on the other
            cells of a bag.
        traits : mapping of str to float, optional
            What its images show away from the cells (`smear.image_traits.appearance`), to compare with the training
            cohort; without it the features alone are compared.
        progress : callable
            See `OnProgress`.

        Returns
        -------
        Prediction
            Of M members, N cells and C classes.

        Raises
        ------
        FeaturesRefused
            The features come from another encoder than the ensemble's, both of which are named, or no output is finite.
        """
        self.refuse_other_features(features)
        description = self.description
        outputs = run_with_cells(self.members, features, alone=alone is None, progress=progress)
        domain = self.domain_of(features, outputs.bag, traits)
        return Prediction(
            patient_id=features.patient_id,
            smear_fingerprint=features.origin.smear_fingerprint,
            quality_rules=features.origin.quality_rules,
            field_of_view_um=_field_of_view(features),
            assumed_export=features.origin.assumed_export,
            averaged_views=features.origin.views,
            encoder=features.origin.encoder,
            encoder_weights_sha256=features.origin.weights_sha256,
            model_name=description.name,
            model_fingerprint=description.fingerprint,
            synthetic=description.synthetic,
            taxonomy=description.taxonomy,
            member_probabilities=outputs.bag.probabilities,
            member_hemoglobin=outputs.bag.hemoglobin,
            hemoglobin_error=description.hemoglobin_error,
            threshold=description.threshold,
            calibration=description.calibration,
            prevalence=description.prevalence,
            cells=features.cells,
            labels=(None,) * len(features),
            attention=outputs.attention,
            attention_kind=description.aggregator.attention_kind,
            alone=outputs.alone if alone is None else alone,
            domain=domain,
            image_traits=dict(traits or {}),
            warnings=(*self.warnings(features, domain), *filter(None, [description.training.unfinished])),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            library_version=library_version(),
        )

    def member_outputs(self, features: Features, members: Sequence[int] | None = None) -> MemberOutputs:
        """Return what members return for one patient, without single cells: cheaper than `predict`.

        Parameters
        ----------
        features : Features
            (N, D) of N >= 1 cells.
        members : sequence of int, optional
            Numbers of m members, by default of all.

        Returns
        -------
        MemberOutputs
            Probabilities (m, C), hemoglobin (m,) and embeddings (m, width).

        Raises
        ------
        FeaturesRefused
            The features come from another encoder, or are so large that no output is finite.
        """
        self.refuse_other_features(features)
        chosen = range(len(self.members)) if members is None else members
        return run_members([self.members[i] for i in chosen], features)

    def bag(self, features: Features) -> Tensor:
        """Return the cells of a patient (N, D) float32; `FeaturesRefused` where they are no input of this ensemble."""
        self.refuse_other_features(features)
        return as_bag(features)

    def class_index(self, slug: str) -> int:
        """Return the number of a class; `ValueError` where the model has none of this slug."""
        return self.description.taxonomy.slugs.index(slug)

    def refuse_other_features(self, features: Features) -> None:
        """Raise `FeaturesRefused` where the features come from another encoder than the ensemble's; both are named."""
        need = self.description.encoder
        if features.values.shape[1] != need.width:
            raise FeaturesRefused(
                f"{features.patient_id}: features are {features.values.shape[1]} wide, {self.description.name} takes "
                f"{need.width} ({need.name or 'unknown encoder'}); encode the smear with the model's own encoder."
            )
        for what, found, needed in self._encoder_settings(features):
            if found is not None and needed is not None and found != needed:
                raise FeaturesRefused(
                    f"{features.patient_id}: {what} {_shortened(found)} made these features, {self.description.name} "
                    f"was trained on {_shortened(needed)}; encode the smear with the model's own encoder."
                )

    def _encoder_settings(self, features: Features) -> list[tuple[str, str | None, str | None]]:
        """Name of a setting, its value for these features, and its value in training."""
        need, origin = self.description.encoder, features.origin
        return [
            ("encoder", origin.encoder, need.name),
            ("encoder weights", origin.weights_sha256, need.weights_sha256),
            ("preprocessing", origin.preprocessing, need.preprocessing),
            *([] if origin.views is None else [("views", origin.views, need.views or "no views")]),
        ]

    def domain_of(
        self, features: Features, outputs: MemberOutputs, traits: Mapping[str, float] | None = None
    ) -> DomainResult | None:
        """Compare a smear, by the outputs of all members, with the training cohort; None without a training domain."""
        return None if self.domain is None else self.domain.compare(features.values, outputs.embeddings, traits)

    def warnings(self, features: Features, domain: DomainResult | None = None) -> tuple[str, ...]:
        """Return what a reader must know about these features and their domain before using the prediction."""
        return tuple(self._warnings(features, domain))

    def has_other_scale(self, features: Features) -> bool | None:
        """Whether cells appear smaller or larger than in training; None where either width is not known."""
        trained, found = self.description.field_of_view_um, _field_of_view(features)
        if trained is None or found is None:
            return None
        return abs(found - trained) > _FIELD_OF_VIEW_TOLERANCE * trained

    def _warnings(self, features: Features, domain: DomainResult | None) -> Iterator[str]:
        if domain is not None and domain.is_outside:
            claims = f"; {WITHDRAWN}" if self.description.calibration is not None else ""
            yield domain.in_words + claims
        if shortcut := self.description.training.shortcut:
            yield shortcut
        if (count := len(features)) < _FEW_CELLS:
            cells = "cell" if count == 1 else "cells"
            yield f"Only {count} {cells}: the method was made for about 500, and left out patients below {_FEW_CELLS}"
        if missing := [what for what, found, _ in self._encoder_settings(features) if found is None]:
            yield f"The feature file does not record its {', '.join(missing)}: it may not fit the model"
        yield from features.origin.assumptions
        trained, found = self.description.field_of_view_um, _field_of_view(features)
        if trained is not None:
            if found is None:
                yield f"The images have no scale; the model was trained on images {trained:.1f} µm wide"
            elif self.has_other_scale(features):
                size = "smaller" if found > trained else "larger"
                yield f"Images are {found:.1f} µm wide here, {trained:.1f} µm in training: cells appear {size}"


def _field_of_view(features: Features) -> float | None:
    width = features.origin.field_of_view_um
    return width if width is not None and 0 < width < math.inf else None  # files of other software may have NaN


def _shortened(name: str) -> str:
    return name if len(name) < 64 else f"{name[:12]}..."
