"""Labelled cells -> weights of an encoder that separates their types in other laboratories too.

Stain, light, focus, scale and surroundings of each cell are changed at random in each step (`perturbation.py`), so that
the network learns cells and not a laboratory. Cells that are held out, as they are and under changes that the training
does not have (`unlike_training`), choose the best weights. The learning rate falls with time, so a training takes as
long as it is given on any machine.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from sklearn.metrics import f1_score
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from napari_caltomorph.encoding.encoders import Encoder
from napari_caltomorph.encoding.load import read_network
from napari_caltomorph.encoding.perturbation import perturb
from napari_caltomorph.encoding.preprocessing import Preprocessing
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear.cell_types import VAGUE
from napari_caltomorph.storage import StrPath, replacing

BATCH, WEIGHT_DECAY, SMOOTHING = 32, 0.02, 0.1
EVALUATIONS = 12


@dataclass(frozen=True)
class LabelledCells:
    """N cells: images (N, S, S, 3) uint8 of `width_um`, their types or vague names, and part 0...9 by their files."""

    images: NDArray[np.uint8]
    labels: NDArray[np.str_]
    part: NDArray[np.intp]
    width_um: float

    def where(self, rows: NDArray[np.bool_]) -> LabelledCells:
        return LabelledCells(self.images[rows], self.labels[rows], self.part[rows], self.width_um)


@dataclass(frozen=True)
class FineTuning:
    """What is trained, and how."""

    start: Encoder
    weights: Path  # That it starts from
    preprocessing: Preprocessing  # Of the encoder that it becomes
    is_frozen: Callable[[str], bool]  # Whether the parameter of this name keeps its value
    minutes: float
    learning_rate: float = 8e-4
    smaller: int = 0  # Pixels by which images are smaller at first: more of them in the same time

    def share(self, cells: LabelledCells) -> float:
        """Return the encoder's field as a share of the width of the cells."""
        return (self.preprocessing.field_um or cells.width_um) / cells.width_um


@dataclass(frozen=True)
class Evaluated:
    """The encoder at one time of its training."""

    encoder: nn.Module  # It changes when the training goes on
    done: float  # Share of the time
    step: int
    loss: float
    scores: dict[str, float]  # Macro F1 on the cells held out
    is_best: bool


