"""The encoder of real blood cells beside ImageNet: cell types at home, under other stains, and in other laboratories.

    python -m benchmarks.blood_encoder CELLS [--apl-aml COHORT] [--chula FIELDS] [--training 2500] [--only blood-lite]

CELLS is the folder that `scripts/train_blood_encoder.py` was given. Each encoder gets the same logistic regression,
trained on the same cells of the training's part; the cells that it is tested on were kept apart by the hash of their
files. COHORT is the APL-AML cohort (Sidhom et al. 2021), whose labelled cells of seven families are called; FIELDS is a
folder of fields with `white_cells.csv` (field, box and type). Neither is trained or chosen on. A cell is answered where
the probe is as sure as it is for 95 % of the cells kept apart. Prints Markdown; docs/benchmarks.md has one run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from benchmarks.speed import machine
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import bootstrap
from scripts.train_blood_encoder import CACHED_UM, PIXELS_PER_UM, read_cells
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from napari_caltomorph.differential.probe import ProbeOptions
from napari_caltomorph.encoding import EncodeOptions, LoadedEncoder, load_encoder
from napari_caltomorph.encoding.fine_tuning import centre, unlike_training
from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.smear import check_smear, read_smear
from napari_caltomorph.smear.cell_types import VAGUE, known_type

SIDE = round(CACHED_UM * PIXELS_PER_UM)
FIELD_UM = 45.0  # Width of the images of PBC and APL-AML
CHULA_PIXELS_PER_UM = 9.3  # Its red cells are about 70 pixels wide; taken as 7.5 micrometres

FAMILIES = {
    "segmented neutrophil": "neutrophil",
    "band neutrophil": "neutrophil",
    "metamyelocyte": "immature granulocyte",
    "myelocyte": "immature granulocyte",
    "promyelocyte": "immature granulocyte",
}
ASKED = ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil", "immature granulocyte", "erythroblast")
# Names of folders that `known_type` knows as one of those, and which are another thing
NOT_ASKED = ("Lymphocyte, variant", "Prolymphocyte")

Images = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True)
class Cells:
    """N cells of 40 micrometres, their types, and the patients that they are of."""

    images: Images
    types: NDArray[np.str_]
    patients: NDArray[np.str_]


def family(types: NDArray[np.str_]) -> NDArray[np.str_]:
    return np.array([FAMILIES.get(one, one) for one in types])


def apl_aml(cohort: Path) -> Cells:
    """Labelled cells of the families, of all readable patients."""
    images, types, patients = [], [], []
    for name in sorted(pd.read_csv(cohort / "master.csv")["Patient_ID"]):
        try:
            smear = check_smear(read_smear(cohort / "All" / name))
        except SmearUnreadable as error:
            print(f"{name}: {error}\n")
            continue
        for index in smear.usable:
            label = smear.labels[index]
            if label is None or label in NOT_ASKED or family(np.array([known_type(label)]))[0] not in ASKED:
                continue
            images.append(centre(smear.image(index), CACHED_UM / FIELD_UM, SIDE))
            types.append(known_type(label))
            patients.append(name)
    return Cells(images, np.array(types), np.array(patients))


def chula(folder: Path) -> Cells:
    """The cells of the boxes, each with as much of its field around it as the encoder's cells have."""
    rows = pd.read_csv(folder / "white_cells.csv")
    half = round(CACHED_UM * CHULA_PIXELS_PER_UM / 2)
    images = []
    for row in rows.itertuples():
        field = np.asarray(Image.open(folder / row.field).convert("RGB"))
        padded = np.pad(field, ((half, half), (half, half), (0, 0)), mode="symmetric")
        top, left = (row.y_min + row.y_max) // 2, (row.x_min + row.x_max) // 2
        images.append(centre(padded[top : top + 2 * half, left : left + 2 * half], 1, SIDE))
    return Cells(images, rows["type"].map(known_type).to_numpy(dtype=str), rows["field"].to_numpy(dtype=str))


def features(encoder: LoadedEncoder, images: Images) -> NDArray[np.float32]:
    framed = [encoder.preprocessing.framed(image, CACHED_UM / SIDE) for image in images]
    return np.concatenate(list(encoder.stream(framed[i : i + 64] for i in range(0, len(framed), 64))))


def probe_of(values: NDArray[np.float32], types: NDArray[np.str_]) -> Pipeline:
    """The regression of `train_probe`."""
    model = LogisticRegression(C=ProbeOptions().strength / values.shape[1], max_iter=1000)
    return make_pipeline(StandardScaler(), model).fit(values, types)


