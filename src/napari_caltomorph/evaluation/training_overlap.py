"""Which evaluated patients a model was trained on, and which of its members may predict them.

Training patients are found by id, in any spelling that is certain, by the group of a person's smears or the patient of
slides, by the smear's fingerprint, and by images shared with them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_caltomorph.cohort import Cohort, CohortOptions
from napari_caltomorph.cohort.ids import match_ids
from napari_caltomorph.diagnosis.options import AggregatorOptions, GenBloomOptions
from napari_caltomorph.errors import EvaluationRefused, TrainingPatientsFound
from napari_caltomorph.evaluation.patients import Check, GroupCheck

_AML_HEHR = re.compile("aml[-_ ]?hehr", re.IGNORECASE)


@dataclass(frozen=True)
class EligibleMembers:
    """Which members may predict a patient."""

    is_known: bool = False  # Whether the model was trained on the patient, or on some of the images
    member: int | None = None  # The one member that was not trained on the patient; None for all of them, or for none
    problem: str = ""  # Why no member may; empty where one may
    how: str = ""  # How the patient was found


@dataclass(frozen=True)
class TrainingOverlap:
    """The training patients of a model in a cohort; `table` is None where the model does not include them."""

    table: pd.DataFrame | None
    cohort: Cohort
    _fold_of: dict[str, int | None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.table is not None:
            folds = [None if pd.isna(fold) else int(fold) for fold in self.table["fold"]]
            self._fold_of.update(zip(self.table["patient_id"], folds, strict=True))

    @property
    def check(self) -> Check:
        """How training patients can be searched for."""
        if self.table is None:
            return "not possible"
        return "ids, smears and shared images" if self.table["fingerprint"].notna().all() else "ids and shared images"

    @property
    def groups(self) -> GroupCheck | None:
        """Whether groups of smears, or patients of slides, could be compared; None without a list."""
        if self.table is None:
            return None
        tables = (self.cohort.table, self.table)
        here, there = (_names(table)[["slide_of", "group"]].notna().any(axis=None) for table in tables)
        if here:
            return "compared" if there else "not in training"
        return "not in the cohort" if there else "in neither"

    def eligible(self, patient_id: str, fingerprint: str | None) -> EligibleMembers:
        """Return which members may predict a patient, by id and group, and by the fingerprint of the smear."""
        ways = {
            **self._by_person.get(patient_id, {}),
            "by the same cells": self._by_fingerprint.get(fingerprint, []) if fingerprint else [],
            "by shared images": self._by_images.get(patient_id, []),
        }
        how = next((how for how, names in ways.items() if names), None)
        if how is None:
            return EligibleMembers()
        folds = {self._fold_of[name] for names in ways.values() for name in names}
        if None in folds:
            return EligibleMembers(True, problem="all members were trained on the patient", how=how)
        own = folds - {-1}  # -1: set aside, no member was trained on the patient
        if len(own) > 1:
            problem = "images or a group of several folds: each member was trained on some"
            return EligibleMembers(True, problem=problem, how=how)
        return EligibleMembers(True, member=next(iter(own), None), how=how)

    @cached_property
    def _mine(self) -> pd.DataFrame:
        """The names of the cohort's patients, spelled as in training where that is certain."""
        mine = _names(self.cohort.table)
        theirs = [] if self.table is None else _texts(_names(self.table))
        spelled = match_ids(_texts(mine), theirs).found
        return mine.map(lambda name: spelled.get(name, name), na_action="ignore").set_index(mine["patient_id"])

    @cached_property
    def _same_id(self) -> dict[str, str]:
        """Patient of the cohort -> training patient of the same id."""
        ids = self._mine["patient_id"]
        return {str(patient): str(name) for patient, name in ids[ids.isin(list(self._fold_of))].items()}

    @cached_property
    def _by_person(self) -> dict[str, dict[str, list[str]]]:
        """Patient of the cohort -> how, and training patients of the same id, person or group: one of each fold."""
        if self.table is None:
            return {}
        mine, theirs = self._mine, _names(self.table)
        persons = _persons(pd.concat([mine, theirs]))
        theirs = theirs.assign(person=persons[len(mine) :], fold=self.table["fold"].to_numpy())
        members = theirs.drop_duplicates(["person", "fold"]).groupby("person")["patient_id"].agg(list).to_dict()
        slides = set(_patients(theirs))
        found: dict[str, dict[str, list[str]]] = {}
        rows = zip(mine.index, persons, mine["patient_id"], _patients(mine), mine["group"], strict=False)
        for patient, person, name, slide_of, group in rows:
            how = f"by group {name if pd.isna(group) else group}"
            if patient in self._same_id:
                how = "by id" if name == patient else f"by id, {name} in training"
            elif slide_of in slides:
                how = "by slides of one patient"
            found[str(patient)] = {how: members.get(person, [])}
        return found

    @cached_property
    def _by_fingerprint(self) -> dict[str, list[str]]:
        """Fingerprint -> training patients, by the model's own table and the cohort's."""
        found: dict[str, list[str]] = {}
        if self.table is None:
            return found
        mine = self.cohort.table
        ours = mine.assign(patient_id=mine["patient_id"].map(self._same_id))[["patient_id", "fingerprint"]]
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
            same = self._same_id.get(patient)
            known = [same] if same is not None else self._by_fingerprint.get(str(prints[patient]), [])
            for number in numbers:
                owners.setdefault(number, []).extend(known)
        shared = {p: [name for number in numbers for name in owners[number]] for p, numbers in images.items()}
        return {patient: list(dict.fromkeys(names)) for patient, names in shared.items() if names}


