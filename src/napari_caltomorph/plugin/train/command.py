"""The line for a terminal that trains what the panel would train."""

from __future__ import annotations

from pathlib import Path

from napari_caltomorph.cohort import CohortOptions, EncodeCohortOptions
from napari_caltomorph.command_line import flags, shell_line
from napari_caltomorph.training import TrainOptions


def train_command(
    place: Path,
    cohort: CohortOptions,
    features: Path | None,
    out: Path,
    options: TrainOptions,
    *,
    resume: bool = False,
    encode: EncodeCohortOptions | None = None,
) -> str:
    """Return the ``caltomorph train`` line, after ``caltomorph encode`` where patients are to be encoded first.

    Parameters
    ----------
    place : Path
        Directory, table or cohort.json.
    cohort : CohortOptions
    features : Path or None
    out : Path
    options : TrainOptions
    resume : bool
    encode : EncodeCohortOptions, optional
    """
    # Both verbs read names only, whatever is said.
    of_cohort = flags(cohort.model_copy(update={"names_only": False}))
    of_features = [] if features is None else ["--features", features]
    of_recipe = [] if options.recipe == TrainOptions().recipe else ["--recipe", options.recipe]
    words = ["caltomorph", "train", place, *of_features, "--out", out, *of_recipe]
    words += [*flags(options, TrainOptions(recipe=options.recipe)), *of_cohort, *(["--resume"] if resume else [])]
    line = shell_line(words)
    if encode is None:
        return line
    return f"{shell_line(['caltomorph', 'encode', place, *of_features, *flags(encode), *of_cohort])} && {line}"
