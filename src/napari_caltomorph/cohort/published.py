"""Cohorts that others publish, and how each becomes a cohort of ours: a folder with a ``cohort.json``.

A row of `PUBLISHED` says what is known without a network. What the Hub's repository of embeddings holds now is asked
for with `ask_the_hub`; whoever publishes there needs no new version of this package.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath

import pandas as pd

from napari_caltomorph.cohort.cohort import Cohort
from napari_caltomorph.cohort.layouts import LAYOUTS
from napari_caltomorph.cohort.options import CohortOptions
from napari_caltomorph.cohort.read import read_cohort
from napari_caltomorph.csv_files import write_csv
from napari_caltomorph.diagnosis.prediction_files import folder_name
from napari_caltomorph.encoding.encoders import ENCODERS
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.encoding.h5_reader import is_feature_file, read_bag
from napari_caltomorph.errors import CohortUnreadable, DownloadRefused, FeaturesRefused, counted
from napari_caltomorph.hub import Listing, Repository, downloaded, list_files
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.storage import StrPath, replacing_folder
from napari_caltomorph.transfers import RemoteFile

REPOSITORY = Repository("MarrLab/DinoBloom_hemato_embeddings", "dataset")
ROOT = "patient_embeddings"
ENCODER = "dinobloom-b"

COHORT = "cohort.json"
ORIGIN = "origin.json"
"""Where a folder came from: repository, commit, licence, and the checksum of each file."""


@dataclass(frozen=True)
class PublishedCohort:
    """Embeddings on the Hub, in `folder`, or images that only a browser gets, from `page`."""

    name: str  # Of images, also their layout
    about: str
    patients: int
    size: str
    licence: str
    taxonomy: str = "caltomorph"
    folder: str = ""  # Of embeddings: below `ROOT`
    labels: Mapping[int, str] = field(default_factory=dict)  # Of embeddings: what the numbers in their files mean
    page: str = ""  # Of images
    holds: str = ""  # Of images: what is in the folder, once it is unpacked

    @property
    def needs(self) -> str:
        """What a person must have or do, in a few words."""
        of_embeddings = f"{'' if self.labels else '--label; '}{ENCODER} to predict smears"
        return "a browser, and an encoder" if self.page else of_embeddings

    @property
    def how(self) -> str:
        """How to get it, in one sentence."""
        get = f"caltomorph cohort get {self.name}"
        return f"download and unpack {self.page}, then: {get} --folder FOLDER" if self.page else get


PUBLISHED: tuple[PublishedCohort, ...] = (
    PublishedCohort(
        "aml-hehr-embeddings",
        "AML with four genetic changes, and stem cell donors (Hehr et al. 2023): DinoBloom-B embeddings",
        *(189, "about 250 MB", "apache-2.0", "aml-hehr"),
        folder="aml_hehr",
        labels=dict(enumerate(("CBFB::MYH11", "NPM1", "PML::RARA", "RUNX1::RUNX1T1", "SCD"))),
    ),
    PublishedCohort(
        "apl-aml-embeddings",
        "APL against other AML (Sidhom et al. 2021): DinoBloom-B embeddings",
        *(106, "about 80 MB", "apache-2.0", "apl-aml"),
        folder="apl_aml",
        labels=dict(enumerate(("APL", "AML"))),
    ),
    PublishedCohort(
        "caitomorph-embeddings",
        "AML and healthy donors of the cAItomorph test set: DinoBloom-B embeddings",
        *(136, "about 200 MB", "apache-2.0"),
        folder="caitomorph",
        labels=dict(enumerate(("AML", "healthy donor"))),
    ),
    PublishedCohort(
        "aml-hehr",
        "AML with four genetic changes, and stem cell donors (Hehr et al. 2023): over 80,000 cells of 144 px",
        *(189, "some GB", "CC BY 4.0", "aml-hehr"),
        page="https://www.cancerimagingarchive.net/collection/aml-cytomorphology_mll_helmholtz/",
        holds="metadata.csv and data/",
    ),
    PublishedCohort(
        "apl-aml",
        "APL against other AML (Sidhom et al. 2021): cells of 360 px",
        *(106, "some GB", "see its page", "apl-aml"),
        page="https://www.kaggle.com/datasets/eugeneshenderov/acute-promyelocytic-leukemia-apl",
        holds="master.csv and All/",
    ),
)
"""What is known without a network."""


def ask_the_hub(*, progress: OnProgress = ignore) -> tuple[PublishedCohort, ...]:
    """Return the published cohorts, those of embeddings as the repository on the Hub holds them now.

    Raises `DownloadRefused` where the Hub cannot be asked.
    """
    listing = list_files(REPOSITORY, ROOT, progress=progress)
    return (*_held(listing), *(row for row in PUBLISHED if row.page))


def get_cohort(
    name: str,
    out: StrPath,
    *,
    labels: Sequence[str] = (),
    folder: StrPath | None = None,
    revision: str = "main",
    progress: OnProgress = ignore,
) -> Cohort:
    """Make a new folder with a published cohort; it is complete, or not there at all.

    Parameters
    ----------
    name : str
        As `PUBLISHED` or the Hub lists it.
    out : str or Path
        New folder.
    labels : sequence of str
        ``NUMBER=LABEL``: what the numbers of embeddings mean; needed where that is not known.
    folder : str or Path, optional
        Where images are that were downloaded with a browser; they stay there.
    revision : str
        Branch, tag or commit of the Hub's repository; the commit is recorded in any case.
    progress : callable
        See `OnProgress`. A download that was stopped is continued by the next call.

    Returns
    -------
    Cohort
        As saved in ``cohort.json`` in that folder.

    Raises
    ------
    DownloadRefused
        There is no such cohort, it needs a browser, or the Hub does not give it.
    CohortUnreadable
        It is another one than expected, or a label has no meaning.
    OutputRefused
        The folder exists, or cannot be written.
    """
    meanings, out = _meanings(labels), Path(out).absolute()
    row = next((row for row in PUBLISHED if row.name == name), None)
    with replacing_folder(out) as part:
        if row is not None and row.page:
            cohort = _read_images(row, None if folder is None else Path(folder), progress)
        else:
            listing = list_files(replace(REPOSITORY, revision=revision), ROOT, progress=progress)
            cohort = _get_embeddings(_find(name, _held(listing)), listing, meanings, part, progress)
            cohort = _moved(cohort, part, out)
        cohort.save(part / COHORT)
    return cohort


def _read_images(row: PublishedCohort, folder: Path | None, progress: OnProgress) -> Cohort:
    if folder is None:
        raise DownloadRefused(
            f"{row.name} needs a browser: download and unpack {row.page} ({row.licence}), then name the folder with "
            f"{row.holds} by --folder (in napari: Images)."
        )
    if not LAYOUTS[row.name].recognises(folder):
        raise CohortUnreadable(f"{folder} is not {row.name}: it needs {row.holds}; name the folder with these.")
    return read_cohort(folder, CohortOptions(layout=row.name, taxonomy=row.taxonomy), progress=progress)


def _held(listing: Listing) -> list[PublishedCohort]:
    """Return a row for each folder of embeddings that the repository holds."""
    known = {row.folder: row for row in PUBLISHED if row.folder}
    rows = []
    for folder, group in groupby(sorted(listing.files, key=_folder_of), _folder_of):
        files = [file for file in group if is_feature_file(file.name)]
        if not folder or not files:
            continue
        about = f"{folder}: DinoBloom-B embeddings"
        row = known.get(folder) or PublishedCohort(f"{folder.replace('_', '-')}-embeddings", about, 0, "", "")
        size, licence = f"{sum(file.size for file in files) / 1e6:,.0f} MB", listing.licence or row.licence
        rows.append(replace(row, folder=folder, patients=len(files), size=size, licence=licence or "see its page"))
    return rows


def _folder_of(file: RemoteFile) -> str:
    """Return the folder below `ROOT` that a file is directly in; empty for others."""
    parts = PurePosixPath(file.name).parts
    return parts[1] if len(parts) == 3 and parts[0] == ROOT else ""


def _find(name: str, rows: Sequence[PublishedCohort]) -> PublishedCohort:
    for row in rows:
        if row.name == name:
            return row
    names = ", ".join(row.name for row in (*rows, *PUBLISHED) if row in rows or row.page)
    missing = next((f"{ROOT}/{row.folder}" for row in PUBLISHED if row.name == name), "it")
    raise DownloadRefused(
        f"There is no {name} in {REPOSITORY.page} now ({missing} is not there); published are {names}."
    )


def _get_embeddings(
    row: PublishedCohort, listing: Listing, meanings: Mapping[int, str], part: Path, progress: OnProgress
) -> Cohort:
    """Download a cohort and write it as feature files of ours, with their table."""
    meanings = meanings or row.labels
    page = listing.repository.page
    if not meanings:
        raise CohortUnreadable(
            f"What the labels of {row.name} mean is not known here: look at {page} and name each by --label (in "
            "napari: Labels), for example 0=AML."
        )
    files = {file.name: file for file in listing.files if _folder_of(file) == row.folder and is_feature_file(file.name)}
    with downloaded(listing, tuple(files.values()), progress=progress) as paths:
        numbers, problems = _read_headers(paths, page, progress)
        if unknown := Counter(number for number in numbers.values() if number not in meanings):
            counts = ", ".join(f"{number} ({counted(count, 'patient')})" for number, count in sorted(unknown.items()))
            raise CohortUnreadable(
                f"{row.name} has labels without a meaning: {counts}; look at {page} and name all by --label (in "
                f"napari: Labels), for example {min(unknown)}=AML."
            )
        report = partial(Progress, "Writing features", total=len(numbers), unit="patients")
        for done, name in enumerate(numbers):
            progress(report(done=done))
            _write_features(paths[name], name, part)
        table = [(_patient(name), meanings[number]) for name, number in numbers.items()]
        write_csv(pd.DataFrame(table, columns=["patient_id", "label"]), part / "patients.csv")
        origin = listing.origin([files[name] for name in numbers]) | {"encoder": ENCODER}
        (part / ORIGIN).write_text(json.dumps(origin, indent=1), "utf-8")
    cohort = read_cohort(part, CohortOptions(layout="features", taxonomy=row.taxonomy), progress=progress)
    if problems:
        cohort = cohort.noting(f"{counted(len(problems), 'file')} of {page} left out; the first: {problems[0]}.")
    return cohort.noting(f"From {page} at commit {listing.commit} ({row.licence}).")


def _read_headers(paths: Mapping[str, Path], page: str, progress: OnProgress) -> tuple[dict[str, int], list[str]]:
    """Return the label of each file that can be used, and why others cannot; `CohortUnreadable` where none can."""
    width = ENCODERS[ENCODER].width
    numbers: dict[str, int] = {}
    problems = []
    for done, (name, path) in enumerate(paths.items()):
        report = partial(progress, Progress("Reading headers", done, len(paths), "patients"))
        report()
        try:
            bag = read_bag(path, description_only=True, waiting=report)
        except FeaturesRefused as error:
            problems.append(f"{name} {str(error).removeprefix(str(path)).strip().rstrip('.')}")
            continue
        if bag.shape[-1:] != (width,):
            problems.append(f"{name} has features of shape {bag.shape}, and {ENCODER}'s are {width} wide")
        elif bag.label is None:
            problems.append(f"{name} has no dataset 'labels' with one integer")
        else:
            numbers[name] = bag.label
    if not numbers:
        raise CohortUnreadable(
            f"None of {len(paths)} files of {page} can be used: {problems[0]}; choose another revision."
        )
    return numbers, problems


def _write_features(path: Path, name: str, folder: Path) -> None:
    """Write a bag as a feature file of ours, with the same numbers."""
    features = Features.load(path)
    # Of the encoder, the authors name no more than the kind of weights.
    origin = replace(features.origin, encoder=ENCODER)
    patient = _patient(name)
    replace(features, patient_id=patient, origin=origin).save(folder / f"{folder_name(patient)}.h5")


def _patient(name: str) -> str:
    return PurePosixPath(name).stem


def _moved(cohort: Cohort, old: Path, new: Path) -> Cohort:
    """Return a cohort of feature files for when its folder has its final name."""
    tables = [
        table.assign(features=[place if pd.isna(place) else str(new / Path(place).name) for place in table["features"]])
        for table in (cohort.table, cohort.left_out)
    ]
    notes = tuple(note.replace(str(old), str(new)) for note in cohort.notes)
    return replace(cohort, name=new.name, source=new, table=tables[0], left_out=tables[1], notes=notes)


def _meanings(labels: Sequence[str]) -> dict[int, str]:
    """Return labels given as ``NUMBER=LABEL``; `CohortUnreadable` for others."""
    pairs = [label.partition("=") for label in labels]
    if wrong := [label for label, (number, _, text) in zip(labels, pairs, strict=True) if not _is_pair(number, text)]:
        raise CohortUnreadable(f"--label {wrong[0]} is no NUMBER=LABEL; write for example --label 0=AML.")
    return {int(number): text.strip() for number, _, text in pairs}


def _is_pair(number: str, text: str) -> bool:
    return number.strip().removeprefix("-").isdecimal() and bool(text.strip())
