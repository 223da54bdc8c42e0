"""Whether a GPU computes what a CPU does, and how near to its limit the package runs there; under 8 minutes.

    python benchmarks/gpu.py                          on the GPU
    python benchmarks/gpu.py --device cpu --tiny      whether the script itself runs: 40 s, its times mean nothing

Cells are synthetic and weights random: speed does not depend on them. Each section has a time limit, and prints its
rows of one Markdown table at once, so that a run that is broken off is useful. `--only` runs some of the sections. The
limit of the device is what a large bf16 matrix product reaches there. The exit status is 1 where a check failed.
"""

from __future__ import annotations

import argparse
import copy
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from speed import machine, paper_size_ensemble
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from training import CELLS, EPOCHS, FOLDS, PATIENTS, WIDTH, synthetic_bags

from napari_caltomorph.cohort import Cohort, EncodeCohortOptions, encode_cohort, with_types
from napari_caltomorph.cohort.splits import split
from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.encoding import EncodeOptions, Features, LoadedEncoder, find_encoder, load_encoder
from napari_caltomorph.encoding.device import find_device, find_precision, wait_for
from napari_caltomorph.encoding.load import build_module
from napari_caltomorph.progress import Progress
from napari_caltomorph.synthetic import SynthOptions, synthesize_patient, synthesize_patients
from napari_caltomorph.taxonomy import caltomorph_taxonomy
from napari_caltomorph.training import FoldHistory, TrainOptions
from napari_caltomorph.training.fit import fit_member
from napari_caltomorph.training.folds import MemberSplit
from napari_caltomorph.training.members import FoldCheckpoint, new_member

Images = list[NDArray[np.uint8]]

LARGEST_DIFFERENCE = 1e-4  # of float32 on two devices
LEAST_COSINE = 0.999  # of bf16 and float32
ENOUGH = 0.5  # of the device's limit, from files to features
LONGEST_TRAINING = 600  # seconds


class OutOfTime(BaseException):
    """The time of a section is over; no library takes it for an error of its own."""


@dataclass(frozen=True)
class NotingEncoder(LoadedEncoder):
    """An encoder that notes how many cells it is given; above `most` it runs out of memory, where no device does."""

    given: list[int] = field(default_factory=list)
    most: int = sys.maxsize

    def submit(self, images: Images) -> Callable[[], NDArray[np.float32]]:  # type: ignore[override]
        self.given.append(len(images))
        if len(images) > self.most:
            raise MemoryError
        return super().submit(images)


@dataclass
class Bench:
    """What the sections share: where and how much to compute, the cells and weights made for it, and what failed."""

    device: torch.device
    is_tiny: bool
    scratch: Path
    section: str = ""
    failed: list[str] = field(default_factory=list)

    @property
    def encoders(self) -> tuple[str, ...]:
        return ("demo-vit",) if self.is_tiny else ("dinobloom-b", "dinobloom-l")

    def row(self, what: str, value: str, wanted: str = "", is_met: bool | None = None) -> None:
        """Print a row of the table at once."""
        verdict = {None: "", True: "yes", False: "**no**"}[is_met]
        if is_met is False:
            self.failed.append(what)
        print(f"| {self.section} | {what} | {value} | {wanted} | {verdict} |", flush=True)

    @cached_property
    def limit(self) -> float:
        """FLOP/s of a large bf16 matrix product on the device."""
        size, times = (256, 2) if self.is_tiny else (8192, 30)
        a, b = (torch.randn(size, size, device=self.device).bfloat16() for _ in range(2))
        for count in (3, times):
            wait_for(self.device)
            start = time.perf_counter()
            for _ in range(count):
                a @ b
            wait_for(self.device)
        return 2 * size**3 * times / (time.perf_counter() - start)

    @cached_property
    def drawn(self) -> Images:
        """Synthetic cells of 144 px."""
        patient = synthesize_patient("aml", cells=8 if self.is_tiny else 200, seed=1)
        return [patient.image(i, 144) for i in range(len(patient))]

    def encoder(self, name: str, device: str, precision: str) -> LoadedEncoder:
        """Load an encoder with random weights in which every layer matters."""
        return load_encoder(EncodeOptions(encoder=name, weights=self.weights(name), device=device, precision=precision))

    def weights(self, name: str) -> Path:
        path = self.scratch / f"{name}.safetensors"
        if not path.exists():
            torch.manual_seed(0)
            module = build_module(find_encoder(name))
            save_file(enlivened(module, 1).state_dict(), path)
        return path


