"""Options as the words of a command line: what "copy as command" copies, and what a log may repeat."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pydantic import BaseModel


def flags(options: BaseModel, defaults: BaseModel | None = None) -> list[str]:
    """Return the flags that differ from the defaults, e.g. ``["--recipe", "paper", "--hemoglobin"]``.

    Parameters
    ----------
    options : BaseModel
    defaults : BaseModel, optional
        Otherwise those of the model's class.
    """
    defaults = type(options)() if defaults is None else defaults
    words = []
    for name in type(options).model_fields:
        value = getattr(options, name)
        if value == getattr(defaults, name) or value is None:
            continue
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif isinstance(value, tuple | list):
            words += [word for one in value for word in (flag, str(one))]
        else:
            words += [flag, str(value)]
    return words


def shell_line(words: Sequence[object]) -> str:
    """Return words as one line that a shell takes apart again as they were."""
    return shlex.join(str(word) for word in words)
