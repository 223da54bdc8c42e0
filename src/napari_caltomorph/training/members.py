"""The member of a fold: new with the scales of its patients, its checkpoint, and trained.

A checkpoint is written after each epoch, and training resumes from it after any interruption. It is two safetensors
files, each written whole or not at all: the best weights so far, and all that the next epoch needs. Random numbers come
from seeds of the epoch, so no generator's state is saved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter
from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from napari_caltomorph.diagnosis.inference import are_finite, as_tensor, run_bags
from napari_caltomorph.diagnosis.member import Member, Outputs
from napari_caltomorph.encoding.device import find_device, is_out_of_memory
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.reading import explained, parse_document
from napari_caltomorph.storage import replacing
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.options import TrainOptions
from napari_caltomorph.training.progress import FoldHistory

_LEAST_SPREAD = 1e-6
_HISTORY = TypeAdapter(FoldHistory)


def new_member(bags: LabelledBags, split: MemberSplit, options: TrainOptions) -> Member:
    """Return a member with random weights, and the scales and class shares of its own training patients.

    All of them depend on no patient outside `split.train`, so a member's own fold cannot influence it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(options, split.fold, 0))
        member = Member(
            bags.width,
            len(bags.taxonomy.classes),
            options.aggregator_options(bags.taxonomy),
            classifier_width=options.classifier_width,
            hemoglobin=options.hemoglobin,
            dropout=options.dropout,
        )
    if (published := options.published()) is not None:
        member.aggregator.load_state_dict(published.weights, assign=options.is_frozen)
        member.aggregator.requires_grad_(not options.is_frozen)
    mean = _average_cell(bags, split)
    member.average_cell.copy_(torch.from_numpy(mean))
    if options.scaling == "standardise":
        member.feature_mean.copy_(torch.from_numpy(mean))
        member.feature_std.copy_(torch.from_numpy(_feature_std(bags, split, mean)))
    if options.balance != "none":
        member.log_prior_shift.copy_(torch.from_numpy(_log_prior_shift(bags, split)))
    if options.hemoglobin:
        values = bags.hemoglobin[split.train]
        member.hemoglobin_mean.fill_(float(np.nanmean(values)))
        member.hemoglobin_std.fill_(float(np.nanstd(values)))
    return member


class _OfPooled(nn.Module):
    """A member without its aggregator: it reads patients that were pooled before, (B, 1, width)."""

    def __init__(self, member: Member) -> None:
        super().__init__()
        self.member = member

    def forward(self, pooled: Tensor, mask: Tensor | None = None) -> Outputs:
        return self.member.diagnose(pooled[:, 0])


def read_by(
    member: Member,
    bags: LabelledBags,
    options: TrainOptions,
    device: torch.device,
    waiting: Callable[[], object] = lambda: None,
) -> tuple[nn.Module, LabelledBags]:
    """Return what is run of a member on a device, and what it reads of the patients: their cells.

    With a frozen aggregator it is the heads, and each patient as the aggregator pools it, without views; that is
    computed once.
    `waiting` is called before each patient; what it raises stops.
    """
    if not options.is_frozen:
        return member, bags
    if not bags.pooled:
        bags.pooled.extend(_pooled(member, bags, device, waiting))
    return _OfPooled(member), replace(bags, values=tuple(bags.pooled), views=())


@torch.inference_mode()
def _pooled(
    member: Member, bags: LabelledBags, device: torch.device, waiting: Callable[[], object]
) -> list[NDArray[np.float32]]:
    pooled = []
    for values in bags.values:
        waiting()
        pooled.append(member.eval()(as_tensor(values)[None].to(device)).embedding.cpu().numpy())
    return pooled


def _average_cell(bags: LabelledBags, split: MemberSplit) -> NDArray[np.float64]:
    """Return (D,) the mean over all cells of the training patients."""
    total = sum(bags.values[p].sum(axis=0, dtype=np.float64) for p in split.train)
    return np.asarray(total / sum(len(bags.values[p]) for p in split.train))


