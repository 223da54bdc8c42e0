"""PyTorch is imported in a thread; here it is a small package that takes its time, or is broken."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SLOW = "import time; time.sleep(0.4)"
BROKEN = "raise ImportError('libcudart.so: cannot open shared object file')"


@pytest.fixture
def run_with(tmp_path: Path):
    """``run_with(SLOW, script)``: run a script in a process where `import torch` runs some code; return its output."""

    def run(torch: str, script: str) -> list[str]:
        for package, code in {"triton": "", "torch": torch, "timm": "print('timm')"}.items():
            (tmp_path / f"{package}.py").write_text(code)
        start = f"import sys; sys.path.insert(0, {str(tmp_path)!r})"
        names = "from napari_caltomorph.encoding.torch_loading import load_torch, start_loading_torch"
        script = f"{start}\n{names}\n{textwrap.dedent(script)}"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    return run


def test_who_needs_torch_waits_for_the_thread_that_imports_it(run_with):
    script = """
        import gc
        start_loading_torch()
        reports = []
        load_torch(reports.append)
        print("torch" in sys.modules, len(reports) > 1, gc.isenabled())
        """
    assert run_with(SLOW, script) == ["timm", "True True True"]


def test_waiting_can_be_cancelled_and_the_import_goes_on(run_with):
    script = """
        from napari_caltomorph.progress import Cancelled
        def cancel(progress): raise Cancelled
        try: load_torch(cancel)
        except Cancelled: print("cancelled")
        load_torch()
        """
    assert run_with(SLOW, script) == ["cancelled", "timm"]


def test_the_error_of_the_import_reaches_the_one_who_waits_and_a_repaired_package_is_imported(run_with, tmp_path):
    script = f"""
        for attempt in range(2):
            try: load_torch()
            except ImportError as error: print(error)
            open({str(tmp_path / "torch.py")!r}, "w").close()
        """
    assert run_with(BROKEN, script) == ["libcudart.so: cannot open shared object file", "timm"]


def test_the_process_ends_during_the_import_without_importing_more(run_with):
    assert run_with(SLOW, "start_loading_torch()") == []


def test_a_panel_shows_that_torch_cannot_be_imported(run_with, monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    script = """
        from qtpy.QtWidgets import QApplication
        from napari_caltomorph.plugin.widgets.task_row import TaskRow
        app, row = QApplication([]), TaskRow("Predict")
        row.start(load_torch, print)
        while row.is_busy: app.processEvents()
        print(row.text)
        """
    (shown,) = [line for line in run_with(BROKEN, script) if "Unexpected" in line]
    assert "libcudart.so" in shown
