"""Importing PyTorch and timm, which takes seconds: before they are needed, and without a window that stands still.

A panel starts it in a thread when it opens; the worker of a click waits for that thread, and can be cancelled there.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait

from napari_caltomorph.progress import Cancelled, OnProgress, Progress, ignore

_lock = threading.Lock()
_loading: Future[None] | None = None


def start_loading_torch() -> Future[None]:
    """Start to import PyTorch and timm in a thread, if that was not started before."""
    global _loading
    with _lock:
        if _loading is None:
            _loading = Future()
            threading.Thread(target=_load, args=(_loading,), name="import torch").start()
        return _loading


def load_torch(progress: OnProgress = ignore) -> None:
    """Wait until PyTorch and timm are imported; call it in a worker, before anything that imports them.

    The error of an import is raised here. The next call tries again: a package may have been installed meanwhile.
    """
    global _loading
    loading = start_loading_torch()
    while not loading.done():
        progress(Progress("Loading PyTorch", 0, 1, "packages"))
        wait([loading], timeout=0.1)
    if loading.exception() is not None:
        with _lock:
            _loading = None
    loading.result()


@contextlib.contextmanager
def no_collecting() -> Iterator[None]:
    """Import much in this block, in three quarters of the time.

    So many new objects make Python look for garbage several times, and there is none. Other threads, and with them the
    window, would wait up to 0.4 s each time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def import_torch() -> None:
    """Import PyTorch and timm in this thread."""
    with no_collecting():
        for name in ("torch", "timm"):
            if not threading.main_thread().is_alive():
                raise Cancelled  # the process ends, and waits for this thread: no longer than for one package
            importlib.import_module(name)


def _load(loading: Future[None]) -> None:
    try:
        _load_triton()
        import_torch()
    except BaseException as error:  # noqa: BLE001 (whatever a broken package raises belongs to the one who waits)
        loading.set_exception(error)
    else:
        loading.set_result(None)


def _load_triton() -> None:
    """Load triton, which torch imports, so that it uses its own LLVM.

    Mesa's drivers (llvmpipe, AMD) load LLVM with global symbols. triton contains another LLVM and exports the same
    names (seen with 3.7 and 3.8). Importing it after the first window is drawn ends the process with a segmentation
    fault. With deep binding its library prefers its own symbols.
    """
    is_needed = sys.platform == "linux" and "triton" not in sys.modules and importlib.util.find_spec("triton")
    if not is_needed:
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
    try:
        import triton  # noqa: F401
    finally:
        sys.setdlopenflags(flags)