def _feature_std(bags: LabelledBags, split: MemberSplit, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (D,) the standard deviation over all cells of the training patients; 1 for a constant feature."""
    squares = sum(((bags.values[p] - mean) ** 2).sum(axis=0) for p in split.train)
    std = np.sqrt(squares / sum(len(bags.values[p]) for p in split.train))
    return np.where(std > _LEAST_SPREAD * np.maximum(1, np.abs(mean)), std, 1)


def _log_prior_shift(bags: LabelledBags, split: MemberSplit) -> NDArray[np.float64]:
    """Return (C,) log of each class's share of the training patients over that in a balanced training.

    A balanced training sees p(x | class) / sum of p(x | any class): Bayes' rule with equal shares. Adding this to its
    logits is Bayes' rule with the true ones (Saerens, Latinne and Decaestecker 2002). A class without patients, of
    which the member has learnt nothing, counts as half a patient.
    """
    counts = np.bincount(bags.classes[split.train], minlength=len(bags.taxonomy.classes))
    return np.asarray(np.log(np.maximum(counts, 0.5) / counts.sum() * (counts > 0).sum()))


def seed_of(options: TrainOptions, fold: int, epoch: int) -> int:
    """Return the seed of an epoch of a fold; epoch 0 is for the weights before training."""
    return int(np.random.default_rng([options.seed, fold, epoch]).integers(2**31))


class FoldCheckpoint:
    """The checkpoint files of one member in the folder of a training."""

    def __init__(self, folder: Path, fold: int) -> None:
        self._state = folder / f"fold_{fold}.state.safetensors"
        self._best = folder / f"fold_{fold}.best.safetensors"

    def history(self) -> FoldHistory:
        """Return the member's finished epochs; it reads no weights, so it is fast."""
        with self._explained(self._state):
            try:
                # With "pt" the path is opened twice, and a worker may replace it between.
                with safe_open(self._state, framework="np") as file:
                    metadata = file.metadata() or {}
            except FileNotFoundError:
                return FoldHistory()
            history = _HISTORY.validate_python(parse_document(metadata.get("history", "null")))
            if not history.is_consistent:
                raise ValueError("its epochs do not fit each other")
            return history

    def save(self, history: FoldHistory, member: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Save all that the next epoch needs."""
        tensors = _copied(_learned(member), "member.")
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= _copied(state, f"optimizer.{number}.")
        self._write(self._state, tensors, history)

    def end(self, history: FoldHistory) -> None:
        """Save the history of a member whose training has ended, and keep only the weights of its best epoch."""
        if not self._best.exists():  # no validation: the last finished epoch is the best
            self._write(self._best, _with_prefix(self._tensors(self._state), "member."), None)
        self._write(self._state, {}, history)

    def is_kept(self, *, keep_unfinished: bool) -> bool:
        """Return whether the member is one of a training that the user ends; one that has not finished is ended."""
        history = self.history()
        if history.epochs and not history.has_ended and keep_unfinished:
            self.end(history.ended("hand"))
            return True
        return history.has_ended

    def save_best(self, member: nn.Module) -> None:
        """Save the weights of the best epoch so far."""
        self._write(self._best, _copied(_learned(member), ""), None)

    def restore(self, member: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Load the state after the last finished epoch into a member and its optimizer, on their device."""
        tensors = self._tensors(self._state)
        member.load_state_dict(_frozen(member) | _with_prefix(tensors, "member."))
        content = optimizer.state_dict()
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _with_prefix(tensors, "optimizer.").items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = value
        optimizer.load_state_dict(content | {"state": state})

    def best(self) -> dict[str, Tensor]:
        """Return the weights at the best epoch."""
        return self._tensors(self._best)

    def _tensors(self, path: Path) -> dict[str, Tensor]:
        with self._explained(path):
            return load(path.read_bytes())  # not mapped: Windows replaces no file that is

    def _explained(self, path: Path) -> AbstractContextManager[None]:
        return explained(path, "a checkpoint", TrainingRefused, f"remove {self._state} to train this fold again")

    @staticmethod
    def _write(path: Path, tensors: dict[str, Tensor], history: FoldHistory | None) -> None:
        metadata = {} if history is None else {"history": json.dumps(asdict(history))}
        content = save(tensors, metadata=metadata)
        with replacing(path) as partial:
            partial.write_bytes(content)


def _frozen(member: nn.Module) -> dict[str, Tensor]:
    """Return the weights that are not trained, which are the same in every epoch: no checkpoint has them."""
    return {name: weight.detach() for name, weight in member.named_parameters() if not weight.requires_grad}


def _learned(member: nn.Module) -> dict[str, Tensor]:
    frozen = _frozen(member)
    return {name: value for name, value in member.state_dict().items() if name not in frozen}


def _copied(tensors: dict[str, Any], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: torch.as_tensor(value).detach().cpu().contiguous() for name, value in tensors.items()}


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class TrainedMember:
    """A member with the weights of its best epoch, in evaluation mode, and how it came to them."""

    member: Member
    split: MemberSplit
    history: FoldHistory


def trained_member(
    bags: LabelledBags, split: MemberSplit, options: TrainOptions, checkpoint: FoldCheckpoint
) -> TrainedMember:
    """Read the member that `fit_member` has trained; `TrainingRefused` where its checkpoint is damaged."""
    member = new_member(bags, split, options)
    member.load_state_dict(_frozen(member) | checkpoint.best())
    return TrainedMember(member.eval().requires_grad_(False), split, checkpoint.history())


def predict_bags(member: Member, bags: LabelledBags, patients: NDArray[np.intp], options: TrainOptions) -> Outputs:
    """Return a member's outputs for patients with all their cells, in float32 and in their order."""
    device = find_device(options.device)
    with memory_explained(options):
        network, read = read_by(member.to(device), bags, options, device)
        outputs = run_bags(network, [read.values[p] for p in patients], options.batch_size, device)
    member.cpu()
    if not are_finite(outputs):
        raise TrainingRefused("The outputs of a member are not finite; train again with a smaller --learning-rate.")
    return outputs


@contextmanager
def memory_explained(options: TrainOptions) -> Iterator[None]:
    """Raise `TrainingRefused`, with the options that need less, where memory runs out in the block."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingRefused(
            f"Memory ran out with {options.batch_size} patients of up to {options.max_cells} cells at once; use a "
            "smaller --patients-per-batch (with --accumulate for steps of the same size), or fewer --max-cells."
        ) from error
