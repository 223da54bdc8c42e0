"""Export results to other systems: HL7 FHIR, or a table with one row a patient; also without what identifies.

Each patient becomes one line of JSON while the results are read once: so what is written is of one state of each file,
and thousands of patients take little memory.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from napari_caltomorph.about import RESEARCH_USE
from napari_caltomorph.csv_files import write_csv
from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.errors import ExportRefused, OutputRefused, counted
from napari_caltomorph.laboratory.fhir import bundle, status_of
from napari_caltomorph.laboratory.results import Value, read_results
from napari_caltomorph.laboratory.review import Review, Reviews, newest, read_reviews, seen
from napari_caltomorph.laboratory.share import pseudonym, read_key, renamed, shared
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.storage import StrPath, refuse_unwritable, replacing

Form = Literal["fhir", "csv"]
SUFFIXES: dict[Form, tuple[str, ...]] = {"fhir": (".json", ".ndjson"), "csv": (".csv",)}
"""How files of each form end; a ``.json`` is one patient, an ``.ndjson`` has a line a patient."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    patients: int
    withheld: int = 0  # Patients of whom the file has no result
    replaced: int = 0  # Older predictions of the same patients, which are not in the file
    stripped: tuple[tuple[str, int], ...] = ()  # What was stripped, in words, and of how many patients
    problems: tuple[str, ...] = ()  # A sentence for each file that is left out, and each damaged review

    @property
    def in_words(self) -> str:
        """How many patients are in the file, as sentences."""
        withheld = f"; {self.withheld} of them withheld, without a result" if self.withheld else ""
        older = f" {counted(self.replaced, 'older prediction')} of the same patients not exported."
        return f"{counted(self.patients, 'patient')}{withheld}.{older if self.replaced else ''}"


def form_of(path: StrPath) -> Form:
    """Return the form of a file by its end; `ExportRefused` where it has none."""
    suffix = Path(path).suffix.lower()
    for form, suffixes in SUFFIXES.items():
        if suffix in suffixes:
            return form
    raise ExportRefused(f"{path}: end the name of the file with .csv, .ndjson or .json.")


def export_results(
    results: StrPath,
    out: StrPath,
    form: Form,
    *,
    pseudonymise: StrPath | None = None,
    share: bool = False,
    progress: OnProgress = ignore,
) -> Exported:
    """Write the newest prediction of each patient, with its reviews, as one file for another system.

    Parameters
    ----------
    results : str or Path
        A ``prediction.json``, or a folder that ``caltomorph predict`` or ``watch`` wrote.
    out : str or Path
        The file, which must not exist. It ends as in `SUFFIXES`.
    form : {"fhir", "csv"}
    pseudonymise : str or Path, optional
        File of a key: ids of patients are replaced by pseudonyms, the same in every export with this key.
    share : bool
        Strip what identifies; see `laboratory.share`. Without a key, each patient has a random id.
    progress : callable
        See `OnProgress`.

    Returns
    -------
    Exported

    Raises
    ------
    ExportRefused
        The key or the name of the file does not fit.
    OutputRefused
        The file exists, or cannot be written.
    PredictionUnreadable
        No prediction can be read.
    """
    out = Path(out)
    if out.suffix.lower() not in SUFFIXES[form]:
        raise ExportRefused(f"{out}: a file of the form {form} ends with {' or '.join(SUFFIXES[form])}; rename it.")
    _refuse_existing(out)
    refuse_unwritable(out.parent)
    key = None if pseudonymise is None else read_key(pseudonymise)
    reviews, problems = read_reviews(results)
    alias = _alias(key, share)
    measure = partial(_exported, form=form, alias=alias, share=share, reviews=newest(reviews))
    found = read_results(results, measure, progress=progress)
    problems = (*found.problems, *problems)
    patients = [one.values for one in found.patients]
    if alias is not None:  # in another order than that of the ids or of time
        patients.sort(key=lambda one: str(one["alias"]))
        if len({one["alias"] for one in patients}) < len(patients):
            raise ExportRefused(
                f"{results}: two ids have one pseudonym, as they differ only in how letters are composed."
            )
    if out.suffix.lower() == ".json" and len(patients) > 1:
        raise ExportRefused(f"{results} has {len(patients)} patients; name the file .ndjson, a line for each.")
    _write([str(one["content"]) for one in patients], out)
    stripped = [what for one in patients for what in str(one["stripped"]).split("; ") if what]
    return Exported(
        out,
        len(patients),
        withheld=sum(one["withheld"] == "yes" for one in patients),
        replaced=len(found.replaced),
        stripped=tuple((what, stripped.count(what)) for what in sorted(set(stripped))),
        problems=problems,
    )


