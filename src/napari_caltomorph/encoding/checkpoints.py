"""Reading a weights file without running anything in it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_caltomorph.errors import WeightsRefused, first_line
from napari_caltomorph.stand_ins import stand_in

if TYPE_CHECKING:
    import torch

    StateDict = dict[str, torch.Tensor]

# DinoBloom's and GenBloom's, and those of training scripts; averages of weights come before the last ones, as timm
# takes them.
_WRAPPINGS = ("teacher", "vision_model", "state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")


def read_checkpoint(path: Path) -> StateDict:
    """Read the tensors of a ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file; nothing in it is ever run.

    Raises `WeightsRefused` where the file is damaged, contains no tensors, or contains code.
    """
    import pickle

    import torch

    entries: Any
    try:
        if path.suffix.lower() == ".safetensors":
            entries = _read_safetensors(path)
        else:
            entries = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an untrusted file may raise anything in a parser
        if sentence := stand_in(path, "the weights"):
            raise WeightsRefused(sentence) from error
        if isinstance(error, pickle.UnpicklingError):
            raise WeightsRefused(
                f"{path} holds more than weights, or is damaged: it was not opened. Get the file from its authors "
                "again."
            ) from error
        raise WeightsRefused(f"{path} is no weights file that can be read ({first_line(error)}).") from error
    for wrapping in _WRAPPINGS:
        if isinstance(entries, dict) and isinstance(entries.get(wrapping), dict):
            entries = entries[wrapping]
    if not isinstance(entries, dict):
        raise WeightsRefused(f"{path} holds a {type(entries).__name__}, no table of weights.")
    tensors = {str(key): value for key, value in entries.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise WeightsRefused(f"{path} holds no weights.")
    return tensors


def as_is(weights: StateDict) -> StateDict:
    """Take timm's own names."""
    return weights


def in_order_to_timm(weights: StateDict, architecture: str) -> StateDict:
    """Another library's names of the same network -> timm's, entry by entry; the order is the same."""
    import timm
    import torch

    with torch.device("meta"):
        model = timm.create_model(architecture)
    expected = model.state_dict()
    if [w.shape for w in weights.values()] != [w.shape for w in expected.values()]:
        return weights
    pairs = zip(expected, weights.values(), strict=True)
    return {key: value for key, value in pairs if not key.startswith("classifier.")}


def tensors_sha256(weights: StateDict) -> str:
    """Return the SHA-256 over names, shapes and float32 values, sorted by name.

    The same weights have the same sum whichever file form holds them, so that features made from the original
    checkpoint and from its safetensors copy are known to be the same.
    """
    import torch

    digest = hashlib.sha256()
    for key in sorted(weights):
        value = weights[key].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{key}{tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def _read_safetensors(path: Path) -> StateDict:
    from safetensors.torch import load, load_file

    try:
        str(path).encode()
    except UnicodeEncodeError:  # the library opens no path that is not text
        return load(path.read_bytes())
    return load_file(path)
