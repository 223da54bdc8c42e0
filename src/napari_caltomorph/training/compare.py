"""Compare ways to train on a cohort: every variant is trained as by `train`, on the same folds with the same seed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from napari_caltomorph.cohort import Cohort, feature_path
from napari_caltomorph.csv_files import write_csv
from napari_caltomorph.diagnosis.inference import softmax
from napari_caltomorph.errors import FeaturesRefused, TrainingRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.reading import read_as
from napari_caltomorph.statistics import classification_metrics
from napari_caltomorph.storage import StrPath, only_run, replacing
from napari_caltomorph.training.bags import LabelledBags, load_bags
from napari_caltomorph.training.barely_learned import barely_learned, little_learned
from napari_caltomorph.training.comparison import (
    COMPARED,
    EQUAL_STEPS,
    OPTIMISTIC,
    SINGLE_MEMBERS,
    CompareProgress,
    Comparison,
    VariantResult,
)
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folder import begin_or_resume
from napari_caltomorph.training.folds import member_split, member_splits, notes_of
from napari_caltomorph.training.members import FoldCheckpoint, TrainedMember, predict_bags, trained_member
from napari_caltomorph.training.options import TrainOptions
from napari_caltomorph.training.progress import StepCounter, TrainProgress
from napari_caltomorph.training.recalibrate import recalibrate
from napari_caltomorph.training.variants import CompareOptions, Variant, variants

_LOCK = ".caltomorph-compare.lock"
# Reading, padding and copying a cell takes as long as so many multiplications; only the time left depends on it.
_OVERHEAD = 1_000_000
_RATES = (
    "Each aggregator has the learning rate that was chosen for it ({reference}, {rates}); a rate that is given holds "
    "for all."
)
_SIZES = (
    "Shares are of a member's training patients; its fold, and the patients that stop it, are the same for all shares."
)


def compare(
    cohort: Cohort,
    features: StrPath | None,
    out: StrPath,
    options: CompareOptions | None = None,
    train_options: TrainOptions | None = None,
    *,
    progress: OnProgress = ignore,
) -> Comparison:
    """Train the members of each variant on all folds, and compare their out-of-fold metrics.

    Paper, supplementary tables 1 and 2 and figure 2F. `Spread` explains what the spread between folds means.

    The cohort's test split is not used. `train_options` are the reference of every group; a variant differs from it in
    one thing. `out` gets ``comparison.csv``, ``folds.csv``, ``comparison.json`` (see `Comparison.load`) and
    ``variants/<slug>.json``; a stopped comparison resumes in it. Raises as `train`, and `TrainingRefused` where the
    folder is of other options or patients.
    """
    options, chosen = options or CompareOptions(), train_options or TrainOptions()
    if chosen.workers > 1 or chosen.scheduler is not None:
        raise TrainingRefused("A comparison trains one member after another; leave out --workers and --scheduler.")
    if chosen.given.get("elsewhere"):
        raise TrainingRefused("A comparison makes no estimate for other laboratories; leave out --elsewhere.")
    folder = Path(out).absolute()
    place = None if features is None else Path(features).absolute()
    rows = variants(place, options, chosen)
    with only_run(folder, _LOCK, "another folder for the comparison"):
        bags = load_bags(cohort, place, chosen, progress=progress)
        begin_or_resume(folder, bags, chosen, resume=True)
        trainer = _VariantTrainer(folder, bags, _distinct(rows), progress)
        notes = _notes(bags, rows, chosen)
        comparison, little = Comparison(tuple(rows), {}, {}, notes), {}
        for variant in trainer.variants:
            trainer.so_far = comparison
            try:
                result = trainer.result(cohort, variant)
            except (TrainingRefused, FeaturesRefused) as error:
                comparison = replace(comparison, failed={**comparison.failed, variant.slug: str(error)})
            else:
                comparison = replace(comparison, results={**comparison.results, variant.slug: result})
                if result.barely_learned:
                    little[variant.in_words] = result.barely_learned
                    comparison = replace(comparison, notes=(*notes, little_learned(little)))
                _write(folder, comparison)
            comparison.save(folder)
    return comparison


class _VariantTrainer:
    """Trains the members of one variant after another, and saves each variant's result."""

    def __init__(self, folder: Path, bags: LabelledBags, variants: tuple[Variant, ...], progress: OnProgress) -> None:
        self.variants = variants
        self.so_far: Comparison | None = None
        self._folder, self._bags, self._progress = folder, bags, progress
        options = variants[0].options
        patients = sum(len(split.train) * split.epochs(options) for split in member_splits(bags, options))
        self._steps = max(1, patients * len(variants) // options.batch_size)
        self._costs = [_cost(v.options) for v in variants]

    def result(self, cohort: Cohort, variant: Variant) -> VariantResult:
        """Return the result of a variant: read the saved one, or train to the end."""
        bags = self._bags_of(cohort, variant)
        saved = self._folder / "variants" / f"{variant.slug}.json"
        if saved.is_file():
            return _read(saved, variant)
        work = saved.with_suffix("")
        splits = [member_split(bags, fold, variant.options, share=variant.share) for fold in bags.fold_numbers]
        checkpoints = {split.fold: FoldCheckpoint(work, split.fold) for split in splits}
        histories = {fold: checkpoint.history() for fold, checkpoint in checkpoints.items()}
        steps = StepCounter(splits, histories, variant.options, self._report(variant))
        for split in splits:
            checkpoint = checkpoints[split.fold]
            histories[split.fold] = fit_member(bags, split, variant.options, checkpoint, on_step=steps.of(split))
        trained = [trained_member(bags, split, variant.options, checkpoints[split.fold]) for split in splits]
        recalibrate(trained, bags, variant.options)
        metrics = [_own_fold_metrics(bags, one, variant.options) for one in trained]
        result = VariantResult(
            folds=tuple(split.fold for split in splits),
            patients=tuple(len(split.train) for split in splits),
            own_patients=tuple(len(split.own) for split in splits),
            epochs=tuple(history.epochs for history in histories.values()),
            metrics={name: tuple(of_fold.get(name) for of_fold in metrics) for name in COMPARED},
            seconds=round(sum(history.seconds for history in histories.values()), 1),
            options=variant.options.model_dump(mode="json"),
            barely_learned=tuple(
                split.fold for split in splits if barely_learned(bags, split, variant.options, histories[split.fold])
            ),
        )
        with replacing(saved) as partial:
            partial.write_text(result.model_dump_json(indent=1), "utf-8")
        shutil.rmtree(work, ignore_errors=True)
        return result

    def _bags_of(self, cohort: Cohort, variant: Variant) -> LabelledBags:
        """Return the bags that the variants share, or load those of another encoder."""
        if not variant.encoder or variant.features is None:
            return self._bags
        folder, patients = variant.features.absolute(), self._bags.table["patient_id"].tolist()
        # Checked here: `load_bags` would take a file that the cohort names in place of a missing one.
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
        """Return a callback that turns the progress of a variant into that of the comparison."""
        number = self.variants.index(variant)
        before, own, whole = sum(self._costs[:number]), self._costs[number], sum(self._costs)

        def report(progress: Progress) -> None:
            assert isinstance(progress, TrainProgress)
            done = before + own * progress.done / max(1, progress.total)
            self._progress(
                CompareProgress(
                    **vars(progress) | {"done": round(done / whole * self._steps), "total": self._steps},
                    variant=number,
                    variants=len(self.variants),
                    name=variant.slug,
                    so_far=self.so_far,
                )
            )

        return report


def _distinct(rows: list[Variant]) -> tuple[Variant, ...]:
    """Return each variant once: references first, so that any end leaves something to compare; other encoders last."""
    ordered = sorted(rows, key=lambda row: (bool(row.encoder), not row.is_reference))
    return tuple({row.slug: row for row in ordered}.values())


def _own_fold_metrics(bags: LabelledBags, trained: TrainedMember, options: TrainOptions) -> dict[str, float]:
    split = trained.split
    if trained.history.stopped_by == "not finite":
        raise TrainingRefused(
            f"The loss of fold {split.fold + 1} was not a number in epoch {trained.history.epochs + 1}; use a smaller "
            "--learning-rate."
        )
    probabilities = softmax(predict_bags(trained.member, bags, split.own, options).logits)
    metrics = classification_metrics(bags.classes[split.own], probabilities, bags.taxonomy.is_malignant)
    return {name: interval.value for name, interval in metrics.items() if name in COMPARED}


def _cost(options: TrainOptions) -> float:
    """Return a relative estimate of the time of a step; only the time left depends on it."""
    transformer = options.depth * (4 * options.width**2 + 2 * options.width * options.mlp_width)
    layers = {"transformer": transformer, "abmil": 3 * options.width**2, "concepts": options.width**2}
    return layers.get(options.aggregator, 0) + _OVERHEAD


def _notes(bags: LabelledBags, rows: list[Variant], options: TrainOptions) -> tuple[str, ...]:
    notes = [SINGLE_MEMBERS, *([OPTIMISTIC] if options.recipe == "paper" else [])]
    own = {row.options.aggregator: row.options for row in rows if row.options.learning_rate != options.learning_rate}
    if own:
        rates = ", ".join(f"{name} {one.learning_rate:g}" for name, one in own.items())
        notes.append(_RATES.format(rates=rates, reference=f"{options.aggregator} {options.learning_rate:g}"))
    if any(row.group == "sizes" for row in rows):
        notes += [_SIZES, EQUAL_STEPS]
    return (*notes, *bags.notes, *notes_of(member_splits(bags, options)))


def _read(path: Path, variant: Variant) -> VariantResult:
    fix = "remove it to train this variant again"
    result = read_as(VariantResult, path, "the result of a variant", TrainingRefused, fix)
    # The reference's options are the same, or the folder had been refused; a variant may have a rate of its own.
    rate = variant.options.learning_rate
    if result.options.get("learning_rate", rate) != rate:
        raise TrainingRefused(f"{path} was trained with another --learning-rate than {rate:g}; {fix}.")
    return result


def _write(folder: Path, comparison: Comparison) -> None:
    for name, table in (("comparison.csv", comparison.table()), ("folds.csv", comparison.fold_table())):
        write_csv(table, folder / name)
