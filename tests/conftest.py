"""Fixtures for every room: a home of its own for each test, and small real exports on disk."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from tests.hub_server import Hub, serving

PIXEL_SIZE_UM = 25 / 144

# Time is measured in benchmarks, and no test fails because the machine is busy.
settings.register_profile(
    "timeless", settings(deadline=None, suppress_health_check=[*settings().suppress_health_check, HealthCheck.too_slow])
)
settings.load_profile("timeless")

# A shell ignores Ctrl-C in what it starts in the background, and so would all programs that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# UMAP compiles for 15 s in each process. Without it, maps are a PCA; tests/test_umap.py is with it.
sys.modules.setdefault("umap", None)  # type: ignore[arg-type]

# Where tests marked `cuda` run. Another device tries the tests themselves; then nothing is shown about CUDA.
CUDA = os.environ.get("CALTOMORPH_CUDA_TESTS_ON", "cuda")

MakeCell = Callable[..., NDArray[np.uint8]]
MakeExport = Callable[..., Path]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if CUDA == "cuda" and item.get_closest_marker("cuda") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device on this machine")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the package keeps weights, models and caches during this test."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("CALTOMORPH_HOME", str(folder))
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A server on this machine in the place of the Hugging Face Hub, for a user who has never logged in."""
    with serving() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN_PATH", "/nonexistent")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


@pytest.fixture(scope="session")
def cuda() -> str:
    """The device of tests marked `cuda`."""
    return CUDA


@pytest.fixture(scope="session")
def make_cell() -> MakeCell:
    """``make_cell(seed=0, height=144, width=None)``: (H, W, 3) uint8, a sharp, stained cell unlike any other."""
    return _cell


@pytest.fixture(scope="session")
def make_export() -> MakeExport:
    """``make_export(folder, cells=12, seed=0)``: a folder as a Metafer scanner exports it; returns the folder."""

    def export(folder: Path, cells: int = 12, seed: int = 0) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, cells + 1):
            write_cell_tiff(folder / f"Gal-{number:06d}.RGB.TIF", _cell(seed * 10_000 + number))
        return folder

    return export


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real images beside the checkout; a test that asks for them is skipped where they are absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}")
    return folder


def write_cell_tiff(path: Path, image: NDArray[np.uint8]) -> None:
    per_cm = 10_000 / PIXEL_SIZE_UM
    tifffile.imwrite(path, image, photometric="rgb", resolution=(per_cm, per_cm), resolutionunit="CENTIMETER")


def _cell(seed: int = 0, height: int = 144, width: int | None = None) -> NDArray[np.uint8]:
    width = width or height
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    center_y, center_x = height * rng.uniform(0.45, 0.55), width * rng.uniform(0.45, 0.55)
    distance = np.hypot(y - center_y, x - center_x) / min(height, width)
    image = np.empty((height, width, 3))
    image[:] = (225, 205, 215)
    image[distance < 0.4] = (190, 160, 205)
    image[distance < rng.uniform(0.2, 0.3)] = (95, 45, 135)
    return np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
