"""Damaged and hostile files, a few hundred of each kind: every door reads them, or refuses them with a sentence.

The inputs are the same in every run. ``python -m tests.fuzz`` tries others for as long as one likes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from tests.fuzz.cases import CASES, Case
from tests.fuzz.judge import complaint, opened
from tests.fuzz.sandbox import Sandbox

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes there cannot be waited for with a time limit")

_EXAMPLES = {"images": 180, "zips": 150, "tables": 70, "saved": 180, "h5": 150}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("fuzz")) as one:
        yield one


@pytest.mark.parametrize("kind", CASES)
def test_any_file_is_read_or_refused_with_a_sentence(kind: str, sandbox: Sandbox) -> None:
    @settings(
        max_examples=_EXAMPLES[kind],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(CASES[kind])
    def every(case: Case) -> None:
        wrong = complaint(case, opened(case, sandbox), sandbox)
        assert wrong is None, wrong

    every()
