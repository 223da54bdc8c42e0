"""README.md and docs/ are plain English: short sentences, and no idiom that a dictionary explains only as a whole.

Tables, headings and code are not read. A link counts as its text, and inline code as one word. What follows a colon,
such as a list, counts as a sentence of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))}
MOST_WORDS = 30
IDIOMS = """
at a glance, at hand, at the end of the day, at the mercy, back to square, ballpark, bells and whistles, boils? down,
by and large, by heart, by the same token, cherry.pick, come in handy, corner case, cut(ting)? corners, deep dive,
dealt (out|anew), down the (road|line), drop.in replacement, easy as, for free, from scratch, get away with,
giv(e|es|ing) (it |the class )?away, goes without saying, grain of salt, hand in hand, heavy lifting, in a nutshell,
in the (wild|long run), in sight, keeps? (in mind|silent), leans? on, low.hanging, mend(s|ed)?, nobody, no brainer,
of little worth, off the shelf, on the fly, on top of that, once and for all, out of the (box|blue|house),
piece of cake, plays? (nice|well) with, rule of thumb, sanity check, silver bullet, speaks? (for|against),
stands? (in|beside), state of the art, take care of, the bottom line, think twice, tip of the, to the letter,
turns? a blind, under the hood, up and running
"""
IDIOM = re.compile(rf"\b({'|'.join(one.strip() for one in IDIOMS.split(','))})\b", re.IGNORECASE)


def paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs and the items of lists of a page."""
    text = re.sub(r"^( *)(```+).*?^\1\2 *$|<!--.*?-->", "", text, flags=re.DOTALL | re.MULTILINE)
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        bare = line.strip().lstrip("> ")
        is_item = re.match(r"([-*]|\d+\.) +", bare)
        is_text = bare and not bare.startswith(("#", "|", "![")) and (lines or not line.startswith("    "))
        if lines and (is_item or not is_text):
            yield " ".join(lines)
            lines = []
        if is_text:
            lines.append(bare[is_item.end() :] if is_item else bare)


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page as they are read aloud."""
    for one in paragraphs(text):
        one = re.sub(r"``[^`]+``|`[^`]*`", "code", one)
        one = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", one)
        one = re.sub(r"\b(e\.g|i\.e|et al|vs|cf|suppl|[A-Z])\.", r"\1", one.replace("*", ""))
        yield from re.split(r"(?<=[.!?:])[\"')]*\s+", one)


def test_a_sentence_is_what_is_read_as_one():
    text = "# A\n\nOne `a. b.` and [two](c.md), e.g. *three*. Four:\n- five\n  six\n\n"
    text += "    code. code.\n\n| a. b |\n```\nx. y.\n```\n"
    assert [*sentences(text)] == ["One code and two, e.g three.", "Four:", "five six"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_plain_english(name):
    said = [*sentences(PAGES[name].read_text("utf-8"))]
    assert [one for one in said if len(re.findall(r"[\w%][\w'’./%+-]*", one)) > MOST_WORDS] == []
    assert [(found[0], one) for one in said for found in [IDIOM.search(one)] if found] == []
