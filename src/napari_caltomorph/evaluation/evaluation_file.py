"""An evaluation on disk: evaluation.json, which holds everything, a table for people, and the embeddings.

The numbers stand in the JSON for other programs; they are computed anew from the patients when it is loaded.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from napari_caltomorph.errors import EvaluationUnreadable
from napari_caltomorph.evaluation.columns import COLUMNS
from napari_caltomorph.evaluation.embeddings import Embeddings
from napari_caltomorph.evaluation.evaluation import Evaluation
from napari_caltomorph.evaluation.options import EvaluateOptions
from napari_caltomorph.evaluation.provenance import Provenance
from napari_caltomorph.statistics.metric import Metric
from napari_caltomorph.storage import file_sha256, replacing
from napari_caltomorph.taxonomy import Taxonomy

FILE_NAME = "evaluation.json"
PATIENT_TABLE = "predictions.csv"
EMBEDDINGS = "embeddings.safetensors"
SCHEMA_VERSION = 1


class _Table(BaseModel):
    """A table by its columns; None where a value is missing."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    columns: tuple[str, ...]
    rows: tuple[tuple[str | bool | int | float | None, ...], ...]

    @classmethod
    def of(cls, table: pd.DataFrame) -> _Table:
        rows = tuple(tuple(map(_plain, row)) for row in table.itertuples(index=False, name=None))
        return cls(columns=tuple(map(str, table.columns)), rows=rows)

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(list(self.rows), columns=list(self.columns))


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

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


def save_evaluation(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write the files of `Evaluation.save`; evaluation.json comes last, when the others are whole."""
    written = []
    embeddings, sha256 = evaluation.embeddings, None
    if embeddings is not None:
        tensors = {"judged": embeddings.judged}
        if embeddings.training is not None:
            tensors["training"] = embeddings.training
        classes = {"training_classes": json.dumps(embeddings.training_classes)}
        with replacing(folder / EMBEDDINGS) as part:
            part.write_bytes(save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata=classes))
            sha256 = file_sha256(part)
        written.append(folder / EMBEDDINGS)
    with replacing(folder / PATIENT_TABLE) as part:
        evaluation.table().to_csv(part, index=False)
    content = _File(
        provenance=evaluation.provenance,
        options=evaluation.options,
        statements=evaluation.statements,
        numbers=json.loads(json.dumps(numbers_of(evaluation), allow_nan=False)),
        taxonomy=evaluation.taxonomy,
        cohort_taxonomy=evaluation.cohort_taxonomy,
        notes=evaluation.notes,
        unjudged=_Table.of(evaluation.unjudged),
        patients=_Table.of(evaluation.patients),
        covariates=_Table.of(evaluation.covariates),
        embeddings_member=None if embeddings is None else embeddings.member,
        embeddings_sha256=sha256,
    )
    with replacing(folder / FILE_NAME) as part:
        part.write_text(content.model_dump_json(indent=1), "utf-8")
    return [folder / FILE_NAME, folder / PATIENT_TABLE, *written]


def load_evaluation(path: Path) -> Evaluation:
    """Read the files of `Evaluation.load`."""
    path = path / FILE_NAME if path.is_dir() else path
    try:
        raw = json.loads(path.read_bytes())
        newer = raw.get("schema_version") if isinstance(raw, dict) else None
        if isinstance(newer, int) and newer > SCHEMA_VERSION:
            raise EvaluationUnreadable(
                f"{path} has schema version {newer}, this version reads {SCHEMA_VERSION}; "
                "run `pip install --upgrade napari-caltomorph`."
            )
        content = _File.model_validate(raw)
        patients = content.patients.frame()
        patients = patients.astype({**COLUMNS, **{f"p_{slug}": float for slug in content.taxonomy.slugs}})
        embeddings = _load_embeddings(content, path.with_name(EMBEDDINGS), len(patients))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise EvaluationUnreadable(
            f"{path} is no evaluation that this version reads ({where}: {first['msg']}); evaluate again."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise EvaluationUnreadable(f"{path} is no evaluation that can be read ({error}); evaluate again.") from error
    return Evaluation(
        patients=patients,
        taxonomy=content.taxonomy,
        cohort_taxonomy=content.cohort_taxonomy,
        provenance=content.provenance,
        options=content.options,
        embeddings=embeddings,
        covariates=content.covariates.frame(),
        unjudged=content.unjudged.frame(),
        notes=content.notes,
    )


def numbers_of(evaluation: Evaluation) -> dict[str, Any]:
    """Return every number of an evaluation as plain data."""
    point, reliability = evaluation.at(), evaluation.reliability
    return {
        "counts": evaluation.counts,
        "headline": _metrics(evaluation.headline),
        "by_class": {
            slug: {"name": one.name, "patients": one.patients, "called": one.called, **_metrics(one.numbers)}
            for slug, one in evaluation.by_class.items()
        },
        "confusion": _confusion(evaluation.confusion),
        "detailed_confusion": _confusion(evaluation.detailed_confusion),
        "operating_point": {
            "threshold": point.threshold,
            "others": point.others_in_words,
            "missed": list(point.missed),
            "sensitivity_by_class": {
                one.slug: asdict(point.sensitivity_of(one.slug)) for one in evaluation.taxonomy.classes if one.malignant
            },
        },
        "reliability": None if reliability is None else asdict(reliability),
        "malignancy_reliability": None if (found := evaluation.malignancy_reliability) is None else asdict(found),
        "against": [
            {
                "column": one.column,
                "patients": one.patients,
                "bins": [asdict(part) for part in one.bins],
                "spearman_r": _metrics(one.correlations),
            }
            for one in evaluation.against
        ],
        "hemoglobin": [{"group": g.name, "patients": g.patients, **_metrics(g.numbers)} for g in evaluation.hemoglobin],
    }


def _metrics(metrics: dict[str, Metric]) -> dict[str, Any]:
    return {name: asdict(metric) for name, metric in metrics.items()}


def _confusion(confusion: Any) -> dict[str, Any]:
    return {
        "rows": [{"name": row.name, "kind": row.kind, "right_answers": list(row.slugs)} for row in confusion.rows],
        "columns": list(confusion.columns),
        "counts": confusion.counts.tolist(),
    }


def _load_embeddings(content: _File, path: Path, patients: int) -> Embeddings | None:
    if content.embeddings_sha256 is None or content.embeddings_member is None:
        return None
    if file_sha256(path) != content.embeddings_sha256:
        raise ValueError(f"{path.name} is another evaluation's")
    tensors = load_file(path)
    with safe_open(path, framework="np") as opened:
        classes = json.loads((opened.metadata() or {})["training_classes"])
    if len(tensors["judged"]) != patients:
        raise ValueError(f"{path.name} has {len(tensors['judged'])} patients, {patients} were judged")
    return Embeddings(content.embeddings_member, tensors["judged"], tensors.get("training"), tuple(classes))


def _plain(value: Any) -> str | bool | int | float | None:
    """Return a cell of a table as JSON has it."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and not np.isfinite(value)):
        return None
    if isinstance(value, np.generic):
        return _plain(value.item())
    return value if isinstance(value, str | bool | int | float) else str(value)
