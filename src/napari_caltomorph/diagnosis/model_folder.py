"""Files of a model folder besides ``model.json``: members, the domain, and ``private/`` with its training patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from napari_caltomorph.csv_files import read_csv, write_csv
from napari_caltomorph.diagnosis.domain import DOMAIN_FILE, Domain
from napari_caltomorph.diagnosis.member import Member, Recalibration
from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.diagnosis.model_file import (
    AGGREGATOR_FILE,
    GET_AGAIN,
    AggregatorFile,
    DomainFile,
    MemberFile,
    ModelDescription,
)
from napari_caltomorph.encoding.key_names import misfit
from napari_caltomorph.errors import ModelRefused
from napari_caltomorph.reading import explained, read_arrays, refuse_misfit, typed
from napari_caltomorph.storage import file_sha256

PRIVATE = "private"
_TABLE = "patients.csv"
_EMBEDDINGS = "embeddings.safetensors"
_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # PyTorch cannot test others
_AGGREGATOR = "aggregator."  # How the names of its weights begin
_RECALIBRATION = "recalibration."  # How the names of its numbers begin; older members, and the paper's, have none
_NEEDED = ("patient_id", "coarse", "detailed", "hemoglobin_g_dl", "fingerprint")
_TEXT = ("patient_id", "coarse", "detailed", "group", "slide_of", "fingerprint", "path")


@dataclass(frozen=True)
class TrainingPatients:
    """P patients that M members were trained on: what could identify patients, left out of every export."""

    # patient_id, coarse, detailed, group, slide_of (the patient, where a row is a slide), hemoglobin_g_dl, fingerprint
    # and path of the smear (older models have no slide_of and no path), fold (the member that was not trained on the
    # patient; -1: set aside to calibrate on; missing: all members were trained on the patient), and what that single
    # member predicted: ``out_of_fold_p_<class slug>``
    table: pd.DataFrame
    embeddings: Tensor  # (M, P, width) float32: of each patient in each member's space

    def save(self, model_folder: Path) -> None:
        folder = model_folder / PRIVATE
        folder.mkdir()
        write_csv(self.table, folder / _TABLE)
        (folder / _EMBEDDINGS).write_bytes(save({"embeddings": self.embeddings.float().contiguous()}))

    @classmethod
    def load(cls, model_folder: Path, description: ModelDescription) -> TrainingPatients | None:
        """Read ``private/`` of a model folder; None where there is none. Raises `ModelRefused` where it is damaged."""
        folder = model_folder / PRIVATE
        if not folder.is_dir():
            return None
        with explained(folder, "a list of training patients", ModelRefused, f"{GET_AGAIN}, or remove that folder"):
            table = _patients(read_csv(folder / _TABLE, dtype=dict.fromkeys(_TEXT, "string")), description)
            _, arrays = read_arrays(folder / _EMBEDDINGS)
            refuse_misfit(arrays, {"embeddings": (len(description.members), len(table), None)})
        return cls(table, torch.from_numpy(arrays["embeddings"]))


def _patients(table: pd.DataFrame, description: ModelDescription) -> pd.DataFrame:
    """Return the table of training patients; ValueError where a column is missing, or a value is impossible."""
    if missing := {*_NEEDED} - {*table.columns}:
        raise ValueError(f"{_TABLE} has no column {min(missing)}")
    if table[["patient_id", "coarse"]].isna().to_numpy().any():
        raise ValueError(f"{_TABLE}: a patient has no id or no class")
    if unknown := {*table["coarse"].dropna()} - {*description.taxonomy.slugs}:
        raise ValueError(f"{_TABLE}: {min(unknown)[:40]} is no class of the model")
    numbers = [f"out_of_fold_p_{slug}" for slug in description.taxonomy.slugs]
    typed(table, {name: float for name in ("fold", "hemoglobin_g_dl", *numbers) if name in table})
    return table


def write_model(
    folder: Path,
    description: ModelDescription,
    members: Sequence[Member],
    domain: Domain | None,
    patients: TrainingPatients | None,
) -> ModelDescription:
    """Write all files of a model into an empty folder, and return the description that names them."""
    files, shared = [], None
    for index, member in enumerate(members):
        path = folder / f"fold_{index}.safetensors"
        weights = member.state_dict()
        if description.shares_aggregator:
            common = {name: weights.pop(name) for name in list(weights) if name.startswith(_AGGREGATOR)}
            shared = shared or AggregatorFile(sha256=_write_weights(folder / AGGREGATOR_FILE, common, description))
        files.append(MemberFile(file=path.name, sha256=_write_weights(path, weights, description)))
    domain_file = None
    if domain is not None:
        (folder / DOMAIN_FILE).write_bytes(domain.to_bytes(description.seal))
        domain_file = DomainFile(sha256=file_sha256(folder / DOMAIN_FILE), patients=domain.patients)
    files_of = {"members": tuple(files), "domain": domain_file, "shared_aggregator": shared}
    description = description.model_copy(update=files_of)
    (folder / "model.json").write_text(description.model_dump_json(indent=1), "utf-8")
    (folder / "README.md").write_text(model_card(description), "utf-8")
    if patients is not None:
        patients.save(folder)
    return description


def build_member(description: ModelDescription) -> Member:
    """Build one member with random weights."""
    return Member(
        description.encoder.width,
        len(description.taxonomy.classes),
        description.aggregator,
        classifier_width=description.classifier_width,
        hemoglobin=description.hemoglobin is not None,
    )


def load_members(folder: Path, description: ModelDescription) -> tuple[Member, ...]:
    """Load the members; `ModelRefused` where a file is missing, damaged, or of another model."""
    shared = {}
    if (file := description.shared_aggregator) is not None:
        shared = _load_weights(folder / AGGREGATOR_FILE, file.sha256, description)
    return tuple(_load_member(folder, description, member, shared) for member in description.members)


def _write_weights(path: Path, weights: Mapping[str, Tensor], description: ModelDescription) -> str:
    content = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    path.write_bytes(save(content, metadata={"seal": description.seal}))
    return file_sha256(path)


def _load_weights(path: Path, sha256: str, description: ModelDescription) -> dict[str, Tensor]:
    folder = path.parent
    if not path.is_file():
        raise ModelRefused(f"{folder} lacks {path.name}, one of its {len(description.members)} members; get it again.")
    with explained(path, "a member of this model", ModelRefused, GET_AGAIN):
        if file_sha256(path) != sha256:
            raise ValueError("its SHA-256 is not the one that model.json names")
        with safe_open(path, framework="pt") as opened:
            seal = (opened.metadata() or {}).get("seal")
        weights = load_file(path)
    if not all(value.dtype in _REAL and bool(value.isfinite().all()) for value in weights.values()):
        raise ModelRefused(f"{path} is damaged (a weight is not a finite number); {GET_AGAIN}.")
    if seal != description.seal:
        raise ModelRefused(
            f"{folder / 'model.json'} was changed since the model was made: it no longer describes what {path.name} "
            "was trained for; get the model again."
        )
    # Copied: the file is mapped into memory, and may be changed or removed.
    return {name: value.to(torch.float32, copy=True) for name, value in weights.items()}


def _load_member(folder: Path, description: ModelDescription, file: MemberFile, shared: Mapping[str, Tensor]) -> Member:
    path = folder / file.file
    weights = {**_load_weights(path, file.sha256, description), **shared}
    weights = _of_earlier_versions(weights, len(description.taxonomy.classes)) | weights
    with torch.device("meta"):  # takes no memory, and no random numbers, before the shapes are known to fit
        member = build_member(description)
        if any(name.startswith(_RECALIBRATION) for name in weights):
            member.recalibration = Recalibration(len(description.taxonomy.classes))
    if problem := misfit(weights, member):
        raise ModelRefused(f"{path} does not fit model.json: {problem}; get the model again.")
    member.load_state_dict(weights, assign=True)  # members share the memory of an aggregator that is the same
    return member.eval().requires_grad_(False)


def _of_earlier_versions(weights: Mapping[str, Tensor], classes: int) -> dict[str, Tensor]:
    """Return what members that were saved by earlier versions lack: they had no shift, and their scale's mean."""
    average = {"average_cell": weights["feature_mean"]} if "feature_mean" in weights else {}
    return {"log_prior_shift": torch.zeros(classes)} | average


def load_domain(folder: Path, description: ModelDescription, members: Sequence[Member]) -> Domain | None:
    """Load the training domain, if the model has one; `ModelRefused` where the file is missing or damaged."""
    if description.domain is None:
        return None
    path = folder / DOMAIN_FILE
    if not path.is_file():
        raise ModelRefused(f"{folder} lacks {DOMAIN_FILE}, which its model.json names; get the model again.")
    with explained(path, "a training domain", ModelRefused, GET_AGAIN):
        if file_sha256(path) != description.domain.sha256:
            raise ValueError("its SHA-256 is not the one that model.json names")
    return Domain.load(path, description.seal, description.encoder.width, [m.aggregator.width for m in members])
