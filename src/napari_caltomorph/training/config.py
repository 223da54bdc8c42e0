"""Training options kept in a file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.training.options import TrainOptions


def options_from(path: Path, said: TrainOptions | None = None) -> TrainOptions:
    """Read training options from a YAML or TOML file; what was said besides wins.

    Raises
    ------
    TrainingRefused
        It cannot be read, or an option in it is unknown or has a value that it cannot have.
    """
    content = _read(path)
    try:
        return TrainOptions(**{**content, **(said.given if said is not None else {})})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "the options"
        if first["type"] == "extra_forbidden":
            known = ", ".join(TrainOptions.model_fields)
            raise TrainingRefused(f"{path}: {name!r} is no option of training; those are {known}.") from error
        raise TrainingRefused(f"{path}: {name} {first['input']!r}: {first['msg']}.") from error


def _read(path: Path) -> Mapping[str, object]:
    try:
        text = path.read_text("utf-8")
        content = tomllib.loads(text) if path.suffix.lower() == ".toml" else yaml.safe_load(text)
    except OSError as error:
        raise TrainingRefused(f"{path} cannot be read ({error.strerror}); check --config.") from error
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise TrainingRefused(
            f"{path} is no {'TOML' if path.suffix.lower() == '.toml' else 'YAML'} ({reason})."
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise TrainingRefused(f"{path} holds no options; write one a line, e.g. `depth: 4`.")
    return {str(name).replace("-", "_"): value for name, value in content.items()}
