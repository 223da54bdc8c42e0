"""Looking at the cells of all patients: how many are usable, and which images stand in two places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from napari_caltomorph.cohort.cohort import COLUMNS, Cohort
from napari_caltomorph.encode import Features
from napari_caltomorph.errors import FeaturesRefused, SmearUnreadable
from napari_caltomorph.names import path_of
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import Reason, check_smear, read_smear

_COLUMNS = ("n_images", "n_cells", "fingerprint", "problem", "twin", "twin_share")


def look_at_cells(cohort: Cohort, *, progress: OnProgress = ignore) -> Cohort:
    """Count images and usable cells, and compare all patients' images by their SHA-256.

    With `names_only` names are counted, and nothing is compared. Half a SHA-256 is kept for each image, so that
    millions fit in memory.
    """
    table = cohort.table.copy()
    is_checked = not cohort.options.names_only
    owners: dict[bytes, int] = {}
    columns: dict[str, list[object]] = {name: [] for name in _COLUMNS}
    places = zip(table["path"], table["features"], table["n_cells"], strict=True)
    for number, (path, features, n_cells) in enumerate(places):
        progress(Progress("Looking at cells", number, len(table), "patients"))
        found: dict[str, object] = dict.fromkeys(columns)
        if pd.notna(path):
            found |= _look_at_images(path, number, owners, table, is_checked=is_checked)
        elif pd.notna(features):
            found |= _look_at_features(features, n_cells, is_checked=is_checked)
        else:
            found["problem"] = "neither images nor features"
        for name, values in columns.items():
            values.append(found[name])
    progress(Progress("Looking at cells", len(table), len(table), "patients"))
    for name, values in columns.items():
        table[name] = pd.Series(values, index=table.index, dtype=COLUMNS[name])
    return replace(cohort, table=table)


def _look_at_images(
    path: str, number: int, owners: dict[bytes, int], table: pd.DataFrame, *, is_checked: bool
) -> dict[str, object]:
    try:
        smear = read_smear(path_of(path))
        if not is_checked:
            return {"n_images": len(smear), "n_cells": len(smear)}
        smear = check_smear(smear)
    except SmearUnreadable as error:
        return {"problem": str(error)}
    assert smear.grades is not None
    digests = {bytes.fromhex(g.digest)[:16] for g in smear.grades if g.digest and g.reason is not Reason.UNREADABLE}
    shared: dict[int, int] = {}
    for digest in digests:
        owner = owners.setdefault(digest, number)
        if owner != number:
            shared[owner] = shared.get(owner, 0) + 1
    found: dict[str, object] = {
        "n_images": len(smear),
        "n_cells": len(smear.usable),
        "fingerprint": smear.fingerprint,
    }
    if shared:
        twin = max(shared, key=lambda owner: shared[owner])
        found |= {"twin": str(table["patient_id"].iloc[twin]), "twin_share": shared[twin] / len(digests)}
    return found


def _look_at_features(path: str, n_cells: object, *, is_checked: bool) -> dict[str, object]:
    """Read a bag to see that its numbers are numbers; without the check its header has to do."""
    if not is_checked:
        return {"n_cells": n_cells}
    try:
        features = Features.load(path_of(path))
    except FeaturesRefused as error:
        return {"problem": str(error)}
    return {"n_cells": int(np.shape(features.values)[0]), "fingerprint": features.origin.smear_fingerprint}
