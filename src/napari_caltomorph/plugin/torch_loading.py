"""Loading torch into a process that draws with OpenGL."""

from __future__ import annotations

import importlib.util
import os
import sys


def prepare_torch_import() -> None:
    """Load triton, which torch imports, so that it uses its own LLVM; call it before torch is imported.

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
