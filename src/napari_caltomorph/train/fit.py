"""One member: its patients -> its weights. The loop is written out, so that what happens in a step can be read.

Lightning Fabric brings device and precision; AdamW is torch's. Whatever is random is drawn from a seed that names the
fold and the epoch, so a member that was stopped and goes on ends with the same weights.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_caltomorph.diagnose.member import Member, Outputs
from napari_caltomorph.encode.device import find_device, find_precision, is_out_of_memory
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.train.bags import LabelledBags
from napari_caltomorph.train.batches import Batch, steps_per_epoch, training_steps, whole_bags
from napari_caltomorph.train.checkpoint import FoldCheckpoint, FoldHistory
from napari_caltomorph.train.folds import MemberSplit
from napari_caltomorph.train.options import TrainOptions
from napari_caltomorph.train.progress import KeepSoFar

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
        Called after every step; raising `Cancelled` in it leaves the last finished epoch to go on from, raising
        `KeepSoFar` ends the training with the weights so far.

    Raises
    ------
    TrainingRefused
        The loss was not finite before one epoch was done, or memory ran out.
    OutputRefused
        The checkpoint cannot be written; the one of the epoch before stays.
    """
    history = checkpoint.history()
    if history.stopped_by is not None:
        return history
    fabric = _fabric(options)
    member = new_member(bags, split, options)
    optimizer = torch.optim.AdamW(member.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    model, optimizer = fabric.setup(member, optimizer)
    if history.epochs:
        checkpoint.restore(member, optimizer.optimizer)
    last = split.epochs(options)
    weights = _class_weights(bags, split, options).to(fabric.device)
    steps = steps_per_epoch(len(split.train), options)
    try:
        while history.stopped_by is None:
            epoch, start = history.epochs + 1, time.monotonic()
            torch.manual_seed(_seed(options, split.fold, epoch))  # dropout's
            rng = np.random.default_rng([options.seed, split.fold, epoch])
            model.train()
            losses = []
            for step, batches in enumerate(training_steps(bags, split.train, options, rng)):
                for group in optimizer.param_groups:
                    group["lr"] = options.learning_rate * _rate(history.epochs * steps + step, steps, last, options)
                losses.append(_step(fabric, model, optimizer, batches, weights, options))
                on_step(history, step + 1)
            train_loss = float(np.mean(losses))
            validation = (*history.validation_loss, _validation_loss(fabric, model, bags, split, options))
            if not math.isfinite(train_loss + validation[-1]):
                return _ended_by_numbers(history, checkpoint, split)
            is_best = validation[-1] <= min(validation)
            history = replace(
                history,
                train_loss=(*history.train_loss, train_loss),
                validation_loss=validation if len(split.validation) else (),
                best_epoch=epoch if is_best else history.best_epoch,
                seconds=history.seconds + time.monotonic() - start,
            )
            if is_best and len(split.validation):
                checkpoint.save_best(member)
            if epoch >= last:
                history = history.ended("last epoch" if len(split.validation) else "fixed number of epochs")
            elif epoch - history.best_epoch >= options.patience:
                history = history.ended("validation loss")
            checkpoint.save(history, member, optimizer.optimizer)
            if history.stopped_by is not None:
                checkpoint.end(history)
            on_step(history, 0)
    except KeepSoFar:
        if not history.epochs:
            raise
        history = history.ended("hand")
        checkpoint.end(history)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingRefused(
            f"Memory ran out with {options.batch_size} patients of up to {options.max_cells} cells at once; use a "
            "smaller --batch-size (with --accumulate for steps of the same size), or fewer --max-cells."
        ) from error
    return history


def predict_bags(member: Member, bags: LabelledBags, patients: NDArray[np.intp], options: TrainOptions) -> Outputs:
    """Return a member's outputs for patients with all their cells, in float32 and in their order."""
    device = find_device(options.device)
    member = member.to(device).eval()
    parts, order = [], []
    with torch.inference_mode():
        for some, batch in whole_bags(bags, patients, options.batch_size):
            batch = batch.to(device)
            parts.append(member(batch.bags, batch.mask))
            order += some
    place = {patient: row for row, patient in enumerate(order)}
    rows = torch.tensor([place[int(p)] for p in patients])
    member.cpu()

    def joined(tensors: list[Tensor]) -> Tensor:
        return torch.cat(tensors).cpu()[rows]

    return Outputs(
        joined([p.logits for p in parts]),
        None if parts[0].hemoglobin is None else joined([p.hemoglobin for p in parts if p.hemoglobin is not None]),
        joined([p.embedding for p in parts]),
    )


def _fabric(options: TrainOptions) -> Fabric:
    device = find_device(options.device)
    is_bf16 = find_precision(options.precision, device) == torch.bfloat16
    devices = [device.index or 0] if device.type == "cuda" else 1
    # It would say what was asked for, and advise on hardware, in the middle of the caller's progress.
    for half in ("fabric", "pytorch"):
        logging.getLogger(f"lightning.{half}").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Fabric(accelerator=device.type, devices=devices, precision="bf16-mixed" if is_bf16 else "32-true")


def _step(
    fabric: Fabric,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: list[Batch],
    class_weights: Tensor,
    options: TrainOptions,
) -> float:
    """Make one step over some batches; what they weigh in it depends on their patients, not on how they are cut."""
    patients = sum(map(len, batches))
    measured = sum(int(torch.isfinite(b.hemoglobin).sum()) for b in batches)
    total = 0.0
    optimizer.zero_grad()
    for batch in batches:
        batch = batch.to(fabric.device)
        outputs = model(batch.bags, batch.mask)
        entropy = functional.cross_entropy(
            outputs.logits.float(), batch.classes, reduction="none", label_smoothing=options.label_smoothing
        )
        loss = (entropy * class_weights[batch.classes]).sum() / patients
        if outputs.hemoglobin is not None and measured:
            loss = loss + options.hemoglobin_weight * _squared_error(model, outputs, batch).sum() / measured
        fabric.backward(loss)
        total += float(loss.detach())
    fabric.clip_gradients(model, optimizer, max_norm=options.clip, error_if_nonfinite=False)
    optimizer.step()
    return total


def _squared_error(model: torch.nn.Module, outputs: Outputs, batch: Batch) -> Tensor:
    """Return (n,) squared errors of standardised hemoglobin of those patients who have a value."""
    assert outputs.hemoglobin is not None
    has_value = torch.isfinite(batch.hemoglobin)
    mean, std = model.get_buffer("hemoglobin_mean"), model.get_buffer("hemoglobin_std")
    wanted = (batch.hemoglobin[has_value] - mean) / std
    return (outputs.hemoglobin[has_value].float() - wanted) ** 2


@torch.inference_mode()
def _validation_loss(
    fabric: Fabric, model: torch.nn.Module, bags: LabelledBags, split: MemberSplit, options: TrainOptions
) -> float:
    """Return the plain loss over whole bags in eval mode; 0 where nothing is validated on."""
    if not len(split.validation):
        return 0.0
    model.eval()
    entropy, squares, measured = 0.0, 0.0, 0
    for _, batch in whole_bags(bags, split.validation, options.batch_size):
        batch = batch.to(fabric.device)
        outputs = model(batch.bags, batch.mask)
        entropy += float(functional.cross_entropy(outputs.logits.float(), batch.classes, reduction="sum"))
        if outputs.hemoglobin is not None:
            errors = _squared_error(model, outputs, batch)
            squares, measured = squares + float(errors.sum()), measured + len(errors)
    return entropy / len(split.validation) + options.hemoglobin_weight * squares / max(measured, 1)


def _ended_by_numbers(history: FoldHistory, checkpoint: FoldCheckpoint, split: MemberSplit) -> FoldHistory:
    if not history.epochs:
        raise TrainingRefused(
            f"The loss of fold {split.fold + 1} is not a number in the first epoch; use a smaller --learning-rate, or "
            "--scaling standardise."
        )
    history = history.ended("not finite")
    checkpoint.end(history)
    return history


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
