"""White cells in microscope fields of laboratories that the finder did not learn from.

    python benchmarks/fields.py FOLDER [--write]

FOLDER has one folder a laboratory, each with its fields and `white_cells.csv` (field, x_min, y_min, x_max, y_max). The
model learns from the other laboratories and is tested on one. `--write` then trains the shipped model on all of them.
Precision is measured against the labels as they are, and with white cells that were seen in the pictures and have no
label; training leaves these out.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from napari_caltomorph.fields.find import CellModel, LinearModel, at_working_scale, find_cells
from napari_caltomorph.fields.images import FieldImage, open_field
from napari_caltomorph.fields.nuclei import Stained, describe, find_nuclei
from napari_caltomorph.fields.outlines import survey
from napari_caltomorph.fields.scale import Scale, ScaleOptions, scale_of_fields

SHIPPED = Path(__file__).parents[1] / "src" / "napari_caltomorph" / "fields" / "cell_model.json"
CLOSE_UM = 1.5

UNLABELLED = """
bccd  BloodImage_00134 26 109; BloodImage_00290 117 461
chula B-59_0179 720 574; B-59_0180 1364 578; B-59_0181 1326 533; B-59_0182 692 559; B-59_0183 237 560
chula B-59_0184 241 782; B-59_0185 979 783; B-59_0186 1429 766; B-59_0187 1007 27; B-59_0188 323 25
chula B-59_0233 970 779; B-59_0235 559 774; L-9_0243 212 816; L-9_0244 177 874; L-9_0246 278 474; L-9_0296 1001 826
chula L-9_0296 457 615; L-9_0317 375 802; L-9_0317 603 690; L-9_0317 1012 229; M-5Bb_0107 651 21; M-5Bb_0119 991 371
chula N-1B_0253 784 9; N-1B_0254 782 10
"""
"""White cells that were seen in the pictures and have no box: set, then field and place."""


@dataclass(frozen=True)
class Laboratory:
    """One set of labelled fields."""

    name: str
    images: list[FieldImage]
    scales: list[Scale]
    boxes: dict[str, list[np.ndarray]]  # Left, top, right and bottom, px
    unlabelled: dict[str, list[tuple[float, float]]]


def read(folder: Path) -> Laboratory:
    boxes = defaultdict(list)
    with (folder / "white_cells.csv").open() as file:
        for row in csv.DictReader(file):
            boxes[row["field"]].append(np.array([float(row[key]) for key in ("x_min", "y_min", "x_max", "y_max")]))
    unlabelled = defaultdict(list)
    for line in UNLABELLED.strip().splitlines():
        name, places = line.split(maxsplit=1)
        for place in places.split(";") if name == folder.name else ():
            field, x, y = place.split()
            unlabelled[f"{field}.jpg"].append((float(x), float(y)))
    images = [open_field(path) for path in sorted(folder.glob("*.jpg"))]
    scales = scale_of_fields(images, ScaleOptions())
    print(f"{folder.name}: {len(images)} fields, {sum(map(len, boxes.values()))} boxes, {scales[0].in_words}")
    return Laboratory(folder.name, images, scales, boxes, unlabelled)


def examples(lab: Laboratory) -> tuple[list, list, list, list]:
    """Return features and truth of nuclei, and of places around labelled cells."""
    nuclei, are_cells, places, are_inside = [], [], [], []
    for image, scale in zip(lab.images, lab.scales, strict=True):
        pixels = image.read(0, 0, image.height, image.width)
        stained = Stained.of(at_working_scale(pixels, scale.pixel_size_um))
        step = np.array(pixels.shape[:2]) / stained.stain.shape
        free = {n: box for n, box in enumerate(lab.boxes[image.name])}
        for nucleus in sorted(find_nuclei(stained), key=lambda one: -one.area_um2):
            y, x = (nucleus.box[0] + nucleus.box[1]) / 2 * step
            inside = [n for n, box in enumerate(lab.boxes[image.name]) if contains(box, x, y)]
            if inside and inside[0] not in free:
                continue  # A second nucleus of one cell
            near = 6 / scale.pixel_size_um
            if not inside and any(np.hypot(x - a, y - b) < near for a, b in lab.unlabelled[image.name]):
                continue
            nuclei.append(describe(nucleus, stained))
            are_cells.append(bool(inside))
            if inside:
                around = survey(nucleus, stained)
                left, top, right, bottom = free.pop(inside[0]) / np.tile(step[::-1], 2)
                u, v = 2 * (around.x - left) / (right - left) - 1, 2 * (around.y - top) / (bottom - top) - 1
                in_ellipse, in_box = np.hypot(u, v) < 1, np.maximum(np.abs(u), np.abs(v)) < 1
                known = ~around.is_outside & (in_ellipse | ~in_box)
                places.append(around.features[known])
                are_inside.append(in_ellipse[known])
    return nuclei, are_cells, places, are_inside


def train(labs: list[Laboratory]) -> CellModel:
    parts = [examples(lab) for lab in labs]
    nuclei, are_cells, places, are_inside = (list(itertools.chain(*part)) for part in zip(*parts, strict=True))
    print(f"  learnt from {sum(are_cells)} cells and {len(are_cells) - sum(are_cells)} other stained things")
    return CellModel(
        fit(np.array(nuclei), np.array(are_cells), 0.3),
        fit(np.concatenate(places), np.concatenate(are_inside), 0.1),
    )


def fit(features: np.ndarray, truth: np.ndarray, strength: float) -> LinearModel:
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    model = LogisticRegression(C=strength, max_iter=1000).fit((features - mean) / spread, truth)
    return LinearModel(mean, spread, model.coef_[0], float(model.intercept_[0]))


def contains(box: np.ndarray, x: float, y: float) -> bool:
    return bool(box[0] <= x <= box[2] and box[1] <= y <= box[3])


def test(model: CellModel, lab: Laboratory, verbose: bool) -> None:
    start, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(2) as pool:
        found = list(
            pool.map(
                lambda one: find_cells(one[0], scale=one[1], model=model), zip(lab.images, lab.scales, strict=True)
            )
        )
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    hits, false, real, errors, total, overlaps = 0, [], 0, [], 0, []
    for image, cells, scale in zip(lab.images, found, lab.scales, strict=True):
        free = list(lab.boxes[image.name])
        total += len(free)
        for cell in sorted(cells.cells, key=lambda one: -one.confidence):
            match = next((n for n, box in enumerate(free) if contains(box, cell.x_px, cell.y_px)), None)
            if match is not None:
                box = free.pop(match)
                hits += 1
                off = np.hypot(cell.x_px - (box[0] + box[2]) / 2, cell.y_px - (box[1] + box[3]) / 2)
                errors.append(off * scale.pixel_size_um)
                overlaps.append(overlap(np.array(cell.box_px), box))
                if verbose and errors[-1] > 2:
                    print("   off", image.name, round(errors[-1], 1), "um", np.round(cell.box_px), box)
            else:
                near = 6 / scale.pixel_size_um
                is_real = any(np.hypot(cell.x_px - x, cell.y_px - y) < near for x, y in lab.unlabelled[image.name])
                real += is_real
                false.append((image.name, cell, is_real))
        if verbose:
            for box in free:
                print("   missed", image.name, box)
    if verbose:
        for name, cell, is_real in false:
            if not is_real:
                print("   false", name, round(cell.x_px), round(cell.y_px), f"{cell.confidence:.2f}")
    count = hits + len(false)
    print(
        f"  tested on {lab.name}: recall {hits / total:.3f}, precision {hits / count:.3f} against the labels, "
        f"{(hits + real) / count:.3f} with unlabelled cells; centre within {CLOSE_UM} um for "
        f"{np.mean(np.array(errors) < CLOSE_UM):.3f} (median {np.median(errors):.2f}, 95th percentile "
        f"{np.quantile(errors, 0.95):.2f} um), box overlap {np.median(overlaps):.2f}; "
        f"{len(found) / seconds:.1f} fields/s on 2 threads, "
        f"{len(found) / cpu:.1f} a second of CPU time"
    )


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return intersection over union."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    return both / float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    labs = [read(path.parent) for path in sorted(arguments.folder.glob("*/white_cells.csv"))]
    for lab in labs:
        others = [other for other in labs if other is not lab]
        print(f"trained on {', '.join(other.name for other in others)}")
        test(train(others), lab, arguments.verbose)
    if arguments.write:
        print("trained on all")
        model = {name: vars(part) for name, part in vars(train(labs)).items()}
        parts = {name: {key: np.round(one, 5).tolist() for key, one in part.items()} for name, part in model.items()}
        SHIPPED.write_text(json.dumps(parts, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
