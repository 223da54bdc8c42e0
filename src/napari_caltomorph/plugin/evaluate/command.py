"""The line for a terminal that evaluates what the panel would evaluate."""

from __future__ import annotations

from pathlib import Path

from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.command_line import flags, shell_line
from napari_caltomorph.evaluation import EvaluateOptions


def evaluate_command(
    place: Path,
    cohort: CohortOptions,
    model: str,
    features: Path | None,
    out: Path,
    options: EvaluateOptions,
    *,
    audit: bool = False,
) -> str:
    """Return the ``caltomorph evaluate`` line.

    Parameters
    ----------
    place : Path
        Directory, table or cohort.json.
    cohort : CohortOptions
    model : str
        Name of an installed model, or a model folder.
    features : Path or None
    out : Path
        Folder for the results.
    options : EvaluateOptions
    audit : bool
    """
    of_features = [] if features is None else ["--features", features]
    words = ["caltomorph", "evaluate", place, "--model", model, *of_features, "--out", out, *flags(options)]
    # The verb reads names only, whatever is said.
    return shell_line(
        [*words, *(["--audit"] if audit else []), *flags(cohort.model_copy(update={"names_only": False}))]
    )
