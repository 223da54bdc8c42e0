"""The training patients of a cohort: their bags, classes, hemoglobin and folds, checked before anything is trained."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.cohort import Cohort, feature_files
from napari_caltomorph.cohort.splits import split_into_parts
from napari_caltomorph.encoding.features import Features, load_bag
from napari_caltomorph.encoding.h5_process import MADE_ALIKE, FeatureOrigin
from napari_caltomorph.errors import CalibrationRefused, FeaturesRefused, TrainingRefused
from napari_caltomorph.evaluation.calibrate import MIN_PATIENTS
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.statistics.interval import percent
from napari_caltomorph.storage import StrPath
from napari_caltomorph.taxonomy import Taxonomy
from napari_caltomorph.training.options import TrainOptions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# The columns that splits depend on, besides the class.
_SPLIT_COLUMNS = ("detailed", "coarse_set", "group", "shared_images")
# Sums of squares of larger numbers overflow float32; no encoder returns features near it.
_LARGEST = 1e15
# The calibration split is made of parts, at most so many: smaller ones would not be stratified by class.
_FINEST = 20


@dataclass(frozen=True)
class LabelledBags:
    """P patients to train on."""

    taxonomy: Taxonomy  # The C classes that occur
    values: tuple[NDArray[np.float32], ...]  # One bag per patient, (N, D): its cells as they are
    classes: NDArray[np.intp]  # (P,) indices into the taxonomy
    hemoglobin: NDArray[np.float64]  # (P,) g/dl, NaN where it was not measured
    folds: NDArray[np.intp]  # (P,) the member that is trained without the patient; -1 for the calibration split
    table: pd.DataFrame  # The rows of the cohort, in this order
    origin: FeatureOrigin  # What all bags have in common
    notes: tuple[str, ...] = ()  # What was left out; each is a sentence
    views: tuple[NDArray[np.float32], ...] = ()  # (1 + K, N, D) a patient, if the features have views; else none
    # What a frozen aggregator makes of each patient, (1, width); filled when it is first needed
    pooled: list[NDArray[np.float32]] = field(init=False, default_factory=list, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def width(self) -> int:
        return int(self.values[0].shape[1])  # D

    @property
    def fold_numbers(self) -> list[int]:
        return [int(fold) for fold in np.unique(self.folds) if fold >= 0]

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        """Return the bags as tensors: on a CUDA device with room for them twice, else on the CPU, mostly uncopied.

        There, a batch costs no copy from the host: 12 MB at the paper's size, for which a fast GPU would wait. With
        views a bag is ((1 + K) N, D): row v N + n is view v of cell n, so the first N rows are its `values`.
        """
        # The panel counts features with this file before anything computes.
        from napari_caltomorph.diagnosis.inference import as_tensor
        from napari_caltomorph.encoding.device import free_memory, to_device

        bags = tuple(as_tensor(values.reshape(-1, self.width)) for values in self.views or self.values)
        if device.type == "cuda" and 2 * sum(bag.nbytes for bag in bags) < free_memory(device):
            return tuple(to_device(bag, device) for bag in bags)
        return bags

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that training depends on."""
        digest = hashlib.sha256()
        digest.update("\n".join(self.table["patient_id"]).encode())
        digest.update(self.table[list(_SPLIT_COLUMNS)].to_json(orient="values").encode())
        if self.table["slide_of"].notna().any():  # else as before slides, so that trainings of then can be resumed
            digest.update(self.table[["slide_of"]].to_json(orient="values").encode())
        digest.update(self.taxonomy.model_dump_json().encode())
        arrays: list[NDArray[Any]] = [self.classes, self.hemoglobin, self.folds, *(self.views or self.values)]
        for array in arrays:
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def load_bags(
    cohort: Cohort, folder: Path | None, options: TrainOptions, *, progress: OnProgress = ignore
) -> LabelledBags:
    """Load the features of a cohort's training patients from a feature folder, or from files that the cohort names.

    Raises `TrainingRefused` where there are too few classes or folds, or features are missing, and `FeaturesRefused`
    where a file is damaged or files are of two encoders.
    """
    options.published()  # refused before features are loaded
    table, notes = training_patients(cohort)
    table, files, missing = _with_features(table, folder, cohort, options)
    features = []
    for number, paths in enumerate(files):
        report = partial(progress, Progress("Loading features", number, len(files), "patients"))
        report()
        features.append(load_bag(paths, views=True, waiting=report))
        _refuse_unusable(features[-1], paths[0])
    _refuse_mixture(features, [paths[0] for paths in files])
    # Training patients must be recognised under another id, also where the cohort was read by names only.
    smears = pd.Series([f.origin.smear_fingerprint for f in features], index=table.index, dtype="string")
    table = table.assign(fingerprint=table["fingerprint"].fillna(smears))
    present = set(table["coarse"])
    taxonomy = Taxonomy(
        name=cohort.taxonomy.name, classes=tuple(c for c in cohort.taxonomy.classes if c.slug in present)
    )
    if absent := [c.name for c in cohort.taxonomy.classes if c not in taxonomy.classes]:
        notes.append(f"The model does not know {', '.join(absent)}: no training patient has it.")
    bags = LabelledBags(
        taxonomy=taxonomy,
        values=tuple(f.values for f in features),
        views=tuple(f.views for f in features if f.views is not None),
        classes=np.array([taxonomy.slugs.index(slug) for slug in table["coarse"]], dtype=np.intp),
        hemoglobin=table["hemoglobin_g_dl"].to_numpy(dtype=float, na_value=np.nan),
        folds=table["fold"].to_numpy(dtype=np.intp),
        table=table,
        origin=_common_origin(features),
        notes=(*notes, *missing),
    )
    _refuse_other_encoder(bags, options)
    return with_calibration_split(bags, options) if options.calibration_split else bags


