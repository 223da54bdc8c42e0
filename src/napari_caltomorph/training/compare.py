"""The paper's ablations on a cohort: every variant trained as `train` does it, on the same folds with the same seed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_caltomorph.cohort import Cohort, feature_path
from napari_caltomorph.errors import FeaturesRefused, TrainingRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.statistics import classification_metrics
from napari_caltomorph.storage import only_run, replacing
from napari_caltomorph.training.bags import LabelledBags, load_bags
from napari_caltomorph.training.checkpoint import FoldCheckpoint
from napari_caltomorph.training.compare_options import CompareOptions
from napari_caltomorph.training.comparison import (
    COMPARED,
    OPTIMISTIC,
    WHOSE_NUMBERS,
    CompareProgress,
    Comparison,
    Variant,
    VariantResult,
    variants,
)
from napari_caltomorph.training.fit import fit_member, new_member, predict_bags
from napari_caltomorph.training.folds import MemberSplit, member_split
from napari_caltomorph.training.journal import begin_or_resume
from napari_caltomorph.training.options import TrainOptions
from napari_caltomorph.training.progress import TrainProgress
from napari_caltomorph.training.step_progress import Steps

_LOCK = ".caltomorph-compare.lock"
# Multiplications a cell whose time reading, padding and copying the cell takes; only the time left depends on it.
_OVERHEAD = 1_000_000

_SIZES = (
    "Shares are of the patients a member learns from; its fold, and the patients that stop it, are the same for all "
    "shares."
)


def compare(
    cohort: Cohort,
    features: str | Path | None,
    out: str | Path,
    options: CompareOptions | None = None,
    train_options: TrainOptions | None = None,
    *,
    progress: OnProgress = ignore,
) -> Comparison:
    """Train each variant's members on all folds, and say how they differ.

    Parameters
    ----------
    cohort : Cohort
        Its test split is not looked at.
    features : str, Path or None
        Feature folder of `encode_cohort`; None where the cohort names feature files.
    out : str or Path
        Folder for ``comparison.csv``, ``folds.csv`` and, a variant each, ``variants/<slug>.json``. What is done there
        already is not done again, and a variant in hand goes on from its last finished epoch.
    options : CompareOptions
    train_options : TrainOptions
        The reference of every group; a variant differs from it in one thing.
    progress : callable
        Called with a `CompareProgress` after every step; raising `Cancelled` in it stops cleanly.

    Returns
    -------
    Comparison
        Of the variants that have a result; its `failed` says why the others have none.

    Raises
    ------
    TrainingRefused
        There is nothing to learn, features are missing, or the folder was begun with other options or patients.
    FeaturesRefused, OutputRefused, DeviceMissing, CalibrationRefused

    Notes
    -----
    Paper, supplementary tables 1 and 2 and figure 2F. Members of one fold are compared with each other: see `Spread`
    for what the spread between folds is, and what it is not.
    """
    options, chosen = options or CompareOptions(), train_options or TrainOptions()
    if chosen.workers > 1 or chosen.scheduler is not None:
        raise TrainingRefused("A comparison trains one member after another; leave out --workers and --scheduler.")
    folder = Path(out).absolute()
    place = None if features is None else Path(features).absolute()
    rows = variants(place, options, chosen)
    with only_run(folder, _LOCK, "another folder for the comparison"):
        bags = load_bags(cohort, place, chosen, progress=progress)
        begin_or_resume(folder, bags, chosen, resume=True)
        work = _Work(folder, bags, tuple({row.slug: row for row in _reference_first(rows)}.values()), progress)
        comparison = Comparison(tuple(rows), {}, {}, _notes(bags, rows, chosen))
        for variant in work.variants:
            try:
                result = work.result(cohort, variant)
            except (TrainingRefused, FeaturesRefused) as error:
                comparison = replace(comparison, failed={**comparison.failed, variant.slug: str(error)})
            else:
                comparison = replace(comparison, results={**comparison.results, variant.slug: result})
                _write(folder, comparison)
    return comparison


class _Work:
    """Trains variants one after another, and keeps what comes of them."""

    def __init__(self, folder: Path, bags: LabelledBags, variants: tuple[Variant, ...], progress: OnProgress) -> None:
        self.variants = variants
        self._folder, self._bags, self._progress = folder, bags, progress
        splits = [member_split(bags, fold, variants[0].options) for fold in bags.fold_numbers]
        patients = sum(len(split.train) * split.epochs(variants[0].options) for split in splits)
        self._steps = max(1, patients * len(variants) // variants[0].options.batch_size)
        self._costs = [v.share * _cost(v.options) for v in variants]

    def result(self, cohort: Cohort, variant: Variant) -> VariantResult:
        """Return what the members of a variant reach: read if it is there, else trained to its end."""
        bags = self._bags_of(cohort, variant)
        kept = self._folder / "variants" / f"{variant.slug}.json"
        if kept.is_file():
            return _read(kept)
        begun = kept.with_suffix("")
        splits = [member_split(bags, fold, variant.options, share=variant.share) for fold in bags.fold_numbers]
        steps = Steps(splits, variant.options, begun, self._report(variant))
        judged = [_judge(bags, split, variant.options, begun, steps) for split in splits]
        histories = [FoldCheckpoint(begun, split.fold).history() for split in splits]
        result = VariantResult(
            folds=tuple(split.fold for split in splits),
            patients=tuple(len(split.train) for split in splits),
            own_patients=tuple(len(split.own) for split in splits),
            epochs=tuple(history.epochs for history in histories),
            metrics={name: tuple(of_fold.get(name) for of_fold in judged) for name in COMPARED},
            seconds=round(sum(history.seconds for history in histories), 1),
        )
        with replacing(kept) as part:
            part.write_text(result.model_dump_json(indent=1), "utf-8")
        shutil.rmtree(begun, ignore_errors=True)
        return result

    def _bags_of(self, cohort: Cohort, variant: Variant) -> LabelledBags:
        """Return the bags of the folder that all share, or load another encoder's; those are not held."""
        if not variant.encoder or variant.features is None:
            return self._bags
        folder, patients = variant.features.absolute(), self._bags.table["patient_id"].tolist()
        # Looked for here: where a cohort names feature files, those would be taken in place of a missing one.
        is_there = [feature_path(folder, patient).is_file() for patient in patients]
        if not all(is_there):
            raise TrainingRefused(
                f"{is_there.count(False)} of {len(patients)} patients have no features in {folder} (first: "
                f"{patients[is_there.index(False)]}); encode the same patients with both encoders."
            )
        bags = load_bags(cohort, folder, variant.options, progress=self._progress)
        if bags.table["patient_id"].tolist() != patients:
            raise TrainingRefused(f"{folder} has features of more patients than {self._folder} compares.")
        begin_or_resume(self._folder / "encoders" / variant.encoder.casefold(), bags, variant.options, resume=True)
        return bags

    def _report(self, variant: Variant) -> OnProgress:
        """Return what says how far the whole is when a variant's training says how far it is."""
        number = self.variants.index(variant)
        before, own, whole = sum(self._costs[:number]), self._costs[number], sum(self._costs)

        def report(progress: Progress) -> None:
            assert isinstance(progress, TrainProgress)
            done = before + own * progress.done / max(1, progress.total)
            said = CompareProgress(
                **vars(progress) | {"done": round(done / whole * self._steps), "total": self._steps},
                variant=number,
                variants=len(self.variants),
                name=variant.slug,
            )
            self._progress(said)

        return report


