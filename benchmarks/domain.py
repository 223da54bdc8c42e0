"""How large a shift of stain, blur or scale must be before a smear is reported as unlike the training cohort.

    python benchmarks/domain.py [--patients 96] [--shifted 40] [--cells 50] [--features DIR] [--metafer DIR]
    python benchmarks/domain.py --cohort COHORT --features DIR [--taxonomy apl-aml] [--seeds 3] [--aggregator mean]

Synthetic patients of seeds that were not used for training, unchanged and shifted in steps; then real smears, for which
a model of synthetic cells must warn. Every smear is evaluated from its features alone, as if its scale were unknown.
Features in --features are used again. With --cohort, real patients: those of one of two clusters of similar images are
evaluated by a model that was trained on the others, with and without their images; as a control, as many random
patients of the same classes. Prints Markdown; docs/trust.md has one run of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.cluster import KMeans
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from speed import machine

from napari_caltomorph.audit.image_traits import image_traits
from napari_caltomorph.cohort import CohortOptions, read_cohort
from napari_caltomorph.cohort.synthetic import SyntheticPatients
from napari_caltomorph.diagnosis import Ensemble, find_model
from napari_caltomorph.diagnosis.domain import DomainResult
from napari_caltomorph.diagnosis.domain_fit import fit_domain
from napari_caltomorph.encoding import EncodeOptions, FeatureOrigin, Features, encode
from napari_caltomorph.encoding.load import LoadedEncoder, load_encoder
from napari_caltomorph.smear import read_smear
from napari_caltomorph.statistics.permutation import shuffled_within
from napari_caltomorph.synthetic import SynthOptions
from napari_caltomorph.synthetic.patients import SyntheticPatient
from napari_caltomorph.training import TrainOptions, train
from napari_caltomorph.training.bags import load_bags

UNSEEN_SEED, SIDE, AT_ONCE = 900_000, 144, 30


def hue(patient: SyntheticPatient, size: float) -> SyntheticPatient:
    """Less dye seen in red, more in blue."""
    red, green, blue = patient.stain.gain
    return replace(patient, stain=replace(patient.stain, gain=(red * (1 - size), green, blue * (1 + size))))


def strength(patient: SyntheticPatient, size: float) -> SyntheticPatient:
    """More dye."""
    red, green, blue = (gain * (1 + size) for gain in patient.stain.gain)
    return replace(patient, stain=replace(patient.stain, gain=(red, green, blue)))


def blur(patient: SyntheticPatient, size: float) -> SyntheticPatient:
    """More defocus, in micrometres."""
    return replace(patient, stain=replace(patient.stain, blur=patient.stain.blur + size))


def light(patient: SyntheticPatient, size: float) -> SyntheticPatient:
    """A lamp with less red and green."""
    red, green, blue = patient.stain.light
    return replace(patient, stain=replace(patient.stain, light=(red * (1 - size), green * (1 - size), blue)))


def same(patient: SyntheticPatient, size: float) -> SyntheticPatient:
    """Nothing; `scale` shifts the picture."""
    del size
    return patient


Shift = Callable[[SyntheticPatient, float], SyntheticPatient]
SHIFTS: dict[str, tuple[Shift, tuple[float, ...], str]] = {
    "hue of the stain": (hue, (0.05, 0.1, 0.2, 0.3), "{:.0%} (training patients: standard deviation 6 %)"),
    "strength of the stain": (strength, (0.1, 0.2, 0.4), "+{:.0%} (training patients: standard deviation 8 %)"),
    "light": (light, (0.05, 0.1), "{:.0%} less red and green (training patients: within some 4 %)"),
    "blur": (blur, (0.1, 0.2, 0.4, 0.8), "+{:.1f} µm (training patients: 0.03 to 0.13 µm)"),
    "scale": (same, (0.05, 0.1, 0.2, 0.4, -0.1, -0.2), "cells {:+.0%} (training patients: all the same)"),
}


def picture(patient: SyntheticPatient, index: int, zoom: float) -> NDArray[np.uint8]:
    """Draw a cell as a scanner with smaller pixels would see it: (144, 144, 3), `zoom` times as large."""
    size = round(SIDE * zoom)
    drawn, edge = patient.image(index, size), abs(size - SIDE) // 2
    if size < SIDE:
        rest = SIDE - size - edge
        return np.pad(drawn, ((edge, rest), (edge, rest), (0, 0)), mode="reflect")
    return np.ascontiguousarray(drawn[edge : edge + SIDE, edge : edge + SIDE])


def encoded(patient: SyntheticPatient, encoder: LoadedEncoder, zoom: float) -> Features:
    """Encode a synthetic patient's cells, without their field of view."""
    starts = range(0, len(patient), AT_ONCE)
    values = np.concatenate(
        [
            encoder.features([picture(patient, i, zoom) for i in range(start, min(start + AT_ONCE, len(patient)))])
            for start in starts
        ]
    )
    origin = FeatureOrigin(
        encoder=encoder.encoder.name,
        weights_sha256=encoder.weights_sha256,
        preprocessing=str(encoder.preprocessing),
        precision=encoder.precision,
    )
    return Features(patient.patient_id, values, tuple(f"cell_{i + 1}" for i in range(len(patient))), origin)


