"""From smears to their differentials in one call, for the panel and the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from napari_caltomorph.csv_files import write_csv
from napari_caltomorph.differential.count import Differential
from napari_caltomorph.differential.fine_tune import Tuned, tune_encoder
from napari_caltomorph.differential.import_labels import ImportedLabels, import_labels
from napari_caltomorph.differential.labels import CellLabels
from napari_caltomorph.differential.probe import BLOOD_CELLS, Probe, ProbeDescription, ProbeOptions, load_probe
from napari_caltomorph.differential.training import train_probe
from napari_caltomorph.encoding import EncodeOptions, Features, LoadedEncoder, load_encoder
from napari_caltomorph.encoding.run import grade_and_encode
from napari_caltomorph.errors import FeaturesRefused, ProbeRefused, SmearUnreadable, TrainingRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import Smear, check_smear
from napari_caltomorph.smear.pixel_size import known_export
from napari_caltomorph.storage import StrPath, home

TYPE_TABLE = "differential.csv"
CELL_TABLE = "cell_types.csv"

_SAME_WIDTH = 0.05


@dataclass(frozen=True)
class Counted:
    """The differentials of some smears."""

    probe: Probe  # The one given, or the one trained
    labels: CellLabels  # Those given, and those of sub-folders
    differentials: tuple[Differential, ...]
    failed: dict[str, str]  # Patient -> the reason why there is no differential
    notes: tuple[str, ...] = ()  # What a person must know of the images


@dataclass(frozen=True)
class Trained:
    """A probe of labelled smears."""

    probe: Probe
    imported: ImportedLabels  # What became of the names of sub-folders, and what else a person must know
    failed: dict[str, str]  # Patient -> the reason why its cells were not used
    tuned: Tuned | None = None  # The encoder, where it was fine-tuned
    untuned: ProbeDescription | None = None  # Of a probe on the encoder as it was, from the same cells


def chosen_probe(name: StrPath | None, labels: CellLabels, compute: EncodeOptions) -> Probe | None:
    """Return the probe of this name or file, by default `BLOOD_CELLS`.

    None where a table of labelled cells is given, or an encoder is chosen to train on: then one is to be trained.
    Raises `ProbeRefused` where an encoder is chosen, and the probe takes the features of another.
    """
    is_chosen = "encoder" in compute.model_fields_set
    if name is None and (len(labels) > 0 or is_chosen):
        return None
    probe = load_probe(name or BLOOD_CELLS)
    if is_chosen and probe.description.encoder not in (None, compute.encoder):
        raise ProbeRefused(
            f"{name} takes the features of {probe.description.encoder}, and not of {compute.encoder}; leave out "
            "--encoder, or the probe to train another."
        )
    return probe


def count_smears(
    smears: Sequence[Smear],
    labels: CellLabels,
    probe: Probe | None,
    compute: EncodeOptions,
    options: ProbeOptions | None = None,
    *,
    progress: OnProgress = ignore,
) -> Counted:
    """Encode smears, train a probe on their labelled cells unless there is one, and count all their cells.

    `labels` are types by hand, which replace those that the probe calls; those of sub-folders are added. The encoder of
    `compute` is that of the probe, where there is one. Raises a `CaltomorphError` of all smears: no weights, too few
    labels, or no smear that could be encoded.
    """
    graded, encoded, failed = _encode_all(smears, probe_encoder(probe, compute), compute, progress)
    for smear in graded:
        labels = CellLabels.of_folders(smear).merged(labels)
    probe = probe or train_probe(encoded, labels, options, progress=progress)
    differentials = []
    for number, features in enumerate(encoded):
        progress(Progress("Counting", number, len(encoded), "smears"))
        differentials.append(probe.differential(features, labels.of(features)))
    notes = [f"{smear.patient_id}: {note}" for smear in graded for note in smear.notes]
    return Counted(probe, labels, tuple(differentials), failed, (*notes, *_other_scales(smears, compute.field_of_view)))


def train_on_smears(
    smears: Sequence[Smear],
    labels: CellLabels,
    compute: EncodeOptions,
    options: ProbeOptions | None = None,
    *,
    types: Mapping[str, str] | None = None,
    fine_tune_minutes: float | None = None,
    progress: OnProgress = ignore,
) -> Trained:
    """Encode smears and train a probe on their labelled cells.

    `labels` are all labels of the smears that they are of. In other smears, the names of sub-folders are labels, read
    with `types` as `import_labels` does. With `fine_tune_minutes`, the encoder is fine-tuned first (`tune_encoder`).
    Raises as `count_smears` does.
    """
    encoder = load_encoder(compute)
    graded, encoded, failed = _encode_all(smears, encoder, compute, progress)
    imported = import_labels([smear for smear in graded if not labels.of(smear)], types)
    imported = replace(imported, notes=(*imported.notes, *_other_scales(smears, compute.field_of_view)))
    labels = imported.labels.merged(labels)
    if fine_tune_minutes is None:
        return Trained(train_probe(encoded, labels, options, progress=progress), imported, failed)
    tuned = tune_encoder(graded, labels, encoder, compute, fine_tune_minutes, progress=progress)
    untuned = train_probe(encoded, tuned.held_out, options, progress=progress)
    again = [encode_smear(smear, tuned.encoder, compute, progress=progress)[1] for smear in graded]
    probe = train_probe(again, tuned.held_out, options, progress=progress)
    return Trained(probe, imported, failed, tuned, untuned.description)


def _other_scales(smears: Sequence[Smear], stated_um: float | None) -> Iterator[str]:
    """Say where a stated width is not that of the files, or of the known export that they have the form of."""
    if stated_um is None:
        return
    for smear in smears:
        width, who = None if smear.assumed_export else smear.field_of_view_um, "its files say that images are"
        if width is None and (export := known_export(smear.cells, smear.canvas)) is not None:
            width, who = export.width_um, f"{export.name} exports images of this form"
        if width is not None and abs(width / stated_um - 1) > _SAME_WIDTH:
            yield f"{smear.patient_id}: {who} {width:.3g} micrometres wide, and {stated_um:g} is stated and used"


def _encode_all(
    smears: Sequence[Smear], encoder: LoadedEncoder, compute: EncodeOptions, progress: OnProgress
) -> tuple[list[Smear], list[Features], dict[str, str]]:
    """Return the graded smears, their features, and patient -> why there are none."""
    failed: dict[str, str] = {}
    graded: list[Smear] = []
    encoded: list[Features] = []
    for smear in smears:
        try:
            one, features = encode_smear(smear, encoder, compute, progress=progress)
        except (SmearUnreadable, FeaturesRefused) as error:
            failed[smear.patient_id] = str(error)
            continue
        graded.append(one)
        encoded.append(features)
    if not encoded:
        raise TrainingRefused(next(iter(failed.values()), "No smear was named; name one or more."))
    return graded, encoded, failed


def probe_encoder(probe: Probe | None, compute: EncodeOptions) -> LoadedEncoder:
    """Load the encoder of a probe, or the one of the options where there is no probe yet.

    Raises `ProbeRefused` where the encoder of the probe is unknown, or has other weights, and the errors of
    `load_encoder`.
    """
    if probe is None:
        return load_encoder(compute)
    if probe.description.encoder is None:
        raise ProbeRefused("The probe was trained on features of an unknown encoder; train it on smears.")
    encoder = load_encoder(compute.model_copy(update={"encoder": probe.description.encoder}))
    if probe.description.encoder_weights_sha256 not in (None, encoder.weights_sha256):
        raise ProbeRefused(
            f"The probe was trained on other weights of {encoder.encoder.name}; name their file with --weights."
        )
    return encoder


def encode_smear(
    smear: Smear, encoder: LoadedEncoder, compute: EncodeOptions, *, progress: OnProgress = ignore
) -> tuple[Smear, Features]:
    """Grade and encode a smear, or read its features from the cache that predictions use too."""
    compute = compute.model_copy(update={"encoder": encoder.encoder.name})
    return grade_and_encode(smear, compute, encoder=encoder, cache=home("cache") / "features", progress=progress)


def encode_cells(
    smear: Smear, cells: Sequence[str], encoder: LoadedEncoder, compute: EncodeOptions, *, progress: OnProgress = ignore
) -> Features:
    """Return the features of these cells of a smear, in this order, whatever the quality rules say of them."""
    if smear.grades is None:
        smear = check_smear(smear, progress=progress)
    chosen = smear.choosing(take_back=cells, set_aside=set(smear.cells) - set(cells))
    return encode_smear(chosen, encoder, compute, progress=progress)[1].of_cells(cells)


def save_differentials(differentials: Sequence[Differential], folder: Path) -> list[Path]:
    """Write one row per type and one row per cell of some smears; return the files; `OutputRefused` when it fails."""
    tables = {
        TYPE_TABLE: pd.concat([one.table() for one in differentials]),
        CELL_TABLE: pd.concat([one.cell_table() for one in differentials]),
    }
    for name, table in tables.items():
        write_csv(table, folder / name, float_format="%.6g")
    return [folder / name for name in tables]
