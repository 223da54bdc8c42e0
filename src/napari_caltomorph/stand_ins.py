"""What is in the place of a file that never arrived: a pointer of a version control system, a web page, nothing at all.

Such files are found where a person copied a link instead of a file; their name and place are right.
"""

from __future__ import annotations

import re
from pathlib import Path

_HEAD_BYTES = 1024
_DOWNLOAD = "download the file itself"

# The beginning of the file -> what it is, and the fix; none where it depends on what the file should be.
_STAND_INS = (
    (rb"version https://git-lfs\.github\.com/spec/", "a Git LFS pointer", f"run `git lfs pull`, or {_DOWNLOAD}"),
    (rb"[^\n\0]{0,200}/annex/objects/", "a git-annex pointer", f"run `git annex get`, or {_DOWNLOAD}"),
    (
        rb"\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)\b",
        "a web page",
        f"{_DOWNLOAD}; its page may ask to log in, or to agree to a licence",
    ),
    (rb"\s*<(\?xml|Error>)", "an XML text, as servers answer with an error", f"{_DOWNLOAD}"),
    (rb"\Z", "an empty file", ""),
    (rb"\0{%d}" % _HEAD_BYTES, "a file of zero bytes", ""),
)


def stand_in(path: Path, what: str, fix: str = "copy or download it again") -> str | None:
    """Return a sentence on what a file is instead, and the fix; None where it may be `what`, e.g. "the weights".

    `fix` is that of an empty file.
    """
    if not path.is_file():  # opening a pipe waits for ever
        return None
    with path.open("rb") as file:
        found = _recognise(file.read(_HEAD_BYTES))
    return found and f"{path} is {found[0]} ({path.stat().st_size} bytes), not {what}: {found[1] or fix}."


def name_of_stand_in(head: bytes) -> str | None:
    """Return what the first bytes of a file are instead of an image, e.g. "a web page"; None where it may be one."""
    found = _recognise(head)
    return found and found[0]


def _recognise(head: bytes) -> tuple[str, str] | None:
    head = head[:_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf")
    matches = ((name, fix) for begins, name, fix in _STAND_INS if re.match(begins, head, re.IGNORECASE | re.DOTALL))
    return next(matches, None)
