"""The cells of all patients: how many are usable, which images several patients have, shares of labelled cell types."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.cohort.cohort import COLUMNS, Cohort
from napari_caltomorph.encoding import load_bag
from napari_caltomorph.errors import FeaturesRefused, SmearUnreadable, counted
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import check_smear, open_place
from napari_caltomorph.storage import StrPath, paths_of

# Different guesses of how to read images that are named; each can be of many patients.
_GUESSES = 5

_COLUMNS = ("n_images", "n_cells", "fingerprint", "problem")
_Measured = tuple[dict[str, Any], Collection[Hashable]]  # columns of a patient, number of slides, keys of its images


def check_cells(cohort: Cohort, *, progress: OnProgress = ignore) -> Cohort:
    """Count images and usable cells, and find the images, or cells' features, that several patients have.

    With `names_only` names are counted, and only paths are compared.
    """
    table = cohort.table.copy()
    is_checked = not cohort.options.names_only
    images, slides, guesses = _Images(), dict[str, int](), defaultdict[str, list[str]](list)
    columns: dict[str, list[object]] = {name: [] for name in _COLUMNS}
    places = zip(table["path"], table["features"], table["n_cells"], strict=True)
    for number, (path, features, n_cells) in enumerate(places):
        report = partial(progress, Progress("Checking cells", number, len(table), "patients"))
        report()
        measured: _Measured = {"problem": "neither images nor features"}, ()
        if pd.notna(path):
            measured = _check_images(path, is_checked=is_checked)
        elif pd.notna(features):
            measured = _check_features(features, n_cells, is_checked=is_checked, waiting=report)
        found, keys = measured
        images.add(number, keys)
        if found.get("slides", 0) > 1:
            slides[str(table["patient_id"].iloc[number])] = found["slides"]
        for note in found.get("notes", ()):
            guesses[note].append(str(table["patient_id"].iloc[number]))
        for name, values in columns.items():
            values.append(found.get(name))
    progress(Progress("Checking cells", len(table), len(table), "patients"))
    duplicates = [images.most_shared(number) for number in range(len(table))]
    columns["shared_images"] = [images.shared(number) for number in range(len(table))]
    columns["twin"] = [table["patient_id"].iloc[twin] if twin is not None else None for twin, _ in duplicates]
    columns["twin_share"] = [share for _, share in duplicates]
    for name, values in columns.items():
        table[name] = pd.Series(values, index=table.index, dtype=COLUMNS[name])
    return replace(cohort, table=table).noting(*_note_of_slides(slides), *_notes_of_guesses(guesses))


def _note_of_slides(slides: Mapping[str, int]) -> list[str]:
    if not slides:
        return []
    first, several = next(iter(slides.items()))
    return [
        f"Patients with several slides: {len(slides)} (first: {first}, {several}). The cells of a patient's slides are "
        "one bag; --bag slide makes each slide one."
    ]


def _notes_of_guesses(guesses: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield what was guessed to read the images, and of which patients; the most frequent guesses first."""
    ordered = sorted(guesses.items(), key=lambda guess: -len(guess[1]))
    for note, patients in ordered[:_GUESSES]:
        yield f"{note} (patients: {len(patients)}, first: {patients[0]})."
    if more := ordered[_GUESSES:]:
        of = sum(len(patients) for _, patients in more)
        yield f"Further guesses about images: {len(more)}, of {counted(of, 'patient')}."


