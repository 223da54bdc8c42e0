"""Processes that do one thing for this one, asked through pipes, and that can be ended at any time.

They run a module of ours; the script that started this process is not imported there, so that it needs no guard.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

_PIPE_BYTES = 2**20


def processors() -> int:
    """Return how many processors this process may use: on a cluster, fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_process(module: str, *arguments: str, pass_fds: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Run a module of ours in another process, with pipes to its input and from its output.

    Its input ends when this process does, however that happens: the module must end then. The terminal's Ctrl-C is for
    this process only.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pipesize=_PIPE_BYTES,
        pass_fds=pass_fds,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
