"""Train the shipped demo: a small ViT that encodes synthetic cells, and five members that diagnose synthetic smears.

    python scripts/train_demo_model.py            (about ten minutes on 2 cores)
    python scripts/train_demo_model.py --keep-encoder

Writes `encoding/demo_vit.safetensors` and `diagnosis/demo/` in the package. They are trained on synthetic cells only.
The encoder's training is here; the ensemble's is the package's own `encode_cohort` and `train`.
`python benchmarks/demo_model.py` measures both on patients of other seeds.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import napari_caltomorph
from napari_caltomorph.cohort import CohortOptions, EncodeCohortOptions, encode_cohort
from napari_caltomorph.cohort.synthetic import SyntheticPatients
from napari_caltomorph.encoding import DEMO_ENCODER, ENCODERS
from napari_caltomorph.encoding.load import LoadedEncoder, build_module
from napari_caltomorph.report.training_figures import save_training_curves
from napari_caltomorph.synthetic import CELL_TYPES, RedCells, Stain, SynthOptions, draw_cell
from napari_caltomorph.training import TrainOptions, train

PACKAGE = Path(napari_caltomorph.__file__).parent
ENCODER = ENCODERS[DEMO_ENCODER]
TYPES = sorted(CELL_TYPES)
SEED = 10_000

# Small, so that both networks together stay below 8 MB; hundreds of patients allow a higher learning rate than a few.
OPTIONS = TrainOptions(
    hemoglobin=True,
    depth=2,
    heads=4,
    width=128,
    mlp_width=192,
    epochs=60,
    patience=15,
    learning_rate=5e-4,
    batch_size=16,
    precision="float32",
    device="cpu",
)


def draw_one(seed: int) -> tuple[NDArray[np.uint8], int, float]:
    """Draw one cell of a random type, stain and hemoglobin."""
    rng = np.random.default_rng([seed, 77])
    kind, hemoglobin = int(rng.integers(len(TYPES))), float(rng.uniform(5, 19))
    return draw_cell(TYPES[kind], rng, Stain.sample(rng), RedCells(hemoglobin)), kind, hemoglobin


def train_encoder(cells: int, epochs: int, file: Path) -> None:
    """Train the ViT to name cell types and to read hemoglobin from the red cells; save its trunk."""
    torch.manual_seed(0)
    with ProcessPoolExecutor(2) as pool:
        drawn = list(pool.map(draw_one, range(cells), chunksize=64))
    module = build_module(ENCODER)
    shell = LoadedEncoder(ENCODER, module, ENCODER.preprocessing, "", torch.device("cpu"), torch.float32)
    images = torch.cat([shell.preprocess([d[0] for d in drawn[i : i + 64]]) for i in range(0, cells, 64)])
    kinds = torch.tensor([d[1] for d in drawn])
    pallor = torch.tensor([(d[2] - 12) / 4 for d in drawn])
    head = nn.Linear(ENCODER.width, len(TYPES) + 1)
    parameters = [*module.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.05)
    held_out = cells // 10
    steps = epochs * ((cells - held_out) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    module.train()
    for epoch in range(epochs):
        order = torch.randperm(cells - held_out) + held_out
        for some in order.split(64):
            if len(some) < 64:
                continue
            batch = turn(images[some]) * (1 + 0.1 * torch.randn(64, 3, 1, 1)) + 0.1 * torch.randn(64, 3, 1, 1)
            with torch.autocast("cpu", torch.bfloat16):
                outputs = head(module(batch))
            outputs = outputs.float()
            loss = functional.cross_entropy(outputs[:, :-1], kinds[some], label_smoothing=0.05)
            loss = loss + 0.5 * functional.mse_loss(outputs[:, -1], pallor[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        module.eval()
        with torch.inference_mode():
            outputs = torch.cat([head(module(x)) for x in images[:held_out].split(64)])
        module.train()
        right = (outputs[:, :-1].argmax(1) == kinds[:held_out]).float().mean()
        r = np.corrcoef(outputs[:, -1], pallor[:held_out])[0, 1]
        print(
            f"encoder epoch {epoch + 1}/{epochs}: type accuracy {right:.3f}, hemoglobin r {r:.2f} (unseen cells)",
            flush=True,
        )
    weights = {key: value.half().contiguous() for key, value in module.state_dict().items()}
    save_file(weights, file)


def turn(images: Tensor) -> Tensor:
    """Flip and turn a batch: a cell has no right way up."""
    if torch.rand(()) < 0.5:
        images = images.flip(-1)
    return images.rot90(int(torch.randint(4, ())), (-2, -1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder-cells", type=int, default=8000)
    parser.add_argument("--encoder-epochs", type=int, default=14)
    parser.add_argument("--patients", type=int, default=480)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--keep-encoder", action="store_true", help="train only the ensemble")
    arguments = parser.parse_args()
    start = time.time()
    shipped = PACKAGE / "encoding" / "demo_vit.safetensors"
    with tempfile.TemporaryDirectory() as scratch:
        # Both are shipped at the end and together: an ensemble takes features of its own encoder only.
        file = Path(scratch) / shipped.name
        if arguments.keep_encoder:
            shutil.copyfile(shipped, file)
        else:
            train_encoder(arguments.encoder_cells, arguments.encoder_epochs, file)
        options = EncodeCohortOptions(encoder=DEMO_ENCODER, weights=file, device="cpu", precision="float32")
        synthetic = SyntheticPatients.synthesize(
            SynthOptions(patients=arguments.patients, cells=arguments.cells, seed=SEED)
        )
        cohort, features = synthetic.cohort(CohortOptions(test_fraction=0)), Path(scratch) / "features"
        encode_cohort(cohort, features, options, open_smear=synthetic.open_smear)
        print(f"drew and encoded {len(cohort)} patients", flush=True)
        ensemble = train(cohort, features, OPTIONS)
        for row in ensemble.description.training.out_of_fold.rows():
            print("out of fold (single members):", *row, flush=True)
        update = {
            "name": "demo (synthetic)",
            "description": "The demo of napari-caltomorph: it diagnoses synthetic smears.",
        }
        description = ensemble.description.model_copy(update=update)
        shutil.copyfile(file, shipped)
        # Without its patients: they can be synthesized again, and the demo is small.
        shown = replace(ensemble, description=description, patients=None)
        shown = shown.save(PACKAGE / "diagnosis" / "demo", overwrite=True)
        save_training_curves(shown.description, PACKAGE / "diagnosis" / "demo")
    print(f"took {(time.time() - start) / 60:.0f} min")


if __name__ == "__main__":
    main()