def fine_tune(
    training: LabelledCells, held_out: LabelledCells, how: FineTuning, *, progress: OnProgress = ignore
) -> Iterator[Evaluated]:
    """Train an encoder and a head on labelled cells, and yield it each time it is evaluated.

    Raises `TrainingRefused` where there are not two types, or nothing is held out. An exception of `progress` ends it.
    """
    torch.manual_seed(0)
    held_out = held_out.where(~np.isin(held_out.labels, list(VAGUE)))
    types = sorted(set(training.labels.tolist()) - VAGUE.keys())
    if len(types) < 2 or not len(held_out.labels):
        raise TrainingRefused(f"An encoder needs cells of two types or more, some to be held out; found are {types}.")
    allowed = torch.tensor([[one in VAGUE.get(label, (label,)) for one in types] for label in training.labels])
    counts = Counter(training.labels.tolist())
    weight = torch.tensor([counts[label] ** -0.5 for label in training.labels])
    size = how.preprocessing.size
    own = [centre(image, how.share(held_out), size) for image in held_out.images]
    exams = {"as they are": own, "unlike training": unlike_training(own, progress=progress)}
    model = _Trainee(how, len(types))
    average = ModelEmaV3(model, decay=0.998, use_warmup=True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=how.learning_rate, weight_decay=WEIGHT_DECAY)
    best, step, evaluated, seconds, start = -1.0, 0, 0, 60 * how.minutes, time.monotonic()
    while (done := (time.monotonic() - start) / seconds) < 1 or step == 0:
        now = Progress("Fine-tuning", round(done * seconds), max(round(seconds), 1), "seconds")
        progress(now)
        for group in optimizer.param_groups:
            group["lr"] = how.learning_rate * min(step / 100 + 0.01, 1) * (0.5 + 0.5 * np.cos(np.pi * min(done, 1)))
        rows = torch.multinomial(weight, min(BATCH, len(weight)))
        seen = torch.from_numpy(training.images[rows.numpy()]).permute(0, 3, 1, 2).float() / 255
        seen = perturb(seen, size - how.smaller if done < 0.6 else size, how.share(training))
        loss = loss_of(model.train()(seen), allowed[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        average.update(model, step=step)
        step += 1
        done = (time.monotonic() - start) / seconds
        if done * EVALUATIONS < evaluated + 1:
            continue
        evaluated = int(done * EVALUATIONS)
        examine = partial(
            _macro_f1, average.module, labels=held_out.labels, types=types, on_batch=partial(progress, now)
        )
        scores = {name: examine(images=images) for name, images in exams.items()}
        is_best = scores["unlike training"] > best
        best = max(best, scores["unlike training"])
        yield Evaluated(average.module.encoder, done, step, loss.item(), scores, is_best)


def before_last_stage(module: nn.Module) -> Callable[[str], bool]:
    """Return which parameters are before a network's last block; `TrainingRefused` where it has no blocks."""
    children = [name for name, _ in module.named_children()]
    if "blocks" not in children:
        raise TrainingRefused("This network has no blocks whose last could be trained; choose another encoder.")
    count = len(list(module.get_submodule("blocks").children()))
    last = (f"blocks.{count - 1}.", *children[children.index("blocks") + 1 :])
    return lambda name: not name.startswith(last)


def save_weights(weights: dict[str, Tensor], file: StrPath) -> None:
    """Write weights as safetensors; `OutputRefused` when they cannot be written."""
    with replacing(Path(file)) as part:
        part.write_bytes(save(weights))


def half_weights(encoder: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the weights in float16."""
    return {key: value.half().contiguous() for key, value in encoder.state_dict().items()}


def centre(image: NDArray[np.uint8], share: float, size: int) -> NDArray[np.uint8]:
    """The centre square of an image, `share` of its width, resized."""
    height, width = image.shape[:2]
    half = share * width / 2
    box = (width / 2 - half, max(height / 2 - half, 0), width / 2 + half, min(height / 2 + half, height))
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=box))


def loss_of(scores: Tensor, allowed: Tensor) -> Tensor:
    """Cross-entropy of "one of the allowed types" (B, K), with a little for every type."""
    log = scores.log_softmax(dim=1)
    right = log.masked_fill(~allowed, -torch.inf).logsumexp(dim=1)
    return -((1 - SMOOTHING) * right + SMOOTHING * log.mean(dim=1)).mean()


def unlike_training(
    images: Sequence[NDArray[np.uint8]], seed: int = 0, *, progress: OnProgress = ignore
) -> list[NDArray[np.uint8]]:
    """Change images strongly in ways that no training has: Lab colours, motion, resolution, vignetting, JPEG."""
    changed = []
    for number, image in enumerate(images):
        progress(Progress("Changing held-out cells", number, len(images)))
        changed.append(_unlike(image, np.random.default_rng([seed, number])))
    return changed


def _unlike(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    from skimage import color

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


class _Trainee(nn.Module):
    """The encoder, and a head that is not kept."""

    def __init__(self, how: FineTuning, types: int) -> None:
        super().__init__()
        self.encoder = read_network(how.start, how.weights).module
        for name, parameter in self.encoder.named_parameters():
            parameter.requires_grad_(not how.is_frozen(name))
        width = int(cast(int, self.encoder.head_hidden_size))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(width, types))
        # On 0...255, where the numbers of some networks are whole
        scales = (how.preprocessing.mean, how.preprocessing.std)
        self.mean, self.std = ((255 * torch.tensor(x, dtype=torch.float64)).float().view(3, 1, 1) for x in scales)

    def forward(self, cells: Tensor) -> Tensor:
        scores: Tensor = self.head(self.encoder((cells * 255 - self.mean) / self.std))
        return scores


@torch.inference_mode()
def _macro_f1(
    model: nn.Module,
    images: list[NDArray[np.uint8]],
    labels: NDArray[np.str_],
    types: list[str],
    on_batch: Callable[[], None],
) -> float:
    model.eval()
    called = []
    for some in torch.split(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), 64):
        on_batch()
        called.append(model(some.float() / 255).argmax(dim=1))
    return float(f1_score(labels, np.array(types)[torch.cat(called).numpy()], average="macro"))
