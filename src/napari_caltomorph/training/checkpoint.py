"""Where a member's training stands after each epoch, so that it goes on from there after any end.

Two safetensors files, each written whole or not at all: the best weights so far, and all that the next epoch needs.
Random numbers are drawn from seeds that name the epoch, so they need not be kept.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from napari_caltomorph.diagnosis.model_file import StoppedBy
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.storage import replacing


@dataclass(frozen=True)
class FoldHistory:
    """What a member has been through.

    Attributes
    ----------
    train_loss, validation_loss : tuple of float
        One an epoch; the latter is empty where nothing is validated on.
    best_epoch : int
        Finished epochs when the weights that are kept were reached.
    seconds : float
    stopped_by : StoppedBy or None
        None while it goes on.
    """

    train_loss: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()
    best_epoch: int = 0
    seconds: float = 0.0
    stopped_by: StoppedBy | None = None

    @property
    def epochs(self) -> int:
        """Finished epochs."""
        return len(self.train_loss)

    def ended(self, stopped_by: StoppedBy) -> FoldHistory:
        """Return it with the reason why it does not go on."""
        return replace(self, stopped_by=stopped_by)


def has_begun(folder: Path) -> bool:
    """Whether there is an epoch to go on from."""
    return any(folder.glob("fold_*.state.safetensors"))


class FoldCheckpoint:
    """The files of one member in a training's folder."""

    def __init__(self, folder: Path, fold: int) -> None:
        self._state = folder / f"fold_{fold}.state.safetensors"
        self._best = folder / f"fold_{fold}.best.safetensors"

    def history(self) -> FoldHistory:
        """Return what the member has been through; reads no weights, so it may be asked often."""
        try:
            with safe_open(self._state, framework="pt") as file:
                content = json.loads(file.metadata()["history"])
            return FoldHistory(**content | {name: tuple(content[name]) for name in ("train_loss", "validation_loss")})
        except FileNotFoundError:
            return FoldHistory()
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(self._state, error) from error

    def save(self, history: FoldHistory, member: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Keep all that the next epoch needs."""
        tensors = _copied(member.state_dict(), "member.")
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= _copied(state, f"optimizer.{number}.")
        self._write(self._state, tensors, history)

    def end(self, history: FoldHistory) -> None:
        """Keep the history of a member that does not go on, and of its weights only those of the best epoch."""
        if not self._best.exists():  # nothing was validated on: they are those of the last finished epoch
            self._write(self._best, _part(load_file(self._state), "member."), None)
        self._write(self._state, {}, history)

    def end_by_hand(self) -> None:
        """Let a member that has finished an epoch, and was stopped, be what it is."""
        history = self.history()
        if history.stopped_by is None:
            self.end(history.ended("hand"))

    def save_best(self, member: nn.Module) -> None:
        """Keep weights that are better than those before."""
        self._write(self._best, _copied(member.state_dict(), ""), None)

    def restore(self, member: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put the state after the last finished epoch into a member and its optimizer, on their device."""
        tensors = self._tensors(self._state)
        member.load_state_dict(_part(tensors, "member."))
        content = optimizer.state_dict()
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _part(tensors, "optimizer.").items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = value
        optimizer.load_state_dict(content | {"state": state})

    def best(self) -> dict[str, Tensor]:
        """Return the weights at the best epoch."""
        return self._tensors(self._best)

    def _tensors(self, path: Path) -> dict[str, Tensor]:
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise self._damaged(path, error) from error

    def _damaged(self, path: Path, error: Exception) -> TrainingRefused:
        return TrainingRefused(f"{path} is damaged ({error}); remove {self._state} to train this fold anew.")

    @staticmethod
    def _write(path: Path, tensors: dict[str, Tensor], history: FoldHistory | None) -> None:
        metadata = {} if history is None else {"history": json.dumps(asdict(history))}
        content = save(tensors, metadata=metadata)
        with replacing(path) as part:
            part.write_bytes(content)


def _copied(tensors: dict[str, Any], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: torch.as_tensor(value).detach().cpu().contiguous() for name, value in tensors.items()}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
