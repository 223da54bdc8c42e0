"""Names of files as text: a file system's names are bytes, and not all of them are text."""

from __future__ import annotations

import re


def printable(name: str) -> str:
    """Return a file name with undecodable bytes percent-escaped, as cells are named everywhere."""
    # Python keeps such a byte as one of these code points (PEP 383), which no file, terminal or window takes.
    return re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", name)