def kept(path: Path | None, encode_it: Callable[[], Features]) -> Features:
    """Return the features in a file, or compute and save them."""
    if path is not None and path.is_file():
        return Features.load(path)
    features = encode_it()
    if path is not None:
        features.save(path)
    return features


def domain_result(ensemble: Ensemble, features: Features) -> DomainResult:
    """Return whether a smear is like the training cohort of the model."""
    result = ensemble.domain_of(features, ensemble.member_outputs(features))
    if result is None:
        raise SystemExit(f"{ensemble.description.name} does not bring its training domain; train it again.")
    return result


def row(name: str, results: list[DomainResult]) -> str:
    """Return what share was warned of, with a Wilson interval, and by which aspect."""
    warned = sum(one.is_outside for one in results)
    interval = binomtest(warned, len(results)).proportion_ci(method="wilson")
    shares = [np.mean([one.aspects[i].p_value <= one.level for one in results]) for i in range(3)]
    shown = " | ".join(f"{share:.0%}" for share in shares)
    unusual = np.mean([one.unusual_share for one in results])
    return (
        f"| {name} | {warned / len(results):.0%} ({interval.low:.0%} to {interval.high:.0%}) | {shown} | "
        f"{unusual:.1%} | {len(results)} |"
    )


def real_smears(place: Path, encoder: LoadedEncoder) -> Iterator[tuple[str, Features]]:
    """Encode every smear in a folder."""
    for folder in sorted(path for path in place.iterdir() if path.is_dir()):
        smear = read_smear(folder)
        yield smear.patient_id, encode(smear, EncodeOptions(encoder=encoder.encoder.name), encoder=encoder)