def training_patients(cohort: Cohort) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of the training patients, of two classes and folds at least, and notes on those left out."""
    table = cohort.table
    is_training = (table["split"] == "train").fillna(False) & table["fold"].notna()
    is_labelled = table["coarse"].notna()
    notes = []
    if several := int((is_training & ~is_labelled).sum()):
        notes.append(f"{several} training patients of no class, or of several, were not trained on.")
    chosen = table.loc[is_training & is_labelled].reset_index(drop=True)
    if chosen["coarse"].nunique() < 2:
        found = ", ".join(sorted(set(chosen["coarse"]))) or "none"
        raise TrainingRefused(
            f"{cohort.source} has training patients of one class only ({found}), so there is nothing to distinguish; "
            "check --taxonomy, or add patients of another class."
        )
    if chosen["fold"].nunique() < 2:
        raise TrainingRefused(f"{cohort.source} has no two folds to train on; it needs more training patients.")
    return chosen, notes


def features_ready(cohort: Cohort, folder: StrPath | None) -> tuple[int, int]:
    """Count the training patients that have a feature file.

    Parameters
    ----------
    cohort : Cohort
    folder : str or Path or None
        Feature folder; None where the cohort names its feature files.

    Returns
    -------
    tuple of int
        How many have one, and how many training patients there are.

    Raises
    ------
    TrainingRefused
        There are not two classes, or not two folds.
    """
    table, _ = training_patients(cohort)
    return int(table["patient_id"].isin(feature_files(cohort, folder).keys()).sum()), len(table)


def _with_features(
    table: pd.DataFrame, folder: Path | None, cohort: Cohort, options: TrainOptions
) -> tuple[pd.DataFrame, list[tuple[Path, ...]], list[str]]:
    files = feature_files(cohort, folder)
    is_there = table["patient_id"].isin(files.keys()).to_numpy(dtype=bool)
    found = [files[patient] for patient in table["patient_id"][is_there]]
    if is_there.all():
        return table, found, []
    where = f"in {folder}" if folder is not None else "named by the cohort"
    first = table["patient_id"].iloc[int(np.argmin(is_there))]
    missing = f"{int((~is_there).sum())} of {len(table)} training patients have no features {where} (first: {first})"
    if not options.skip_missing:
        raise TrainingRefused(f"{missing}; run `caltomorph encode`, or train without them with --skip-missing.")
    kept = table.loc[is_there].reset_index(drop=True)
    if kept["coarse"].nunique() < 2 or kept["fold"].nunique() < 2:
        raise TrainingRefused(f"{missing}, and too few are left; run `caltomorph encode {cohort.source}`.")
    return kept, found, [f"{missing}; they were not trained on."]


def _refuse_unusable(features: Features, path: Path) -> None:
    if (largest := float(np.abs(features.values).max())) > _LARGEST:
        raise FeaturesRefused(f"{path} has features as large as {largest:.0e}, which no encoder returns; encode again.")
    sha256 = features.origin.weights_sha256
    if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise FeaturesRefused(f"{path}: its weights_sha256 ({sha256[:70]}) is not a SHA-256; encode again.")


def _refuse_other_encoder(bags: LabelledBags, options: TrainOptions) -> None:
    """Refuse features that a published patient encoder does not take."""
    if (published := options.published()) is None:
        return
    need, found = published.options.encoder, bags.origin.encoder
    if bags.width != published.feature_width or found not in (None, need):
        raise FeaturesRefused(
            f"{options.aggregator} takes features of {need}, {published.feature_width} wide; these are of "
            f"{found or 'an encoder that is not named'}, {bags.width} wide. Encode the cohort with --encoder {need}."
        )


def _refuse_mixture(features: list[Features], paths: list[Path]) -> None:
    first = features[0]
    for other, path in zip(features, paths, strict=True):
        if other.values.shape[1] != first.values.shape[1]:
            raise FeaturesRefused(
                f"{paths[0]} is {first.values.shape[1]} wide, {path} {other.values.shape[1]}: they are of two "
                "encoders; encode all patients with one."
            )
        for name in MADE_ALIKE:
            mine, theirs = getattr(first.origin, name), getattr(other.origin, name)
            if mine != theirs:
                what = name.replace("_sha256", "")
                raise FeaturesRefused(
                    f"{paths[0]} and {path} differ in their {what} ({mine} and {theirs}); encode all patients with one."
                )


def _common_origin(features: list[Features]) -> FeatureOrigin:
    first = features[0].origin
    fields = [f.origin.field_of_view_um for f in features]
    known = [field for field in fields if field is not None and 0 < field < math.inf]  # a file may say NaN
    # A few patients of another scale do not change the median.
    median = float(np.median(known)) if len(known) == len(fields) else None
    return replace(FeatureOrigin(**{name: getattr(first, name) for name in MADE_ALIKE}), field_of_view_um=median)


def with_calibration_split(bags: LabelledBags, options: TrainOptions) -> LabelledBags:
    """Remove a stratified part of the patients from all folds, to calibrate on; refuse one that is too small."""
    share = Fraction(options.calibration_split).limit_denominator(_FINEST)
    parts = list(split_into_parts(bags.table, share.denominator, options.seed))[: share.numerator]
    aside = np.sort(np.concatenate([*parts, np.array([], dtype=np.intp)]))
    if len(aside) < MIN_PATIENTS:
        raise CalibrationRefused(
            f"A calibration split of {percent(options.calibration_split, 0)} has {len(aside)} of {len(bags)} training "
            f"patients; {MIN_PATIENTS} are needed for a calibration that holds. Use a larger --calibration-split, or "
            "none."
        )
    folds = bags.folds.copy()
    folds[aside] = -1
    return replace(bags, folds=folds)
