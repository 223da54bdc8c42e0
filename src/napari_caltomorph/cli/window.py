"""Windows and displays: whether napari can be shown here, on the display or invisibly (Xvfb).

Each check of OpenGL, and each window, is a process of its own: a broken driver ends that process, not ours.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_XVFB = ("xvfb-run", "-a", "-s", "-screen 0 1280x720x24")

_CHECK = """
from qtpy.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext
app = QGuiApplication([])
context, surface = QOpenGLContext(), QOffscreenSurface()
surface.create()
if not context.create() or not context.makeCurrent(surface):
    raise SystemExit("Qt gets no OpenGL context")
from vispy.gloo import gl
print(gl.glGetParameter(gl.GL_VERSION).split()[0] + ", " + gl.glGetParameter(gl.GL_RENDERER))
"""

_SHOW = """
import sys
from pathlib import Path
from napari_caltomorph.plugin.demo_window import show_demo
show_demo(Path(sys.argv[1]), Path(sys.argv[2]), keep_open=sys.argv[3] == "keep open")
"""

_COUNT = """
import sys
from napari_caltomorph.plugin.demo_window import show_differential
show_differential(*sys.argv[1:])
"""


@dataclass(frozen=True)
class ChildResult:
    """How a child process ended: what it printed, and the line that explains the failure, if it failed."""

    output: str
    error: str | None


def napari_is_here() -> bool:
    """Whether napari is installed."""
    return find_spec("napari") is not None


def has_display() -> bool:
    """Whether this session claims to have a display."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def has_xvfb() -> bool:
    """Whether windows can be drawn without a display."""
    return sys.platform == "linux" and shutil.which(_XVFB[0]) is not None


def check_opengl(*, xvfb: bool) -> ChildResult:
    """Ask Qt for OpenGL on the display, or under Xvfb; the output is its version and renderer."""
    return _run([sys.executable, "-c", _CHECK], xvfb=xvfb, timeout=60)


def show_demo(prediction_folder: Path, screenshot: Path, *, xvfb: bool) -> ChildResult:
    """Open the demo's window and write its screenshot; on the display, wait until the user closes it."""
    command = [sys.executable, "-c", _SHOW, str(prediction_folder), str(screenshot)]
    if not xvfb:
        return _run([*command, "keep open"], xvfb=False)
    # Drawn by software, the first window of a busy machine takes a minute at worst.
    return _run([*command, "close"], xvfb=True, timeout=300)


def problem() -> str | None:
    """Return why napari cannot be shown on the display, and what to do; None where it can."""
    if not napari_is_here():
        return "napari is not installed; run `pip install 'napari-caltomorph[all]'`."
    if not has_display():
        return "there is no display; run this on a machine with one."
    error = check_opengl(xvfb=False).error
    return None if error is None else f"the display cannot show napari ({error}); `caltomorph doctor` says more."


def show_differential(smear: Sequence[Path], probe: Path, labels: Path, compute: str) -> ChildResult:
    """Open a smear with its differential by a probe, and wait until the user closes the window.

    `labels` is a table of labelled cells, and `compute` are `EncodeOptions` as JSON.
    """
    return _run([sys.executable, "-c", _COUNT, str(probe), str(labels), compute, *map(str, smear)], xvfb=False)


def _run(command: list[str], *, xvfb: bool, timeout: float | None = None) -> ChildResult:
    environment = dict(os.environ)
    if xvfb:
        command = [*_XVFB, *command]
        environment.pop("WAYLAND_DISPLAY", None)
        environment["QT_QPA_PLATFORM"] = "xcb"
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, error = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        return ChildResult("", f"no answer within {timeout:.0f} s")
    finally:
        _end(process)
    if process.returncode == 0:
        return ChildResult(output.strip(), None)
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    if not lines:
        return ChildResult(output.strip(), f"ended with code {process.returncode}")
    # Python writes the cause last, Qt and the X server first.
    return ChildResult(output.strip(), lines[-1] if "Traceback" in error else lines[0])


def _end(process: subprocess.Popen[str]) -> None:
    """End the process with all its children: xvfb-run has two."""
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    process.wait()
