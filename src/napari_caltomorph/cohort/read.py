"""A directory or table -> a cohort: patients found, matched with classes, cleaned with reasons, split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from napari_caltomorph.cohort.cells import check_cells
from napari_caltomorph.cohort.cleaning import FIXES, RULES
from napari_caltomorph.cohort.cohort import LEFT_OUT_COLUMNS, Cohort, with_reasons, with_types
from napari_caltomorph.cohort.layout_features import check_features
from napari_caltomorph.cohort.layouts import find_layout
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.splits import split
from napari_caltomorph.errors import CohortUnreadable
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.storage import StrPath
from napari_caltomorph.taxonomy import LabelMap, load_label_map, taxonomy_of_labels


def read_cohort(path: StrPath, options: CohortOptions | None = None, *, progress: OnProgress = ignore) -> Cohort:
    """Read labelled patients, and decide which are in, with which class, and in which part of the split.

    Parameters
    ----------
    path : str or Path
        A directory, a table, or a saved ``cohort.json``, which is taken as it is.
    options : CohortOptions
    progress : callable
        In patients, while images are checked; see `OnProgress`.

    Returns
    -------
    Cohort
        Every patient that was found is in `table` or, with the rule that left it out, in `left_out`.

    Raises
    ------
    CohortUnreadable
        Nothing there, a column that is missing or not clear, or no patient left; the message says what to do.
    TaxonomyUnreadable
        The taxonomy file is damaged.
    """
    # Absolute, so that a saved cohort can be used from anywhere.
    path, options = Path(path).absolute(), options or CohortOptions()
    if path.suffix == ".json" and path.is_file():
        return _as_saved(Cohort.load(path), options)
    try:
        layout = find_layout(path, options.layout)
        found = layout.find(path, options)
        if "features" in found.table:
            found = check_features(found, progress=progress)
    except OSError as error:
        raise CohortUnreadable(
            f"{error.filename or path} cannot be read ({error.strerror}); check the path."
        ) from error
    label_map = load_label_map(options.taxonomy)
    if label_map is None:
        label_map = taxonomy_of_labels(found.table["raw_label"].dropna() if "raw_label" in found.table else [])
    left_out = with_reasons(pd.DataFrame(found.left_out, columns=list(LEFT_OUT_COLUMNS)))
    cohort = Cohort(
        name=path.name if path.is_dir() else path.stem,
        source=path,
        layout=layout.name,
        taxonomy=label_map.taxonomy,
        table=with_types(found.table),
        left_out=left_out,
        notes=tuple(found.notes),
        options=options,
    )
    cohort = _match_labels(cohort, label_map)
    cohort = check_cells(cohort, progress=progress)
    for rule in RULES:
        cohort = rule(cohort)
    if not len(cohort):
        rule = cohort.left_out["rule"].mode().iloc[0]
        fix = f"; {FIXES[rule]}" if rule in FIXES else ""
        raise CohortUnreadable(f"{path}: no patient is left of {len(cohort.left_out)}: {cohort.why_left_out}{fix}.")
    return split(cohort)


def _match_labels(cohort: Cohort, label_map: LabelMap) -> Cohort:
    """Fill in the classes of all patients; labels that match no class are listed in a note, with counts."""
    table = cohort.table.copy()
    matches = {label: label_map.match(label) for label in table["raw_label"].dropna().unique()}
    found = [None if pd.isna(label) else matches[label] for label in table["raw_label"]]
    table["detailed"] = pd.array([m.detailed if m else None for m in found], dtype="string")
    table["coarse"] = pd.array([m.coarse if m else None for m in found], dtype="string")
    sets = ["|".join(m.classes) if m and m.kind == "double" and m.classes else None for m in found]
    table["coarse_set"] = pd.array(sets, dtype="string")
    table["label_kind"] = pd.array([m.kind if m else "unlabelled" for m in found], dtype="string")
    unknown = table.loc[table["label_kind"] == "unknown", "raw_label"].value_counts()
    turned = [f"{label!r} as {m.detailed or m.coarse or m.kind}" for label, m in matches.items() if m.is_reordered]
    notes = [f"Labels read in another order of their words: {', '.join(turned[:12])}."] if turned else []
    if len(unknown):
        listed = ", ".join(f"{label!r} ({count})" for label, count in unknown.head(12).items())
        more = f" and {len(unknown) - 12} more" if len(unknown) > 12 else ""
        count = "1 label matches" if len(unknown) == 1 else f"{len(unknown)} labels match"
        notes.append(f"{count} no class of {label_map.taxonomy.name}: {listed}{more}.")
    return replace(cohort, table=table).noting(*notes)


def _as_saved(cohort: Cohort, options: CohortOptions) -> Cohort:
    """Return a saved cohort, with a note of the options that it ignores."""
    usual, saved = CohortOptions(), cohort.options
    ignored = [
        f"--{field.replace('_', '-')}"
        for field, value in options
        if field != "names_only" and value not in (getattr(usual, field), getattr(saved, field))
    ]
    if not ignored:
        return cohort
    return cohort.noting(f"A saved cohort is taken as it is: {', '.join(ignored)} ignored; inspect the data again.")
