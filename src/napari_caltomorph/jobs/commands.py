"""Jobs as lines for a terminal: what "copy as command" copies, and what a log may repeat."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel

from napari_caltomorph.cohort import CohortOptions, EncodeCohortOptions
from napari_caltomorph.reading import flag_of
from napari_caltomorph.storage import StrPath
from napari_caltomorph.training import TrainOptions

if TYPE_CHECKING:
    from napari_caltomorph.jobs.compare import CompareRequest
    from napari_caltomorph.jobs.evaluate import EvaluateRequest
    from napari_caltomorph.jobs.validate import ValidateRequest


def flags(options: BaseModel, names: Collection[str] | None = None) -> list[str]:
    """Return the flags of the options `names`; without them, of those that differ from the defaults.

    For example ``["--recipe", "paper", "--hemoglobin"]``.
    """
    defaults, words = type(options)(), []
    for name in type(options).model_fields:
        value = getattr(options, name)
        is_shown = value != getattr(defaults, name) if names is None else name in names
        if not is_shown or value is None:
            continue
        flag = flag_of(type(options), name)
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, tuple | list):
            words += [word for one in value for word in (flag, str(one))]
        else:
            words += [flag, str(value)]
    return words


def shell_line(words: Sequence[object]) -> str:
    """Return words as one line that a shell splits into the same words."""
    return shlex.join(str(word) for word in words)


def evaluate_command(request: EvaluateRequest, out: StrPath) -> str:
    """Return the ``caltomorph evaluate`` line of a request, with results in `out`."""
    return _on_cohort("evaluate", request, out)


def validate_command(request: ValidateRequest, out: StrPath) -> str:
    """Return the ``caltomorph validate`` line of a request, with the record in `out`."""
    return _on_cohort("validate", request, out)


def train_command(
    cohort: StrPath,
    patients: CohortOptions,
    features: StrPath | None,
    out: StrPath,
    options: TrainOptions,
    *,
    resume: bool = False,
    encoding: EncodeCohortOptions | None = None,
) -> str:
    """Return the ``caltomorph train`` line, after ``caltomorph encode`` where patients are encoded first."""
    words = ["caltomorph", "train", cohort, *_of_features(features), "--out", out]
    words += [*flags(options, options.changed), *_of_cohort(patients)]
    line = shell_line([*words, *(["--resume"] if resume else [])])
    if encoding is None:
        return line
    first = ["caltomorph", "encode", cohort, *_of_features(features), *flags(encoding), *_of_cohort(patients)]
    return f"{shell_line(first)} && {line}"


def compare_command(request: CompareRequest) -> str:
    """Return the ``caltomorph compare`` line of a request."""
    words = ["caltomorph", "compare", request.cohort, *_of_features(request.features), "--out", request.out]
    options = flags(request.comparison) + flags(request.options, request.options.changed)
    return shell_line([*words, *options, *_of_cohort(request.patients)])


def _on_cohort(verb: str, request: EvaluateRequest | ValidateRequest, out: StrPath) -> str:
    words = ["caltomorph", verb, request.cohort, "--model", request.model, *_of_features(request.features)]
    return shell_line([*words, "--out", out, *flags(request.options), *_of_cohort(request.patients)])


def _of_features(folder: StrPath | None) -> list[object]:
    return [] if folder is None else ["--features", folder]


def _of_cohort(options: CohortOptions) -> list[str]:
    """The verbs read names only in any case (see `read_patients`)."""
    return flags(options.model_copy(update={"names_only": False}))
