"""The blocks of code in README.md and in docs/, as a reader meets them.

A block runs in a test unless a comment above it says why not: ``<!-- not run: needs a cluster -->``.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))
_REASON = re.compile(r"<!-- not run: (.{8,}) -->")
_COMMAND = re.compile(r"^ *(?:\$ +)?(?:\.venv/bin/)?(caltomorph (?:[^\n]*[\\^]\n)*[^\n]*)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """Some lines of code, fenced or indented."""

    language: str  # Of its fence; nothing where it is indented only
    code: str
    not_run: str  # Why it is not run; nothing where it is run

    @property
    def commands(self) -> list[str]:
        """Our commands in it, each as one line."""
        return [re.sub(r"[\\^]\n\s*", "", one) for one in _COMMAND.findall(self.code) if self.language != "python"]


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a page in their order."""
    lines = iter([*text.splitlines(), ""])
    reason, before = "", ""
    for line in lines:
        code: list[str] = []
        if fence := re.match(r" *(```+) *(\w*)", line):
            for inner in lines:
                if inner.strip() == fence[1]:
                    break
                code.append(inner)
            yield Block(fence[2], textwrap.dedent("\n".join(code)), reason)
        elif line.startswith("    ") and not before:
            while line.startswith("    ") or (not line and code):
                code.append(line)
                line = next(lines, "#")
            yield Block("", textwrap.dedent("\n".join(code)), reason)
        if line:
            reason = found[1] if (found := _REASON.search(line)) else ""
        before = line


PAGES = {path.name: [*blocks(path.read_text("utf-8"))] for path in FILES}
