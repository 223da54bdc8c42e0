"""How long the steps of a prediction take on this machine.

    python benchmarks/speed.py [--cells 500] [--large 20000] [--dinobloom 64]

Cells are synthetic. DinoBloom and the paper-size ensemble have random weights: speed does not depend on them.
Prints a Markdown table; docs/benchmarks.md holds one.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import tifffile
import torch
from numpy.typing import NDArray

from napari_caltomorph.diagnosis import Ensemble, PredictOptions, Predictor, TransformerOptions, read_description
from napari_caltomorph.diagnosis.installed import installed_models
from napari_caltomorph.diagnosis.model_file import EncoderNeed
from napari_caltomorph.diagnosis.model_folder import build_member
from napari_caltomorph.encoding import ENCODERS, EncodeOptions, Features, load_encoder
from napari_caltomorph.encoding.device import find_device, find_precision
from napari_caltomorph.encoding.load import LoadedEncoder, build_module
from napari_caltomorph.explanation.changed_bags import leave_one_out
from napari_caltomorph.explanation.contribution import contributions
from napari_caltomorph.plugin.gallery.pictures import Grid, read_pictures
from napari_caltomorph.smear import Smear, check_smear, read_smear
from napari_caltomorph.synthetic import synthesize_patient, write_smear

rows: list[tuple[str, str]] = []


@contextmanager
def timed(what: str, count: int = 0) -> Iterator[None]:
    """Time a block, and note its rate if it has a count."""
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    rate = f" ({count / seconds:,.1f} cells/s)" if count else ""
    rows.append((what, f"{seconds:.2f} s{rate}"))
    print(f"{what}: {rows[-1][1]}", flush=True)


def machine() -> str:
    """Name the processor and what torch uses of it."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    device = find_device("auto")
    precision = str(find_precision("auto", device)).removeprefix("torch.")
    memory = psutil.virtual_memory().total / 1e9
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GB, device {device}, precision auto = {precision}"


def large_smear(source: Path, folder: Path, count: int) -> None:
    """Write many different cells, made of few."""
    folder.mkdir()
    images = [tifffile.imread(path) for path in sorted(source.glob("*.TIF"))]
    for number in range(count):
        image = images[number % len(images)].copy()
        image[0, 0] = number % 256, number // 256 % 256, number // 65536
        tifffile.imwrite(folder / f"Gal-{number + 1:06d}.RGB.TIF", image, photometric="rgb")


def best_of(times: int, work: Callable[[], object]) -> float:
    """Return the shortest of some runs, in seconds."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def paper_size_ensemble() -> Ensemble:
    """Build five random members of the paper's size for DinoBloom-B features."""
    demo = read_description(installed_models()["demo"])
    need = EncoderNeed(name="dinobloom-b", weights_sha256="0" * 64, preprocessing="", width=768)
    description = demo.model_copy(
        update={"encoder": need, "aggregator": TransformerOptions(), "field_of_view_um": None}
    )
    return Ensemble(description, tuple(build_member(description).eval() for _ in demo.members))


def time_demo_model(folder: Path, count: int) -> Smear:
    """Time one patient from writing the images to the gallery; return the graded smear."""
    with timed(f"draw and write {count} synthetic cells", count):
        write_smear(synthesize_patient("aml", cells=count, seed=1), folder)
    with timed(f"read_smear, {count} cells"):
        smear = read_smear(folder)
    with timed(f"check_smear, {count} cells", count):
        smear = check_smear(smear)
    predictor = Predictor(PredictOptions(model="demo"))
    with timed("load the demo model and its encoder"):
        _ = predictor.encoder, predictor.ensemble
    with timed(f"encode and predict {count} cells, demo model", count):
        predictor.predict(smear)
    with timed(f"predict {count} cells again, demo model (features from the cache)"):
        predictor.predict(smear)
    with timed(f"decode the gallery of {count} cells", count):
        pictures = read_pictures(smear, np.arange(len(smear)))
    again = best_of(3, lambda: pictures.arranged(np.arange(len(smear))[::-1], Grid(len(smear), smear.canvas)))
    rows.append((f"lay {count} cells out in another order", f"{again * 1e3:.0f} ms"))
    return smear