def seen_by_published_encoder(aggregator: AggregatorOptions, cohort: Cohort) -> str:
    """Return that a model's published patient encoder was trained on patients of the cohort; empty where it was not.

    Its authors' patients are not listed one by one, so the cohort is recognised: by layout, classes or name.
    """
    names = (cohort.layout, cohort.taxonomy.name, cohort.name)
    if not isinstance(aggregator, GenBloomOptions) or not any(map(_AML_HEHR.search, names)):
        return ""
    return (
        f"The authors of {aggregator.kind} trained it on patients of AML-Hehr, so numbers on this cohort are "
        "optimistic; evaluate on other patients."
    )


def _names(table: pd.DataFrame) -> pd.DataFrame:
    """Return the names of each row's person: the id, the patient of a slide, the group; older tables lack some."""
    return table.reindex(columns=["patient_id", "slide_of", "group"]).astype("string").astype(object)


def _texts(names: pd.DataFrame) -> list[str]:
    return [str(name) for name in names.stack().dropna()]


def _patients(names: pd.DataFrame) -> pd.Series[str]:
    """Return the patient of each row, which may be one slide."""
    return names["slide_of"].fillna(names["patient_id"])


def _persons(names: pd.DataFrame) -> NDArray[np.intp]:
    """Number the persons of P rows (P,): rows with a common id, patient or group are of one, also through others.

    An id may be another table's group, as where one has smears and the other has persons. It is not where the patient
    who is called like a group belongs to another: then ids and groups number different things.
    """
    namesakes = names[names["patient_id"].isin(names["group"].dropna()) & names["group"].notna()]
    is_one_kind = bool((namesakes["patient_id"] == namesakes["group"]).all())
    named = names.reset_index(drop=True).stack().dropna()
    rows, columns = (named.index.get_level_values(level).to_numpy() for level in (0, 1))
    is_group = (columns == "group") & (not is_one_kind)
    codes, known = pd.factorize(pd.Series(list(zip(is_group, named, strict=True))))
    size = len(names) + len(known)
    graph = coo_array((np.ones(len(rows)), (rows, len(names) + codes)), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1][: len(names)], dtype=np.intp)


def refuse_training_patients(
    table: pd.DataFrame, overlap: TrainingOverlap, source: object, *, out_of_fold: bool
) -> None:
    """Refuse, before any feature is loaded, what ids, fingerprints and shared images of the cohort already show.

    Raises `TrainingPatientsFound` where the model was trained on some of the patients, unless they are evaluated out of
    fold. Then `EvaluationRefused` where it was trained on none of them, or has no list of its training patients.
    """
    found = [
        (str(patient), eligible.how)
        for patient, fingerprint in zip(table["patient_id"], table["fingerprint"], strict=True)
        if (eligible := overlap.eligible(str(patient), None if pd.isna(fingerprint) else fingerprint)).is_known
    ]
    if found and not out_of_fold:
        raise training_patients_found(found, len(table), kept=overlap.cohort.options)
    if out_of_fold and overlap.table is None:
        raise EvaluationRefused(
            "The model does not include the list of its training patients (private/), so no patient can be evaluated "
            "out of fold; use the model as it was trained, not an exported copy."
        )
    may_be_found_later = table["fingerprint"].isna().any()  # feature files may name smears that the cohort does not
    if out_of_fold and not found and not may_be_found_later:
        raise EvaluationRefused(
            f"The model was trained on none of the {len(table)} patients to evaluate in {source}; leave out "
            "--out-of-fold, or choose --split train."
        )


def training_patients_found(
    found: list[tuple[str, str]], patients: int, model: str = "The model", kept: CohortOptions | None = None
) -> TrainingPatientsFound:
    """Return the error for training patients among P patients, each with how it was found.

    Where the cohort's options include patients that others leave out (`kept`), the splits are not those of training.
    """
    first, how = found[0]
    keeping = [name for name, value in kept or () if name.startswith("keep_") and value]
    flags = ", ".join(f"--{name.replace('_', '-')}" for name in keeping)
    hint = f" Patients that training left out are evaluated by --split extended, without {flags}." if keeping else ""
    return TrainingPatientsFound(
        f"{model} was trained on {len(found)} of the {patients} patients to evaluate (first: {first}, found {how}); "
        "evaluate the test split, or use --out-of-fold, which predicts each patient by the member that was not trained "
        f"on it. Other people under the same ids or groups must be renamed.{hint}"
    )
