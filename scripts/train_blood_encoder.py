"""Train the shipped encoder of real blood cells: EfficientNet-Lite0, fine-tuned on a folder of labelled cells.

    python scripts/train_blood_encoder.py CELLS [--minutes 60] [--field-of-view 45] [--out FILE]

CELLS has a folder a cell type, such as the PBC set (Acevedo et al. 2020, doi:10.17632/snkd93bnjr.1, CC BY 4.0). The
start is ImageNet (`pip install napari-caltomorph[imagenet]`). Stain, light, focus, scale and surroundings of each cell
are changed at random in each step (`encoding/perturbation.py`), so that the network learns cells and not a laboratory.
A tenth of the cells, by the hash of their files, is kept apart for `benchmarks/blood_encoder.py`. Another tenth, under
changes that the training does not have (`unlike_training`), chooses the best weights. The learning rate falls with
time, so `--minutes` is the length of a whole training on any machine. The shipped weights took 70 minutes of one core:
9,521 steps.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from skimage import color
from sklearn.metrics import f1_score
from timm.utils import ModelEmaV3
from torch import Tensor, nn

import napari_caltomorph
from napari_caltomorph.encoding import ENCODERS, find_weights
from napari_caltomorph.encoding.load import read_network
from napari_caltomorph.encoding.perturbation import perturb
from napari_caltomorph.errors import CaltomorphError, TrainingRefused
from napari_caltomorph.smear import read_smear
from napari_caltomorph.smear.cell_types import known_type

SHIPPED = Path(napari_caltomorph.__file__).parent / "encoding" / "blood_lite.safetensors"
START = ENCODERS["efficientnet-lite0"]
FIELD_UM, SIZE = ENCODERS["blood-lite"].preprocessing.field_um, ENCODERS["blood-lite"].preprocessing.size
CACHED_UM, PIXELS_PER_UM = 40.0, 4  # Of a cell in memory: wider than the field, for turning and zooming

# Folders whose cells are of one of several types: the loss asks only for one of these.
VAGUE = {
    "neutrophil": ("band neutrophil", "segmented neutrophil"),
    "immature granulocyte": ("metamyelocyte", "myelocyte", "promyelocyte"),
}
# Edges and colours of ImageNet serve blood as well; without their gradients a step takes 0.6 of the time.
FROZEN = ("conv_stem", "bn1", "blocks.0", "blocks.1")
BATCH, LEARNING_RATE, WEIGHT_DECAY, SMOOTHING = 32, 8e-4, 0.02, 0.1
EVALUATIONS = 12


@dataclass(frozen=True)
class LabelledCells:
    """N cells: images (N, S, S, 3) uint8 of `width_um`, the names of their folders, and part 0...9 by their files."""

    images: NDArray[np.uint8]
    labels: NDArray[np.str_]
    part: NDArray[np.intp]
    width_um: float

    def where(self, rows: NDArray[np.bool_]) -> LabelledCells:
        return LabelledCells(self.images[rows], self.labels[rows], self.part[rows], self.width_um)


def read_cells(folder: Path, field_of_view_um: float) -> LabelledCells:
    """Read a folder of labelled cells; the same file twice is in the same part."""
    smear = read_smear(folder)
    width = min(field_of_view_um, CACHED_UM)
    rows = [i for i, label in enumerate(smear.labels) if label]
    images = [centre(smear.image(i), width / field_of_view_um, round(width * PIXELS_PER_UM)) for i in rows]
    labels = [type_of(str(smear.labels[i])) for i in rows]
    part = [int(smear.source.digest(i)[:8], 16) % 10 for i in rows]
    return LabelledCells(np.stack(images), np.array(labels), np.array(part), width)


def centre(image: NDArray[np.uint8], share: float, size: int) -> NDArray[np.uint8]:
    """The centre square of an image, `share` of its width, resized."""
    height, width = image.shape[:2]
    half = share * width / 2
    box = (width / 2 - half, max(height / 2 - half, 0), width / 2 + half, min(height / 2 + half, height))
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=box))


def type_of(folder: str) -> str:
    name = " ".join(folder.replace("_", " ").lower().split())
    return name if name in VAGUE else known_type(name) or name


def unlike_training(images: Sequence[NDArray[np.uint8]], seed: int = 0) -> list[NDArray[np.uint8]]:
    """Change images strongly in ways that no training has: Lab colours, motion, resolution, vignetting, JPEG."""
    return [_unlike(image, np.random.default_rng([seed, number])) for number, image in enumerate(images)]


def _unlike(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    side = image.shape[0]
    lab = color.rgb2lab(image)
    lab[..., 0] = 100 * (lab[..., 0] / 100) ** rng.uniform(0.6, 1.7)
    lab[..., 1:] = lab[..., 1:] * rng.uniform(0.5, 1.5) + rng.normal(0, 10, 2)
    axis = np.linspace(-1, 1, side)
    vignette = 1 - rng.uniform(0, 0.35) * (axis[:, None] ** 2 + axis[None, :] ** 2) / 2
    seen = np.clip(color.lab2rgb(lab), 0, 1) * vignette[..., None]
    steps = rng.integers(0, 4)
    seen = np.mean([np.roll(seen, step, axis=int(rng.integers(2))) for step in range(steps + 1)], axis=0)
    small = round(side * rng.uniform(0.4, 1))
    squeezed = Image.fromarray((seen * 255).astype(np.uint8)).resize((small, small)).resize((side, side))
    file = io.BytesIO()
    squeezed.save(file, "JPEG", quality=int(rng.integers(20, 80)))
    return np.asarray(Image.open(file))


class Trainee(nn.Module):
    """The encoder, and a head that is not shipped."""

    def __init__(self, types: int) -> None:
        super().__init__()
        self.encoder = read_network(START, find_weights(START)).module
        for name, parameter in self.encoder.named_parameters():
            parameter.requires_grad_(not name.startswith(FROZEN))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, types))

    def forward(self, cells: Tensor) -> Tensor:
        scores: Tensor = self.head(self.encoder((cells * 255 - 127) / 128))
        return scores


def loss_of(scores: Tensor, allowed: Tensor) -> Tensor:
    """Cross-entropy of "one of the allowed types" (B, K), with a little for every type."""
    log = scores.log_softmax(dim=1)
    right = log.masked_fill(~allowed, -torch.inf).logsumexp(dim=1)
    return -((1 - SMOOTHING) * right + SMOOTHING * log.mean(dim=1)).mean()


def train(cells: LabelledCells, minutes: float, out: Path) -> None:
    """Train for some minutes, and keep the weights that are best on the held-out part under unseen changes."""
    start = time.monotonic()
    torch.manual_seed(0)
    training = cells.where(cells.part >= 2)
    held_out = cells.where((cells.part == 1) & ~np.isin(cells.labels, list(VAGUE)))
    types = sorted(set(training.labels.tolist()) - VAGUE.keys())
    if len(types) < 2 or not len(held_out.labels):
        raise TrainingRefused(f"An encoder needs cells of two types or more, some to be held out; found are {types}.")
    allowed = torch.tensor([[one in VAGUE.get(label, (label,)) for one in types] for label in training.labels])
    counts = Counter(training.labels.tolist())
    weight = torch.tensor([counts[label] ** -0.5 for label in training.labels])
    own = [centre(image, FIELD_UM / cells.width_um, SIZE) for image in held_out.images]
    exams = {"as they are": own, "unlike training": unlike_training(own)}
    model = Trainee(len(types))
    average = ModelEmaV3(model, decay=0.998, use_warmup=True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    print(f"{len(training.labels)} cells to train on: {dict(counts)}; {len(own)} held out", flush=True)
    best, step, evaluated = -1.0, 0, 0
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1 or step == 0:
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(step / 100 + 0.01, 1) * (0.5 + 0.5 * np.cos(np.pi * min(done, 1)))
        rows = torch.multinomial(weight, min(BATCH, len(weight)))
        # Smaller images first: more of them in the same time.
        size = SIZE - 16 if done < 0.6 else SIZE
        seen = torch.from_numpy(training.images[rows.numpy()]).permute(0, 3, 1, 2).float() / 255
        seen = perturb(seen, size, FIELD_UM / cells.width_um)
        loss = loss_of(model.train()(seen), allowed[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(model, step=step)
        step += 1
        done = (time.monotonic() - start) / (60 * minutes)
        if done * EVALUATIONS < evaluated + 1:
            continue
        evaluated = int(done * EVALUATIONS)
        scores = {name: macro_f1(average.module, images, held_out.labels, types) for name, images in exams.items()}
        shown = ", ".join(f"{name} {score:.3f}" for name, score in scores.items())
        print(f"{done:.0%}, step {step}: loss {loss.item():.3f}; macro F1 {shown}", flush=True)
        if scores["unlike training"] > best:
            best = scores["unlike training"]
            save(average.module.encoder, out)


@torch.inference_mode()
def macro_f1(model: Trainee, images: list[NDArray[np.uint8]], labels: NDArray[np.str_], types: list[str]) -> float:
    model.eval()
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    called = torch.cat([model(some.float() / 255).argmax(dim=1) for some in batch.split(64)])
    return float(f1_score(labels, np.array(types)[called.numpy()], average="macro"))


def save(encoder: nn.Module, file: Path) -> None:
    """Write float16 weights."""
    save_file({key: value.half().contiguous() for key, value in encoder.state_dict().items()}, file)


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
