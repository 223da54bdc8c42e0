"""One member: its patients -> its weights. The loop is written out, so that what happens in a step can be read.

Whatever is random is drawn from a seed that names the fold and the epoch, so a member that was stopped and goes on ends
with the same weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from napari_caltomorph.diagnosis.inference import are_finite, run_bags, run_batches
from napari_caltomorph.diagnosis.member import Member, Outputs
from napari_caltomorph.encoding.device import find_device, find_precision, is_out_of_memory
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.batches import Batch, steps_per_epoch, training_steps
from napari_caltomorph.training.checkpoint import FoldCheckpoint, FoldHistory
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.options import TrainOptions

# Called after each step with the history so far and the steps of this epoch that are done.
OnStep = Callable[[FoldHistory, int], None]
_LEAST_SPREAD = 1e-6


def new_member(bags: LabelledBags, split: MemberSplit, options: TrainOptions) -> Member:
    """Return a member with random weights, and the scales of its own training patients.

    Scales and weights depend on no patient outside `split.train`, so a member's own fold cannot influence it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_seed(options, split.fold, 0))
        member = Member(
            bags.width,
            len(bags.taxonomy.classes),
            options.aggregator_options(),
            classifier_width=options.classifier_width,
            hemoglobin=options.hemoglobin,
            dropout=options.dropout,
        )
    if options.scaling == "standardise":
        mean, std = _feature_scale(bags, split)
        member.feature_mean.copy_(torch.from_numpy(mean))
        member.feature_std.copy_(torch.from_numpy(std))
    if options.hemoglobin:
        values = bags.hemoglobin[split.train]
        member.hemoglobin_mean.fill_(float(np.nanmean(values)))
        member.hemoglobin_std.fill_(float(np.nanstd(values)))
    return member


def fit_member(
    bags: LabelledBags,
    split: MemberSplit,
    options: TrainOptions,
    checkpoint: FoldCheckpoint,
    *,
    on_step: OnStep = lambda history, step: None,
) -> FoldHistory:
    """Train one member, from where its checkpoint stands to its end.

    Parameters
    ----------
    bags : LabelledBags
    split : MemberSplit
    options : TrainOptions
    checkpoint : FoldCheckpoint
        Written after every epoch; at the end it holds the weights to keep.
    on_step : callable
        Called after every step; whatever it raises leaves the last finished epoch to go on from.

    Raises
    ------
    TrainingRefused
        The loss was not finite before one epoch was done, memory ran out, or the checkpoint is damaged.
    OutputRefused
        The checkpoint cannot be written; the one of the epoch before stays.
    """
    history = checkpoint.history()
    if history.stopped_by is not None:
        return history
    device = find_device(options.device)
    generators = [device] if device.type == "cuda" else []
    with _memory_explained(options), torch.random.fork_rng(generators):  # the caller's random numbers stay the caller's
        fit = _Fit.set_up(device, bags, split, options)
        if history.epochs:
            checkpoint.restore(fit.member, fit.optimizer)
        last = split.epochs(options)
        while history.stopped_by is None:
            epoch, start = history.epochs + 1, time.monotonic()
            train_loss = fit.train_epoch(history, last, on_step)
            validation = (*history.validation_loss, *fit.validation_loss())
            if not fit.is_finite(train_loss, *validation):
                history = _ended_by_numbers(history, split)
                checkpoint.end(history)
                break
            is_best = not validation or validation[-1] <= min(validation)
            history = replace(
                history,
                train_loss=(*history.train_loss, train_loss),
                validation_loss=validation,
                best_epoch=epoch if is_best else history.best_epoch,
                seconds=history.seconds + time.monotonic() - start,
            )
            if is_best:
                checkpoint.save_best(fit.member)
            if epoch >= last:
                history = history.ended("last epoch" if validation else "fixed number of epochs")
            elif epoch - history.best_epoch >= options.patience:
                history = history.ended("validation loss")
            if history.stopped_by is None:
                checkpoint.save(history, fit.member, fit.optimizer)
            else:
                checkpoint.end(history)
            on_step(history, 0)
    return history