def time_encoders(images: list[NDArray[np.uint8]]) -> None:
    """Time DinoBloom-B in both precisions, and the demo's encoder in small batches."""
    dinobloom, device = ENCODERS["dinobloom-b"], find_device("auto")
    module = build_module(dinobloom).eval()
    size = 8 if device.type == "cpu" else 64
    for dtype in (torch.float32, torch.bfloat16):
        encoder = LoadedEncoder(dinobloom, module.to(device, dtype), dinobloom.preprocessing, "", device, dtype)
        encoder.features(images[:size])
        with timed(f"DinoBloom-B, {str(dtype).removeprefix('torch.')}, {device.type}", len(images)):
            for start in range(0, len(images), size):
                encoder.features(images[start : start + size])
    demo = load_encoder(EncodeOptions(encoder="demo-vit"))
    batch = [images[i % len(images)] for i in range(256)]
    demo.features(batch)
    seconds = best_of(3, lambda: [demo.features(batch[i : i + 8]) for i in range(0, 256, 8)])
    rows.append(("demo-vit, eight cells at once", f"{256 / seconds:,.0f} cells/s"))


def time_paper_size(count: int) -> None:
    """Time the prediction and the explanations of an ensemble of the paper's size."""
    with torch.inference_mode(False):  # explanations need gradients
        ensemble = paper_size_ensemble()
    bag = np.random.default_rng(0).normal(size=(count, 768)).astype(np.float32)
    features = Features("random", bag, tuple(map(str, range(count))))
    with timed(f"ensemble of paper size (5 members, depth 10), {count} cells, float32, cpu"):
        ensemble.predict(features)
    slug = ensemble.description.taxonomy.slugs[0]
    with timed(f"contributions of {count} cells to a class, paper size"):
        contributions(ensemble, features, slug)
    with timed("leave-one-out of 5 cells, paper size"):
        leave_one_out(ensemble, features, slug, range(5))


def time_large_smear(source: Path, folder: Path, count: int) -> None:
    """Time a smear of many cells up to the first screen of its gallery."""
    large_smear(source, folder, count)
    with timed(f"read_smear, {count:,} cells"):
        large = read_smear(folder)
    with timed(f"check_smear, {count:,} cells", count):
        large = check_smear(large)
    with timed(f"decode the gallery of {count:,} cells (thumbnails)", count):
        pictures = read_pictures(large, np.arange(len(large)))
    levels = pictures.arranged(np.arange(len(large)), Grid(len(large), large.canvas))
    view = slice(0, 720), slice(0, 1280)
    first = best_of(1, lambda: levels[0][view])
    again = best_of(3, lambda: levels[0][view])
    rows.append(("show one screen of it, first and again", f"{first * 1e3:.0f} ms, {again * 1e3:.0f} ms"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--large", type=int, default=20_000)
    parser.add_argument("--dinobloom", type=int, default=64, help="cells encoded with DinoBloom-B in each precision")
    options = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        os.environ["CALTOMORPH_HOME"] = f"{scratch}/home"
        smear = time_demo_model(Path(scratch) / "smear", options.cells)
        time_encoders([smear.image(i) for i in range(min(options.dinobloom, len(smear)))])
        time_paper_size(options.cells)
        if options.large:
            time_large_smear(Path(scratch) / "smear", Path(scratch) / "large", options.large)
    peak = psutil.Process().memory_info().rss / 1e9
    print(f"\n{machine()}; torch {torch.__version__}; {datetime.now(UTC):%Y-%m-%d}; {peak:.1f} GB in use at the end\n")
    print("| step | time |\n|---|---|")
    print("\n".join(f"| {what} | {value} |" for what, value in rows))


if __name__ == "__main__":
    main()
