"""The checkpoint of a member: it is written after each epoch, and training resumes from it after any interruption.

It is two safetensors files, each written whole or not at all: the best weights so far, and all that the next epoch
needs. Random numbers come from seeds of the epoch, so no generator's state is saved.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.storage import replacing
from napari_caltomorph.training.progress import FoldHistory


class FoldCheckpoint:
    """The checkpoint files of one member in the folder of a training."""

    def __init__(self, folder: Path, fold: int) -> None:
        self._state = folder / f"fold_{fold}.state.safetensors"
        self._best = folder / f"fold_{fold}.best.safetensors"

    def history(self) -> FoldHistory:
        """Return the member's finished epochs; it reads no weights, so it is fast."""
        try:
            with safe_open(self._state, framework="pt") as file:
                content = json.loads(file.metadata()["history"])
            return FoldHistory(**content | {name: tuple(content[name]) for name in ("train_loss", "validation_loss")})
        except FileNotFoundError:
            return FoldHistory()
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(self._state, error) from error

    def save(self, history: FoldHistory, member: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Save all that the next epoch needs."""
        tensors = _copied(member.state_dict(), "member.")
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= _copied(state, f"optimizer.{number}.")
        self._write(self._state, tensors, history)

    def end(self, history: FoldHistory) -> None:
        """Save the history of a member whose training has ended, and keep only the weights of its best epoch."""
        if not self._best.exists():  # no validation: the last finished epoch is the best
            self._write(self._best, _with_prefix(load_file(self._state), "member."), None)
        self._write(self._state, {}, history)

    def end_by_hand(self) -> bool:
        """End a member that the user stopped; return whether it has finished an epoch, and so has weights."""
        history = self.history()
        if history.epochs and not history.has_ended:
            self.end(history.ended("hand"))
        return history.epochs > 0

    def save_best(self, member: nn.Module) -> None:
        """Save the weights of the best epoch so far."""
        self._write(self._best, _copied(member.state_dict(), ""), None)

    def restore(self, member: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Load the state after the last finished epoch into a member and its optimizer, on their device."""
        tensors = self._tensors(self._state)
        member.load_state_dict(_with_prefix(tensors, "member."))
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
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise self._damaged(path, error) from error

    def _damaged(self, path: Path, error: Exception) -> TrainingRefused:
        return TrainingRefused(f"{path} is damaged ({error}); remove {self._state} to train this fold again.")

    @staticmethod
    def _write(path: Path, tensors: dict[str, Tensor], history: FoldHistory | None) -> None:
        metadata = {} if history is None else {"history": json.dumps(asdict(history))}
        content = save(tensors, metadata=metadata)
        with replacing(path) as partial:
            partial.write_bytes(content)


def _copied(tensors: dict[str, Any], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: torch.as_tensor(value).detach().cpu().contiguous() for name, value in tensors.items()}


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
