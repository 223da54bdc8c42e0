"""A room that bears the name of its function: ``napari_caltomorph.encode`` is both, and must be called like one."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallableRoom(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


def make_callable(room: str) -> None:
    """Let a room be called as its function: once imported, the room hides the function's name in the package."""
    sys.modules[room].__class__ = _CallableRoom
