"""How labelled patients may lie on disk. A layout is one small file with a function, and a row here.

``read(path, options)`` returns what is there, before any cleaning. A second function, ``recognises(path)``, looks at
names only and lets ``auto`` find the layout; without it the layout has to be named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from napari_caltomorph.cohort.layout_result import Found
from napari_caltomorph.cohort.layouts import aml_hehr, apl_aml, features, folders, table
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.errors import CohortUnreadable


@dataclass(frozen=True)
class Layout:
    """One way in which patients may lie."""

    name: str
    read: Callable[[Path, CohortOptions], Found]
    recognises: Callable[[Path], bool] = lambda path: False


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("table", table.read, table.recognises),
        Layout("aml-hehr", aml_hehr.read, aml_hehr.recognises),
        Layout("apl-aml", apl_aml.read, apl_aml.recognises),
        Layout("features", features.read, features.recognises),
        Layout("folders", folders.read, folders.recognises),
    )
}
"""In the order in which they are tried: what is particular comes before what is general."""


def find_layout(path: Path, name: str) -> Layout:
    """Return a layout by name, or for ``auto`` the first that recognises the path.

    Raises
    ------
    CohortUnreadable
        Nothing is there, there is no such layout, or none recognises it.
    """
    if not path.exists():
        raise CohortUnreadable(f"{path} does not exist; check the path.")
    if name != "auto":
        if name not in LAYOUTS:
            raise CohortUnreadable(f"There is no layout {name!r}; there are auto, {', '.join(LAYOUTS)}.")
        return LAYOUTS[name]
    found = next((layout for layout in LAYOUTS.values() if layout.recognises(path)), None)
    if found is None:
        raise CohortUnreadable(
            f"{path} holds no cohort that is known ({_held_by(path)}); name the directory above the patients, or a "
            "table with a path for each."
        )
    return found


def _held_by(path: Path) -> str:
    if not path.is_dir():
        return "a file that does not end like a table: .csv, .tsv, .xlsx or .parquet"
    folders = sum(entry.is_dir() for entry in path.iterdir())
    return f"{folders} folders, none of them with cell images or features" if folders else "no folder, and no .h5 file"
