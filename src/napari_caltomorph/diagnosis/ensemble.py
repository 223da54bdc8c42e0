"""Members that vote: loading and saving a model folder, and predicting one patient from features."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from napari_caltomorph.about import library_version
from napari_caltomorph.diagnosis.domain import DOMAIN_FILE, Domain
from napari_caltomorph.diagnosis.domain_result import WITHDRAWN, DomainResult
from napari_caltomorph.diagnosis.inference import MemberOutputs, as_bag, run_members, run_with_cells
from napari_caltomorph.diagnosis.member import Member
from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.diagnosis.model_file import DomainFile, MemberFile, ModelDescription, read_description
from napari_caltomorph.diagnosis.prediction import Prediction
from napari_caltomorph.diagnosis.training_patients import TrainingPatients
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.encoding.load import misfit
from napari_caltomorph.errors import FeaturesRefused, ModelRefused, OutputRefused
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.storage import file_sha256, replacing_folder

# Below this the paper left patients out (section 2.2); a prediction is made, with a warning.
_FEW_CELLS = 50
# Cells are seen at another scale than in training beyond this relative difference of the field of view.
_FIELD_OF_VIEW_TOLERANCE = 0.10


@dataclass(frozen=True)
class Ensemble:
    """A model: its description and its members, which average their softmax (paper, section 2.4).

    `patients` are those it was trained on, as `train` fills them in for `save`; of a model that was loaded,
    `training_patients` reads them from its `folder`. `domain` is what their smears looked like, where it is known.
    """

    description: ModelDescription
    members: tuple[Member, ...]
    patients: TrainingPatients | None = None
    folder: Path | None = field(default=None, compare=False)
    domain: Domain | None = field(default=None, compare=False, repr=False)

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> Ensemble:
        """Load a model folder; nothing in it is executed.

        Raises
        ------
        ModelRefused
            Not a model, a member is missing or changed, or ``model.json`` was edited.
        """
        description = read_description(folder)
        members = tuple(_load_member(folder, description, m).to(device) for m in description.members)
        return cls(description, members, folder=folder, domain=_load_domain(folder, description))

    def save(self, folder: Path, *, overwrite: bool = False, scratch: Path | None = None) -> Ensemble:
        """Write the model folder: ``model.json``, one safetensors a member, the domain, the card, and ``private/``.

        Parameters
        ----------
        folder : Path
        overwrite : bool
            Whether the folder, if it is a model's, is replaced with all that stands in it.
        scratch : Path or None
            Where it is written before it takes its place (see `storage.replacing_folder`).

        Returns
        -------
        Ensemble
            The same members under the description as it was written, which names their files.

        Raises
        ------
        OutputRefused
            The folder exists, or cannot be written; nothing half-written remains.
        """
        if overwrite and folder.is_dir() and any(folder.iterdir()) and not (folder / "model.json").is_file():
            raise OutputRefused(f"{folder} is not empty and holds no model to overwrite; choose another name.")
        with replacing_folder(folder, overwrite=overwrite, scratch=scratch) as part:
            files = []
            for index, member in enumerate(self.members):
                path = part / f"fold_{index}.safetensors"
                weights = {key: value.detach().cpu().contiguous() for key, value in member.state_dict().items()}
                path.write_bytes(save(weights, metadata={"seal": self.description.seal}))
                files.append(MemberFile(file=path.name, sha256=file_sha256(path)))
            domain = None
            if self.domain is not None:
                (part / DOMAIN_FILE).write_bytes(self.domain.to_bytes(self.description.seal))
                domain = DomainFile(sha256=file_sha256(part / DOMAIN_FILE), patients=self.domain.patients)
            description = self.description.model_copy(update={"members": tuple(files), "domain": domain})
            (part / "model.json").write_text(description.model_dump_json(indent=1), "utf-8")
            (part / "README.md").write_text(model_card(description), "utf-8")
            if self.patients is not None:
                self.patients.save(part)
        return Ensemble(description, self.members, self.patients, folder, self.domain)

    def training_patients(self) -> TrainingPatients | None:
        """Return who the model was trained on; None where the model does not bring its ``private/``.

        Raises
        ------
        ModelRefused
            ``private/`` is damaged.
        """
        if self.patients is not None or self.folder is None:
            return self.patients
        return TrainingPatients.load(self.folder)

    def predict(
        self, features: Features, *, alone: NDArray[np.float64] | None = None, progress: OnProgress = ignore
    ) -> Prediction:
        """Diagnose one patient.

        Parameters
        ----------
        features : Features
            A bag of N >= 1 cells.
        alone : (N, C), optional
            `Prediction.alone` of these cells, where it is known: no other cell has a part in it.
        progress : callable
            Called with a `Progress` for each member and its single cells; raising `Cancelled` in it stops cleanly.

        Raises
        ------
        FeaturesRefused
            The features come from another encoder than the ensemble's; both are named.
        """
        self.refuse_other_features(features)
        description = self.description
        outputs = run_with_cells(self.members, features, alone=alone is None, progress=progress)
        target = description.hemoglobin
        domain = self.domain_of(features, outputs.bag)
        return Prediction(
            patient_id=features.patient_id,
            smear_fingerprint=features.origin.smear_fingerprint,
            field_of_view_um=_field_of_view(features),
            encoder=features.origin.encoder,
            encoder_weights_sha256=features.origin.weights_sha256,
            model_name=description.name,
            model_fingerprint=description.fingerprint,
            synthetic=description.synthetic,
            taxonomy=description.taxonomy,
            member_probabilities=outputs.bag.probabilities,
            member_hemoglobin=outputs.bag.hemoglobin,
            hemoglobin_error=None if target is None else target.error,
            threshold=description.threshold,
            calibration=description.calibration,
            cells=features.cells,
            labels=(None,) * len(features),
            attention=outputs.attention,
            attention_kind=self.members[0].aggregator.attention_kind,
            alone=outputs.alone if alone is None else alone,
            domain=domain,
            warnings=self.warnings(features, domain),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            library_version=library_version(),
        )

    def member_outputs(self, features: Features, members: Sequence[int] | None = None) -> MemberOutputs:
        """Return what members return for one patient, without single cells: far cheaper than `predict`.

        Parameters
        ----------
        features : Features
        members : sequence of int or None
            Which members; None for all.

        Raises
        ------
        FeaturesRefused
            The features come from another encoder than the ensemble's, or are so large that no output is finite.
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
        for what, found, needed in self._made_by(features):
            if found is not None and needed is not None and found != needed:
                raise FeaturesRefused(
                    f"{features.patient_id}: {what} {_shortened(found)} made these features, {self.description.name} "
                    f"was trained on {_shortened(needed)}; encode the smear with the model's own encoder."
                )

    def _made_by(self, features: Features) -> list[tuple[str, str | None, str | None]]:
        """What, how these features have it, and how the members were trained."""
        need, origin = self.description.encoder, features.origin
        return [
            ("encoder", origin.encoder, need.name),
            ("encoder weights", origin.weights_sha256, need.weights_sha256),
            ("preprocessing", origin.preprocessing, need.preprocessing),
        ]

    def domain_of(self, features: Features, outputs: MemberOutputs) -> DomainResult | None:
        """Say whether a smear is like the training cohort; None where the model does not know what that looked like.

        Parameters
        ----------
        features : Features
        outputs : MemberOutputs
            Of all members.
        """
        return None if self.domain is None else self.domain.judge(features.values, outputs.embeddings)

    def warnings(self, features: Features, domain: DomainResult | None = None) -> tuple[str, ...]:
        """Return what is to be said of these features, and of their domain, before anybody believes the answer."""
        return tuple(self._warnings(features, domain))

    def _warnings(self, features: Features, domain: DomainResult | None) -> Iterator[str]:
        if domain is not None and domain.is_outside:
            claims = f"; {WITHDRAWN}" if self.description.calibration is not None else ""
            yield domain.in_words + claims
        if (count := len(features)) < _FEW_CELLS:
            cells = "cell" if count == 1 else "cells"
            yield f"Only {count} {cells}: the method was made for about 500, and left out patients below {_FEW_CELLS}"
        if unsaid := [what for what, found, _ in self._made_by(features) if found is None]:
            yield f"The feature file does not say its {', '.join(unsaid)}: whether it fits the model is unknown"
        trained, found = self.description.field_of_view_um, _field_of_view(features)
        if trained is not None:
            if found is None:
                yield f"The images do not say their scale; the model was trained on images {trained:.1f} µm wide"
            elif abs(found - trained) > _FIELD_OF_VIEW_TOLERANCE * trained:
                look = "smaller" if found > trained else "larger"
                yield f"Images are {found:.1f} µm wide here, {trained:.1f} µm in training: cells look {look} than there"


