"""Real smears, models and processes for the tests of the terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from napari_caltomorph.cli import main
from napari_caltomorph.diagnosis import ModelDescription, TrainingRecord, TransformerOptions
from napari_caltomorph.diagnosis.model_file import EncoderNeed, MemberFile, Threshold
from napari_caltomorph.encoding import ENCODERS, verify_weights
from napari_caltomorph.synthetic import synthesize_patient, write_smear
from napari_caltomorph.taxonomy import caltomorph_taxonomy

# Two of torch's threads on a machine that does other work as well wait for each other: fifty times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

COMMAND = [sys.executable, "-m", "napari_caltomorph.cli"]


class Ended(NamedTuple):
    """How a verb ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


def without_progress(text: str) -> str:
    """Return what is on standard error without the lines that say how far a long run is: a slow machine has some."""
    return re.sub(r"^[A-Z][^\n]*: \d+/\d+ [^\n]*\n", "", text, flags=re.MULTILINE)


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns without a display."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a verb in this process."""

    def run(*arguments: str | os.PathLike[str]) -> Ended:
        capsys.readouterr()
        code = main([os.fspath(a) for a in arguments])
        said = capsys.readouterr()
        return Ended(code, said.out, without_progress(said.err))

    return run


@pytest.fixture
def run_process() -> Run:
    """Run a verb in a process of its own, as a person does."""

    def run(*arguments: str | bytes | os.PathLike[str], **environment: str) -> Ended:
        done = subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=120,
            env=os.environ | environment,
            check=False,
        )
        return Ended(done.returncode, done.stdout, without_progress(done.stderr))

    return run


@pytest.fixture(scope="session")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One patient of 12 cells."""
    folder = tmp_path_factory.mktemp("smears") / "smear_a"
    write_smear(synthesize_patient("aml", cells=12, seed=1), folder)
    return folder


@pytest.fixture(scope="session")
def large_smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One patient of 200 cells: enough for the work to last."""
    folder = tmp_path_factory.mktemp("smears") / "large"
    write_smear(synthesize_patient("cml", cells=200, seed=2), folder)
    return folder


@pytest.fixture(scope="session")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two patients."""
    folder = tmp_path_factory.mktemp("patients")
    for seed, name in enumerate(("p1", "p2")):
        write_smear(synthesize_patient("cll", cells=6, seed=seed), folder / name)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights on the shipped encoder."""
    encoder = ENCODERS["demo-vit"]
    return _make_model(tmp_path_factory.mktemp("models") / "tiny", "demo-vit", verify_weights(encoder).weights_sha256)


@pytest.fixture(scope="session")
def dinobloom_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose encoder's weights are not on this machine."""
    return _make_model(tmp_path_factory.mktemp("models") / "on_dinobloom", "dinobloom-b", "0" * 64)


def _make_model(folder: Path, encoder: str, weights_sha256: str) -> Path:
    from napari_caltomorph.diagnosis import Ensemble
    from napari_caltomorph.diagnosis.model_folder import build_member

    known = ENCODERS[encoder]
    assert known.width is not None
    description = ModelDescription(
        name=folder.name,
        description="Random weights, for the tests.",
        synthetic=False,
        created="2026-01-01T00:00:00+00:00",
        encoder=EncoderNeed(
            name=encoder,
            weights_sha256=weights_sha256,
            preprocessing=str(known.preprocessing),
            width=known.width,
        ),
        field_of_view_um=25.0,
        taxonomy=caltomorph_taxonomy(),
        hemoglobin=None,
        aggregator=TransformerOptions(depth=1, heads=2, width=32, mlp_width=32),
        classifier_width=16,
        threshold=Threshold(value=0.4, rule="Youden", cohort="the test cohort"),
        training=TrainingRecord(recipe="none", options={}, cohort="nobody", patients={}, seconds=0, machine="none"),
        members=(MemberFile(file="fold_0.safetensors", sha256="0" * 64),),
        library_versions={},
    )
    Ensemble(description, (build_member(description),)).save(folder)
    return folder
