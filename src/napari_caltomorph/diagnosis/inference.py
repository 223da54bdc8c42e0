"""Running members: every forward pass outside a training step, and the numbers computed from it.

A bag is run on the device of its member, in evaluation mode. Results are on the CPU: probabilities in double precision,
attention as a ratio to the member's mean. Single bags are not padded; `run_batches` pads bags of different lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from napari_caltomorph.diagnosis.aggregators import Kept
from napari_caltomorph.diagnosis.member import Member, Outputs
from napari_caltomorph.encoding.device import to_device
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.errors import FeaturesRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore

NOT_FINITE = "a member's output for these features is not a finite number; encode the smear again."

# Bags of one cell, at once: at paper size 256 take about half a second on two cores.
_SINGLE_CELLS = 256
# Cells of all bags that go through a member at once. More is no faster on a CPU, and cancelling comes between them.
_CELLS_AT_ONCE = 2048


@dataclass(frozen=True)
class MemberOutputs:
    """What M members return for one bag."""

    probabilities: NDArray[np.float64]  # (M, C): softmax of each, raw
    hemoglobin: NDArray[np.float64] | None  # (M,) or None: in g/dl
    # (M, width) float32: the pooled bag in each member's own space; the spaces of two members have nothing in common
    embeddings: NDArray[np.float32]


@dataclass(frozen=True)
class CellOutputs:
    """What M members return for one bag of N cells and for its cells."""

    bag: MemberOutputs
    # (N,): as a ratio to the mean of each member, averaged over the members; 1 for models without attention
    attention: NDArray[np.float64]
    # (N, C): softmax for a bag of that cell alone, averaged over the members; (0, C) where it was not wanted
    alone: NDArray[np.float64]


@dataclass(frozen=True)
class ClassResponse:
    """One class in B bags."""

    probability: NDArray[np.float64]  # (B,): softmax averaged over the members, raw: no calibration
    # (B,): log of that probability over its rest, natural; computed from the logits, so that it does not saturate
    log_odds: NDArray[np.float64]


def as_bag(features: Features) -> Tensor:
    """Return the cells of a patient, (N, D) float32, copied: torch takes no array that is read-only or reversed."""
    return torch.from_numpy(np.array(features.values, dtype=np.float32, order="C"))


@torch.inference_mode()
def run_members(members: Sequence[Member], features: Features) -> MemberOutputs:
    """Run M members on the cells of a patient; `FeaturesRefused` where an output is not finite.

    Where the features have views, probabilities and hemoglobin are the mean over the bags of all views, as those of
    an ensemble are the mean over members: members that differ between views become less certain. Embeddings are those
    of the cells as they are, which the training domain was fitted on.
    """
    bags = [as_bag(features)] if features.views is None else list(map(as_tensor, features.views))
    views = [
        _collect(features, [member.eval()(bag[None].to(_device(member))) for member in members], members)
        for bag in bags
    ]
    hemoglobin = [one.hemoglobin for one in views if one.hemoglobin is not None]
    return MemberOutputs(
        np.mean([one.probabilities for one in views], axis=0),
        np.mean(hemoglobin, axis=0) if hemoglobin else None,
        views[0].embeddings,
    )


@torch.inference_mode()
def run_with_cells(
    members: Sequence[Member], features: Features, *, alone: bool = True, progress: OnProgress = ignore
) -> CellOutputs:
    """Run M members on the N cells of a patient, and measure each; `FeaturesRefused` where an output is not finite.

    Cells are measured as they are; what the members return for the bag is that of `run_members`. With `alone`, each
    cell is run as a bag of its own as well: as much work as the bag itself, or more.
    """
    bag, outputs, attention = as_bag(features), [], []
    layers = [member.aggregator.layers for member in members]

    def report(done: int) -> None:
        progress(Progress("Members", done, sum(layers), "layers"))

    for number, member in enumerate(members):
        kept: list[Kept] = []

        def keep(layer: Kept, kept: list[Kept] = kept, before: int = sum(layers[:number])) -> None:
            kept.append(layer)
            report(before + len(kept))

        report(sum(layers[:number]))
        outputs.append(member.eval()(bag[None].to(_device(member)), keep=keep))
        attention.append(_attention_ratios(member, kept, len(bag)))
    report(sum(layers))
    responses = _responses_alone(members, bag, progress) if alone else np.empty((0, outputs[0].logits.shape[-1]))
    of_bag = _collect(features, outputs, members) if features.views is None else run_members(members, features)
    return CellOutputs(of_bag, np.mean(attention, axis=0), responses)


def _responses_alone(members: Sequence[Member], bag: Tensor, progress: OnProgress) -> NDArray[np.float64]:
    """Return the softmax (N, C) for bags of one cell, averaged over the members."""
    responses = []
    for number, member in enumerate(members):
        single: list[NDArray[np.float64]] = []
        for some in torch.split(bag[:, None].to(_device(member)), _SINGLE_CELLS):  # (<= 256, 1, D)
            single.append(softmax(member(some).logits))
            done = number * len(bag) + sum(map(len, single))
            progress(Progress("Single cells", done, len(members) * len(bag)))
        responses.append(np.concatenate(single))
    return np.asarray(np.mean(responses, axis=0))


@torch.inference_mode()
def class_response(
    members: Sequence[Member],
    index: int,
    cells: Tensor,
    bags: NDArray[np.intp],
    *,
    report: Callable[[int], None] = lambda done: None,
) -> ClassResponse:
    """Run B bags of n cells each, and return the class of this index; `FeaturesRefused` where an output is not finite.

    `cells` (N, D) are raw features, `bags` (B, n) the rows of them that make up each bag, n >= 1. All bags have the
    same number of cells, so nothing is padded, and no bag depends on those that are run with it. `report` is called
    before each forward pass and after each layer with the number of bags that are done; what it raises stops the run.
    """
    chosen = torch.from_numpy(np.ascontiguousarray(bags))
    probability: list[NDArray[np.float64]] = []
    log_odds: list[NDArray[np.float64]] = []
    for some in torch.split(chosen, max(1, _CELLS_AT_ONCE // bags.shape[1])):
        batch = cells[some]  # (b, n, D)
        done = sum(map(len, probability))
        log_p, log_rest = [], []  # log p and log (1 - p) of each member: (b,)
        for member in members:
            report(done)
            outputs = member.eval()(batch.to(_device(member)), keep=lambda _, done=done: report(done))
            logits = outputs.logits.cpu().double()
            if not bool(logits.isfinite().all()):
                raise FeaturesRefused(NOT_FINITE.capitalize())
            whole = logits.logsumexp(-1)
            log_p.append(logits[:, index] - whole)
            log_rest.append(_without(logits, index).logsumexp(-1) - whole)
        yes, no = torch.stack(log_p).logsumexp(0), torch.stack(log_rest).logsumexp(0)  # the mean's 1 / M cancels
        log_odds.append((yes - no).numpy())
        probability.append((yes - np.log(len(members))).exp().numpy())
    report(len(bags))
    if not len(bags):
        return ClassResponse(np.empty(0), np.empty(0))
    return ClassResponse(np.concatenate(probability), np.concatenate(log_odds))


@torch.inference_mode()
def run_batches(
    model: nn.Module, bags: Sequence[Tensor], size: int, device: torch.device
) -> Iterator[tuple[list[int], Outputs]]:
    """Run bags (N, D) of any lengths, `size` at once, those of similar length together.

    `model` is a `Member` on `device`, or what wraps one; the bags are there or on the CPU. Yields which bags, and their
    outputs on the device, for which CUDA need not have finished.
    """
    model.eval()
    order = sorted(range(len(bags)), key=lambda i: len(bags[i]))
    for start in range(0, len(order), size):
        some = order[start : start + size]
        yield some, run_padded(model, *pad_bags([bags[i] for i in some]), device)


def run_padded(model: nn.Module, bags: Tensor, mask: Tensor, device: torch.device) -> Outputs:
    """Run what `pad_bags` returned. Without padding there is no mask, which flash attention does not take."""
    outputs: Outputs = model(to_device(bags, device), None if mask.all() else to_device(mask, device))
    return outputs


def run_bags(model: nn.Module, bags: Sequence[NDArray[np.float32]], size: int, device: torch.device) -> Outputs:
    """Run what `run_batches` runs: its outputs in the order of the bags, on the CPU."""
    tensors = [as_tensor(bag) for bag in bags]
    rows, parts = zip(*run_batches(model, tensors, size, device), strict=True)
    place = torch.tensor(np.argsort(np.concatenate(rows)))

    def joined(tensors: list[Tensor]) -> Tensor:
        return torch.cat(tensors).cpu()[place]

    return Outputs(
        joined([p.logits for p in parts]),
        None if parts[0].hemoglobin is None else joined([p.hemoglobin for p in parts if p.hemoglobin is not None]),
        joined([p.embedding for p in parts]),
    )


def as_tensor(bag: NDArray[np.float32]) -> Tensor:
    """Return a bag (N, D) as a tensor, copied only where torch does not take the array."""
    return torch.from_numpy(np.require(bag, np.float32, ["C", "W"]))


def pad_bags(bags: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return B bags (N, D) as one tensor (B, longest, D) on their device, padded with zeros.

    Its mask (B, longest) is on the CPU, so that whether there is padding is known without waiting for the device.
    """
    lengths = torch.tensor([len(bag) for bag in bags])
    return pad_sequence(list(bags), batch_first=True), torch.arange(int(lengths.max())) < lengths[:, None]


