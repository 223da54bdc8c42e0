"""The patients of a job that works on features, and the encoding of those that have none yet."""

from __future__ import annotations

from collections.abc import Callable

from napari_caltomorph.cohort import Cohort, CohortOptions, EncodeCohortOptions, read_cohort
from napari_caltomorph.errors import CaltomorphError, counted
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.storage import StrPath


def read_patients(place: StrPath, options: CohortOptions, *, progress: OnProgress = ignore) -> Cohort:
    """Read a cohort for a job that works on features: from names alone, without decoding images.

    Encoding checks the cells. So encoding, training and evaluation see the same patients and the same splits.
    """
    return read_cohort(place, options.model_copy(update={"names_only": True}), progress=progress)


def encode_missing(
    cohort: Cohort,
    features: StrPath | None,
    options: EncodeCohortOptions | None,
    *,
    can_continue: Callable[[], bool],
    refused: type[CaltomorphError],
    progress: OnProgress,
) -> None:
    """Encode the patients of a cohort that have no features yet.

    Parameters
    ----------
    cohort : Cohort
    features : str or Path or None
        Feature folder.
    options : EncodeCohortOptions or None
        Without options nothing is encoded, and the job reports the missing features itself.
    can_continue : callable
        Called when patients failed; returns whether the job can do without them.
    refused : type of CaltomorphError
        What is raised where patients cannot be encoded.
    progress : callable
        See `OnProgress`.

    Raises
    ------
    CaltomorphError
        Of the type `refused`: there is no folder for the features, or patients failed; the message names the first.
    """
    if options is None or not cohort.table["path"].notna().any():
        return
    if features is None:
        raise refused("The patients have no features yet: choose a folder for them (--features), and they are encoded.")
    from napari_caltomorph.cohort import encode_cohort

    failed = encode_cohort(cohort, features, options, progress=progress).failed
    if failed and not can_continue():
        first = f"{failed[0].patient_id}: {failed[0].reason}".rstrip(".")
        raise refused(
            f"{counted(len(failed), 'patient')} could not be encoded (first: {first}). Fix the images, or choose "
            "--skip-missing."
        )
