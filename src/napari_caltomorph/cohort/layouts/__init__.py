"""How labelled patients may lie on disk. A layout is one small file with two functions, and a row here.

``recognises(path)`` looks at names only; ``read(path, options)`` returns what is there, before any cleaning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from napari_caltomorph.cohort.layouts import aml_hehr, apl_aml, features, folders, table
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.tables import Found
from napari_caltomorph.errors import CohortUnreadable


@dataclass(frozen=True)
class Layout:
    """One way in which patients may lie."""

    name: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, CohortOptions], Found]


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("table", table.recognises, table.read),
        Layout("aml-hehr", aml_hehr.recognises, aml_hehr.read),
        Layout("apl-aml", apl_aml.recognises, apl_aml.read),
        Layout("features", features.recognises, features.read),
        Layout("folders", folders.recognises, folders.read),
    )
}
"""In the order in which they are tried: what is particular comes before what is general."""


def find_layout(path: Path, name: str) -> Layout:
    """Return a layout by name, or for ``auto`` the first that recognises the path.

    Raises
    ------
    CohortUnreadable
        Nothing is there, or no layout recognises it.
    """
    if not path.exists():
        raise CohortUnreadable(f"{path} does not exist; check the path.")
    if name != "auto":
        return LAYOUTS[name]
    found = next((layout for layout in LAYOUTS.values() if layout.recognises(path)), None)
    if found is None:
        raise CohortUnreadable(
            f"{path} holds no cohort that is known: neither a table, nor folders of patients, nor feature files; "
            "name the directory above the patients, or a layout."
        )
    return found
