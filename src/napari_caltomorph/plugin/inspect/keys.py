"""What can be done to cells with a key or from the menu *Cells*; letters are left to the labels of a differential."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from napari_caltomorph.plugin.session.inspection import Inspection


@dataclass(frozen=True)
class CellAction:
    """One row of the menu.

    Attributes
    ----------
    title : str
    key : str
        As Qt spells it.
    napari_key : str
        The same, as napari spells it.
    do : callable
    in_lists : bool
        Whether the key works in the table and the plots too; tables have arrow keys of their own.
    """

    title: str
    key: str
    napari_key: str
    do: Callable[[Inspection], None]
    in_lists: bool = True


def _step(rows: int, cells: int) -> Callable[[Inspection], None]:
    def step(inspection: Inspection) -> None:
        across = 1 if inspection.gallery is None else inspection.gallery.columns
        inspection.cells.step(rows * across + cells)

    return step


ACTIONS = (
    CellAction("Next cell", "Right", "Right", _step(0, 1), in_lists=False),
    CellAction("Previous cell", "Left", "Left", _step(0, -1), in_lists=False),
    CellAction("Cell below", "Down", "Down", _step(1, 0), in_lists=False),
    CellAction("Cell above", "Up", "Up", _step(-1, 0), in_lists=False),
    CellAction("Mark, or unmark", "Return", "Enter", lambda it: it.cells.mark()),
    CellAction("Leave out, or take back in", "Delete", "Delete", lambda it: it.cells.leave_out()),
    CellAction("Undo", "Ctrl+Z", "Control-Z", lambda it: it.cells.undo()),
    CellAction("Redo", "Ctrl+Shift+Z", "Control-Shift-Z", lambda it: it.cells.redo()),
)