def _alias(key: bytes | None, share: bool) -> Callable[[str], str] | None:
    """Return what gives a patient another id; None where ids stay."""
    if key is not None:
        return lambda patient: pseudonym(patient, key)
    return cache(lambda patient: f"X{secrets.token_hex(16)}") if share else None


def _exported(
    prediction: Prediction,
    *,
    form: Form,
    alias: Callable[[str], str] | None,
    share: bool,
    reviews: dict[str, tuple[Review, ...]],
) -> dict[str, Value]:
    """Return a patient's line of the file, and what is counted."""
    said = Reviews(seen(prediction), reviews.get(prediction.patient_id, ()))
    stripped: tuple[str, ...] = ()
    other = prediction.patient_id if alias is None else alias(prediction.patient_id)
    if share:
        prediction, said, stripped = shared(prediction, said, other)
    elif alias is not None:
        prediction, said = renamed(prediction, said, other)
    made = bundle(prediction, said, is_pseudonym=alias is not None) if form == "fhir" else _row(prediction, said)
    content = json.dumps(made, ensure_ascii=False, allow_nan=False)
    withheld = "yes" if prediction.withheld else "no"
    return {"alias": other, "content": content, "withheld": withheld, "stripped": "; ".join(stripped)}


def _row(prediction: Prediction, reviews: Reviews) -> dict[str, Any]:
    """Return the row of a patient; where the prediction is withheld, its class and numbers are empty."""
    low, high = prediction.hemoglobin_range or (None, None)
    slugs = prediction.taxonomy.slugs
    shown = {
        "diagnosis": prediction.predicted_class if prediction.stands_out else "",
        "most_probable_class": prediction.predicted_class,
        "stands_out": prediction.stands_out,
        **{f"p_{slug}": p for slug, p in zip(slugs, prediction.probabilities.tolist(), strict=True)},
        "malignancy": prediction.malignancy,
        "malignancy_threshold": prediction.shown_threshold.value,
        "is_malignant": prediction.is_malignant,
        "hemoglobin_g_dl": prediction.hemoglobin,
        "hemoglobin_low_g_dl": low,
        "hemoglobin_high_g_dl": high,
    }
    return {
        "patient_id": prediction.patient_id,
        "status": status_of(reviews),
        **(dict.fromkeys(shown) if prediction.withheld else shown),
        "withheld": prediction.withheld_in_words,
        "n_cells": len(prediction.cells),
        "outside_domain": None if prediction.domain is None else prediction.is_outside_domain,
        "review": reviews.state,
        "reviewed_diagnosis": reviews.diagnosis or "",
        "reviewers": "; ".join(one.reviewer for one in reviews.of_this),
        "model_name": prediction.model_name,
        "model_fingerprint": prediction.model_fingerprint,
        "library_version": prediction.library_version,
        "predicted_at": prediction.created,
        "warnings": "; ".join(prediction.warnings),
        "research_use": RESEARCH_USE,
    }


def _write(lines: list[str], out: Path) -> None:
    _refuse_existing(out)
    if out.suffix.lower() == ".csv":
        import pandas as pd

        rows = [json.loads(line) for line in lines]
        probabilities = [name for name in dict.fromkeys(name for row in rows for name in row) if name.startswith("p_")]
        first, *rest = [name for name in rows[0] if not name.startswith("p_")]
        at = rest.index("stands_out") + 1
        write_csv(pd.DataFrame(rows, columns=[first, *rest[:at], *probabilities, *rest[at:]]), out, float_format="%.6g")
        return
    with replacing(out) as part:
        if out.suffix.lower() == ".json":
            part.write_text(json.dumps(json.loads(lines[0]), ensure_ascii=False, indent=1) + "\n", "utf-8")
        else:
            part.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _refuse_existing(out: Path) -> None:
    if out.exists():
        raise OutputRefused(f"{out} exists already; choose another name, or remove it first.")
