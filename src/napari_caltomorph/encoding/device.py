"""Where to compute and how precisely, as requested and as this machine allows."""

from __future__ import annotations

import torch

from napari_caltomorph.encoding.options import Precision
from napari_caltomorph.errors import DeviceMissing

# Metal's words, and the CPU allocator's on Linux and on Windows; CUDA has a class of its own.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def find_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; `DeviceMissing` where there is none."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = name.partition(":")
    # torch wraps a number around at 256, so that cuda:256 would be cuda:0.
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise DeviceMissing(f"There is no {name} here ({count} CUDA devices); use --device auto or cpu.")
    device = torch.device(name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceMissing("There is no mps device here; use --device auto or cpu.")
    return device


def find_precision(name: Precision, device: torch.device) -> torch.dtype:
    """Return the dtype for a precision; ``auto`` is bf16 where the hardware computes in it.

    CPUs without AVX512-BF16 or AMX only emulate bf16, and are slower with it than in float32.
    """
    if name == "auto":
        return torch.bfloat16 if has_bf16(device) else torch.float32
    return torch.bfloat16 if name == "bf16" else torch.float32


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bf16 natively."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # torch offers no public question; versions that lack one of these functions do not use the unit either.
        probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the machine, has no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)
