"""An evaluation on disk: evaluation.json, which contains everything, a table for people, and the embeddings.

The numbers in the JSON are for other programs; reading computes them again from the patients.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from pydantic import BaseModel, JsonValue, TypeAdapter
from safetensors.numpy import save

from napari_caltomorph.csv_files import write_csv
from napari_caltomorph.diagnosis.domain import Aspect
from napari_caltomorph.errors import EvaluationUnreadable
from napari_caltomorph.evaluation.options import EvaluateOptions
from napari_caltomorph.evaluation.patients import (
    COLUMNS,
    LATER_COLUMNS,
    NOT_EVALUATED_COLUMNS,
    Embeddings,
    EvaluatedPatients,
    Provenance,
)
from napari_caltomorph.reading import explained, parse_document, read_arrays, read_as, refuse_misfit, table_of, typed
from napari_caltomorph.storage import file_sha256, replacing
from napari_caltomorph.taxonomy import Taxonomy

FILE_NAME = "evaluation.json"
PATIENT_TABLE = "predictions.csv"
EMBEDDINGS = "embeddings.safetensors"

_REFUSED = ("an evaluation", EvaluationUnreadable, "evaluate again")
_SLUGS = TypeAdapter(tuple[str, ...])
_HELD_OUT = TypeAdapter(tuple[bool, ...])


class _Table(BaseModel, extra="forbid", allow_inf_nan=False):
    """A table by its columns; None where a value is missing."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | bool | int | float | None, ...], ...]

    @classmethod
    def of(cls, table: pd.DataFrame) -> _Table:
        rows = tuple(tuple(map(_plain, row)) for row in table.itertuples(index=False, name=None))
        return cls(columns=tuple(map(str, table.columns)), rows=rows)

    def frame(self) -> pd.DataFrame:
        return table_of(self.columns, self.rows)


class _File(BaseModel, extra="forbid", allow_inf_nan=False):
    schema_version: Literal[1] = 1
    provenance: Provenance
    options: EvaluateOptions
    statements: tuple[str, ...]
    numbers: dict[str, JsonValue]
    taxonomy: Taxonomy
    cohort_taxonomy: Taxonomy
    notes: tuple[str, ...]
    unjudged: _Table
    patients: _Table
    covariates: _Table
    embeddings_member: int | None
    embeddings_sha256: str | None


def write_evaluation(
    evaluated: EvaluatedPatients, numbers: dict[str, Any], statements: tuple[str, ...], folder: Path
) -> list[Path]:
    """Write the files of `Evaluation.save`; evaluation.json comes last, when the others are complete."""
    written = []
    embeddings, sha256 = evaluated.embeddings, None
    if embeddings is not None:
        tensors = {"judged": embeddings.evaluated}
        if embeddings.training is not None:
            tensors["training"] = embeddings.training
        classes = {
            "training_classes": json.dumps(embeddings.training_classes),
            "training_held_out": json.dumps(embeddings.training_held_out),
        }
        with replacing(folder / EMBEDDINGS) as part:
            part.write_bytes(save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata=classes))
            sha256 = file_sha256(part)
        written.append(folder / EMBEDDINGS)
    write_csv(patient_table(evaluated), folder / PATIENT_TABLE)
    content = _File(
        provenance=evaluated.provenance,
        options=evaluated.options,
        statements=statements,
        numbers=json.loads(json.dumps(numbers, allow_nan=False)),
        taxonomy=evaluated.taxonomy,
        cohort_taxonomy=evaluated.cohort_taxonomy,
        notes=evaluated.notes,
        unjudged=_Table.of(evaluated.not_evaluated),
        patients=_Table.of(evaluated.patients),
        covariates=_Table.of(evaluated.covariates),
        embeddings_member=None if embeddings is None else embeddings.member,
        embeddings_sha256=sha256,
    )
    with replacing(folder / FILE_NAME) as part:
        part.write_text(content.model_dump_json(indent=1), "utf-8")
    return [folder / FILE_NAME, folder / PATIENT_TABLE, *written]


def read_evaluation(path: Path) -> EvaluatedPatients:
    """Read what `write_evaluation` wrote: the folder, or its ``evaluation.json``."""
    path = path / FILE_NAME if path.is_dir() else path
    content = read_as(_File, path, *_REFUSED)
    with explained(path, *_REFUSED):
        patients = _patients(content)
        covariates, not_evaluated = content.covariates.frame(), content.unjudged.frame()
        if len(covariates) not in (0, len(patients)) or not {*NOT_EVALUATED_COLUMNS} <= {*not_evaluated.columns}:
            raise ValueError("its tables are of other patients")
    return EvaluatedPatients(
        patients=patients,
        taxonomy=content.taxonomy,
        cohort_taxonomy=content.cohort_taxonomy,
        provenance=content.provenance,
        options=content.options,
        embeddings=_load_embeddings(content, path.with_name(EMBEDDINGS), len(patients)),
        covariates=covariates,
        not_evaluated=not_evaluated,
        notes=content.notes,
    )


