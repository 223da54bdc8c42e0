"""What the options of all verbs have in common: the groups of the help, and where values come from.

Besides the command line these are a file (``--config``) and variables of the environment. The command line wins over
the environment, and the environment over the file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from difflib import get_close_matches
from inspect import get_annotations
from pathlib import Path
from typing import Any, get_args, get_origin

from cyclopts import App, Group, Parameter
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Dict, Env
from pydantic import BaseModel

from napari_caltomorph.cli.console import screen
from napari_caltomorph.errors import OptionsRefused
from napari_caltomorph.reading import SMALL, explained, flag_of, read_document

_log = logging.getLogger(__name__)
_PREFIX = "CALTOMORPH_"
_VALUES = {int: "NUMBER", float: "NUMBER", str: "TEXT"}
_OTHERS = ("HOME", "CUDA_TESTS_ON", "CONFIG", "JSON", "VERBOSE", "QUIET", "LOG_FILE")
_NOT_OF_A_VERB = {_PREFIX + name for name in _OTHERS}
Source = Callable[[App, tuple[str, ...], ArgumentCollection], Any]
EVERY_VERB = Group("Every command", sort_key=1000)
# The first field of a group -> the title of the group in the help; it reaches to the first field of the next. The help
# has the groups in this order: what a person sets first, then the patients, then what is seldom changed.
_GROUPS = {
    "SynthOptions.patients": "Synthetic cohort",
    "WatchOptions.settle": "Watching",
    "MonitorOptions.reference": "Monitoring",
    "CompareOptions.what": "What is compared",
    "ValidateOptions.criteria": "Validation",
    "ProbeOptions.min_cells": "Probe",
    "SmearOptions.prevalence": "Prediction",
    "EvaluateOptions.split": "What is evaluated",
    "EvaluateOptions.threshold": "Numbers and figures",
    "EvaluateModelOptions.audit": "Audit and faithfulness",
    "EvaluateModelOptions.choose_by": "Choosing a threshold",
    "TrainOptions.recipe": "Recipe and hemoglobin",
    "TrainOptions.aggregator": "Aggregator",
    "TrainOptions.epochs": "Optimizer",
    "TrainOptions.max_cells": "Cells, features and loss",
    "TrainOptions.calibration_split": "Calibration and other laboratories",
    "EncodeCohortOptions.extended": "What is encoded and written",
    "ScaleOptions.pixel_size": "Cutting cells",
    "Preparation.crop_um": "Preparation of the cells",
    "CohortOptions.bag": "Patients and their cells",
    "CohortOptions.taxonomy": "Classes",
    "CohortOptions.test_fraction": "Split",
    "CohortOptions.layout": "Reading the cohort",
    "EvaluateOptions.skip_missing": "Patients without features",
    "EvaluateModelOptions.encode_missing": "Patients without features",
    "TrainOptions.skip_missing": "Patients without features",
    "ValidateOptions.skip_missing": "Patients without features",
    "ComputeOptions.weights": "Encoder and computing",
    "EncodeCohortOptions.workers": "Processes and clusters",
    "EvaluateOptions.bins": "Calibration error, seed and device",
    "TrainOptions.seed": "Seed and computing",
    "ValidateOptions.device": "Device",
}


class Verb(App):
    """A verb whose help groups the options of each pydantic model; an option that is on has one to turn it off."""

    def assemble_argument_collection(self, **how: Any) -> ArgumentCollection:
        """Return all arguments, those of option models in their groups."""
        found = super().assemble_argument_collection(**how)
        for one in found:
            default = one.field_info.default
            text = " ".join((one.parameter.help or "").split()) or None  # in a docstring, lines end at its width
            one.parameter = Parameter.combine(one.parameter, Parameter(help=text, metavar=_value_of(one.hint)))
            if default is None or default is False or default == () or default == "":
                one.parameter = Parameter.combine(one.parameter, Parameter(show_default=False))
            elif default is True:
                off = "--no-" + one.name.removeprefix("--")
                one.parameter = Parameter.combine(one.parameter, Parameter(negative=off))
        order = ["Options", *dict.fromkeys(_GROUPS.values())]
        for root in found:
            if not (isinstance(root.hint, type) and issubclass(root.hint, BaseModel)):
                continue
            for name, title in groups_of(root.hint).items():
                group = Group(title, sort_key=order.index(title) + 1)
                called = Parameter(name=flag_of(root.hint, name)) if root.hint.model_fields[name].title else None
                for child in root.children:
                    if child.keys[-1] == name:
                        child.parameter = Parameter.combine(child.parameter, Parameter(group=group), called)
        return found


def _value_of(hint: Any) -> str | None:
    """Return what a value is, in a word for people; None where cyclopts has one."""
    if isinstance(hint, type) and hint in _VALUES:
        return _VALUES[hint]
    words = [word for part in get_args(hint) if (word := _value_of(part))]
    return words[0] + "..." * (get_origin(hint) is tuple) if words else None


def groups_of(model: type[BaseModel]) -> dict[str, str]:
    """Return field -> the title of its group, in the order of the help."""
    titles, title = {}, "Options"
    for name in model.model_fields:
        owner = next(one for one in model.__mro__ if name in get_annotations(one))
        title = _GROUPS.get(f"{owner.__name__}.{name}", title)
        titles[name] = title
    return titles


def sources_of(file: Path | None, verbs: frozenset[str]) -> tuple[Source, ...]:
    """Return what fills in the options of a verb that the command line does not give."""
    _refuse_unknown_names(verbs)
    from_environment = Env(_PREFIX, source="the environment")
    if file is None:
        return from_environment, _refuse_unknown_variables, _log_where_from
    content = read_config(file)

    def from_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        found: Any = options_in(content, commands, verbs)
        known = {name.removeprefix("--").replace("-", "_") for one in arguments for name in one.names}
        renamed = {one.field_info.name: one.name.removeprefix("--").replace("-", "_") for one in arguments}
        for name in found:
            if name not in known:
                verb = " ".join(commands)
                near = [renamed[name]] if name in renamed else get_close_matches(name, known, n=1)
                fix = f"did you mean {near[0]}?" if near else f"`caltomorph {verb} --help` lists its options."
                raise OptionsRefused(f"{file}: {name!r} is not an option of `caltomorph {verb}`; {fix}")
        for command in reversed(commands):
            found = {command: found}
        Dict(found, source=str(file))(app, commands, arguments)

    return from_environment, _refuse_unknown_variables, from_file, _log_where_from


def read_config(file: Path) -> dict[str, Any]:
    """Read a file of options; raise `OptionsRefused` where it is damaged or something else."""
    fix = "write one option a line, e.g. `depth: 4`"
    with explained(file, "a YAML, TOML or JSON file of options", OptionsRefused, fix):
        content = read_document(file, otherwise=".yaml", at_most=SMALL)
    if not isinstance(content, dict | None):
        raise OptionsRefused(f"{file} has no options; {fix}.")
    return {} if content is None else {str(name): value for name, value in content.items()}


def options_in(content: dict[str, Any], commands: tuple[str, ...], verbs: frozenset[str]) -> dict[str, Any]:
    """Return the options of a verb: those at the top, which are of every verb, and those in the verb's own section.

    The name of a verb is a section where it has options below it; ``weights: FILE`` is an option.
    """
    found = {name: value for name, value in content.items() if not (name in verbs and isinstance(value, dict))}
    section: Any = content
    for command in commands:
        section = section.get(command) if isinstance(section, dict) else None
    if isinstance(section, dict):
        found |= section
    return {name.replace("-", "_"): value for name, value in found.items() if value is not None}


def _refuse_unknown_names(verbs: frozenset[str]) -> None:
    """Refuse a variable that names neither a verb nor an option of all verbs."""
    begins = tuple(f"{_PREFIX}{verb.upper()}_" for verb in verbs)
    for name in sorted(os.environ):
        if name.startswith(_PREFIX) and not name.startswith(begins) and name not in _NOT_OF_A_VERB:
            raise OptionsRefused(f"The variable {name} names no verb, as CALTOMORPH_TRAIN_DEPTH does; unset it.")


def _refuse_unknown_variables(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse a variable of this verb that no option takes: a misspelt one would silently change nothing."""
    prefix = _PREFIX + "".join(f"{command.upper().replace('-', '_')}_" for command in commands)
    used = {token.keyword for one in arguments for token in one.tokens}
    taken = {prefix + name.removeprefix("--").upper().replace("-", "_") for one in arguments for name in one.names}
    sections = tuple(f"{prefix}{name.upper().replace('-', '_')}" for name in app if not name.startswith("-"))
    for name in sorted(os.environ):
        if commands and name.startswith(prefix) and name not in used | taken and not name.startswith(sections or "\0"):
            raise OptionsRefused(f"The variable {name} is no option of `caltomorph {' '.join(commands)}`; unset it.")


def _log_where_from(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    for one in arguments:
        for token in one.tokens:
            if token.source != "cli":
                _log.info("%s %s is from %s", one.name, token.value or token.implicit_value, token.source)
                screen.sources[one.name] = token.source
