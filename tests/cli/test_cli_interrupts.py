"""Ctrl-C, or being asked to end, at any import and at the end: an exit code and no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from napari_caltomorph.errors import CaltomorphError, bounded, visible

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")


def ended(moment: str, number: str = "SIGINT") -> subprocess.CompletedProcess[str]:
    """Run what the installed command runs, with a signal when a module is imported, or at the end."""
    script = f"""
        import atexit, importlib.abc, os, signal, sys
        from caltomorph_command import main

        def send():
            os.kill(os.getpid(), signal.{number})

        class AtImport(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name == {moment!r}:
                    send()

        sys.meta_path.insert(0, AtImport())
        if {moment!r} == "the end":
            atexit.register(send)
        sys.argv[1:] = ["--version"]
        sys.exit(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("module", ["lazy_loader", "napari_caltomorph.cli.interrupts", "rich", "cyclopts"])
def test_ctrl_c_at_an_import_is_no_traceback(module):
    done = ended(module)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_being_asked_to_end_is_the_code_that_shells_use():
    assert ended("rich", "SIGTERM").returncode == 128 + signal.SIGTERM


def test_ctrl_c_after_the_result_is_ignored():
    done = ended("the end")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def test_ctrl_c_while_torch_is_imported_stops_after_it(tmp_path):
    (tmp_path / "torch.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\nprint('whole')")
    script = """
        from napari_caltomorph.cli.interrupts import catching_interrupts, stop_if_interrupted
        from napari_caltomorph.progress import Cancelled

        with catching_interrupts(to_the_end=True) as interrupts:
            import torch
            try:
                stop_if_interrupted()
            except Cancelled:
                print(interrupts.exit_code)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["whole", "130"], "")


def test_names_from_others_do_not_control_the_terminal(run, tmp_path):
    name = "a\x1b[2J\x1b]0;title\x07\r\x9b31m\u202egpj.exe"
    code, out, err = run("predict", tmp_path / name, "--model", "demo", "--out", tmp_path / "results")
    assert code == 2
    assert err.count("\n") == 1
    assert not set(out + err) & set("\x1b\x07\r\x9b\u202e")
    assert r"a\x1b[2J" in err


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "a", "--model", "demo", "--out"),
        ("predict", "a", "--out", "o", "--model"),
        ("differential", "--out", "o"),
        ("models", "export", "demo"),
        ("synth",),
    ],
)
def test_name_that_no_disk_takes_is_one_line(run, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*words, "x" * 300)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "x" * 100 in err
    assert not list(tmp_path.iterdir())


def test_long_error_is_bounded_and_names_file_and_fix():
    path = "/data" + "/folder" * 500 + "/smear.zip"
    message = str(CaltomorphError(f"{path} is damaged ({'x ' * 5000}); export it again."))
    assert len(message) < 1100
    assert "smear.zip is damaged" in message
    assert message.endswith("export it again.")


def test_ordinary_message_stays_as_it_is():
    message = "/data/Müller µ/cells.zip is damaged; export it again ('a' ... 'b')."
    assert str(CaltomorphError(message)) == bounded(message) == visible(message) == message