@torch.no_grad()
def enlivened(module: nn.Module, scale: float) -> nn.Module:
    """Make all layers matter: DINOv2 starts with layers scaled by 1e-5, and with attention that is near uniform."""
    for name, weight in module.named_parameters():
        if "gamma" in name:
            weight.copy_(1 + 0.1 * torch.randn_like(weight))
        elif weight.ndim == 2:
            weight.mul_(scale)
    return module.eval()


def flops(module: nn.Module, *inputs: Tensor) -> int:
    """Count what a forward pass computes in matrix products; nothing is computed."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module.to("meta")(*(tensor.to("meta") for tensor in inputs))
    return int(counter.get_total_flops())


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the least cosine of two features of one cell."""
    return float(((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)).min())


def parity(bench: Bench) -> None:
    """Compare features and predictions of the device with those of the CPU."""
    rng = np.random.default_rng(0)
    shapes = ((181, 180), (360, 360), (90, 200), (224, 224))
    cells = [*bench.drawn[:12], *(rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in shapes)]
    device = str(bench.device)
    for name in bench.encoders:
        exact = bench.encoder(name, "cpu", "float32")
        there = bench.encoder(name, device, "float32")
        pixels = float((exact.preprocess(cells) - there.preprocess(cells).cpu()).abs().max())
        bench.row(f"{name}: largest difference of pixels", f"{pixels:.1e}", "1e-5", pixels <= 1e-5)
        expected = exact.features(cells)
        largest = float(np.abs(expected - there.features(cells)).max())
        ok = largest <= LARGEST_DIFFERENCE
        bench.row(f"{name}: largest difference of float32 features", f"{largest:.1e}", f"{LARGEST_DIFFERENCE}", ok)
        least = cosine(expected, bench.encoder(name, device, "bf16").features(cells))
        bench.row(f"{name}: least cosine of bf16 features", f"{least:.5f}", f"{LEAST_COSINE}", least >= LEAST_COSINE)
    torch.manual_seed(0)
    paper = paper_size_ensemble()
    members = [enlivened(member, 2) for member in paper.members[: 1 if bench.is_tiny else None]]
    count = 32 if bench.is_tiny else CELLS
    features = Features("random", rng.normal(size=(count, WIDTH)).astype(np.float32), tuple(map(str, range(count))))
    here, there = (
        Ensemble(paper.description, tuple(copy.deepcopy(m).to(d) for m in members)).predict(features)
        for d in (torch.device("cpu"), bench.device)
    )
    for what in ("probabilities", "attention"):
        one, other = (np.asarray(getattr(p, what)) for p in (here, there))
        largest = float(np.abs(one - other).max())
        ok = largest <= LARGEST_DIFFERENCE * max(1, float(np.abs(one).max()))
        bench.row(f"paper size: largest difference of {what}", f"{largest:.1e}", f"{LARGEST_DIFFERENCE}", ok)


def encoding(bench: Bench) -> None:
    """Encode cells that are in memory, then a cohort from disk, which is also graded."""
    bench.row("bf16 matrix limit of the device", f"{bench.limit / 1e12:,.1f} TFLOP/s")
    patients, cells = (6, 8) if bench.is_tiny else (40, 500)
    start = time.perf_counter()
    cohort = written_cohort(bench, patients, cells)
    bench.row(f"write {patients * cells:,} cells", f"{time.perf_counter() - start:.1f} s")
    for name in bench.encoders:
        encoder = bench.encoder(name, str(bench.device), "bf16")
        size = encoder.preprocessing.size
        most = bench.limit / flops(build_module(encoder.encoder).eval(), torch.empty(1, 3, size, size))
        rate = rate_in_memory(bench, encoder)
        bench.row(f"{name}, bf16, from memory", f"{rate:,.0f} cells/s, {rate / most:.2f} of the limit {most:,.0f}")
        rate = rate_from_disk(cohort, bench, name, longest=45)
        value, ok = f"{rate:,.0f} cells/s, {rate / most:.2f} of the limit", rate >= ENOUGH * most
        on_gpu = bench.device.type == "cuda" and not bench.is_tiny
        bench.row(f"{name}, bf16, graded and encoded from disk", value, f"{ENOUGH}", ok if on_gpu else None)


def rate_in_memory(bench: Bench, encoder: LoadedEncoder) -> float:
    batch = [bench.drawn[i % len(bench.drawn)] for i in range(8 if bench.is_tiny else 256)]
    times = 2 if bench.is_tiny else 16
    list(encoder.stream([batch] * 2))
    start = time.perf_counter()
    done = sum(len(values) for values in encoder.stream([batch] * times))
    return done / (time.perf_counter() - start)


