"""What must hold for every input: it is read, or refused with one sentence that names it, and nothing else happens."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

from tests.fuzz.cases import Case
from tests.fuzz.sandbox import MEMORY_LIMIT, Outcome, Sandbox

SENTENCE_LENGTH = 1100
"""Most characters of a sentence: `errors.bounded` shortens to some 1,000."""


def opened(case: Case, sandbox: Sandbox) -> Outcome:
    """Write the files of a case, open them, and remove them."""
    folder = folder_of(sandbox)
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    try:
        return sandbox.open(case.door, folder / case.opened if case.opened else folder)
    finally:
        shutil.rmtree(folder)


def folder_of(sandbox: Sandbox) -> Path:
    """Return the folder, of one name for all, in which the files of a case are written."""
    return sandbox.scratch / "lab"


def complaint(case: Case, outcome: Outcome, sandbox: Sandbox) -> str | None:
    """Return what is wrong with an outcome; None where all is well."""
    folder = str(folder_of(sandbox))
    if outcome.peak > MEMORY_LIMIT:
        return f"took {outcome.peak / 1e9:.1f} GB: {outcome.kind} {outcome.text[:300]}"
    if outcome.kind == "read":
        return None
    if outcome.kind != "refused":
        return f"{outcome.kind}: {outcome.text}"
    if any(_is_control(letter) for letter in outcome.text):
        return f"a sentence with line breaks or control characters: {outcome.text!r:.1000}"
    if len(outcome.text) > SENTENCE_LENGTH:
        return f"a sentence of {len(outcome.text)} characters: {outcome.text[:300]} ..."
    if not any(name in outcome.text for name in _names(case, folder)):
        return f"a sentence that names no file: {outcome.text}"
    return None


def _is_control(letter: str) -> bool:
    """Whether a letter moves a terminal's cursor, ends a line, or changes the direction of writing."""
    return unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(letter) in _TURNS


_TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def _names(case: Case, folder: str) -> set[str]:
    """Return what a sentence may name: the files, their folders, and the patients in an archive."""
    parts = {part for name in case.files for part in (name, Path(name).name, *Path(name).parts)}
    return {folder, *parts, *(Path(part).stem + ":" for part in parts), "called p1", "called p2", "called in"}