def _patients(content: _File) -> pd.DataFrame:
    """Return the table of patients; ValueError where its classes are not those of the model, or its numbers are off."""
    slugs = content.taxonomy.slugs
    table = content.patients.frame()
    table = table.assign(**{name: None for name in LATER_COLUMNS if name not in table})
    patients = typed(table, COLUMNS | {f"p_{slug}": float for slug in slugs})
    several = [slug for slugs_of_one in patients["coarse_set"].dropna() for slug in slugs_of_one.split("|")]
    if unknown := {*patients["truth"].dropna(), *several} - {*slugs}:
        raise ValueError(f"{min(unknown)[:40]} is none of its classes")
    probabilities = patients[[f"p_{slug}" for slug in slugs]].to_numpy()
    if not ((probabilities >= 0) & (probabilities <= 1)).all():  # false for a missing one, too
        raise ValueError("a probability is not between 0 and 1")
    aspects = {one for text in patients["far_aspects"].dropna() for one in text.split("|") if one}
    if unknown := aspects - {*get_args(Aspect)}:
        raise ValueError(f"{min(unknown)[:40]} is no aspect of a training domain")
    folds = patients["fold"].dropna()
    if (patients["n_cells"].dropna() < 0).any() or not folds.between(0, content.provenance.members - 1).all():
        raise ValueError("a number of cells is negative, or a member does not exist")
    return patients


def patient_table(evaluated: EvaluatedPatients) -> pd.DataFrame:
    """Return one row a patient with the columns of ``predictions.csv``: the contract's, and the truth."""
    names = np.array(evaluated.taxonomy.names, dtype=object)
    patients = evaluated.patients
    columns: dict[str, object] = {
        "patient_id": patients["patient_id"],
        "predicted_class": names[evaluated.predicted],
        **{f"p_{slug}": evaluated.probabilities[:, i] for i, slug in enumerate(evaluated.taxonomy.slugs)},
        "malignancy": evaluated.malignancy,
        "hemoglobin_g_dl": patients["hemoglobin_g_dl"],
        "second_class": names[evaluated.order[:, 1]],
        "delta_probability": evaluated.delta_probability,
        "n_cells": patients["n_cells"],
        "calibrated": evaluated.is_calibrated,
        **(
            {}
            if evaluated.prediction_sets is None
            else {"prediction_set": [None if s is None else _named(evaluated, s) for s in evaluated.prediction_sets]}
        ),
        "warnings": patients["warnings"],
        "split": patients["split"],
        "true_class": [names[c] if c >= 0 else None for c in evaluated.classes],
        "right_answers": patients["coarse_set"],
        "other_class": patients["row"],
        "detailed_class": patients["detailed"],
        "raw_label": patients["raw_label"],
        "is_right": [
            bool(r) if c else None
            for r, c in zip(evaluated.is_right, evaluated.has_one_class | evaluated.has_several, strict=True)
        ],
        "measured_hemoglobin_g_dl": patients["measured_hemoglobin_g_dl"],
        "judged_by_member": patients["fold"],
        "lab": evaluated.options.lab,
        **({"left_out_by": evaluated.left_out_by} if evaluated.options.split == "extended" else {}),
    }
    return pd.DataFrame(columns)


def _named(evaluated: EvaluatedPatients, slugs: tuple[str, ...]) -> str:
    return "; ".join(evaluated.taxonomy.coarse(slug).name for slug in slugs)


def _load_embeddings(content: _File, path: Path, patients: int) -> Embeddings | None:
    if content.embeddings_sha256 is None or content.embeddings_member is None:
        return None
    with explained(path, *_REFUSED):
        if file_sha256(path) != content.embeddings_sha256:
            raise ValueError("it belongs to another evaluation")
        metadata, arrays = read_arrays(path)
        classes = _SLUGS.validate_python(parse_document(metadata.get("training_classes", "[]")))
        held_out = _HELD_OUT.validate_python(parse_document(metadata.get("training_held_out", "[]")))
        if len(held_out) not in (0, len(classes)):
            raise ValueError("its training patients are not those of its classes")
        width = next(iter(arrays["judged"].shape[1:]), None) if "judged" in arrays else None
        refuse_misfit(arrays, {"judged": (patients, width)})
        if "training" in arrays:
            refuse_misfit(arrays, {"training": (len(classes), width)})
    return Embeddings(content.embeddings_member, arrays["judged"], arrays.get("training"), classes, held_out)


def _plain(value: Any) -> str | bool | int | float | None:
    """Return a cell of a table as JSON has it."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and not np.isfinite(value)):
        return None
    if isinstance(value, np.generic):
        return _plain(value.item())
    return value if isinstance(value, str | bool | int | float) else str(value)
