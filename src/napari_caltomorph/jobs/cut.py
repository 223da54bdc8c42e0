"""Patients as microscope fields -> patients as single-cell images, to be predicted: ``caltomorph predict --cut``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from napari_caltomorph.cohort import FoundPatient
from napari_caltomorph.diagnosis.prediction_files import prediction_file, refuse_repeated_ids
from napari_caltomorph.errors import FieldUnreadable, NoCellsFound, OutputRefused, ScaleUnknown
from napari_caltomorph.fields import CutCells, CutOptions, cut_cells
from napari_caltomorph.jobs.predict import PatientSteps
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.smear.entries import CUT_CELLS
from napari_caltomorph.storage import StrPath, paths_of, raise_if_of_all


@dataclass(frozen=True)
class CutPatient:
    """The fields of one patient after they were searched."""

    found: FoundPatient  # Its cells, or with the problem why there are none
    cut: CutCells | None = None


def cut_patients(
    patients: Mapping[str, FoundPatient],
    out: StrPath,
    options: CutOptions = CutOptions(),  # noqa: B008 (frozen)
    *,
    progress: OnProgress = ignore,
) -> dict[str, CutPatient]:
    """Cut the white cells out of the fields of each patient, for `predict_patients` with the same `out`.

    Parameters
    ----------
    patients : mapping of str to FoundPatient
        By patient id; the images at its path are microscope fields.
    out : str or Path
        The cells of a patient are in the folder ``cut_cells`` next to where its ``prediction.json`` will be. What an
        earlier run with the same options wrote there is not computed again.
    options : CutOptions
    progress : callable
        See `OnProgress`; gets a `PatientProgress` often.

    Returns
    -------
    dict of str to CutPatient
        In the order of `patients`, with those that failed and why.

    Raises
    ------
    OutputRefused
        Two patients would share a folder, or nothing can be written to `out`.
    """
    refuse_repeated_ids(patients)
    done = {}
    steps = PatientSteps(len(patients), progress, "Cutting")
    for patient, found in patients.items():
        within = steps.begin(patient)
        folder = prediction_file(Path(out), patient, patients=len(patients)).with_name(CUT_CELLS)
        done[patient] = cut_patient(found, Path(out), folder, options, within)
        steps.end(is_cached=bool(found.problem))
    return done


def cut_patient(found: FoundPatient, out: Path, folder: Path, options: CutOptions, progress: OnProgress) -> CutPatient:
    """Cut the cells out of the fields of one patient into a folder in `out`; raises what `cut_patients` does."""
    if found.problem:
        return CutPatient(found)
    places = [found.path] if found.place is None else paths_of(found.place)
    try:
        cut = cut_cells(places, folder, options, progress=progress)
    except (FieldUnreadable, ScaleUnknown, NoCellsFound, OutputRefused) as error:
        if isinstance(error, OutputRefused):
            raise_if_of_all(error, out)
        return CutPatient(replace(found, features=(), problem=str(error)))
    except OSError as error:
        why = f"{found.path} cannot be read ({error.strerror or error}); check its drive."
        return CutPatient(replace(found, features=(), problem=why))
    return CutPatient(replace(found, path=folder, place=None), cut)
