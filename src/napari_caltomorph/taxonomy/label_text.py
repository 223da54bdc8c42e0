"""How the text of a diagnosis label is read: which spellings are the same, and where two diagnoses are joined.

Case, hyphens, spaces, punctuation and umlauts (ä = ae = a) do not count, nor do British and American, "cyt" and "zyt",
or the possessive of a name ("Hodgkin's").
Three signs do, since the label means something else without them: a question mark ("AML?"), a plus ("Ph+ CML"), and a
semicolon between diagnoses ("MDS; MPN" is not MDS/MPN), which is one before a space and a letter.

A label ("AML and multiple myeloma", "MDS-AML borderline") may be cut at any of its joiners; the fewest parts that all
mean something win, so that "MDS/MPN and AML" is cut once. Hyphens join only where a word such as "borderline" says that
the label is between two diagnoses.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import TypeVar

from napari_caltomorph.errors import printable

Meaning = TypeVar("Meaning")

MAX_PIECES, MAX_WORDS = 10, 20
"""A label with more joiners, or words, is prose; the ways to cut it double with each joiner."""

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

# Of any keyboard, and as the control characters that Windows-1252 becomes when it is read as Latin-1.
_SIGNS = str.maketrans(dict.fromkeys("‘’ʼ`´′\x91\x92", "'") | dict.fromkeys("\x96\x97", "-"))
_LETTERS = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "ı": "i", "&": " and "})
_STEMS = {  # after umlauts are folded: leukaemia is leukamia by then
    "zyt": "cyt",  # before cythami
    "leukami": "leukemi",
    "anami": "anemi",
    "cythami": "cythemi",
    "hamat": "hemat",
    "hamo": "hemo",
    "tumour": "tumor",
    "smoulder": "smolder",
}
# The apostrophe may have been lost on the way, or have become a question mark.
_POSSESSIVE = re.compile(r"(?<=\w\w\w)['?\ufffd]s\b|(?<=\bhodgkin|\bburkitt|\brichter)s\b|(?<=\bwaldenstrom)s\b")
_WORD = re.compile(r"[^\W_]+|(?<!\w)\?|\?(?!\w)|\+|;(?=\s+[^\W\d])")


def fold(text: str) -> str:
    """Return a text in lower case, without accents and with plain hyphens; punctuation stays."""
    composed = unicodedata.normalize("NFKC", printable(text).translate(_SIGNS))
    plain = unicodedata.normalize("NFKD", composed.translate(_SIGNS).casefold().translate(_LETTERS))
    plain = "".join(_hyphen(sign) for sign in plain if not unicodedata.combining(sign))
    plain = re.sub(r"([aou])e+", r"\1", plain)
    for stem, same in _STEMS.items():
        plain = plain.replace(stem, same)
    return " ".join(plain.split())


def words(folded: str) -> list[str]:
    """Return the words of a folded text."""
    return _WORD.findall(_POSSESSIVE.sub("", folded))


def key(text: str) -> str:
    """Return what is the same for all spellings of a label; empty only for blank ones."""
    folded = fold(text)
    return "".join(words(folded)) or folded


def phrases(folded: str, longest: int) -> set[str]:
    """Return the keys, of at most so many letters, of all runs of neighbouring words."""
    found = words(folded)
    keys = set()
    for start in range(len(found)):
        phrase = ""
        for word in found[start:]:
            phrase += word
            if len(phrase) > longest:
                break
            keys.add(phrase)
    return keys


def other_orders(folded: str) -> set[str]:
    """Return the keys of a text that begins at another word ("AML, de novo"), or whose parts are from last to first.

    There is none where a joiner is in it: then the order has a meaning.
    """
    found = words(folded)
    if len(found) > MAX_WORDS or found[-1:] == ["non"] or _JOINER.search(folded) or lies_between(folded):
        return set()
    turned = [found[start:] + found[:start] for start in range(1, len(found))]
    inverted = [word for part in reversed(folded.split(",")) for word in words(part)]
    return {"".join(order) for order in (*turned, inverted)}


def lies_between(folded: str) -> bool:
    """Whether a word such as "borderline" says that the diagnosis lies between two."""
    return _BETWEEN_WORD.search(folded) is not None


def meanings_of_parts(folded: str, meaning: Callable[[str], Meaning | None]) -> list[Meaning]:
    """Return what the parts of a folded label mean; empty when it cannot be cut into parts that all mean something."""
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


def _hyphen(sign: str) -> str:
    return "-" if sign == "\N{MINUS SIGN}" or unicodedata.category(sign) == "Pd" else sign


def _pieces(folded: str, joiner: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Yield start and end of what stands between the joiners, where any of it is text."""
    start = 0
    for cut in (*joiner.finditer(folded), None):
        end = len(folded) if cut is None else cut.start()
        if re.search(r"\w", folded[start:end]):
            yield start, end
        start = end if cut is None else cut.end()