def member_log_odds(logits: Tensor, index: int) -> Tensor:
    """Log-odds (B,) of a class under one member's softmax of logits (B, C)."""
    return logits[:, index] - _without(logits, index).logsumexp(-1)


def softmax(logits: Tensor) -> NDArray[np.float64]:
    """Return the softmax (B, C) of logits (B, C)."""
    return np.asarray(logits.cpu().double().softmax(-1).numpy())  # MPS has no float64


def are_finite(outputs: Outputs) -> bool:
    return all(bool(values.isfinite().all()) for values in outputs if values is not None)


def _collect(features: Features, outputs: Sequence[Outputs], members: Sequence[Member]) -> MemberOutputs:
    if not all(map(are_finite, outputs)):
        raise FeaturesRefused(f"{features.patient_id}: {NOT_FINITE}")
    hemoglobin = [m.hemoglobin_g_dl(o) for m, o in zip(members, outputs, strict=True)]
    known = [h.numpy()[0] for h in hemoglobin if h is not None]
    return MemberOutputs(
        np.concatenate([softmax(o.logits) for o in outputs]),
        np.array(known) if known else None,
        np.concatenate([o.embedding.cpu().float().numpy() for o in outputs]),
    )


def _attention_ratios(member: Member, kept: Sequence[Kept], cells: int) -> NDArray[np.float64]:
    """(N,) attention as a ratio to its mean."""
    attention = member.aggregator.attention(kept)
    if attention is None:
        return np.ones(cells)
    values: NDArray[np.float64] = attention.cpu().double().numpy()
    mean = values.mean()
    # The CLS token may attend to itself alone: then every cell matters as much as the average one, not at all.
    return values / mean if mean > 0 else np.ones_like(values)


def _without(logits: Tensor, index: int) -> Tensor:
    return torch.cat([logits[:, :index], logits[:, index + 1 :]], dim=1)


def _device(member: Member) -> torch.device:
    return member.feature_mean.device
