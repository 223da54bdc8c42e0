"""Which patients a model was trained on: found by id, by the smear's fingerprint, and by images shared with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import pandas as pd

from napari_caltomorph.cohort import Cohort

Check = Literal["ids, smears and shared images", "ids and shared images", "not possible"]


@dataclass(frozen=True)
class EligibleMembers:
    """Which members may judge a patient.

    Attributes
    ----------
    is_known : bool
        Whether the model was trained on the patient, or on some of the images.
    member : int or None
        The one member that has not learnt from the patient; None for all of them, or for none.
    problem : str
        Why no member may; empty where one may.
    how : str
        How the patient was found.
    """

    is_known: bool = False
    member: int | None = None
    problem: str = ""
    how: str = ""


@dataclass(frozen=True)
class TrainedOn:
    """The training patients of a model beside a cohort; `table` is None where the model does not bring them."""

    table: pd.DataFrame | None
    cohort: Cohort
    _fold_of: dict[str, int | None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.table is not None:
            folds = [None if pd.isna(fold) else int(fold) for fold in self.table["fold"]]
            self._fold_of.update(zip(self.table["patient_id"], folds, strict=True))

    @property
    def check(self) -> Check:
        """What could be compared."""
        if self.table is None:
            return "not possible"
        return "ids, smears and shared images" if self.table["fingerprint"].notna().all() else "ids and shared images"

    def judges(self, patient_id: str, fingerprint: str | None) -> EligibleMembers:
        """Return who may judge a patient.

        Parameters
        ----------
        patient_id : str
        fingerprint : str or None
            Of the smear; the one that a feature file names will do.
        """
        ways = {
            "by id": [patient_id] if patient_id in self._fold_of else [],
            "by the same cells": self._by_fingerprint.get(fingerprint, []) if fingerprint else [],
            "by shared images": self._by_images.get(patient_id, []),
        }
        found = {name: how for how, names in ways.items() for name in names}
        if not found:
            return EligibleMembers()
        how = next(iter(found.values()))
        folds = {self._fold_of[name] for name in found}
        if None in folds:
            return EligibleMembers(True, problem="all members learnt from the patient", how=how)
        own = folds - {-1}  # -1: set aside, no member learnt from the patient
        if len(own) > 1:
            return EligibleMembers(True, problem="images of several folds: each member learnt from some", how=how)
        return EligibleMembers(True, member=next(iter(own), None), how=how)

    @cached_property
    def _by_fingerprint(self) -> dict[str, list[str]]:
        """Fingerprint -> training patients, as the model's own table and the cohort's tell it."""
        found: dict[str, list[str]] = {}
        if self.table is None:
            return found
        mine = self.cohort.table
        ours = mine.loc[mine["patient_id"].isin(list(self._fold_of)), ["patient_id", "fingerprint"]]
        both = pd.concat([self.table[["patient_id", "fingerprint"]], ours]).dropna().drop_duplicates()
        for patient, fingerprint in both.itertuples(index=False):
            found.setdefault(str(fingerprint), []).append(str(patient))
        return found

    @cached_property
    def _by_images(self) -> dict[str, list[str]]:
        """Patient of the cohort -> training patients who have an image that this one has too."""
        table = self.cohort.table[["patient_id", "shared_images", "fingerprint"]]
        owners: dict[str, list[str]] = {}
        images = {
            str(patient): [] if pd.isna(shared) else str(shared).split()
            for patient, shared in zip(table["patient_id"], table["shared_images"], strict=True)
        }
        prints = dict(zip(table["patient_id"], table["fingerprint"], strict=True))
        for patient, numbers in images.items():
            known = [patient] if patient in self._fold_of else self._by_fingerprint.get(str(prints[patient]), [])
            for number in numbers:
                owners.setdefault(number, []).extend(known)
        shared = {p: [name for number in numbers for name in owners[number]] for p, numbers in images.items()}
        return {patient: list(dict.fromkeys(names)) for patient, names in shared.items() if names}
