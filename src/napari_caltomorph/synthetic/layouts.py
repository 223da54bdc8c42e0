"""How a synthetic cohort is arranged on disk. A layout is a row: which classes, which names, which table.

The tables are written from the patients alone, so a cohort's table and images cannot disagree.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from napari_caltomorph.csv_files import harmless
from napari_caltomorph.synthetic.patients import AML_HEHR_COMPOSITIONS, COMPOSITIONS, SyntheticPatient, class_of
from napari_caltomorph.taxonomy import caltomorph_taxonomy

SYNTHETIC_COLUMN = "synthetic"
"""Column that is "yes" in the table of a synthetic cohort; a model trained on it reports that."""
ID_PREFIX = "synthetic_"
TRUTH = "truth.csv"
METAFER_CELL = "Gal-{:06d}.RGB.TIF"
TEST_EVERY = 5  # Every fifth patient of the list ordered by class: 20 %, stratified.

Row = tuple[object, ...]
Table = tuple[Row, Iterable[Row]]  # columns, rows


@dataclass(frozen=True)
class SynthLayout:
    """One way in which a cohort is arranged."""

    name: str
    # Slugs of detailed classes, by coarse class: patients are assigned to the outer ones in turn, and within each to
    # the inner ones.
    classes: tuple[tuple[str, ...], ...]
    folder: Callable[[SyntheticPatient], PurePath]  # Where a patient's cells are, relative to the cohort
    cell: str  # Format of a cell's name, from its number
    first: int  # Number of the first cell
    table: str  # File name of the table of patients
    rows: Callable[[Iterable[SyntheticPatient]], Table]  # The table itself, from all the patients


def write_table(path: Path, columns: Row, rows: Iterable[Row]) -> None:
    """Write a CSV file, the same on every system."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows(map(harmless, row) for row in (columns, *rows))


def holds_synthetic_cohort(folder: Path) -> bool:
    """Whether the folder has a layout's table, and only synthetic patients in it."""
    for layout in LAYOUTS.values():
        table = folder / layout.table
        if not table.is_file():
            continue
        with table.open(encoding="utf-8", errors="replace", newline="") as file:
            ids = [row.get("patient_id") or "" for row in csv.DictReader(file)]
        if ids and all(one.startswith(ID_PREFIX) for one in ids):
            return True
    return False


def _patients_csv(patients: Iterable[SyntheticPatient]) -> Table:
    columns = ("patient_id", "diagnosis", "coarse_class", "hemoglobin_g_dl", "age", "sex", "split", SYNTHETIC_COLUMN)
    order = caltomorph_taxonomy().slugs
    keys, rows = [], []
    for number, one in enumerate(patients):
        coarse, detailed = class_of(one.detailed)
        keys.append((order.index(one.coarse), one.detailed, one.patient_id, number))
        rows.append((one.patient_id, detailed.name, coarse.name, one.hemoglobin_g_dl, one.age, one.sex))
    test = {number for *_, number in sorted(keys)[TEST_EVERY // 2 :: TEST_EVERY]}
    return columns, ((*row, "test" if n in test else "train", "yes") for n, row in enumerate(rows))


_DIFFERENTIAL = {
    "pb_myeloblast": ("myeloblast",),
    "pb_promyelocyte": ("promyelocyte",),
    "pb_myelocyte": ("myelocyte",),
    "pb_metamyelocyte": ("metamyelocyte",),
    "pb_neutrophil_band": ("band_neutrophil",),
    "pb_neutrophil_segmented": ("segmented_neutrophil", "dysplastic_neutrophil"),
    "pb_eosinophil": ("eosinophil",),
    "pb_basophil": ("basophil",),
    "pb_monocyte": ("monocyte",),
    "pb_lymph_typ": ("lymphocyte",),
    "pb_lymph_atyp_react": ("reactive_lymphocyte",),
    "pb_lymph_atyp_neopl": ("neoplastic_lymphocyte", "hairy_cell", "convoluted_lymphocyte"),
}
_AML_HEHR_COLUMNS = ("patient_id", "sex_1f_2m", "age", "bag_label", "instance_count", "leucocytes_per_µl")
# Median, and spread of the logarithm; estimates like those of the compositions.
_LEUKOCYTES = {
    "pml_rara": (3_000, 1.1),
    "npm1": (28_000, 1.1),
    "cbfb_myh11": (25_000, 1.0),
    "runx1_runx1t1": (12_000, 0.9),
    "control": (6_500, 0.25),
}


def _metadata_csv(patients: Iterable[SyntheticPatient]) -> Table:
    return (*_AML_HEHR_COLUMNS, *_DIFFERENTIAL, "pb_other", "pb_total"), map(_metadata_row, patients)


def _metadata_row(patient: SyntheticPatient) -> Row:
    median, spread = _LEUKOCYTES[patient.detailed]
    leukocytes = median * np.exp(spread * np.random.default_rng([patient.seed, 3]).standard_normal())
    counted = Counter(patient.cell_types)
    shares = [sum(counted[one] for one in types) for types in _DIFFERENTIAL.values()]
    shares.append(len(patient) - sum(shares))
    percentages = [round(100 * share / len(patient), 1) for share in shares]
    sex, label, cells = 1 if patient.sex == "female" else 2, _bag_label(patient), len(patient)
    return (patient.patient_id, sex, patient.age, label, cells, round(float(leukocytes), -2), *percentages, 100.0)


def _bag_label(patient: SyntheticPatient) -> str:
    return patient.detailed if patient.detailed == "control" else patient.detailed.upper()


LAYOUTS = {
    layout.name: layout
    for layout in (
        SynthLayout(
            "folders",
            classes=tuple(
                tuple(one.slug for one in coarse.detailed if one.slug in COMPOSITIONS)
                for coarse in caltomorph_taxonomy().classes
            ),
            folder=lambda patient: PurePath(patient.coarse, patient.patient_id),
            cell=METAFER_CELL,
            first=1,
            table="patients.csv",
            rows=_patients_csv,
        ),
        SynthLayout(
            "aml-hehr",
            classes=tuple((slug,) for slug in AML_HEHR_COMPOSITIONS),
            folder=lambda patient: PurePath("data", _bag_label(patient), patient.patient_id),
            cell="image_{}.tif",
            first=0,
            table="metadata.csv",
            rows=_metadata_csv,
        ),
    )
}