def build_member(description: ModelDescription) -> Member:
    """Build one member with random weights."""
    return Member(
        description.encoder.width,
        len(description.taxonomy.classes),
        description.aggregator,
        classifier_width=description.classifier_width,
        hemoglobin=description.hemoglobin is not None,
    )


def _load_member(folder: Path, description: ModelDescription, file: MemberFile) -> Member:
    path = folder / file.file
    if not path.is_file():
        raise ModelRefused(f"{folder} lacks {file.file}, one of its {len(description.members)} members; get it again.")
    try:
        if file_sha256(path) != file.sha256:
            raise ModelRefused(
                f"{path} is not the file that model.json names (its SHA-256 differs); get the model again."
            )
        with safe_open(path, framework="pt") as opened:
            seal = (opened.metadata() or {}).get("seal")
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelRefused(f"{path} is damaged ({error}); get the model again.") from error
    if seal != description.seal:
        raise ModelRefused(
            f"{folder / 'model.json'} was changed since the model was made: it no longer tells what {file.file} was "
            "trained for; get the model again."
        )
    with torch.device("meta"):  # takes no memory, and no random numbers, before the shapes are known to fit
        member = build_member(description)
    if problem := misfit(weights, member):
        raise ModelRefused(f"{path} does not fit model.json: {problem}; get the model again.")
    member.to_empty(device="cpu").load_state_dict(weights)
    return member.eval().requires_grad_(False)


def _load_domain(folder: Path, description: ModelDescription) -> Domain | None:
    if description.domain is None:
        return None
    path = folder / DOMAIN_FILE
    if not path.is_file():
        raise ModelRefused(f"{folder} lacks {DOMAIN_FILE}, which its model.json names; get the model again.")
    if file_sha256(path) != description.domain.sha256:
        raise ModelRefused(f"{path} is not the file that model.json names (its SHA-256 differs); get the model again.")
    return Domain.load(path, description.seal, len(description.members))


def _field_of_view(features: Features) -> float | None:
    width = features.origin.field_of_view_um
    return width if width is not None and 0 < width < math.inf else None  # a file from elsewhere may say NaN


def _shortened(name: str) -> str:
    return name if len(name) < 64 else f"{name[:12]}..."