def over_patients(is_right: NDArray[np.bool_], patients: NDArray[np.str_]) -> str:
    """Share of right cells with its 95 % interval over patients."""
    groups = [is_right[patients == one] for one in np.unique(patients)]

    def share(chosen: NDArray[np.intp]) -> float:
        return float(np.concatenate([groups[int(i)] for i in chosen]).mean())

    drawn = bootstrap((np.arange(len(groups)),), share, vectorized=False, method="percentile", n_resamples=2000)
    low, high = drawn.confidence_interval
    return f"{is_right.mean():.3f} ({low:.3f} to {high:.3f})"


def encoders() -> dict[str, LoadedEncoder]:
    imagenet = load_encoder(EncodeOptions(encoder="efficientnet-lite0", device="cpu", precision="float32"))
    blood = load_encoder(EncodeOptions(encoder="blood-lite", device="cpu", precision="float32"))
    centred = replace(imagenet.preprocessing, field_um=blood.preprocessing.field_um)
    return {
        "efficientnet-lite0 (ImageNet), 40 µm": imagenet,
        "efficientnet-lite0 (ImageNet), centre 25 µm": replace(imagenet, preprocessing=centred),
        "blood-lite": blood,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path)
    parser.add_argument("--apl-aml", type=Path)
    parser.add_argument("--chula", type=Path)
    parser.add_argument("--training", type=int, default=2500)
    parser.add_argument("--only", default="", help="encoders whose name contains this")
    asked = parser.parse_args()
    every = read_cells(asked.cells, FIELD_UM)
    stated = ~np.isin(every.labels, list(VAGUE))
    training = np.random.default_rng(0).permutation(np.flatnonzero(stated & (every.part >= 2)))[: asked.training]
    home = np.flatnonzero(stated & (every.part == 0))
    kept_apart = [every.images[i] for i in home]
    numbers = np.array([str(i) for i in home])
    sets = {
        "kept apart": Cells(kept_apart, every.labels[home], numbers),
        "kept apart, strongly changed": Cells(unlike_training(kept_apart, seed=1), every.labels[home], numbers),
    }
    if asked.apl_aml:
        sets["APL-AML"] = apl_aml(asked.apl_aml)
    if asked.chula:
        sets["Chula"] = chula(asked.chula)
    print(f"\n{machine()}\n\nProbes of {len(training)} cells.\n")
    print("| encoder | cells | n | types right | macro F1, types | families right (95 %) | macro F1, families "
          "| answered | right of these |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    recalls = {}
    for name, encoder in encoders().items():
        if asked.only not in name:
            continue
        start, values = time.process_time(), features(encoder, [every.images[i] for i in training])
        rate = len(training) / (time.process_time() - start)
        probe, least = probe_of(values, every.labels[training]), 0.0
        for where, cells in sets.items():
            shares = probe.predict_proba(features(encoder, cells.images))
            called = probe.classes_[shares.argmax(axis=1)]
            if where == "kept apart":
                least = float(np.quantile(shares.max(axis=1), 0.05))
            is_sure, is_right = shares.max(axis=1) >= least, family(called) == family(cells.types)
            of_stages = [
                f"{accuracy_score(cells.types, called):.3f}",
                f"{f1_score(cells.types, called, average='macro', labels=np.unique(cells.types)):.3f}",
            ]
            families = np.unique(family(cells.types))
            row = [
                *(of_stages if where != "Chula" else ["", ""]),
                over_patients(is_right, cells.patients),
                f"{f1_score(family(cells.types), family(called), average='macro', labels=families):.3f}",
                f"{is_sure.mean():.2f}",
                f"{is_right[is_sure].mean():.3f}" if is_sure.any() else "",
            ]
            print(f"| {name} | {where} | {len(called)} | {' | '.join(row)} |", flush=True)
            recalls[name, where] = {one: is_right[family(cells.types) == one].mean() for one in families}
        print(f"| {name} | speed | | {rate:.0f} cells/s of one core | | | | | |", flush=True)
    for where in sets:
        counts = pd.Series(family(sets[where].types)).value_counts()
        print(f"\n{where}, right by family\n\n| encoder | {' | '.join(f'{k} ({v})' for k, v in counts.items())} |")
        print(f"|---{'|---' * len(counts)}|")
        for (name, at), recall in recalls.items():
            if at == where:
                print(f"| {name} | {' | '.join(f'{recall[k]:.2f}' for k in counts.index)} |")


if __name__ == "__main__":
    main()
