"""Processes that share work: some on this machine, or those of a Dask scheduler that runs already.

Dask is imported only when it is needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from napari_caltomorph.child_process import processors
from napari_caltomorph.errors import ClusterMissing, import_optional

_CONNECT_SECONDS = 10
# The terminal sends Ctrl-C to all its processes; this process handles it, and closes the workers.
_IGNORE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


@contextmanager
def dask_client(scheduler: str | None, workers: int = 1) -> Generator[Any, None, None]:
    """Yield a Dask client of the scheduler at an address, or of so many processes on this machine.

    Raises `PackageMissing` without Dask, and `ClusterMissing` where no scheduler answers at the address.
    """
    distributed = import_optional("distributed", "cluster", "Work on several processes")
    if scheduler is not None:
        try:
            client = distributed.Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterMissing(
                f"No Dask scheduler answers at {scheduler}; check the address, and that it runs."
            ) from error
        with client:
            yield client
        return
    cluster = distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        # Dask would kill workers whose memory grows; a large network's does.
        memory_limit=0,
        # No dashboard; its HTTP server takes any free port, so that several runs do not meet on 8787.
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": ":0"},
        silence_logs=logging.CRITICAL,
        preload=[_IGNORE_INTERRUPTS],
        env={"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, processors() // workers)))},
    )
    with cluster, distributed.Client(cluster, set_as_default=False) as client:
        yield client


def device_of(worker: object, device: str, gpus: int | None = None) -> str:
    """Return the device of a worker: those of a `LocalCluster` are numbered, and take the GPUs in turn."""
    if device not in ("auto", "cuda") or not isinstance(worker, int):
        return device
    if gpus is None:
        import torch

        gpus = torch.cuda.device_count()
    return f"cuda:{worker % gpus}" if gpus > 1 else device
