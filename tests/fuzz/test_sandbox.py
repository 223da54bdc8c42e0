"""Whatever a door does besides reading a file is noticed."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from tests.fuzz.bad_doors import MEGABYTES
from tests.fuzz.sandbox import Sandbox

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes there cannot be waited for with a time limit")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    scratch = tmp_path_factory.mktemp("outside") / "scratch"
    scratch.mkdir()
    (scratch / "a.txt").write_text("a")
    with Sandbox(scratch, "tests.fuzz.bad_doors", cpu_limit=1) as one:
        yield one


@pytest.mark.parametrize(
    ("door", "kind", "text"),
    [
        ("reads", "read", ""),
        ("refuses", "refused", "a.txt is no good"),
        ("raises", "crashed", "IndexError"),
        ("runs", "escaped", "os.system"),
        ("unpickles", "escaped", "pickle.find_class"),
        ("writes", "escaped", "outside"),
        ("removes", "escaped", "outside"),
        ("connects", "escaped", "socket.connect"),
        ("dies", "died", "exit code -11"),
        ("computes", "hung", "no end"),
    ],
)
def test_what_a_door_does_is_noticed(sandbox: Sandbox, door: str, kind: str, text: str) -> None:
    outcome = sandbox.open(door, sandbox.scratch / "a.txt")
    assert (outcome.kind, text in outcome.text) == (kind, True), outcome


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the most memory of a while")
def test_the_most_memory_is_measured_for_each_input(sandbox: Sandbox) -> None:
    assert sandbox.open("remembers", sandbox.scratch / "a.txt").peak > 0.9 * MEGABYTES * 10**6
    assert sandbox.open("reads", sandbox.scratch / "a.txt").peak < 50e6
