"""Views, crops and masks of cells: do they help on stains that a model has not seen, and what do they cost at home?

    python benchmarks/views.py COHORT [--encoder blood-lite] [--crop 18] [--kept FOLDER] [--seeds 3]

COHORT is the APL-AML cohort (Sidhom et al. 2021), whole or in part, or any other of two classes with images. Each
option, alone and together, predicts every patient twice: out of ordinary folds, and out of clusters of patients whose
slides have one background, each held out as a whole. Differences to the plain model have 95 % intervals over patients
(bootstrap, the same patients for both). Prints Markdown; docs/training.md has one run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from few_patients import Rows, Splits, difference, loss, trained
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from speed import machine
from torch import Tensor
from torch.nn import functional

from napari_caltomorph.audit.image_traits import image_traits
from napari_caltomorph.cohort import Cohort, CohortOptions, feature_path, read_cohort
from napari_caltomorph.diagnosis.inference import softmax
from napari_caltomorph.encoding import EncodeOptions, LoadedEncoder, encode, load_encoder
from napari_caltomorph.encoding.load import Images
from napari_caltomorph.encoding.options import Preparation
from napari_caltomorph.smear import check_smear, open_place
from napari_caltomorph.smear.image_traits import BACKGROUND
from napari_caltomorph.training import TrainOptions
from napari_caltomorph.training.bags import LabelledBags, load_bags
from napari_caltomorph.training.members import predict_bags

VIEWS, LEAST_CLUSTERS = 4, 4


@dataclass(frozen=True)
class Way:
    """What is done with the views of prepared cells."""

    prepared: str
    trains_on_views: bool = False
    averages: bool = False


WAYS = {
    "plain": Way("whole"),
    "views in training": Way("whole", True),
    "views in training, averaged": Way("whole", True, True),
    "mask": Way("mask"),
    "crop": Way("crop"),
    "mask and crop": Way("mask and crop"),
    "all": Way("mask and crop", True, True),
}


PREPARED = {"whole": (False, False), "mask": (False, True), "crop": (True, False), "mask and crop": (True, True)}
"""Whether cells are cropped, and whether they are masked."""

# Of a masked cell: its radius as a share of half the image, and its least stain as a share of that of the nucleus
RADIUS, STAINED = 0.75, 0.25


@dataclass(frozen=True)
class Masking(LoadedEncoder):
    """An encoder that sees what is near the nucleus at the centre, on a plain grey."""

    def preprocess(self, images: Images) -> Tensor:
        mean, std = (torch.tensor(scale).view(3, 1, 1) for scale in (self.preprocessing.mean, self.preprocessing.std))
        return (without_background(super().preprocess(images) * std + mean) - mean) / std


def without_background(cells: Tensor) -> Tensor:
    """Mask cells (B, 3, size, size), RGB in 0...1, with a soft border that is relative to their stain.

    Nuclei absorb red light; red cells and the slide hardly do.
    """
    size = cells.shape[-1]
    axis = torch.linspace(-1, 1, size)
    inside = ((RADIUS - (axis[:, None].square() + axis[None, :].square()).sqrt()) / 0.05).sigmoid()
    density = -(cells[:, :1] * 255 / 256 + 1 / 256).log()
    some = density.flatten(1)[:, :: size // 16]
    slide, nucleus = some.quantile(torch.tensor([0.2, 0.98]), dim=1).view(2, -1, 1, 1, 1)
    share = ((density - slide) / (nucleus - slide).clamp_min(0.05)).clamp(0, 1)
    width = size // 12 * 2 + 1
    around = functional.avg_pool2d(share * inside, width, stride=1, padding=width // 2)
    mask = ((around - STAINED) / 0.03).sigmoid()
    return mask * cells + (1 - mask) * 0.5


def encode_all(cohort: Cohort, prepared: str, folder: Path, args: argparse.Namespace) -> None:
    """Write the features of the patients that have none yet; with views where a way needs them."""
    crops, masks = PREPARED[prepared]
    needs_views = any(way.trains_on_views for way in WAYS.values() if way.prepared == prepared)
    options = EncodeOptions(encoder=args.encoder, field_of_view=args.field_of_view, device="cpu")
    preparation = Preparation(crop_um=args.crop if crops else None, views=VIEWS if needs_views else 0)
    encoder = load_encoder(options, preparation)
    encoder = Masking(**vars(encoder)) if masks else encoder
    for patient, path in zip(cohort.table["patient_id"], cohort.table["path"], strict=True):
        file = feature_path(folder, patient)
        if not file.is_file():
            smear = replace(check_smear(open_place(path)), patient_id=patient)
            if args.cells:
                smear = smear.choosing(set_aside=[smear.cells[i] for i in smear.usable[args.cells :]])
            encode(smear, encoder=encoder).save(file)


def clusters(cohort: Cohort, bags: LabelledBags, count: int) -> NDArray[np.intp]:
    """(P,) the cluster of each patient by the colour of the glass between its cells."""
    seen = image_traits(cohort.table).borders.reindex(bags.table["patient_id"].astype(str))[list(BACKGROUND)]
    seen = seen.fillna(seen.median())
    return np.asarray(KMeans(count, n_init=10, random_state=0).fit_predict(StandardScaler().fit_transform(seen)))


def predicted(way: Way, bags: LabelledBags, folds: Rows, seed: int) -> NDArray[np.float64]:
    """(P,) probability of the second class, by a member that has seen no patient of the same fold."""
    options, probabilities = TrainOptions(aggregator="mean", seed=seed), np.zeros(len(bags))
    seen = bags if way.trains_on_views else replace(bags, views=())
    for fold in np.unique(folds):
        own = np.flatnonzero(folds == fold)
        member = trained(options, seen, np.flatnonzero(folds != fold), own)
        shown = range(1 + VIEWS)
        each = [replace(bags, values=tuple(v[i] for v in bags.views)) for i in shown] if way.averages else [bags]
        outputs = [softmax(predict_bags(member, one, own, options).logits)[:, 1] for one in each]
        probabilities[own] = np.mean(outputs, axis=0)
    return probabilities


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--encoder", default="blood-lite")
    parser.add_argument("--crop", type=float, default=18, help="micrometres")
    parser.add_argument("--field-of-view", type=float, default=45, help="width of an image in micrometres")
    parser.add_argument("--cells", type=int, default=0, help="most cells of a patient; 0 for all")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="what to measure, plain first")
    parser.add_argument("--taxonomy", default="apl-aml")
    parser.add_argument("--min-cells", type=int, default=20)
    parser.add_argument("--kept", type=Path, help="keep features here, and use those that are there")
    parser.add_argument("--seeds", type=int, default=3, help="splits into folds and into clusters, and trainings")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = (args.kept or Path(scratch)) / args.encoder
        chosen = CohortOptions(taxonomy=args.taxonomy, min_cells=args.min_cells, test_fraction=0)
        cohorts = [
            read_cohort(args.cohort, chosen.model_copy(update={"split_seed": seed})) for seed in range(args.seeds)
        ]
        print(f"\n{machine()}\n\n{len(cohorts[0])} patients, {args.encoder}, {VIEWS} views\n", flush=True)
        bags: dict[str, list[LabelledBags]] = {}
        ways = {name: WAYS[name] for name in args.ways}
        for name in dict.fromkeys(way.prepared for way in ways.values()):
            start, features = time.process_time(), folder / name.replace(" ", "_")
            encode_all(cohorts[0], name, features, args)
            bags[name] = [load_bags(cohort, features, TrainOptions()) for cohort in cohorts]
            print(f"{name}: encoded in {time.process_time() - start:.0f} s of CPU", flush=True)
        any_bags = bags["whole"][0]
        stains = [clusters(cohorts[0], any_bags, LEAST_CLUSTERS + seed) for seed in range(args.seeds)]
        of_class = [np.bincount(one[any_bags.classes == 1], minlength=one.max() + 1).tolist() for one in stains]
        sizes = [np.bincount(one).tolist() for one in stains]
        print(f"clusters: {sizes} patients, of them {of_class} {any_bags.taxonomy.names[1]}\n", flush=True)
        found: dict[str, dict[str, Splits]] = {
            "ordinary folds": defaultdict(list),
            "held-out stains": defaultdict(list),
        }
        for name, way in ways.items():
            start = time.process_time()
            for seed, one in enumerate(bags[way.prepared]):
                found["ordinary folds"][name].append(predicted(way, one, one.folds, seed))
                found["held-out stains"][name].append(predicted(way, one, stains[seed], seed))
            print(f"{name}: trained in {time.process_time() - start:.0f} s of CPU", flush=True)
        table(any_bags.classes, found)


def table(classes: NDArray[np.intp], found: dict[str, dict[str, Splits]]) -> None:
    print(f"\n| | {' | '.join(f'{where}: AUROC by split | minus plain (95 %) | log loss' for where in found)} |")
    print(f"|---{'|---' * 3 * len(found)}|")
    for name in next(iter(found.values())):
        cells = []
        for splits in found.values():
            own = splits[name]
            areas = " ".join(f"{roc_auc_score(classes, one):.3f}" for one in own)
            gain = "" if name == "plain" else difference(classes, own, splits["plain"])
            cells.append(f"{areas} | {gain} | {np.mean([loss(classes, one) for one in own]):.3f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
