"""Feature files without images: ``<patient>.h5`` beside a table, or ``<label>/<patient>.h5``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import h5py
import pandas as pd

from napari_caltomorph.cohort.layouts.folders import join
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.tables import Found, find_table
from napari_caltomorph.errors import CohortUnreadable
from napari_caltomorph.names import printable

_DATASETS = ("features", "feats")


def recognises(path: Path) -> bool:
    """Whether bags of features lie in the folder, or one level down."""
    return path.is_dir() and bool(_bags(path))


def read(path: Path, options: CohortOptions) -> Found:
    """Read names and shapes; bags of another encoder or width than most are left out.

    Raises
    ------
    CohortUnreadable
        There is no bag, or bags bear no label.
    """
    bags = _bags(path)
    if not bags:
        raise CohortUnreadable(f"{path} holds no .h5 file; name the folder of the feature files.")
    is_labelled = all(bag.parent != path for bag in bags)
    headers = [_header(bag) for bag in bags]
    usual, _ = Counter(h[1:] for h in headers if isinstance(h, tuple)).most_common(1)[0] if headers else ((None, 0), 0)
    rows, left_out = [], []
    for bag, header in zip(bags, headers, strict=True):
        patient, label = printable(bag.stem), printable(bag.parent.name) if is_labelled else None
        if isinstance(header, str):
            left_out.append((patient, label, "unreadable features", header))
        elif header[1:] != usual:
            what = f"{header[1]} wide, encoder {header[2]}; most are {usual[0]} wide, encoder {usual[1]}"
            left_out.append((patient, label, "features of another encoder", what))
        else:
            rows.append((patient, label, str(bag), header[0]))
    found = pd.DataFrame(rows, columns=["patient_id", "raw_label", "features", "n_cells"])
    if found.empty:
        raise CohortUnreadable(f"{path}: none of {len(bags)} feature files can be read (first: {left_out[0][3]}).")
    table = find_table(path, options)
    if table is None:
        if not is_labelled:
            raise CohortUnreadable(f"{path}: {len(bags)} bags without labels; name a table with --table.")
        return Found(found, left_out)
    joined = join(found, table, options, labels_from_table=not is_labelled)
    return Found(joined.table, left_out + joined.left_out, joined.notes)


def _bags(path: Path) -> list[Path]:
    here = sorted(path.glob("*.h5"))
    return here or sorted(path.glob("*/*.h5"))


def _header(path: Path) -> tuple[int, int, str] | str:
    """Return (cells, width, encoder) of a bag from its header, or why it cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            name = next((n for n in _DATASETS if n in file), None)
            if name is None:
                return f"no dataset 'features' or 'feats'; found {sorted(file)[:4]}"
            shape = file[name].shape
            encoder = str(file.attrs.get("encoder", "not named"))
    except (OSError, RuntimeError, KeyError) as error:
        return f"no HDF5 file that can be read ({str(error).splitlines()[0][:80]})"
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 2 or 0 in shape:
        return f"shape {shape} is no bag of cells"
    return int(shape[0]), int(shape[1]), encoder
