"""Paths as tables contain them: relative to the table, of another operating system, of a home folder, or URIs."""

from __future__ import annotations

import os
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote, urlsplit


def place_in_table(text: str, table: Path) -> Path:
    r"""Return the path that a cell of a table means; ``\`` is ``/`` where nothing is called so.

    A path of Windows with a drive or a server stays as it is written, so that a message shows it.
    """
    text = text.strip("\"'")  # Explorer's "Copy as path" adds them
    if text.lower().startswith("file:"):
        text = _path_of_uri(text)
    if PureWindowsPath(text).is_absolute() and not text.startswith("/"):
        return Path(text)
    # Path.expanduser raises an error where a name only begins with "~".
    spellings = [os.path.expanduser(one) for one in (text, text.replace("\\", "/"))]  # noqa: PTH111
    places = [table.parent / one for one in spellings]
    return next((place for place in places if os.path.lexists(place)), places[-1])


def _path_of_uri(uri: str) -> str:
    address = urlsplit(uri)
    path = unquote(address.path)
    if address.netloc not in ("", "localhost"):
        return f"//{address.netloc}{path}"
    return path[1:] if PureWindowsPath(path[1:]).drive else path  # /D:/data