def _reference_first(rows: list[Variant]) -> list[Variant]:
    """Order so that what is known after any end can be compared, and other folders are loaded last."""
    return sorted(rows, key=lambda row: (bool(row.encoder), not row.is_reference))


def _judge(
    bags: LabelledBags, split: MemberSplit, options: TrainOptions, folder: Path, steps: Steps
) -> dict[str, float]:
    """Train a member to its end, and return the metrics on its own fold."""
    checkpoint = FoldCheckpoint(folder, split.fold)
    history = fit_member(bags, split, options, checkpoint, on_step=steps.of(split))
    if history.stopped_by == "not finite":
        raise TrainingRefused(
            f"The loss of fold {split.fold + 1} was not a number in epoch {history.epochs + 1}; use a smaller "
            "--learning-rate."
        )
    member = new_member(bags, split, options)
    member.load_state_dict(checkpoint.best())
    probabilities = predict_bags(member, bags, split.own, options).logits.double().softmax(-1).numpy()
    if not np.isfinite(probabilities).all():
        raise TrainingRefused(
            f"The member of fold {split.fold + 1} answers with no numbers; use a smaller --learning-rate."
        )
    found = classification_metrics(bags.classes[split.own], probabilities, bags.taxonomy.is_malignant, resamples=0)
    return {name: interval.value for name, interval in found.items() if name in COMPARED}


def _cost(options: TrainOptions) -> float:
    """Guess how long a step takes, in no unit: only for the time left."""
    layers = 0
    if options.aggregator == "transformer":
        layers = options.depth * (4 * options.width**2 + 2 * options.width * options.mlp_width)
    elif options.aggregator == "abmil":
        layers = 3 * options.width**2
    return layers + _OVERHEAD


def _notes(bags: LabelledBags, rows: list[Variant], options: TrainOptions) -> tuple[str, ...]:
    splits = [member_split(bags, fold, options) for fold in bags.fold_numbers]
    notes = [WHOSE_NUMBERS, *([OPTIMISTIC] if options.recipe == "paper" else [])]
    if any(row.group == "sizes" for row in rows):
        notes.append(_SIZES)
    return (*notes, *bags.notes, *sorted({split.note for split in splits if split.note}))


def _read(path: Path) -> VariantResult:
    try:
        return VariantResult.model_validate_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingRefused(f"{path} is damaged; remove it to train this variant anew.") from error


def _write(folder: Path, comparison: Comparison) -> None:
    for name, table in (("comparison.csv", comparison.table()), ("folds.csv", comparison.fold_table())):
        with replacing(folder / name) as part:
            table.to_csv(part, index=False)
