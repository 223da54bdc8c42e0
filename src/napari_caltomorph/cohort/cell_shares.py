"""How large a part of a patient's labelled cells each cell type has, where sub-folders name the types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from napari_caltomorph.smear import read_smear


def cell_shares(path: Path, cells: Collection[str] = ()) -> dict[str, float]:
    """Return the share that each cell type has of a smear's labelled cells; empty where no cell is labelled.

    Parameters
    ----------
    path : Path
        Of the smear; only names are read.
    cells : collection of str
        Count these cells alone, such as the usable ones; all where none of them is in the smear.

    Raises
    ------
    SmearUnreadable
        There is no smear.
    """
    smear = read_smear(path)
    wanted = set(cells) & set(smear.cells) or set(smear.cells)
    labels = Counter(
        label for cell, label in zip(smear.cells, smear.labels, strict=True) if label is not None and cell in wanted
    )
    total = labels.total()
    return {label: count / total for label, count in labels.items()}