def written_cohort(bench: Bench, patients: int, cells: int) -> Cohort:
    """Write patients with cells that differ in one pixel from those drawn, as duplicates are left out."""
    rows, number = [], 0
    for patient in synthesize_patients(SynthOptions(patients=patients, cells=cells)):
        folder = bench.scratch / "cells" / patient.patient_id
        folder.mkdir(parents=True)
        for cell in range(cells):
            image = bench.drawn[number % len(bench.drawn)].copy()
            image[0, 0] = number % 256, number // 256 % 256, number // 65536
            tifffile.imwrite(folder / f"Gal-{cell + 1:06d}.RGB.TIF", image, photometric="rgb")
            number += 1
        rows.append((patient.patient_id, patient.detailed, patient.coarse, str(folder)))
    table = with_types(pd.DataFrame(rows, columns=["patient_id", "detailed", "coarse", "path"])).assign(n_images=cells)
    return split(Cohort("gpu", bench.scratch, "table", caltomorph_taxonomy(), table))


def rate_from_disk(cohort: Cohort, bench: Bench, name: str, longest: float) -> float:
    """Return the cells a second of `encode_cohort` from its first report; it ends after so many seconds."""
    reports: list[tuple[float, int]] = []

    def watch(progress: Progress) -> None:
        if progress.stage == "Encoding":
            reports.append((time.perf_counter(), progress.done))
            if reports[-1][0] - reports[0][0] > longest:
                raise OutOfTime

    options = EncodeCohortOptions(
        encoder=name,
        weights=bench.weights(name),
        device=str(bench.device),
        precision="bf16",
        workers=os.cpu_count() or 1,
    )
    try:
        encode_cohort(cohort, bench.scratch / f"features-{name}", options, progress=watch)
    except OutOfTime:
        if not reports:
            raise
    return (reports[-1][1] - reports[0][1]) / (reports[-1][0] - reports[0][0])


def training(bench: Bench) -> None:
    """Train the paper's network for a few epochs, and scale them to the paper's patients, folds and epochs."""
    options = TrainOptions(recipe="paper", device=str(bench.device), epochs=4)
    if bench.is_tiny:
        options = TrainOptions(**options.given | {"depth": 1, "width": 32, "heads": 2, "mlp_width": 32})
    learning = 16 if bench.is_tiny else 320
    bags = synthetic_bags(learning * 5 // 4)
    numbers = np.arange(len(bags))
    part = MemberSplit(0, numbers[:learning], numbers[learning:], numbers[learning:])
    moments: list[tuple[float, float]] = []

    def watch(history: FoldHistory, step: int) -> None:
        if not step:  # after an epoch and its checkpoint
            moments.append((time.perf_counter(), history.seconds))

    fit_member(bags, part, options, FoldCheckpoint(bench.scratch / "training", 0), on_step=watch)
    # Without the first epoch, which warms up, and the last, which also ends the checkpoint.
    wall, computing = np.diff(np.array(moments[:-1]), axis=0).mean(0)
    saving = wall - computing
    epoch = computing * PATIENTS / len(bags)
    member = new_member(bags, part, options)
    forward = flops(member, torch.empty(1, CELLS, WIDTH))
    share = forward * (3 * learning + len(bags) - learning) / computing / bench.limit
    precision = str(find_precision("auto", bench.device)).removeprefix("torch.")
    steps = part.steps_per_epoch(options)
    bench.row(f"a step of {options.batch_size} bags of {CELLS}, {precision}", f"{computing / steps * 1e3:,.1f} ms")
    bench.row(f"an epoch of {PATIENTS:,} patients", f"{epoch:,.1f} s, {share:.2f} of the limit")
    total, on_gpu = epoch * FOLDS * EPOCHS, bench.device.type == "cuda" and not bench.is_tiny
    ok = total <= LONGEST_TRAINING if on_gpu else None
    bench.row(f"{FOLDS} folds x {EPOCHS} epochs", f"{total / 60:,.1f} min", f"{LONGEST_TRAINING // 60} min", ok)
    bench.row("- and with a checkpoint after each epoch", f"{(total + saving * FOLDS * EPOCHS) / 60:,.1f} min")


def memory(bench: Bench) -> None:
    """Encode with less memory than a batch needs: it is halved, and the features are the same."""
    name, count = bench.encoders[0], 32 if bench.is_tiny else 256
    loaded = bench.encoder(name, str(bench.device), "float32")
    cells = [bench.drawn[i % len(bench.drawn)] for i in range(count)]
    values = {item.name: getattr(loaded, item.name) for item in fields(loaded)}
    if bench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(bench.device)
        encoder = NotingEncoder(**values)
        expected = np.concatenate(list(encoder.stream([cells])))
        at_rest = torch.cuda.memory_allocated(bench.device)
        peak = torch.cuda.max_memory_allocated(bench.device)
        allowed = at_rest + (peak - at_rest) // 3
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(bench.device).total_memory
        torch.cuda.set_per_process_memory_fraction(allowed / total, bench.device)
        what = f"{allowed / 1e9:.1f} GB where {encoder.given[0]} cells need {peak / 1e9:.1f} GB"
        cramped = NotingEncoder(**values)
    else:
        expected = np.concatenate(list(loaded.stream([cells])))
        what, cramped = "an encoder that takes 3 cells", NotingEncoder(**values, most=3)
    try:
        found = np.concatenate(list(cramped.stream([cells])))
    finally:
        if bench.device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0, bench.device)
    largest = float(np.abs(found - expected).max())
    ok = cramped.given[-1] < cramped.given[0] and largest <= LARGEST_DIFFERENCE
    sizes = ", ".join(map(str, dict.fromkeys(cramped.given)))
    bench.row(f"{name}: {what}", f"pieces of {sizes} cells; largest difference {largest:.1e}", "fewer cells", ok)