def image_clusters(traits: pd.DataFrame) -> NDArray[np.intp]:
    """Return the cluster of each patient by k-means, 0 or 1; one below a quarter also gets the nearest others."""
    placed = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit_transform(traits).clip(-3, 3)
    distances = KMeans(2, n_init=10, random_state=0).fit(placed).transform(placed)  # (P, 2)
    nearer = distances[:, 0] - distances[:, 1]  # below 0: of the first
    least = -(-len(nearer) // 4)
    first = np.argsort(nearer, kind="stable")[: min(max(int((nearer < 0).sum()), least), len(nearer) - least)]
    return np.where(np.isin(np.arange(len(nearer)), first), 0, 1)


def of_clusters(args: argparse.Namespace) -> None:
    """Print how often a model warns of patients whose images are unlike those it was trained on, and is wrong."""
    options = TrainOptions(aggregator=args.aggregator, device="cpu", elsewhere=False)
    print(f"{machine()}; {args.aggregator}\n")
    print(
        "| seed | held out | patients | warned of, features alone (95 %) | and images (95 %) | accuracy | if warned |"
    )
    print("|---|---|---|---|---|---|---|")
    for seed in range(args.seeds):
        asked = CohortOptions(taxonomy=args.taxonomy, min_cells=20, test_fraction=0, split_seed=seed)
        cohort = read_cohort(args.cohort, asked)
        bags = load_bags(cohort, args.features, options)
        traits = image_traits(bags.table).appearance.reindex(bags.table["patient_id"]).reset_index(drop=True)
        clusters = image_clusters(traits)
        random = shuffled_within(clusters, bags.classes, np.random.default_rng(seed))
        for name, parts in (("a cluster", clusters), ("random patients", random)):
            # The larger part trains: a model of the smaller one has too few held-out patients for a warning.
            own = parts == np.bincount(parts).argmin()
            rest = cohort.table["patient_id"].isin(bags.table["patient_id"][~own])
            trained = train(replace(cohort, table=cohort.table[rest].reset_index(drop=True)), args.features, options)
            assert trained.patients is not None
            of_patient = traits.set_index(bags.table["patient_id"])
            patients = trained.patients
            domain = fit_domain(
                [bags.values[i] for i in np.flatnonzero(~own)],
                patients.embeddings.float().numpy(),
                patients.table["fold"].to_numpy(dtype=np.intp),
                of_patient.loc[patients.table["patient_id"]],
            )
            trained, rows = replace(trained, domain=domain), []
            for i in np.flatnonzero(own):
                patient = bags.table["patient_id"][i]
                features = Features.load(args.features / f"{patient}.h5")
                outputs = trained.member_outputs(features)
                both = [
                    trained.domain_of(features, outputs, seen) for seen in (None, of_patient.loc[patient].to_dict())
                ]
                right = outputs.probabilities.mean(axis=0).argmax() == bags.classes[i]
                rows.append((*(one is not None and one.is_outside for one in both), right))
            alone, with_images, right = np.array(rows, dtype=bool).T
            shares = " | ".join(
                f"{one.mean():.0%} ({low:.0%} to {high:.0%})"
                for one in (alone, with_images)
                for low, high in [binomtest(int(one.sum()), len(one)).proportion_ci(method="wilson")]
            )
            warned = f"{right[with_images].mean():.0%} of {with_images.sum()}" if with_images.any() else "-"
            print(f"| {seed} | {name} | {len(rows)} | {shares} | {right.mean():.0%} | {warned} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--patients", type=int, default=96)
    parser.add_argument("--shifted", type=int, default=40)
    parser.add_argument("--cells", type=int, default=50)
    parser.add_argument("--features", type=Path, help="keep encoded smears here")
    parser.add_argument("--metafer", type=Path, help="a folder of real smears")
    parser.add_argument("--cohort", type=Path, help="a real cohort with images, encoded in --features")
    parser.add_argument("--taxonomy", default="apl-aml")
    parser.add_argument("--aggregator", default="mean")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    if args.cohort is not None:
        of_clusters(args)
        return
    ensemble = Ensemble.load(find_model(args.model))
    compute = EncodeOptions(encoder=ensemble.description.encoder_name, device="cpu", precision="float32")
    encoder = load_encoder(compute)
    drawn = SyntheticPatients.synthesize(SynthOptions(patients=args.patients, cells=args.cells, seed=UNSEEN_SEED))
    patients = list(drawn.patients.values())
    domain = ensemble.description.domain

    def results(shift: Shift, name: str, size: float, patients: list[SyntheticPatient]) -> list[DomainResult]:
        zoom = 1 + size if name == "scale" else 1
        folder = None if args.features is None else args.features / f"{name} {size:g}"
        return [
            domain_result(
                ensemble,
                kept(
                    None if folder is None else folder / f"{one.patient_id}.h5",
                    partial(encoded, shift(one, size), encoder, zoom),
                ),
            )
            for one in patients
        ]

    print(f"{machine()}; {args.cells} cells a patient; scaled on {domain.patients if domain else 0} patients\n")
    print("| shift | warned of (95 %) | cells | average | embedding | unusual cells | patients |", flush=True)
    print("|---|---|---|---|---|---|---|")
    print(row("none", results(same, "none", 0, patients)), flush=True)
    for name, (shift, sizes, words) in SHIFTS.items():
        for size in sizes:
            found = results(shift, name, size, patients[: args.shifted])
            print(row(f"{name}: {words.format(size)}", found), flush=True)
    if args.metafer is not None:
        print("\n| real smear | p | scores (cells, average, embedding) | unusual cells |\n|---|---|---|---|")
        for name, features in real_smears(args.metafer, encoder):
            result = domain_result(ensemble, features)
            scores = ", ".join(f"{one.score:.1f}" for one in result.aspects)
            print(f"| {name} | {result.p_value:.3f} | {scores} | {result.unusual_share:.0%} |", flush=True)


if __name__ == "__main__":
    main()
