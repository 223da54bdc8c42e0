"""Which id of a table is which patient on disk, also where a spreadsheet or a person has spelled one differently.

`SPELLINGS` are tried from exact to loose. Two ids are the same where they alone, of all ids on both sides, are spelled
the same; how they were matched is returned, to be reported. Nothing is matched that could be another patient.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

_EXAMPLES = 3
# A path only counts where it is one of such a file: 2023/15 is the number of a sample.
_FILE = re.compile(
    r"(?:.*[/\\])?([^/\\]+?)\.(?:ome\.tiff?|tiff?|svs|ndpi|mrxs|scn|bif|czi|vsi|lif|isyntax|dcm|btf|jpe?g|png|bmp|zip|h5|hdf5|pt|npy|npz)"
)


@dataclass(frozen=True)
class Spelling:
    """A way to spell ids, in which several of them may look the same."""

    words: str  # after "3 ids were matched"
    of: Callable[[str], str]


@dataclass(frozen=True)
class IdMatches:
    """Ids of a table, and what they are called on disk."""

    found: Mapping[str, str]  # by the table's id
    notes: list[str]  # one for each spelling but the exact one that was needed, and one for pairs that are not certain
    likely: Mapping[str, str] = field(default_factory=dict)  # of ids on both sides without a match: what they look like

    def looks_like(self, patient: str) -> str:
        """Return " (looks like ...)" for an id without a match that resembles others, otherwise nothing."""
        return f" (looks like {self.likely[patient]})" if patient in self.likely else ""


def _visible(text: str) -> str:
    """NFKC makes a no-break space a space and composes umlauts; Cf are zero-width characters and byte order marks."""
    composed = unicodedata.normalize("NFKC", text)
    return " ".join("".join(sign for sign in composed if unicodedata.category(sign) != "Cf").split())


def _unquoted(text: str) -> str:
    """``="007"`` and ``'007`` are how Excel is made to keep the zeros."""
    return re.sub(r"""^=?(["'])(.*?)\1?$""", r"\2", text).strip()


def _date(text: str) -> str:
    """Return a date as 2023-01-05; 1/5/2023 stays, as it is a day of January or of May."""
    text = re.sub(r"[ T]00:00(:00)?(\.0+)?Z?$", "", text)
    if match := re.fullmatch(r"(\d{1,2})([./])(\d{1,2})\2(\d{4})", text):
        first, second = int(match[1]), int(match[3])
        is_day_first = match[2] == "." or first > 12
        if is_day_first or second > 12 or first == second:
            day, month = (first, second) if is_day_first else (second, first)
            return f"{match[4]}-{month:02}-{day:02}"
    return text


def _number(text: str) -> str:
    """Return 7.0 as 7 and 1.2E+05 as 120000: Excel takes an id such as 12E4 for a number."""
    if re.fullmatch(r"\d{1,99}(\.\d+)?(E\+?\d{1,2})?", text, re.IGNORECASE) and re.search("[.E]", text, re.IGNORECASE):
        value = float(text)
        return str(int(value)) if value == int(value) < 1e15 else text
    return text


SPELLINGS = (
    Spelling("exactly", lambda text: text),
    Spelling("without invisible characters", _visible),
    Spelling("without quotes", _unquoted),
    Spelling("as dates", _date),
    Spelling("as numbers", _number),
    Spelling("whatever their case", str.casefold),
    Spelling("without the suffix of a file", lambda text: match[1] if (match := _FILE.fullmatch(text)) else text),
    Spelling("whatever their spaces, hyphens and underscores", lambda text: re.sub(r"[\s_-]+", "-", text)),
    # Not of the digits after a point: 1.05 is not 1.5.
    Spelling("without leading zeros", lambda text: re.sub(r"(?<![\d.,])0+(?=\d)", "", text)),
)


def match_ids(ours: Iterable[str], on_disk: Iterable[str]) -> IdMatches:
    """Match the ids of a table with those on disk, each with at most one.

    Parameters
    ----------
    ours, on_disk : iterable of str
        All ids of the table, also those that are not used, and all that were found; repeated ones count once.
    """
    left, right = dict.fromkeys(ours), dict.fromkeys(on_disk)
    spelled = {text: text for text in (*left, *right)}
    found: dict[str, str] = {}
    notes = []
    for spelling in SPELLINGS:
        spelled = {text: spelling.of(before) for text, before in spelled.items()}
        theirs = _by_spelling(right, spelled)
        pairs = {
            texts[0]: same[0]
            for one, texts in _by_spelling(left, spelled).items()
            if one and len(texts) == 1 and len(same := theirs.get(one, [])) == 1 and texts[0] not in found
        }
        found |= pairs
        if pairs and spelling is not SPELLINGS[0]:
            notes.append(_note(pairs, spelling))
    used = set(found.values())
    lost, unused = [text for text in left if text not in found], [text for text in right if text not in used]
    likely = _likely(lost, list(right), unused, spelled)
    if likely:
        examples = ", ".join(f"{_shown(ours)} looks like {disk}" for ours, disk in list(likely.items())[:_EXAMPLES])
        notes.append(f"{len(likely)} of the ids without a match resemble others: {examples}; correct the table.")
    return IdMatches(found, notes, likely | _likely(unused, list(left), lost, spelled))


def _by_spelling(texts: Iterable[str], spelled: Mapping[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        groups[spelled[text]].append(text)
    return groups


def _note(pairs: Mapping[str, str], spelling: Spelling) -> str:
    examples = ", ".join(f"{_shown(ours)} = {_shown(disk)}" for ours, disk in list(pairs.items())[:_EXAMPLES])
    more = ", ..." if len(pairs) > _EXAMPLES else "."
    count = f"{len(pairs)} ids were" if len(pairs) > 1 else "1 id was"
    return f"{count} matched {spelling.words}: {examples}{more}"


def _shown(text: str) -> str:
    """Return an id; one with characters that are not seen as Python writes it."""
    return text if text.isprintable() else repr(text)


def _likely(texts: list[str], others: list[str], unmatched: list[str], spelled: Mapping[str, str]) -> dict[str, str]:
    """Return what ids look like: others with the same letters and digits, or unmatched ones with the same numbers."""
    likely: dict[str, str] = {}
    for rough, candidates in ((_letters, others), (_numbers, unmatched)):
        groups: dict[str, list[str]] = defaultdict(list)
        for text in candidates:
            groups[rough(spelled[text])].append(text)
        for text in texts:
            one = rough(spelled[text])
            if one and text not in likely and (same := groups.get(one)):
                likely[text] = " or ".join(same[:_EXAMPLES])
    return likely


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text)


def _numbers(text: str) -> str:
    """Return the numbers in a text, in any order, as a date has them."""
    return " ".join(sorted(re.findall(r"\d+", text)))
