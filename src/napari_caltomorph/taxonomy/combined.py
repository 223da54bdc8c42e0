"""Labels that name two diagnoses ("AML and multiple myeloma", "MDS-AML borderline"), cut at the words that join.

A label may be cut at any of its joiners; the fewest parts that all mean something win, so that "MDS/MPN and AML" is
cut once. Hyphens join only where a word such as "borderline" says that the label lies between two diagnoses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import TypeVar

Meaning = TypeVar("Meaning")

MAX_PIECES = 10
"""A label with more joiners is prose; the ways to cut it double with each."""

_PLUS = r"(?<=\s)\+|(?<=\w)\+(?=\w)"  # not that of "JAK2+ and"
_JOIN = _PLUS + r"|[/;]|\b(?:and|und|or|oder|vs|versus|bzw)\b\.?|(?:\b(?:in|mit|with)\s+)?(?=\bblast)"
_BETWEEN = (
    r"\b(?:borderline|in[- ]between|transition\w*|ubergang\w*|grenzfall|grenzbereich"
    r"|transformation(?=\s+(?:to|into|in|zu)\b))\b"
)
_GLUE = r"[->]|\b(?:to|into|from|in|zu|zur|zum|von|mit|with)\b"

_JOINER = re.compile(_JOIN)
_BETWEEN_WORD = re.compile(_BETWEEN)
_LOOSE_JOINER = re.compile("|".join((_BETWEEN, _JOIN, _GLUE)))


def lies_between(folded: str) -> bool:
    """Whether a word such as "borderline" says that the diagnosis lies between two."""
    return _BETWEEN_WORD.search(folded) is not None


def meanings_of_parts(folded: str, meaning: Callable[[str], Meaning | None]) -> list[Meaning]:
    """Return what the parts of a folded label mean; empty when it cannot be cut into parts that all mean something.

    Parameters
    ----------
    folded : str
        The label, as `spelling.fold` gives it.
    meaning : callable
        Returns what a part means, or None.
    """
    between = lies_between(folded)
    pieces = list(_pieces(folded, _LOOSE_JOINER if between else _JOINER))
    if len(pieces) > MAX_PIECES:
        return []
    for count in range(1 if between else 2, len(pieces) + 1):
        for starts in combinations(range(1, len(pieces)), count - 1):
            bounds = zip((0, *starts), (*starts, len(pieces)), strict=True)
            found = [meaning(folded[pieces[i][0] : pieces[j - 1][1]]) for i, j in bounds]
            known = [one for one in found if one is not None]
            if len(known) == len(found):
                return known
    return []


def _pieces(folded: str, joiner: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Yield start and end of what stands between the joiners, where any of it is text."""
    start = 0
    for cut in (*joiner.finditer(folded), None):
        end = len(folded) if cut is None else cut.start()
        if re.search(r"\w", folded[start:end]):
            yield start, end
        start = end if cut is None else cut.end()
