"""A directory or table -> a cohort: found, matched with classes, cleaned with reasons, split."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from napari_caltomorph.cohort.cells import look_at_cells
from napari_caltomorph.cohort.cleaning import RULES
from napari_caltomorph.cohort.cohort import LEFT_OUT_COLUMNS, Cohort, with_types
from napari_caltomorph.cohort.layouts import find_layout
from napari_caltomorph.cohort.matching import match_labels
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.splits import split
from napari_caltomorph.errors import CohortUnreadable
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.taxonomy import load_book, taxonomy_of_labels


def read_cohort(path: str | Path, options: CohortOptions | None = None, *, progress: OnProgress = ignore) -> Cohort:
    """Read labelled patients, and decide who is in, with which class, and on which side of the split.

    Parameters
    ----------
    path : str or Path
        A directory, a table, or a saved ``cohort.json``, which is taken as it is.
    options : CohortOptions
    progress : callable
        Called with a `Progress` in patients while images are looked at; raising `Cancelled` in it stops cleanly.

    Returns
    -------
    Cohort
        Every patient that was found is in `table` or, with the rule that left it out, in `left_out`.

    Raises
    ------
    CohortUnreadable
        Nothing there, a column that is missing or not clear, or nobody left; the message says what to do.
    TaxonomyUnreadable
        The taxonomy file is damaged.
    """
    # Absolute, so that a saved cohort can be used from anywhere.
    path, options = Path(path).absolute(), options or CohortOptions()
    if path.suffix == ".json" and path.is_file():
        return _as_saved(Cohort.load(path), options)
    try:
        layout = find_layout(path, options.layout)
        found = layout.read(path, options)
    except OSError as error:
        raise CohortUnreadable(
            f"{error.filename or path} cannot be read ({error.strerror}); check the path."
        ) from error
    book = load_book(options.taxonomy)
    if book is None:
        book = taxonomy_of_labels(found.table["raw_label"].dropna() if "raw_label" in found.table else [])
    left_out = pd.DataFrame(found.left_out, columns=list(LEFT_OUT_COLUMNS))
    cohort = Cohort(
        name=path.name if path.is_dir() else path.stem,
        source=path,
        layout=layout.name,
        taxonomy=book.taxonomy,
        table=with_types(found.table),
        left_out=left_out,
        notes=tuple(found.notes),
        options=options,
    )
    cohort = match_labels(cohort, book)
    cohort = look_at_cells(cohort, progress=progress)
    for rule in RULES:
        cohort = rule(cohort)
    if not len(cohort):
        counts = ", ".join(f"{count} {rule}" for rule, count in cohort.left_out_counts().items())
        raise CohortUnreadable(f"{path}: nobody is left ({counts}); see --help for the rules and their switches.")
    return split(cohort)


def _as_saved(cohort: Cohort, options: CohortOptions) -> Cohort:
    """Return a saved cohort, and say which options it does not follow."""
    usual, saved = CohortOptions(), cohort.options
    passed_over = [
        f"--{field.replace('_', '-')}"
        for field, value in options
        if field != "names_only" and value not in (getattr(usual, field), getattr(saved, field))
    ]
    if not passed_over:
        return cohort
    return cohort.noting(
        f"A saved cohort is taken as it is: {', '.join(passed_over)} passed over; inspect the data again."
    )
