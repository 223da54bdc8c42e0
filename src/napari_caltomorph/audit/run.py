"""Can the label be predicted without the cells? Shortcuts are searched for in stain, background, number, size and site.

Each set of traits gets the same simple classifier, tested out of fold and against shuffled labels. A set that predicts
the label is no proof that a model uses it; but a model that does would look as good as one that reads cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from napari_caltomorph.audit.classifier import added_by_images, trait_row
from napari_caltomorph.audit.columns import compare_columns, routine_columns, routine_table
from napari_caltomorph.audit.image_traits import ImageTraits, OpenSmear, image_traits
from napari_caltomorph.audit.patients import MIN_CLASS, AuditOptions, Predicted, audited_patients
from napari_caltomorph.audit.result import Audit
from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.statistics.permutation import holm

_SEES = {
    "borders": "the borders of the images, without what is stained like a cell,",
    "colours": "colour statistics of whole images",
    "sizes": "number of usable cells and size of their images",
}


def audit(
    cohort: Cohort,
    options: AuditOptions | None = None,
    *,
    predictions: pd.DataFrame | None = None,
    open_smear: OpenSmear | None = None,
    progress: OnProgress = ignore,
) -> Audit:
    """Measure how well labels are predicted by what is not the cell.

    Parameters
    ----------
    cohort : Cohort
        Its training patients are audited in their own folds; all patients, split again, where there are no folds.
    predictions : pandas.DataFrame, optional
        patient_id and ``p_<slug>`` of a model that has not seen these patients: out-of-fold ones, or those of another
        cohort's model. They show by which columns accuracy differs, and what the images add to routine data.
    open_smear : callable, optional
        Returns a patient's smear by id, in place of the table's paths.

    Returns
    -------
    Audit
        Also of a cohort in which there is nothing to audit, such as one with a single class; its findings report so.

    Notes
    -----
    Labels are shuffled within the folds. The folds were split by label, so only that keeps their composition;
    shuffled over all patients, a stratified cross-validation would be compared with ones that are not (and pooled
    out-of-fold AUROC is below 0.5 without any effect). The interval is over patients and p is over labels; with few
    patients one may exclude 0.5 where the other is not small.
    """
    options = options or AuditOptions()
    patients = audited_patients(cohort, options)
    if len(patients.names) < 2 or not len(patients):
        note = f"fewer than two classes have {MIN_CLASS} patients or more that can be split into folds."
        return Audit(cohort.name, patients.counts, patients.how, notes=(*patients.notes, note))
    traits = image_traits(
        patients.table, cells=options.cells, seed=options.seed, open_smear=open_smear, progress=progress
    )
    return audit_of_traits(cohort, traits, options, predictions=predictions, progress=progress)


def audit_of_traits(
    cohort: Cohort,
    traits: ImageTraits,
    options: AuditOptions | None = None,
    *,
    predictions: pd.DataFrame | None = None,
    progress: OnProgress = ignore,
) -> Audit:
    """Audit a cohort whose images were measured already; see `audit`."""
    options = options or AuditOptions()
    patients = audited_patients(cohort, options)
    predicted = None if predictions is None else Predicted.of(cohort, predictions)
    notes = [*patients.notes, *_unread(traits)]
    routine = routine_columns(patients.table, options.routine)
    sets: dict[str, tuple[str, pd.DataFrame]] = {name: (sees, getattr(traits, name)) for name, sees in _SEES.items()}
    if routine:
        sets["routine"] = f"routine data ({', '.join(routine)})", routine_table(patients.table, routine)
        notes.append(f"Routine data are {', '.join(routine)}.")
    else:
        notes.append("The table has no age, sex or blood counts.")
    rows = []
    for name, (sees, values) in sets.items():
        row = trait_row(name, sees, values, patients, options, progress)
        if isinstance(row, str):
            notes.append(row)
        else:
            rows.append(row)
    columns, about_columns = compare_columns(cohort, predicted, options)
    added = None
    if predicted is not None:
        added, why = added_by_images(cohort, predicted, options)
        notes += [why] if why else []
    return Audit(
        cohort=cohort.name,
        classes=patients.counts,
        folds=patients.how,
        rows=tuple(replace(row, p_corrected=p) for row, p in zip(rows, holm([row.p for row in rows]), strict=True)),
        columns=tuple(columns),
        added=added,
        notes=(*notes, *about_columns),
    )


def _unread(traits: ImageTraits) -> Iterator[str]:
    if traits.unreadable:
        patient, why = next(iter(traits.unreadable.items()))
        yield f"Of {len(traits.unreadable)} patients no image could be measured (first: {patient}, {why})."
    if traits.passed_over:
        count, patient = sum(traits.passed_over.values()), next(iter(traits.passed_over))
        yield (
            f"{count} single images of {len(traits.passed_over)} patients could not be read and were left out "
            f"(first: {patient})."
        )
