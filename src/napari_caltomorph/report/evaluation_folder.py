"""An evaluation as a folder that can be handed on: numbers, predictions, audit, figures and report.

The terminal and the panel both write it with this one function.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from napari_caltomorph.audit.result import Audit
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.evaluation import Evaluation
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.report.evaluation_figures import save_figures
from napari_caltomorph.report.evaluation_report import FILE_NAME, save_report
from napari_caltomorph.report.top_cells import top_cells
from napari_caltomorph.storage import replacing

if TYPE_CHECKING:
    from napari_caltomorph.evaluation.faithfulness import CohortFaithfulness

AUDIT_NAME = "audit.json"


def save_evaluation_folder(
    evaluation: Evaluation,
    folder: str | Path,
    ensemble: Ensemble,
    *,
    features: str | Path | None = None,
    audit: Audit | None = None,
    faithfulness: CohortFaithfulness | None = None,
    command: str = "",
    progress: OnProgress = ignore,
) -> list[Path]:
    """Write all that is known of an evaluation into a folder; return the files that a person opens first.

    Parameters
    ----------
    evaluation : Evaluation
    folder : str or Path
        Gets ``evaluation.json``, ``predictions.csv``, ``embeddings.safetensors``, ``audit.json`` where there was an
        audit, ``figures`` and ``report.html``.
    ensemble : Ensemble
        The model that was judged.
    features : str or Path, optional
        The feature folder it was judged on; with it, the report shows cells of patients who were judged wrong.
    audit : Audit, optional
        Of the same cohort.
    faithfulness : CohortFaithfulness, optional
        Of the same patients; written as ``faithfulness.json`` and ``faithfulness.csv``.
    command : str
        Command line that made the evaluation.
    progress : callable
        Called with a `Progress`; raising `Cancelled` in it stops cleanly. Files that are whole by then stay.

    Raises
    ------
    OutputRefused
        The folder cannot be written.
    """
    folder = Path(folder)
    written = evaluation.save(folder)
    if audit is not None:
        written.append(save_audit(audit, folder))
    if faithfulness is not None:
        written += faithfulness.save(folder)
    progress(Progress("Drawing figures", 0, 1, "sets"))
    figures = save_figures(evaluation, folder / "figures")
    cells = None if features is None else top_cells(ensemble, evaluation, features, progress=progress)
    progress(Progress("Writing the report", 0, 1, "files"))
    report = save_report(
        evaluation,
        folder / FILE_NAME,
        audit=audit,
        model=ensemble.description,
        cells=cells,
        faithfulness=faithfulness,
        command=command,
    )
    return [*written, *(path for path in figures if path.suffix == ".png"), report]


def save_audit(audit: Audit, folder: Path) -> Path:
    """Write ``audit.json`` into a folder.

    Raises
    ------
    OutputRefused
        It cannot be written.
    """
    with replacing(folder / AUDIT_NAME) as part:
        part.write_text(json.dumps(audit.to_json(), indent=1), "utf-8")
    return folder / AUDIT_NAME
