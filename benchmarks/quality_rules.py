"""Whether the quality rules accept real cells, and whether they detect blur.

For every image in the given folders: how many each rule leaves out, and how contrast and blur are distributed, as the
images are and after Gaussian blur; and, for each folder that directly contains cells, such as one a cell type, how near
they come to the limits. The limits are read from the rules themselves. Beside them the same measures by numpy's
`percentile` and scikit-image's `blur_effect`: how far ours are from these, and how many verdicts differ.

    python benchmarks/quality_rules.py METAFER PBC APL-AML
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import timeit
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.measure import blur_effect

from napari_caltomorph.errors import CellUnreadable
from napari_caltomorph.smear import QUALITY_RULES
from napari_caltomorph.smear.check import MAX_BLUR, MIN_CONTRAST, WHOLE_FIELD
from napari_caltomorph.smear.images import decode, is_image
from napari_caltomorph.smear.measures import measure_batch

QUANTILES = (0, 1, 5, 50, 95, 99, 100)

Images = list[NDArray[np.uint8]]
Measures = NDArray[np.float64]  # (N, 2): contrast, blur


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
    """Print one folder's tables."""
    images, places, unreadable, repeats = read(folder)
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
    print(f"  {'':10} {'empty':>7} {'blurred':>8}   contrast {header}   blur {header}   {REFERENCE_HEADER}")
    for sigma in [0.0, *sigmas]:
        ours, reference = measure_all(cells, sigma)
        contrast, blur = ours.T
        print(
            f"  {f'sigma {sigma:g} px' if sigma else 'as it is':10} "
            f"{np.mean(contrast < MIN_CONTRAST):7.1%} {np.mean(blur > MAX_BLUR):8.1%}            "
            + " ".join(f"{value:6.0f}" for value in np.percentile(contrast, QUANTILES))
            + "        "
            + " ".join(f"{value:6.2f}" for value in np.nanpercentile(blur, QUANTILES))
            + f"   {compared(ours, reference)}"
        )
        if not sigma:
            as_it_is = ours
    some = cells[:64]
    print(
        f"  ms a cell on one core: {milliseconds(measure_batch, some):.3f}, "
        f"reference {milliseconds(measure_by_reference, some):.3f}"
    )
    show_places(as_it_is, [place for place, field in zip(places, is_field, strict=True) if not field])


def show_places(measures: Measures, places: list[str]) -> None:
    """Print a row for each name of a folder that directly contains cells."""
    print(f"\n  {'cells':>7} {'empty':>6} {'blurred':>8} {'least contrast':>15} {'most blur':>10}   in folders named")
    for place in sorted(set(places)):
        contrast, blur = measures[[other == place for other in places]].T
        print(
            f"  {len(contrast):7} {np.sum(contrast < MIN_CONTRAST):6} {np.sum(blur > MAX_BLUR):8} "
            f"{contrast.min():15.0f} {max(blur[np.isfinite(blur)], default=np.nan):10.2f}   {place}"
        )
    print()


REFERENCE_HEADER = "differences from the reference: contrast  blur  verdicts"


def compared(ours: Measures, reference: Measures) -> str:
    """Return how far measures are from the reference, and how many verdicts differ."""
    apart = np.nan_to_num(np.abs(ours - reference)).max(axis=0)  # blur of large images is not measured
    differ = np.sum(verdicts(ours) != verdicts(reference))
    return f"{apart[0]:40.0e} {apart[1]:5.0e} {differ:9}"


def verdicts(measures: Measures) -> NDArray[np.int_]:
    """Return 0 where a cell is kept, 1 where it is empty, 2 where it is blurred, 3 where it is both."""
    return (measures[:, 0] < MIN_CONTRAST) + 2 * (measures[:, 1] > MAX_BLUR)


def read(folder: Path) -> tuple[Images, list[str], int, int]:
    """Return the different images below a folder with the names of their folders; how many unreadable and repeats."""
    images, places, unreadable, repeats, seen = [], [], 0, 0, set()
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
        else:
            places.append(path.parent.name)
    return images, places, unreadable, repeats


def image_files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and is_image(path.name))


def measure_all(cells: Images, sigma: float) -> tuple[Measures, Measures]:
    """Return our measures of cells after a Gaussian blur, and those of the reference."""
    batches = [cells[start : start + 64] for start in range(0, len(cells), 64)]
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        both = list(pool.map(partial(_measure_blurred, sigma=sigma), batches))
    ours, reference = (np.concatenate(parts) for parts in zip(*both, strict=True))
    return ours, reference


def _measure_blurred(cells: Images, sigma: float) -> tuple[Measures, Measures]:
    blurred = [gaussian_filter(cell, (sigma, sigma, 0)) if sigma else cell for cell in cells]
    ours, reference = measure_batch(blurred), measure_by_reference(blurred)
    reference[np.isnan(ours)] = np.nan  # too small or too large to be measured
    return ours, reference


def measure_by_reference(cells: Images) -> Measures:
    measures = []
    for green in (cell[..., 1] for cell in cells):
        low, high = np.percentile(green, [1, 99])
        measures.append((high - low, blur_effect(green.astype(np.float32))))
    return np.array(measures)


def milliseconds(measure: Callable[[Images], Measures], cells: Images) -> float:
    """Return the time that a cell takes on one core, the least of five."""
    return min(timeit.repeat(lambda: measure(cells), number=1, repeat=5)) / len(cells) * 1000


def machine() -> str:
    """Name the processor, as ``lscpu`` does, and its cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{name}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
