"""A process that opens files for the fuzz tests, so that a file that hangs or kills it ends no test run.

The process reports what each file did: read, refused with a sentence, or worse. It notes every code that a file made it
run, every file written elsewhere and every connection, by Python's audit events.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import select
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]

# A tiny file that takes so long is one that hangs. CPU seconds, since other programs use the machine too; and seconds
# for what waits without computing, such as a pipe.
CPU_LIMIT = 20.0
WAIT_LIMIT = 120.0
MEMORY_LIMIT = 1_500_000_000
# Beyond this the process gets a MemoryError: the machine must survive a bomb.
_HARD_MEMORY_LIMIT = 6 * 2**30
# A new process from time to time, so that what one input leaves behind cannot explain another's result.
_INPUTS_A_PROCESS = 3000


@dataclass(frozen=True)
class Outcome:
    """What one input did."""

    kind: str  # read, refused, crashed, escaped, hung or died
    text: str = ""  # The sentence, the traceback, or what it did outside of its folder
    seconds: float = 0.0  # CPU seconds
    peak: int = 0  # Bytes, above what the process had before


class Sandbox:
    """The process; ``scratch`` is the only folder in which it may write, and a module's ``DOORS`` are what it opens."""

    def __init__(self, scratch: Path, doors: str = "tests.fuzz.doors", cpu_limit: float = CPU_LIMIT) -> None:
        self.scratch, self._doors, self._cpu_limit = scratch, doors, cpu_limit
        self._process: subprocess.Popen[str] | None = None
        self._inputs = 0

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def open(self, door: str, path: Path) -> Outcome:
        """Let the process open `path` by one of the doors."""
        if self._process is None or self._inputs >= _INPUTS_A_PROCESS:
            self._start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        self._inputs += 1
        try:
            process.stdin.write(json.dumps([door, str(path)]) + "\n")
            process.stdin.flush()
            return self._answer(process)
        except BrokenPipeError:
            return self._death(process)

    def _answer(self, process: subprocess.Popen[str]) -> Outcome:
        assert process.stdout is not None
        began, cpu_before = time.monotonic(), _cpu_seconds(process.pid)
        while not select.select([process.stdout], [], [], 1.0)[0]:
            cpu = _cpu_seconds(process.pid) - cpu_before
            if cpu > self._cpu_limit or time.monotonic() - began > WAIT_LIMIT:
                self._stop()
                return Outcome("hung", f"no end after {cpu:.0f} s of CPU", cpu)
        line = process.stdout.readline()
        return Outcome(**json.loads(line)) if line else self._death(process)

    def _death(self, process: subprocess.Popen[str]) -> Outcome:
        code = process.wait()
        self._stop()
        return Outcome("died", f"exit code {code}\n{(self.scratch / 'stderr.txt').read_text(errors='replace')[-3000:]}")

    def _start(self) -> None:
        self._stop()
        environment = os.environ | {
            "CALTOMORPH_HOME": str(self.scratch / "home"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
            "OMP_NUM_THREADS": "1",
        }
        with (self.scratch / "stderr.txt").open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.sandbox", str(self.scratch), self._doors],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )
        self._inputs = 0
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError((self.scratch / "stderr.txt").read_text())

    def _stop(self) -> None:
        if (process := self._process) is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        self._process = None


def _cpu_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _serve(scratch: Path, doors: str) -> None:
    """Answer requests until the input ends."""
    import resource

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    faulthandler.enable()
    functions = importlib.import_module(doors).DOORS
    if taken := _status("VmSize", [os.getpid()]):
        resource.setrlimit(resource.RLIMIT_AS, (taken + _HARD_MEMORY_LIMIT, taken + _HARD_MEMORY_LIMIT))
    escapes: list[str] = []
    sys.addaudithook(lambda event, details: _notice(event, details, scratch, escapes))
    print("ready", file=answers, flush=True)
    for request in sys.stdin:
        door, path = json.loads(request)
        escapes.clear()
        family = _family()
        _forget_peak(family)
        before, began = _status("VmRSS", family), time.process_time()
        kind, text = _opened(functions[door], Path(path))
        seconds, peak = time.process_time() - began, max(0, _status("VmHWM", _family()) - before)
        if escapes:
            kind, text = "escaped", "; ".join(escapes)
        print(
            json.dumps({"kind": kind, "text": text, "seconds": seconds, "peak": peak}),
            file=answers,
            flush=True,
        )


def _opened(door: Any, path: Path) -> tuple[str, str]:
    from napari_caltomorph.errors import CaltomorphError

    try:
        door(path)
    except CaltomorphError as error:
        return "refused", str(error)
    except BaseException:  # noqa: BLE001 (the point is to report whatever it is)
        return "crashed", traceback.format_exc()[-4000:]
    return "read", ""


# The process in which we read HDF5, for the same reason as these tests have one.
_OUR_READER = "napari_caltomorph.encoding.h5_process"
_CODE_EVENTS = (
    "pickle.find_class",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "subprocess.Popen",
    "ctypes.dlopen",
)
_NETWORK_EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind", "urllib.Request")
_CHANGE_EVENTS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")


def _notice(event: str, details: tuple[Any, ...], scratch: Path, escapes: list[str]) -> None:
    if event == "subprocess.Popen" and _OUR_READER in details[1]:
        return
    if event in _CODE_EVENTS or event in _NETWORK_EVENTS:
        escapes.append(f"{event} {details!r:.200}")
    elif event == "open" and _is_writing(*details[1:3]) and _is_outside(details[0], scratch):
        escapes.append(f"wrote {details[0]!r:.200}")
    elif event in _CHANGE_EVENTS and any(_is_outside(path, scratch) for path in _changed(event, details)):
        escapes.append(f"{event} {details!r:.200}")


def _changed(event: str, details: tuple[Any, ...]) -> list[Any]:
    """Return the paths that an event changes; a removal may name the folder by an open file."""
    if event in ("os.remove", "os.rmdir") and details[1] >= 0:
        return [Path(f"/proc/self/fd/{details[1]}").resolve() / details[0]]
    return list(details[: 2 if event in ("os.rename", "os.link") else 1])


def _is_writing(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _is_outside(path: Any, scratch: Path) -> bool:
    if not isinstance(path, str | bytes | os.PathLike):
        return False  # a file that is open already
    real = os.path.realpath(os.fsdecode(path))
    return not f"{real}/".startswith((f"{scratch}/", "/dev/null/", "/proc/"))


def _family() -> list[int]:
    """Return this process and those that it has started, by their numbers."""
    family = [os.getpid()]
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended meanwhile
            family += map(int, path.read_text().split())
    return family


def _status(name: str, pids: list[int]) -> int:
    """Return a number of bytes from the status of processes, in all; 0 where the system has no such file."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
    return total


def _forget_peak(pids: list[int]) -> None:
    for pid in pids:
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="utf-8")


if __name__ == "__main__":
    _serve(Path(sys.argv[1]).resolve(), sys.argv[2])