class _Images:
    """Which images several patients have. An image is known by a key, a patient by the number of the row."""

    def __init__(self) -> None:
        self._first: dict[Hashable, int] = {}
        self._owners: dict[Hashable, list[int]] = {}  # of images that more than one patient has
        self._sizes: list[int] = []
        self._sets: dict[tuple[int, ...], int] = {}
        self._of_patient: dict[int, Counter[tuple[int, ...]]] = {}

    def add(self, number: int, keys: Collection[Hashable]) -> None:
        """Add the next patient's images."""
        self._sizes.append(len(keys))
        for key in keys:
            first = self._first.setdefault(key, number)
            if first != number:
                self._owners.setdefault(key, [first]).append(number)

    def shared(self, number: int) -> str | None:
        """Return numbers for the images that others have too; images of exactly the same patients have one number."""
        self._count()
        return " ".join(str(self._sets[owners]) for owners in self._of_patient.get(number, ())) or None

    def most_shared(self, number: int) -> tuple[int | None, float | None]:
        """Return the patient above with most of this one's images, and the part of them."""
        self._count()
        shared: Counter[int] = Counter()
        for owners, count in self._of_patient.get(number, {}).items():
            shared.update({owner: count for owner in owners if owner < number})
        if not shared:
            return None, None
        other = max(shared, key=lambda owner: (shared[owner], -owner))
        return other, shared[other] / self._sizes[number]

    def _count(self) -> None:
        """Sort the shared images by who has them; once, when all patients were added."""
        for owners, count in Counter(map(tuple, self._owners.values())).items():
            self._sets[owners] = len(self._sets)
            for owner in owners:
                self._of_patient.setdefault(owner, Counter())[owners] = count
        self._owners.clear()


def _check_images(path: str, *, is_checked: bool) -> _Measured:
    try:
        smear = open_place(path)
        found: dict[str, Any] = {"n_images": len(smear), "n_cells": len(smear), "slides": len(smear.slides)}
        found["notes"] = smear.notes
        if not is_checked:
            return found, list(map(os.path.realpath, paths_of(path)))
        smear = check_smear(smear)
        found["notes"] = smear.notes
    except SmearUnreadable as error:
        return {"problem": str(error)}, ()
    assert smear.grades is not None
    found |= {"n_cells": len(smear.usable), "fingerprint": smear.fingerprint}
    # Half a SHA-256 each, so that millions fit in memory. What is not usable is in no patient's features.
    return found, {bytes.fromhex(smear.grades[i].digest)[:16] for i in smear.usable}


def _check_features(path: str, n_cells: object, *, is_checked: bool, waiting: Callable[[], object]) -> _Measured:
    """Read a bag to check its numbers; without the check its header is enough."""
    found: dict[str, Any] = {"n_cells": n_cells, "slides": len(paths_of(path))}
    if not is_checked:
        return found, list(map(os.path.realpath, paths_of(path)))
    try:
        features = load_bag(paths_of(path), waiting=waiting)
    except FeaturesRefused as error:
        return {"problem": str(error)}, ()
    found |= {"n_cells": len(features), "fingerprint": features.origin.smear_fingerprint}
    sums: list[int] = _row_sums(features.values).tolist()
    return found, set(sums)


def _row_sums(values: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return a number for each cell's features that only the same features have.

    A random linear sum modulo 2^64: of 3 million cells two differ and agree with a chance of about one in a million.
    """
    weights = np.random.default_rng(0).integers(2**64, size=values.shape[1], dtype=np.uint64) | np.uint64(1)
    return np.ascontiguousarray(values).view(np.uint32).astype(np.uint64) @ weights


def cell_shares(place: StrPath, cells: Collection[str] = ()) -> dict[str, float]:
    """Return the share that each cell type has of a smear's labelled cells; only names are read.

    Parameters
    ----------
    place : str or Path
        Where the smear is; see `Smear.place`.
    cells : collection of str
        The cells to count, such as the usable ones; all where none of them is in the smear.

    Returns
    -------
    dict of str to float
        Cell type -> share; empty where no cell is labelled.

    Raises
    ------
    SmearUnreadable
    """
    smear = open_place(str(place))
    wanted = set(cells) & set(smear.cells) or set(smear.cells)
    labels = Counter(
        label for cell, label in zip(smear.cells, smear.labels, strict=True) if label is not None and cell in wanted
    )
    total = labels.total()
    return {label: count / total for label, count in labels.items()}
