"""Train the shipped probe `blood-cells` on the shipped encoder `blood-lite`, from the folder that trained the encoder.

    python -m scripts.train_blood_probe CELLS [--field-of-view 45] [--out FILE]

It learns from cells that the encoder learnt from, as they are and changed at random as in the encoder's training. Its
errors are counted on cells that the encoder did not learn from, in made-up laboratories: all cells of one have the same
change of colour, light, focus and resolution, of a kind that no training had (`unlike_training`). Each is a patient
for the probe, so its intervals contain how much laboratories differ. The cells kept apart for benchmarks are not used.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scripts.train_blood_encoder import FIELD_UM, SIZE, read_cells

import napari_caltomorph
from napari_caltomorph.differential import BLOOD_CELLS, CellLabels, Probe, train_probe
from napari_caltomorph.encoding import EncodeOptions, Features, LoadedEncoder, encode, load_encoder
from napari_caltomorph.encoding.fine_tuning import LabelledCells, centre, unlike_training
from napari_caltomorph.encoding.perturbation import perturb
from napari_caltomorph.errors import CaltomorphError, TrainingRefused
from napari_caltomorph.smear import smear_from_array
from napari_caltomorph.smear.cell_types import VAGUE

SHIPPED = Path(napari_caltomorph.__file__).parent / "differential" / f"{BLOOD_CELLS.replace('-', '_')}.safetensors"
LEARNT, LABORATORIES, CELLS_A_LABORATORY = 3000, 40, 75
# The numbers are those of `python -m benchmarks.differential shipped` for the probe that is in the package.
NOTE = (
    "the probe learnt normal blood cells of one hospital, and its errors were counted on such cells changed by "
    "computer: in another laboratory its intervals are too narrow (of leukemia patients there, they contained 59 to 71 "
    "% of the hand counts instead of 95 %), so look at some cells of each type, and label your own where they are wrong"
)

Smear = tuple[Features, CellLabels]


def labelled(cells: LabelledCells, rows: NDArray[np.bool_]) -> LabelledCells:
    """Those of some cells whose label is one type; `TrainingRefused` where there is none."""
    rows = rows & ~np.isin(cells.labels, list(VAGUE))
    if not rows.any():
        raise TrainingRefused(
            f"Of {len(rows)} cells, a part that is needed has none; a probe needs hundreds of each type."
        )
    return cells.where(rows)


def some(cells: LabelledCells, count: int, seed: int) -> LabelledCells:
    rows = np.random.default_rng(seed).permutation(len(cells.labels))[:count]
    return cells.where(np.sort(rows))


def smear_of(images: NDArray[np.uint8], labels: NDArray[np.str_], name: str, encoder: LoadedEncoder) -> Smear:
    """Encode cells of the encoder's width as a smear."""
    features = encode(smear_from_array(images, name), encoder=encoder)
    place = {f"cell_{i + 1:0{len(str(len(labels)))}d}": str(label) for i, label in enumerate(labels)}
    return features, CellLabels().labelled(features, {cell: place[cell] for cell in features.cells})


def framed(cells: LabelledCells) -> NDArray[np.uint8]:
    """What the encoder sees of each cell."""
    return np.stack([centre(image, FIELD_UM / cells.width_um, SIZE) for image in cells.images])


def perturbed(cells: LabelledCells) -> NDArray[np.uint8]:
    """Each cell changed as in the encoder's training."""
    pixels = torch.from_numpy(cells.images).permute(0, 3, 1, 2).float() / 255
    generator = torch.Generator().manual_seed(0)
    parts = [perturb(some, SIZE, FIELD_UM / cells.width_um, generator=generator) for some in pixels.split(256)]
    return (torch.cat(parts).permute(0, 2, 3, 1) * 255).round().byte().numpy()


def laboratories(cells: LabelledCells, encoder: LoadedEncoder, *, seed: int, count: int = LABORATORIES) -> list[Smear]:
    """Smears of made-up laboratories, each of some of the cells under one strong change."""
    made = []
    for number in range(count):
        few = some(cells, CELLS_A_LABORATORY, seed + number)
        images = [unlike_training([image], seed=seed + number)[0] for image in framed(few)]
        made.append(smear_of(np.stack(images), few.labels, f"laboratory {seed + number}", encoder))
    return made


def train(cells: LabelledCells, count: int = LABORATORIES) -> Probe:
    """Train on the parts that the encoder was trained on, and count errors in made-up laboratories."""
    options = EncodeOptions(encoder="blood-lite", device="cpu", precision="float32", field_of_view=FIELD_UM)
    encoder = load_encoder(options)
    learnt = some(labelled(cells, cells.part >= 2), LEARNT, seed=0)
    smears = [
        smear_of(framed(learnt), learnt.labels, "as they are", encoder),
        smear_of(perturbed(learnt), learnt.labels, "changed as in training", encoder),
    ]
    judged = laboratories(labelled(cells, cells.part == 1), encoder, seed=1000, count=count)
    probe = train_probe(features_of(smears), labels_of([*smears, *judged]), held_out=features_of(judged))
    return replace(probe, description=probe.description.model_copy(update={"note": NOTE, "validation": "laboratory"}))


def features_of(smears: Sequence[Smear]) -> list[Features]:
    return [features for features, _ in smears]


def labels_of(smears: Sequence[Smear]) -> CellLabels:
    return CellLabels(tuple(row for _, labels in smears for row in labels.rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path)
    parser.add_argument("--field-of-view", type=float, default=45, help="width of an image in micrometres")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    asked = parser.parse_args()
    try:
        probe = train(read_cells(asked.cells, asked.field_of_view))
        probe.save(asked.out)
    except CaltomorphError as error:
        raise SystemExit(str(error)) from error
    described = probe.description
    assert described.other is not None
    print(
        f"{sum(described.cells)} cells of {len(described.types)} types; of those held out {described.false_other:.1%} "
        f"are called other, and {described.accuracy:.1%} of the rest as labelled; correlation "
        f"{described.correlation:.3f}, of unknown types {described.other.correlation:.3f}; "
        f"{asked.out.stat().st_size / 1000:.0f} kB"
    )


if __name__ == "__main__":
    main()
