"""Train the shipped demo: a small ViT that encodes synthetic cells, and five members that diagnose synthetic smears.

    python scripts/train_demo_model.py            (about ten minutes on 2 cores)

Writes `encode/demo_vit.safetensors` and `diagnose/demo/` in the package, and prints how well the ensemble does on
synthetic patients of seeds that nothing was trained on. Both networks have only ever seen drawn cells.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import napari_caltomorph
from napari_caltomorph.diagnose import Ensemble, FoldRecord, ModelDescription, TrainingRecord, TransformerOptions
from napari_caltomorph.diagnose.ensemble import build_member
from napari_caltomorph.diagnose.member import Member
from napari_caltomorph.diagnose.model_file import EncoderNeed, ErrorInterval, HemoglobinTarget, MemberFile, Threshold
from napari_caltomorph.encode import ENCODERS, EncodeOptions, Features, load_encoder
from napari_caltomorph.encode.features import FeatureOrigin
from napari_caltomorph.encode.load import LoadedEncoder, build_module
from napari_caltomorph.synthetic import CELL_TYPES, COMPOSITIONS, Stain, SyntheticPatient, draw_cell, synthesize_patient
from napari_caltomorph.taxonomy import caltomorph_taxonomy

PACKAGE = Path(napari_caltomorph.__file__).parent
ENCODER = ENCODERS["demo-vit"]
TYPES = sorted(CELL_TYPES)
TAXONOMY = caltomorph_taxonomy()
FIELD_OF_VIEW_UM = 25.0
FOLDS = 5
BLASTS = {"myeloblast", "lymphoblast", "promyelocyte"}


def draw_one(seed: int) -> tuple[NDArray[np.uint8], int, float]:
    """Draw one cell of a random type, stain and hemoglobin."""
    rng = np.random.default_rng([seed, 77])
    kind, hemoglobin = int(rng.integers(len(TYPES))), float(rng.uniform(5, 19))
    return draw_cell(TYPES[kind], rng, Stain.sample(rng), hemoglobin), kind, hemoglobin


def train_encoder(pool: ProcessPoolExecutor, cells: int, epochs: int, file: Path) -> None:
    """Train the ViT to name cell types and to read hemoglobin from the red cells; save its trunk."""
    torch.manual_seed(0)
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


def invent_patients(per_class: int, cells: int, seed: int) -> list[SyntheticPatient]:
    """Invent patients evenly over the coarse classes."""
    patients = []
    for coarse in TAXONOMY.classes:
        detailed = [d.slug for d in coarse.detailed if d.slug in COMPOSITIONS]
        for i in range(per_class):
            patients.append(synthesize_patient(detailed[i % len(detailed)], cells=cells, seed=seed))
            seed += 1
    return patients


def draw_patient(patient: SyntheticPatient) -> list[NDArray[np.uint8]]:
    """Draw all cells of a patient."""
    return list(patient.images())


def encode_patients(
    pool: ProcessPoolExecutor, encoder: LoadedEncoder, patients: Sequence[SyntheticPatient]
) -> NDArray[np.float32]:
    """Return (P, N, D) features."""
    bags = []
    for images in pool.map(draw_patient, patients):
        bags.append(np.concatenate([encoder.features(images[i : i + 64]) for i in range(0, len(images), 64)]))
        if len(bags) % 40 == 0:
            print(f"encoded {len(bags)}/{len(patients)} patients", flush=True)
    return np.stack(bags)


def train_member(member: Member, bags: Tensor, classes: Tensor, hemoglobin: Tensor, epochs: int, seed: int) -> None:
    """Train for a fixed number of epochs; nothing outside `bags` steers it."""
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(member.parameters(), lr=5e-4, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-4, total_steps=epochs * -(-len(bags) // 16))
    member.train()
    for _ in range(epochs):
        for some in torch.randperm(len(bags)).split(16):
            kept = torch.randperm(bags.shape[1])[: int(torch.randint(bags.shape[1] // 2, bags.shape[1] + 1, ()))]
            outputs = member(bags[some][:, kept])
            loss = functional.cross_entropy(outputs.logits, classes[some], label_smoothing=0.05)
            loss = loss + functional.mse_loss(outputs.hemoglobin, hemoglobin[some])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(member.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    member.eval()


def train_ensemble(
    encoder: LoadedEncoder,
    patients: list[SyntheticPatient],
    bags: NDArray[np.float32],
    epochs: int,
    record: TrainingRecord,
) -> Ensemble:
    """Train five members, each on four folds, and keep how far off each was on its own fold."""
    truth = np.array([p.hemoglobin_g_dl for p in patients])
    classes = torch.tensor([TAXONOMY.slugs.index(p.coarse) for p in patients])
    scaled = torch.tensor((truth - truth.mean()) / truth.std(), dtype=torch.float32)
    # Patients are ordered by class and detailed class, so that dealing them out in turn stratifies the folds.
    fold = np.arange(len(patients)) % FOLDS
    description = ModelDescription(
        name="demo (synthetic)",
        description="The first demo of napari-caltomorph: it diagnoses drawn smears.",
        synthetic=True,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        encoder=EncoderNeed(
            name=ENCODER.name,
            weights_sha256=encoder.weights_sha256,
            preprocessing=str(encoder.preprocessing),
            width=encoder.width,
        ),
        field_of_view_um=FIELD_OF_VIEW_UM,
        taxonomy=TAXONOMY,
        hemoglobin=HemoglobinTarget(),
        aggregator=TransformerOptions(depth=2, heads=4, width=128, mlp_width=256),
        threshold=Threshold(value=0.5, rule="the paper's operating point (section 3.1), not chosen on this cohort"),
        training=record,
        members=(MemberFile(file="fold_0.safetensors", sha256="0" * 64),),
        library_versions={name: version(name) for name in ("napari-caltomorph", "torch", "timm")},
    )
    data = torch.from_numpy(bags)
    members, right, off = [], np.zeros(len(patients)), np.zeros(len(patients))
    for k in range(FOLDS):
        torch.manual_seed(k)
        member, inside = build_member(description), torch.from_numpy(fold != k)
        member.hemoglobin_mean.fill_(truth.mean())
        member.hemoglobin_std.fill_(truth.std())
        train_member(member, data[inside], classes[inside], scaled[inside], epochs, seed=k)
        with torch.inference_mode():
            outputs = member(data[~inside])
        right[fold == k] = outputs.logits.argmax(1) == classes[~inside]
        off[fold == k] = truth[fold == k] - member.hemoglobin_g_dl(outputs).numpy()
        members.append(member)
        print(f"member {k + 1}: accuracy on its own fold {right[fold == k].mean():.3f}", flush=True)
    low, high = np.quantile(off, [0.05, 0.95])
    error = ErrorInterval(level=0.9, low=round(low, 2), high=round(high, 2), patients=len(patients))
    accuracy = {"value": round(float(right.mean()), 3)}
    record = record.model_copy(update={"out_of_fold": {"pooled": {"accuracy": accuracy}, "per_fold": {}}})
    hemoglobin = description.hemoglobin.model_copy(update={"error": error})
    return Ensemble(description.model_copy(update={"hemoglobin": hemoglobin, "training": record}), tuple(members))


def report(
    ensemble: Ensemble, encoder: LoadedEncoder, patients: list[SyntheticPatient], bags: NDArray[np.float32]
) -> None:
    """Print what the ensemble does on patients that nothing was trained on."""
    from sklearn.metrics import roc_auc_score

    origin = FeatureOrigin(encoder=ENCODER.name, field_of_view_um=FIELD_OF_VIEW_UM)
    predictions = [
        ensemble.predict(Features(p.patient_id, bag, tuple(map(str, range(len(bag)))), origin))
        for p, bag in zip(patients, bags, strict=True)
    ]
    truth = [TAXONOMY.coarse(p.coarse) for p in patients]
    right = np.array([p.predicted_class == t.name for p, t in zip(predictions, truth, strict=True)])
    print(f"\n{len(patients)} unseen synthetic patients: accuracy {right.mean():.3f}")
    for c in TAXONOMY.classes:
        of_class = np.array([t.slug == c.slug for t in truth])
        print(f"  {c.name:22} sensitivity {right[of_class].mean():.2f} of {of_class.sum()}")
    print(f"  malignant AUROC {roc_auc_score([t.malignant for t in truth], [p.malignancy for p in predictions]):.3f}")
    measured = [p.hemoglobin_g_dl for p in patients]
    print(f"  hemoglobin r {np.corrcoef(measured, [p.hemoglobin for p in predictions])[0, 1]:.2f}")
    acute = TAXONOMY.slugs.index("acute_leukemia")
    planted = [
        (np.isin(p.cell_types, list(BLASTS)), q)
        for p, q in zip(patients, predictions, strict=True)
        if p.coarse == "acute_leukemia"
    ]
    planted = [(is_blast, q) for is_blast, q in planted if 0 < is_blast.sum() < len(is_blast)]
    for name, scores in (
        ("attention", [roc_auc_score(b, q.attention) for b, q in planted]),
        ("response to the cell alone", [roc_auc_score(b, q.alone[:, acute]) for b, q in planted]),
    ):
        print(f"  blasts ranked by {name}: AUROC {np.mean(scores):.2f} (mean of {len(scores)} acute leukemias)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder-cells", type=int, default=8000)
    parser.add_argument("--encoder-epochs", type=int, default=14)
    parser.add_argument("--patients-per-class", type=int, default=40)
    parser.add_argument("--cells", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--keep-encoder", action="store_true", help="train only the ensemble")
    options = parser.parse_args()
    start = time.time()
    shipped = PACKAGE / "encode" / "demo_vit.safetensors"
    with ProcessPoolExecutor(2) as pool, tempfile.TemporaryDirectory() as folder:
        # Both are shipped at the end and together: an ensemble takes features of its own encoder only.
        file = Path(folder) / shipped.name
        if options.keep_encoder:
            shutil.copyfile(shipped, file)
        else:
            train_encoder(pool, options.encoder_cells, options.encoder_epochs, file)
        encoder = load_encoder(EncodeOptions(encoder=ENCODER.name, weights=file, device="cpu", precision="float32"))
        patients = invent_patients(options.patients_per_class, options.cells, seed=10_000)
        unseen = invent_patients(10, options.cells, seed=900_000)
        bags = encode_patients(pool, encoder, patients + unseen)
        record = TrainingRecord(
            recipe="scripts/train_demo_model.py",
            options={"epochs": options.epochs, "optimizer": "AdamW", "learning_rate": 5e-4, "weight_decay": 0.05},
            cohort=f"{len(patients)} synthetic patients, evenly of the coarse classes, {options.cells} cells each",
            patients={c.slug: options.patients_per_class for c in TAXONOMY.classes},
            folds=(
                FoldRecord(
                    patients=len(patients) - len(patients) // FOLDS,
                    validation_patients=0,
                    epochs=options.epochs,
                    best_epoch=options.epochs,
                    stopped_by="fixed number of epochs",
                ),
            )
            * FOLDS,
            notes=(
                f"The encoder was trained on {options.encoder_cells} synthetic cells, {options.encoder_epochs} epochs.",
            ),
            seconds=time.time() - start,
            machine=platform.processor() or platform.machine(),
        )
        ensemble = train_ensemble(encoder, patients, bags[: len(patients)], options.epochs, record)
        shutil.copyfile(file, shipped)
        ensemble.save(PACKAGE / "diagnose" / "demo", overwrite=True)
    report(ensemble, encoder, unseen, bags[len(patients) :])
    print(f"took {(time.time() - start) / 60:.0f} min")


if __name__ == "__main__":
    main()
