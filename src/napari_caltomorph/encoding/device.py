"""Where to compute and how precisely, as requested and as this machine allows; and how data get there and back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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


def cells_at_once(device: torch.device) -> int:
    """Return how many cells fill a device, and are few enough that a person who cancels waits a moment only.

    Eight of DinoBloom-B take a CPU a second, and more at once are no faster. Two for each multiprocessor of a GPU make
    matrices that are large enough, and smaller GPUs get fewer.
    """
    if device.type == "cuda":
        return 2 * int(torch.cuda.get_device_properties(device).multi_processor_count)
    return 8 if device.type == "cpu" else 32


def free_memory(device: torch.device) -> int:
    """Return the free bytes of a CUDA device, with those that this process keeps for new tensors."""
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + int(kept)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on a device; on CUDA, the copy from the host is only queued, and nothing waits for it.

    Metal gets plain copies: with non_blocking, torch reads memory that was released (pytorch/pytorch#189690).
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # torch keeps pinned memory until it is copied


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def on_the_way(tensor: Tensor) -> Callable[[], NDArray[np.float32]]:
    """Return a function that waits for a float32 tensor to be computed and copied to the host, and returns it.

    Only CUDA computes meanwhile; of other devices the numbers are there at once.
    """
    if tensor.device.type != "cuda":
        values = np.asarray(tensor.cpu().numpy())
        return lambda: values
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
    # It sleeps: a waiting loop would take a core from those who read images.
    copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    copied.record(torch.cuda.current_stream(tensor.device))

    def wait() -> NDArray[np.float32]:
        copied.synchronize()
        return np.array(host.numpy())  # a copy, so that the pinned memory is used again

    return wait


def full_float32(device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which float32 convolutions are float32: cuDNN rounds them to TF32 by default."""
    if device.type != "cuda":
        return nullcontext()
    return cast(AbstractContextManager[None], torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
