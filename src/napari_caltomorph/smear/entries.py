"""What is directly in a folder, without what systems and we ourselves leave there.

So none of it is a patient, cell or feature: folders, archives, cohorts and feature folders are listed with this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

# What Windows, macOS and network storage (Synology, QNAP, NetApp) leave in folders, besides names with a dot in front.
_SYSTEM_NAMES = frozenset(
    [
        *("$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "__pycache__"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini"),
        *("__macosx", "network trash folder", "temporary items", "lost+found"),
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "~snapshot"),
    ]
)

CUT_CELLS = "cut_cells"
"""Folder next to a prediction with the cells that were cut out of fields for it."""

# The files that a job always writes together -> the images that it may write next to them.
WRITTEN = tuple(
    (frozenset(always.split()), re.compile(images))
    for always, images in (
        ("prediction.json", r"screenshot\.png"),
        ("predictions.csv cells.csv", ""),
        ("evaluation.json", ""),
        ("map.safetensors map.png map.pdf", r"[a-z_]+\d*\.png"),
        ("model.json", r"training_curves\.png"),
        ("training.json", ""),
        ("comparison.csv folds.csv", r"comparison\.png"),
        ("run.json", ""),
        ("fields.csv cut.json", r"overview_.+\.jpg"),
        ("differential.csv cell_types.csv", r"cells_.*\.png"),
        ("flow.png classes.png preview.png", r"(flow|classes|preview)\.png"),
    )
)


def is_system_entry(name: str) -> bool:
    """Whether a file or folder of this name is hidden (a dot in front), or is of a system: a bin, a snapshot, a cache.

    Only what is found in a folder is sorted out by its name; what a person names is read.
    """
    return name.startswith((".", "~$")) or name.casefold() in _SYSTEM_NAMES


@dataclass
class Entries:
    """What is directly in a folder: paths relative to the tree's root."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)  # Of the system, written by us, and what is no regular file

    @property
    def lists(self) -> tuple[list[str], list[str], list[str]]:
        return self.files, self.folders, self.passed_over


def sorted_out(files: list[str], folders: list[str], others: Iterable[str] = ()) -> Entries:
    """Sort out what is of the system, and what one of our jobs wrote."""
    names = {path.rsplit("/", 1)[-1] for path in files}
    ours = [row for row in WRITTEN if row[0] <= names]
    entries = Entries(passed_over=list(others))
    for path in files:
        name = path.rsplit("/", 1)[-1]
        is_out = is_system_entry(name) or any(name in always or images.fullmatch(name) for always, images in ours)
        (entries.passed_over if is_out else entries.files).append(path)
    for path in folders:
        name = path.rsplit("/", 1)[-1]
        is_out = is_system_entry(name) or name == CUT_CELLS
        (entries.passed_over if is_out else entries.folders).append(path)
    return entries