@dataclass(frozen=True)
class _Fit:
    """What an epoch of a member needs: the member and its optimizer on their device, and its patients."""

    device: torch.device
    member: Member
    optimizer: torch.optim.AdamW
    class_weights: Tensor  # (C,)
    bags: LabelledBags
    split: MemberSplit
    options: TrainOptions

    @classmethod
    def set_up(cls, device: torch.device, bags: LabelledBags, split: MemberSplit, options: TrainOptions) -> _Fit:
        """Return it with a member that has learnt nothing."""
        member = new_member(bags, split, options).to(device)
        adamw = torch.optim.AdamW(member.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
        return cls(device, member, adamw, _class_weights(bags, split, options).to(device), bags, split, options)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the member computes as precisely as the options say."""
        is_bf16 = find_precision(self.options.precision, self.device) == torch.bfloat16
        # Not every torch knows autocast on every device, so float32 does without.
        return torch.autocast(self.device.type, torch.bfloat16) if is_bf16 else nullcontext()

    def train_epoch(self, history: FoldHistory, last: int, on_step: OnStep) -> float:
        """Show every patient once; return the mean loss of a patient."""
        options, split = self.options, self.split
        torch.manual_seed(_seed(options, split.fold, history.epochs + 1))  # dropout's
        rng = np.random.default_rng([options.seed, split.fold, history.epochs + 1])
        steps = steps_per_epoch(len(split.train), options)
        losses, patients = [], []
        self.member.train()
        for step, batches in enumerate(training_steps(self.bags, split.train, options, rng)):
            for group in self.optimizer.param_groups:
                group["lr"] = options.learning_rate * _rate(history.epochs * steps + step, steps, last, options)
            losses.append(self.step(batches))
            patients.append(sum(map(len, batches)))
            on_step(history, step + 1)
        return float(np.average(losses, weights=patients))

    def step(self, batches: list[Batch]) -> float:
        """Make one step over some batches; what they weigh in it depends on their patients, not on how they are cut."""
        options = self.options
        patients = sum(map(len, batches))
        measured = sum(int(torch.isfinite(b.hemoglobin).sum()) for b in batches)
        total = 0.0
        self.optimizer.zero_grad()
        for batch in batches:
            batch = batch.to(self.device)
            with self.autocast():
                outputs = self.member(batch.bags, batch.mask)
            entropy = functional.cross_entropy(
                outputs.logits.float(), batch.classes, reduction="none", label_smoothing=options.label_smoothing
            )
            loss = (entropy * self.class_weights[batch.classes]).sum() / patients
            if outputs.hemoglobin is not None and measured:
                errors = self.squared_errors(outputs.hemoglobin, batch.hemoglobin)
                loss = loss + options.hemoglobin_weight * errors.sum() / measured
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        nn.utils.clip_grad_norm_(self.member.parameters(), options.clip)
        self.optimizer.step()
        return total

    @torch.inference_mode()
    def validation_loss(self) -> tuple[float, ...]:
        """Return the plain loss over whole bags in eval mode; nothing where nobody is validated on."""
        patients = self.split.validation
        if not len(patients):
            return ()
        entropy, squares, measured, device = 0.0, 0.0, 0, self.device
        cells = [self.bags.values[p] for p in patients]
        with self.autocast():
            for rows, outputs in run_batches(self.member, cells, self.options.batch_size, device):
                some = patients[rows]
                classes = torch.from_numpy(self.bags.classes[some]).to(device)
                entropy += float(functional.cross_entropy(outputs.logits.float(), classes, reduction="sum"))
                if outputs.hemoglobin is not None:
                    values = torch.from_numpy(self.bags.hemoglobin[some].astype(np.float32)).to(device)
                    errors = self.squared_errors(outputs.hemoglobin, values)
                    squares, measured = squares + float(errors.sum()), measured + len(errors)
        return (entropy / len(patients) + self.options.hemoglobin_weight * squares / max(measured, 1),)

    def squared_errors(self, predicted: Tensor, measured: Tensor) -> Tensor:
        """Return (n,) squared errors of standardised hemoglobin of those patients who have a value in g/dl."""
        has_value = torch.isfinite(measured)
        wanted = (measured[has_value] - self.member.hemoglobin_mean) / self.member.hemoglobin_std
        return (predicted[has_value].float() - wanted) ** 2

    @torch.inference_mode()
    def is_finite(self, *losses: float) -> bool:
        """Whether losses, and what the member now says of some patients, are numbers.

        The training's loss was taken before the last step; where nobody is validated on, only asking shows what that
        step has done.
        """
        if not all(map(math.isfinite, losses)):
            return False
        if len(self.split.validation):
            return True
        some = [self.bags.values[p] for p in self.split.train[: self.options.batch_size]]
        with self.autocast():
            _, outputs = next(run_batches(self.member, some, len(some), self.device))
        return are_finite(outputs)


def predict_bags(member: Member, bags: LabelledBags, patients: NDArray[np.intp], options: TrainOptions) -> Outputs:
    """Return a member's outputs for patients with all their cells, in float32 and in their order.

    Raises
    ------
    TrainingRefused
        They are not numbers, or memory ran out.
    """
    device = find_device(options.device)
    with _memory_explained(options):
        outputs = run_bags(member.to(device), [bags.values[p] for p in patients], options.batch_size, device)
    member.cpu()
    if not are_finite(outputs):
        raise TrainingRefused("A member answers with no numbers; train again with a smaller --learning-rate.")
    return outputs


@contextmanager
def _memory_explained(options: TrainOptions) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingRefused(
            f"Memory ran out with {options.batch_size} patients of up to {options.max_cells} cells at once; use a "
            "smaller --batch-size (with --accumulate for steps of the same size), or fewer --max-cells."
        ) from error


def _ended_by_numbers(history: FoldHistory, split: MemberSplit) -> FoldHistory:
    if not history.epochs:
        raise TrainingRefused(
            f"The loss of fold {split.fold + 1} is not a number in the first epoch; use a smaller --learning-rate, or "
            "--scaling standardise."
        )
    return history.ended("not finite")


def _rate(step: int, steps_per_epoch: int, epochs: int, options: TrainOptions) -> float:
    """Return what the learning rate is multiplied with at a step of the whole training."""
    warmup = options.warmup_epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / warmup
    if options.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, epochs * steps_per_epoch - warmup)))


def _class_weights(bags: LabelledBags, split: MemberSplit, options: TrainOptions) -> Tensor:
    """Return (C,) weights of the classes in the loss; over the training patients they average to one."""
    counts = np.bincount(bags.classes[split.train], minlength=len(bags.taxonomy.classes))
    if options.balance != "weights":
        return torch.ones(len(counts))
    present = counts > 0
    weights = np.zeros(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return torch.from_numpy(weights.astype(np.float32))


def _feature_scale(bags: LabelledBags, split: MemberSplit) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (D,) mean and spread over all cells of the training patients; a constant feature keeps its scale."""
    count = sum(len(bags.values[p]) for p in split.train)
    mean = sum(bags.values[p].sum(axis=0, dtype=np.float64) for p in split.train) / count
    variance = sum(((bags.values[p] - mean) ** 2).sum(axis=0) for p in split.train) / count
    std = np.sqrt(variance)
    std = np.where(std > _LEAST_SPREAD * np.maximum(1, np.abs(mean)), std, 1)
    return mean.astype(np.float32), std.astype(np.float32)


def _seed(options: TrainOptions, fold: int, epoch: int) -> int:
    return int(np.random.default_rng([options.seed, fold, epoch]).integers(2**31))