def tests(bench: Bench) -> None:
    """Run the tests that need CUDA."""
    rooms = [f"tests/{room}" for room in ("encoding", "training", "diagnosis")]
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "-q", "-p", "no:cacheprovider", *rooms]
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=85)
    lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
    if done.returncode:
        print("\n".join(lines[-60:]), file=sys.stderr)
    ok = done.returncode == 0
    skipped = ok and bench.device.type != "cuda"  # that nothing failed shows nothing
    bench.row("pytest -m cuda", lines[-1].strip("= "), "all pass", None if skipped else ok)


def compiled(bench: Bench) -> None:
    """Compare with what torch.compile makes of the encoder; on CUDA only."""
    if bench.device.type != "cuda":
        bench.row("torch.compile", "only on CUDA")
        return
    encoder = bench.encoder(bench.encoders[0], str(bench.device), "bf16")
    plain = rate_in_memory(bench, encoder)
    start = time.perf_counter()
    faster = replace(encoder, module=torch.compile(encoder.module))
    list(faster.stream([bench.drawn[:8]]))
    rate_in_memory(bench, faster)
    seconds = time.perf_counter() - start
    rate = rate_in_memory(bench, faster)
    bench.row(f"{bench.encoders[0]}, bf16, torch.compile", f"{rate:,.0f} cells/s, plain {plain:,.0f}; {seconds:.0f} s")


# Section -> the seconds that it may take: 455 of 480 in all.
SECTIONS: dict[Callable[[Bench], None], int] = {
    parity: 70,
    encoding: 130,
    training: 70,
    memory: 40,
    tests: 90,
    compiled: 55,
}


def run(section: Callable[[Bench], None], bench: Bench, seconds: int) -> None:
    """Run a section within its time; whatever happens in it, the next one can be run."""

    def stop(number: int, frame: object) -> None:
        raise OutOfTime

    bench.section, start = section.__name__, time.perf_counter()
    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        section(bench)
    except OutOfTime:
        bench.row(f"stopped after {seconds} s", "", "", False)
    except Exception as error:  # noqa: BLE001  # a row like any other, so that a short loan of a GPU shows all else
        traceback.print_exc()
        bench.row("broke off", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", "", False)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()
    bench.row("seconds", f"{time.perf_counter() - start:.0f}")


def hardware(device: torch.device) -> Iterator[str]:
    yield machine()
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        yield f"{properties.name}, {properties.total_memory / 1e9:.0f} GB, {properties.multi_processor_count} SM"
    yield f"torch {torch.__version__}"


def main(arguments: list[str] | None = None) -> int:
    names = [section.__name__ for section in SECTIONS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small networks and few cells, to try the script")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    asked = parser.parse_args(arguments)
    device = find_device(asked.device)
    print(f"\n{'; '.join(hardware(device))}\n")
    print("| section | what | value | wanted | met |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(device, asked.tiny, Path(scratch))
        for section, seconds in SECTIONS.items():
            if section.__name__ in asked.only:
                run(section, bench, seconds)
    print(f"\nNot met: {'; '.join(bench.failed) or 'nothing'}.")
    return int(bool(bench.failed))


if __name__ == "__main__":
    sys.exit(main())
