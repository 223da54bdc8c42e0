"""Whether the quality rules accept real cells, and whether they detect blur.

For every image in the given folders: how many each rule leaves out, and how contrast and blur are distributed, as the
images are and after Gaussian blur. The limits are read from the rules themselves.

    python benchmarks/quality_rules.py ../shared/data/metafer ../shared/data/pbc-cells ../shared/data/apl-aml
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.smear import QUALITY_RULES
from napari_caltomorph.smear.check import MAX_BLUR, MIN_CONTRAST, WHOLE_FIELD
from napari_caltomorph.smear.images import decode, is_image
from napari_caltomorph.smear.measures import measure_batch

QUANTILES = (0, 1, 5, 50, 95, 99, 100)

Measures = list[tuple[float, float]]  # contrast, blur


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--sigma", nargs="*", type=float, default=[1.0, 2.0, 3.0], help="Gaussian blurs, in pixels")
    arguments = parser.parse_args()
    print(f"Quality rules {QUALITY_RULES}, on {machine()}")
    print(f"empty: contrast < {MIN_CONTRAST}; blurred: blur > {MAX_BLUR}; field: {WHOLE_FIELD} x the median side\n")
    for folder in arguments.folders:
        show(folder, arguments.sigma)


def show(folder: Path, sigmas: list[float]) -> None:
    """Print one folder's table."""
    images, unreadable, repeats = read(folder)
    sides = np.array([max(image.shape[:2]) for image in images]) / np.median([max(i.shape[:2]) for i in images])
    is_field = sides > WHOLE_FIELD
    cells = [image for image, field in zip(images, is_field, strict=True) if not field]
    print(
        f"{folder.name}: {len(cells)} different cells; {repeats} repeats, {unreadable} unreadable and "
        f"{sum(is_field)} whole fields beside them"
    )
    header = " ".join(f"{q:>5}%" for q in QUANTILES)
    print(f"  long side / median: cells {sides[~is_field].min():.2f} ... {sides[~is_field].max():.2f}", end="")
    print(f", whole fields {sides[is_field].min():.2f} ... {sides[is_field].max():.2f}" if is_field.any() else "")
    print(f"  {'':10} {'empty':>7} {'blurred':>8}   contrast {header}   blur {header}")
    for sigma in [0.0, *sigmas]:
        contrast, blur = np.array(measure_all(cells, sigma)).T
        empty, blurred = np.mean(contrast < MIN_CONTRAST), np.mean(blur > MAX_BLUR)
        print(
            f"  {f'sigma {sigma:g} px' if sigma else 'as it is':10} {empty:7.1%} {blurred:8.1%}            "
            + " ".join(f"{value:6.0f}" for value in np.percentile(contrast, QUANTILES))
            + "        "
            + " ".join(f"{value:6.2f}" for value in np.nanpercentile(blur, QUANTILES))
        )
    print()


def read(folder: Path) -> tuple[list[NDArray[np.uint8]], int, int]:
    """Return the different images below a folder, and how many were unreadable or repeats."""
    images, unreadable, repeats, seen = [], 0, 0, set()
    for path in image_files(folder):
        digest = hashlib.sha256(path.read_bytes()).digest()
        if digest in seen:
            repeats += 1
            continue
        seen.add(digest)
        try:
            with path.open("rb") as file:
                images.append(decode(file))
        except CellUnreadable:
            unreadable += 1
    return images, unreadable, repeats


def image_files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and is_image(path.name))


def measure_all(cells: list[NDArray[np.uint8]], sigma: float) -> Measures:
    with ProcessPoolExecutor(max_workers=2) as pool:
        return list(pool.map(_measure_blurred, cells, [sigma] * len(cells), chunksize=32))


def _measure_blurred(cell: NDArray[np.uint8], sigma: float) -> tuple[float, float]:
    contrast, blur = measure_batch([gaussian_filter(cell, (sigma, sigma, 0)) if sigma else cell])[0].tolist()
    return contrast, blur


def machine() -> str:
    """Name the processor, as ``lscpu`` does, and its cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{name}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
