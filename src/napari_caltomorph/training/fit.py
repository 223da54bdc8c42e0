"""One member: its patients -> its weights, in plain torch, so that each part of a step can be read.

All random numbers come from seeds of the fold and the epoch, so a member that was stopped and resumed ends with the
same weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from napari_caltomorph.diagnosis.inference import are_finite, pad_bags, run_batches, run_padded
from napari_caltomorph.diagnosis.member import Member
from napari_caltomorph.encoding.device import find_device, find_precision, to_device
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.members import FoldCheckpoint, memory_explained, new_member, read_by, seed_of
from napari_caltomorph.training.options import TrainOptions
from napari_caltomorph.training.progress import FoldHistory, OnStep

# Patients are sorted by length within so many batches: enough to pad little, too few to make batches alike.
_POOL = 8
# The learning rate rises in a quarter of the steps at most: members of many patients may train a few epochs only.
_WARM_UP = 4


@dataclass(frozen=True)
class Batch:
    """B patients: bags (B, N, D) padded with zeros, mask (B, N), classes (B,), hemoglobin (B,) g/dl or NaN.

    The bags are where those of all patients are, which may be the device; the others are on the CPU.
    """

    bags: Tensor
    mask: Tensor
    classes: Tensor
    hemoglobin: Tensor

    def __len__(self) -> int:
        return len(self.classes)


def fit_member(
    bags: LabelledBags,
    split: MemberSplit,
    options: TrainOptions,
    checkpoint: FoldCheckpoint,
    *,
    on_step: OnStep = lambda history, step: None,
) -> FoldHistory:
    """Train one member to its end, from the last finished epoch of its checkpoint, which is written after every epoch.

    `on_step` is called after every step; when it raises, training can resume from the last finished epoch. Raises
    `TrainingRefused` where the loss is not finite in the first epoch, memory runs out or the checkpoint is damaged,
    and `OutputRefused` where the checkpoint cannot be written; the one of the epoch before remains.
    """
    history = checkpoint.history()
    if history.has_ended:
        return history
    device = find_device(options.device)
    generators = [device] if device.type == "cuda" else []
    with memory_explained(options), torch.random.fork_rng(generators):  # the caller's generators do not change
        fit = _Fit.begin(device, bags, split, options, lambda: on_step(history, 0))
        if history.epochs:
            checkpoint.restore(fit.member, fit.optimizer)
        while True:
            best_before = history.best_epoch
            history = fit.epoch(history, on_step)
            if history.best_epoch > best_before:
                checkpoint.save_best(fit.member)
            if history.has_ended:
                checkpoint.end(history)
            else:
                checkpoint.save(history, fit.member, fit.optimizer)
            on_step(history, 0)
            if history.has_ended:
                return history


@dataclass(frozen=True)
class _Fit:
    """What an epoch of a member needs: the member and its optimizer on their device, and its patients."""

    device: torch.device
    member: Member
    network: nn.Module  # What is run of the member on `values`
    optimizer: torch.optim.AdamW
    class_weights: Tensor  # (C,)
    bags: LabelledBags  # What the network reads of the patients
    values: tuple[Tensor, ...]  # The same as tensors, on the device if it has room
    split: MemberSplit
    options: TrainOptions

    @classmethod
    def begin(
        cls,
        device: torch.device,
        bags: LabelledBags,
        split: MemberSplit,
        options: TrainOptions,
        waiting: Callable[[], object],
    ) -> _Fit:
        member = new_member(bags, split, options).to(device)
        network, read = read_by(member, bags, options, device, waiting)
        adamw = torch.optim.AdamW(
            [weight for weight in member.parameters() if weight.requires_grad],
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            fused=True if device.type in ("cpu", "cuda") else None,
        )
        weights = _class_weights(bags, split, options).to(device)
        return cls(device, member, network, adamw, weights, read, read.on(device), split, options)

    def cells(self, patient: int) -> Tensor:
        """Return the bag (N, D) of a patient's cells as they are."""
        return self.values[patient][: len(self.bags.values[patient])]

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of the chosen precision for the forward pass."""
        is_bf16 = find_precision(self.options.precision, self.device) == torch.bfloat16
        # Some versions of torch have no autocast on MPS, so float32 uses none.
        return torch.autocast(self.device.type, torch.bfloat16) if is_bf16 else nullcontext()

    def epoch(self, history: FoldHistory, on_step: OnStep) -> FoldHistory:
        """Train on every patient once and validate; the returned history may end the training."""
        start, last = time.monotonic(), self.split.epochs(self.options)
        train_loss = self.train_epoch(history, on_step)
        validation = (*history.validation_loss, *self.validation_loss())
        if not self.is_finite(train_loss, *validation):
            if not history.epochs:
                raise TrainingRefused(
                    f"The loss of fold {self.split.fold + 1} is not a number in the first epoch; use a smaller "
                    "--learning-rate, or --scaling standardise."
                )
            return history.ended("not finite")
        epoch = history.epochs + 1
        is_best = not validation or validation[-1] <= min(validation)
        history = replace(
            history,
            train_loss=(*history.train_loss, train_loss),
            validation_loss=validation,
            best_epoch=epoch if is_best else history.best_epoch,
            seconds=history.seconds + time.monotonic() - start,
        )
        if epoch >= last:
            return history.ended("last epoch" if validation else "fixed number of epochs")
        if epoch - history.best_epoch >= self.split.paced(self.options.patience):
            return history.ended("validation loss")
        return history

    def train_epoch(self, history: FoldHistory, on_step: OnStep) -> float:
        """Train on every patient once; return the mean loss of a patient."""
        options, split, epoch = self.options, self.split, history.epochs + 1
        torch.manual_seed(seed_of(options, split.fold, epoch))  # of dropout
        rng = np.random.default_rng([options.seed, split.fold, epoch])
        steps = split.steps_per_epoch(options)
        losses: list[Tensor] = []
        patients: list[int] = []
        self.member.train()
        for step, batches in enumerate(training_steps(self.bags, self.values, split.train, options, rng)):
            for group in self.optimizer.param_groups:
                group["lr"] = options.learning_rate * _rate(history.epochs * steps + step, split, options)
            losses.append(self.step(batches))
            patients.append(sum(map(len, batches)))
            on_step(history, step + 1)
        # Read only now, since that waits for the device.
        return float(np.average([sum(step.tolist()) for step in losses], weights=patients))

    def step(self, batches: list[Batch]) -> Tensor:
        """Make one step over some batches; the gradient does not depend on how its patients are split into them.

        Returns the loss of each, for which CUDA need not have finished.
        """
        options = self.options
        patients = sum(map(len, batches))
        measured = sum(int(torch.isfinite(b.hemoglobin).sum()) for b in batches)
        losses = []
        self.optimizer.zero_grad()
        for batch in batches:
            with self.autocast():
                outputs = run_padded(self.network, batch.bags, batch.mask, self.device)
            classes = to_device(batch.classes, self.device)
            entropy = functional.cross_entropy(
                outputs.logits.float(), classes, reduction="none", label_smoothing=options.label_smoothing
            )
            loss = (entropy * self.class_weights[classes]).sum() / patients
            if outputs.hemoglobin is not None and measured:
                errors = self.squared_errors(outputs.hemoglobin, batch.hemoglobin)
                loss = loss + options.hemoglobin_weight * errors.sum() / measured
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        nn.utils.clip_grad_norm_(self.member.parameters(), options.clip)
        self.optimizer.step()
        return torch.stack(losses)

    @torch.inference_mode()
    def validation_loss(self) -> tuple[float, ...]:
        """Return the loss over whole bags in evaluation mode; nothing without validation patients."""
        patients = self.split.validation
        if not len(patients):
            return ()
        entropies, squares, measured = [], [], 0
        cells = [self.cells(p) for p in patients]
        with self.autocast():
            for rows, outputs in run_batches(self.network, cells, self.options.batch_size, self.device):
                classes, hemoglobin = _labels(self.bags, patients[rows])
                classes = to_device(classes, self.device)
                entropies.append(functional.cross_entropy(outputs.logits.float(), classes, reduction="sum"))
                if outputs.hemoglobin is not None:
                    errors = self.squared_errors(outputs.hemoglobin, hemoglobin)
                    squares.append(errors.sum())
                    measured += len(errors)
        entropy, square = (sum(map(float, values)) for values in (entropies, squares))
        return (entropy / len(patients) + self.options.hemoglobin_weight * square / max(measured, 1),)

    def squared_errors(self, predicted: Tensor, measured: Tensor) -> Tensor:
        """Return (n,) squared errors of standardised hemoglobin of those patients who have a value in g/dl.

        `measured` is on the CPU, where it is known without waiting which they are.
        """
        known = torch.isfinite(measured).nonzero()[:, 0]
        values = to_device(measured[known], self.device)
        wanted = (values - self.member.hemoglobin_mean) / self.member.hemoglobin_std
        return (predicted.index_select(0, to_device(known, self.device)).float() - wanted) ** 2

    @torch.inference_mode()
    def is_finite(self, *losses: float) -> bool:
        """Whether the losses, and the member's outputs for some patients, are finite.

        The training loss was computed before the last step; without validation, only new outputs show the effect of
        that step.
        """
        if not all(map(math.isfinite, losses)):
            return False
        if len(self.split.validation):
            return True
        some = [self.cells(p) for p in self.split.train[: self.options.batch_size]]
        with self.autocast():
            _, outputs = next(run_batches(self.network, some, len(some), self.device))
        return are_finite(outputs)


def training_steps(
    bags: LabelledBags,
    values: Sequence[Tensor],
    patients: NDArray[np.intp],
    options: TrainOptions,
    rng: np.random.Generator,
) -> Iterator[list[Batch]]:
    """Yield the batches of each step of an epoch; the last step takes what is left, however few.

    `values` are the bags as tensors, all on one device, where batches are made of them. Of the views of a cell, one is
    drawn.
    """
    if options.balance == "sampling":
        counts = np.bincount(bags.classes[patients])
        chances = 1 / counts[bags.classes[patients]]
        patients = rng.choice(patients, len(patients), p=chances / chances.sum())
    shuffled = [rng.permutation(len(bags.values[p]))[: options.max_cells] for p in patients]
    if bags.views:
        views = (rng.integers(len(bags.views[p]), size=len(s)) for p, s in zip(patients, shuffled, strict=True))
        shuffled = [s + v * len(bags.values[p]) for p, s, v in zip(patients, shuffled, views, strict=True)]
    together = to_device(torch.from_numpy(np.concatenate(shuffled)), values[0].device)
    cells = torch.split(together, [len(c) for c in shuffled])
    order = rng.permutation(len(patients))
    batches: list[list[int]] = []
    pool = options.batch_size * _POOL
    for start in range(0, len(order), pool):
        some = sorted(order[start : start + pool], key=lambda i: len(cells[i]))
        batches += [some[i : i + options.batch_size] for i in range(0, len(some), options.batch_size)]
    batches = [batches[i] for i in rng.permutation(len(batches))]
    for start in range(0, len(batches), options.accumulate):
        yield [
            Batch(
                *pad_bags([values[patients[i]].index_select(0, cells[i]) for i in some]), *_labels(bags, patients[some])
            )
            for some in batches[start : start + options.accumulate]
        ]


def _labels(bags: LabelledBags, patients: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
    """Return the classes and the hemoglobin of some patients."""
    return torch.from_numpy(bags.classes[patients]), torch.from_numpy(bags.hemoglobin[patients].astype(np.float32))


def _rate(step: int, split: MemberSplit, options: TrainOptions) -> float:
    """Return the factor of the learning rate at a step of the whole training."""
    steps = split.steps_per_epoch(options)
    last = split.epochs(options) * steps
    warmup = min(split.paced(options.warmup_epochs) * steps, last // _WARM_UP)
    if step < warmup:
        return (step + 1) / warmup
    if options.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, last - warmup)))


def _class_weights(bags: LabelledBags, split: MemberSplit, options: TrainOptions) -> Tensor:
    """Return (C,) weights of the classes in the loss; over the training patients they average to one."""
    counts = np.bincount(bags.classes[split.train], minlength=len(bags.taxonomy.classes))
    if options.balance != "weights":
        return torch.ones(len(counts))
    present = counts > 0
    weights = np.zeros(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return torch.from_numpy(weights.astype(np.float32))
