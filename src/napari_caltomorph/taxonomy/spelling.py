"""When two spellings of a diagnosis are the same: what people vary without meaning anything by it is taken away.

Case, hyphens, spaces, punctuation and umlauts (ä = ae = a) do not count, nor do British and American, "cyt" and "zyt".
Three signs do, since the label says something else without them: a question mark ("AML?"), a plus ("Ph+ CML"), and a
semicolon between diagnoses ("MDS; MPN" is not MDS/MPN), which is one before a space and a letter.
"""

from __future__ import annotations

import re
import unicodedata

from napari_caltomorph.errors import printable

_LETTERS = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "ı": "i", "&": " and "})
_STEMS = {  # as they stand once umlauts are folded: leukaemia is leukamia by then
    "zyt": "cyt",  # before cythami
    "leukami": "leukemi",
    "anami": "anemi",
    "cythami": "cythemi",
    "hamat": "hemat",
    "hamo": "hemo",
    "tumour": "tumor",
    "smoulder": "smolder",
}
_WORD = re.compile(r"[^\W_]+|(?<!\w)\?|\?(?!\w)|\+|;(?=\s+[^\W\d])")


def fold(text: str) -> str:
    """Return a text in lower case, without accents and with plain hyphens; punctuation stays."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", printable(text)).casefold().translate(_LETTERS))
    plain = "".join(_hyphen(sign) for sign in plain if not unicodedata.combining(sign))
    plain = re.sub(r"([aou])e+", r"\1", plain)
    for stem, same in _STEMS.items():
        plain = plain.replace(stem, same)
    return " ".join(plain.split())


def words(folded: str) -> list[str]:
    """Return the words of a folded text."""
    return _WORD.findall(folded)


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


def _hyphen(sign: str) -> str:
    return "-" if sign == "\N{MINUS SIGN}" or unicodedata.category(sign) == "Pd" else sign
