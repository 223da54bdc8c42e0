"""Diagnosis labels -> classes, by a label book; what nothing matches is listed with counts."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.taxonomy import LabelBook


def match_labels(cohort: Cohort, book: LabelBook) -> Cohort:
    """Fill in the classes of all patients; who stays is decided by the rules."""
    table = cohort.table.copy()
    matches = {label: book.match(label) for label in table["raw_label"].dropna().unique()}
    found = [None if pd.isna(label) else matches[label] for label in table["raw_label"]]
    table["detailed"] = pd.array([m.detailed if m else None for m in found], dtype="string")
    table["coarse"] = pd.array([m.coarse if m else None for m in found], dtype="string")
    sets = ["|".join(m.classes) if m and m.kind == "double" and m.classes else None for m in found]
    table["coarse_set"] = pd.array(sets, dtype="string")
    table["label_kind"] = pd.array([m.kind if m else "unlabelled" for m in found], dtype="string")
    unknown = table.loc[table["label_kind"] == "unknown", "raw_label"].value_counts()
    notes = []
    if len(unknown):
        listed = ", ".join(f"{label!r} ({count})" for label, count in unknown.head(12).items())
        more = f" and {len(unknown) - 12} more" if len(unknown) > 12 else ""
        notes.append(f"{len(unknown)} labels match no class of {book.taxonomy.name}: {listed}{more}.")
    return replace(cohort, table=table).noting(*notes)
