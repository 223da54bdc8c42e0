"""Names of files as text: a file system's names are bytes, and not all of them are text."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes


def printable(name: str) -> str:
    """Return a file name with undecodable bytes percent-escaped, as cells are named everywhere."""
    # Python keeps such a byte as one of these code points (PEP 383), which no file, terminal or window takes.
    return re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", name)


def path_of(name: str) -> Path:
    """Return the path that `printable` was made of: the name itself where it exists, its bytes otherwise."""
    path = Path(name)
    return path if path.exists() else Path(os.fsdecode(unquote_to_bytes(name)))
