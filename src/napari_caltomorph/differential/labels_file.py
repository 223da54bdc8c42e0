"""Labelled cells as a CSV table that people and other programs read and write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import pandas as pd

from napari_caltomorph.differential.cell_types import cell_type
from napari_caltomorph.differential.labels import CellLabel, CellLabels
from napari_caltomorph.errors import LabelsUnreadable
from napari_caltomorph.storage import replacing

COLUMNS = tuple(field.name for field in fields(CellLabel))
_NEEDED = ("patient_id", "cell", "label")


def save_labels(labels: CellLabels, path: Path) -> None:
    """Write one row a cell, with the columns of `CellLabel`; `OutputRefused` when it cannot be written."""
    table = pd.DataFrame([[getattr(row, name) for name in COLUMNS] for row in labels.rows], columns=list(COLUMNS))
    with replacing(path) as part:
        table.to_csv(part, index=False)


def read_labels(paths: Path | Sequence[Path]) -> CellLabels:
    """Read one table of labelled cells or several; where two label one cell, the later one wins (`CellLabels.merged`).

    Parameters
    ----------
    paths : Path or sequence of Path
        CSV with the columns patient_id, cell and label; by, when and smear_fingerprint where they are known.

    Raises
    ------
    LabelsUnreadable
        No such table: the message names the column or the line to mend.
    """
    labels = CellLabels()
    for path in [paths] if isinstance(paths, Path) else paths:
        labels = labels.merged(_read(path))
    return labels


def _read(path: Path) -> CellLabels:
    try:
        table = pd.read_csv(path, dtype="string", keep_default_na=False, encoding="utf-8-sig")
    except OSError as error:
        raise LabelsUnreadable(f"{path} cannot be read ({error.strerror}); check the path.") from error
    except (ValueError, pd.errors.ParserError) as error:  # no table, no text, or no columns at all
        first = (str(error).splitlines() or ["damaged"])[0]
        raise LabelsUnreadable(f"{path} is no table of labelled cells ({first}); save it as CSV again.") from error
    missing = [name for name in _NEEDED if name not in table]
    if missing:
        raise LabelsUnreadable(
            f"{path} has no column {' nor '.join(map(repr, missing))}; a table of labelled cells has patient_id, cell "
            "and label."
        )
    for name in _NEEDED:
        blank = table.index[table[name].str.strip() == ""]
        if len(blank):
            raise LabelsUnreadable(f"{path}, line {blank[0] + 2}: {name} is empty; fill it in or remove the line.")
    given = [name for name in COLUMNS if name in table]
    lines: dict[tuple[str, str], int] = {}
    rows = []
    for line, values in enumerate(table[given].itertuples(index=False, name=None), start=2):
        row = CellLabel(**dict(zip(given, values, strict=True)))
        row = replace(row, label=cell_type(row.label).name)
        earlier = lines.setdefault((row.smear_fingerprint or row.patient_id, row.cell), line)
        if earlier != line:
            raise LabelsUnreadable(
                f"{path}, line {line}: {row.cell} of {row.patient_id} stands in line {earlier} already; remove one."
            )
        rows.append(row)
    return CellLabels(tuple(rows))
