"""Differential counts by a probe against the truth: real cells and patients, and synthetic ones.

    python benchmarks/differential.py apl-aml COHORT [--features DIR]
    python benchmarks/differential.py pbc CELLS [--features DIR]
    python benchmarks/differential.py synthetic [--patients 60] [--cells 100]

``apl-aml``: a probe is trained on the cell labels of half of the patients of the APL-AML cohort (Sidhom et al. 2021),
and counts the other half, and the other way round. ``pbc``: single cells without patients (Acevedo et al. 2020); a
probe is trained on half of the cells, and counts patients of 100 cells sampled from the other half, with random
compositions. ``synthetic``: synthetic patients of all diseases on the demo encoder, half with labels and half to count.

Real cells are encoded with EfficientNet-Lite0 (ImageNet weights), which has never seen blood. Errors are in percent
points of the leukocytes. "In the smear" is the share among these cells, which the classifier's interval should contain;
"in the blood" is the share that the cells were sampled with, where it is known, which the interval of both errors
should contain. Prints Markdown; docs/differential.md has one run.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from speed import machine

from napari_caltomorph.differential import CellLabels, Probe, cell_type, train_probe
from napari_caltomorph.encoding import EncodeOptions, Features, LoadedEncoder, encode, load_encoder
from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.smear import check_smear, read_smear, smear_from_array
from napari_caltomorph.synthetic import synthesize_patient
from napari_caltomorph.synthetic.patients import COMPOSITIONS

BLASTS = "all blasts"
Truth = dict[str, str]
Known = tuple[Features, Truth]


def apl_aml(cohort: Path, kept: Path | None) -> None:
    """Train on half of the patients and count the other half, then the other way round."""
    encoder = load_encoder(EncodeOptions(encoder="efficientnet-lite0"))
    read = [
        _read(cohort / "All" / name, encoder, kept) for name in sorted(pd.read_csv(cohort / "master.csv")["Patient_ID"])
    ]
    known = [one for one in read if one is not None]
    order = np.random.default_rng(0).permutation(len(known))
    halves = [[known[i] for i in order[start::2]] for start in (0, 1)]
    found = []
    for training, counted in (halves, halves[::-1]):
        probe = _train(training)
        found += [_evaluate(probe, _labelled(*one), one[1]) for one in counted if len(one[1]) >= 20]
    _show(found)


def pbc(cells: Path, kept: Path | None) -> None:
    """Train on half of the cells, and count patients of 100 other cells, with random compositions."""
    read = _read(cells, load_encoder(EncodeOptions(encoder="efficientnet-lite0")), kept)
    assert read is not None
    features, truth = read
    rng = np.random.default_rng(0)
    is_training = rng.permutation(len(features)) < len(features) // 2
    types = np.array([truth[cell] for cell in features.cells])
    probe = _train([(_some(features, np.flatnonzero(is_training), "training"), truth)])
    names = probe.description.types
    found = []
    for number in range(100):
        shares = rng.dirichlet(np.full(len(names), 0.5))
        counts = rng.multinomial(100, shares)
        pools = [np.flatnonzero(~is_training & (types == name)) for name in names]
        rows = np.concatenate([rng.choice(pool, count) for pool, count in zip(pools, counts, strict=True)])
        sampled = _some(features, rows, f"patient {number}")
        sampled_truth = dict(zip(sampled.cells, types[rows].tolist(), strict=True))
        found.append(_evaluate(probe, sampled, sampled_truth, dict(zip(names, shares, strict=True))))
    _show(found)


def synthetic(patients: int, cells: int) -> None:
    """Train on half of the synthetic patients and count the others; the composition of their blood is known."""
    encoder = load_encoder(EncodeOptions(encoder="demo-vit"))
    known: list[Known] = []
    blood = []
    for number in range(patients):
        slug = list(COMPOSITIONS)[number % len(COMPOSITIONS)]
        # The types of many cells cost nothing and are the blood; only the first are drawn, and are the smear.
        patient = synthesize_patient(slug, cells=20_000, seed=1000 + number, patient_id=f"{number}_{slug}")
        images = np.stack([patient.image(i) for i in range(cells)])
        features = encode(smear_from_array(images, patient.patient_id), encoder=encoder)
        place = {f"cell_{i + 1:0{len(str(cells))}d}": cell_type(patient.cell_types[i]).name for i in range(cells)}
        known.append((features, {cell: place[cell] for cell in features.cells}))
        counted = Counter(cell_type(name).name for name in patient.cell_types)
        blood.append({name: count / len(patient) for name, count in counted.items()})
    probe = _train(known[0::2])
    pairs = zip(known[1::2], blood[1::2], strict=True)
    _show([_evaluate(probe, features, truth, shares) for (features, truth), shares in pairs])


def _read(path: Path, encoder: LoadedEncoder, kept: Path | None) -> Known | None:
    """Features of a smear and the types of its cells, as its sub-folders say; None where it cannot be read."""
    try:
        smear = check_smear(read_smear(path))
        features = encode(smear, EncodeOptions(encoder=encoder.encoder.name), encoder=encoder, cache=kept)
    except CaltomorphError as error:
        print(f"{path.name}: {error}\n")
        return None
    types = CellLabels.of_folders(smear).of(smear)
    return features, {cell: types[cell] for cell in features.cells if cell in types}


def _train(training: Sequence[Known]) -> Probe:
    labels = CellLabels()
    for features, truth in training:
        labels = labels.labelled(features, truth)
    start = time.process_time()
    probe = train_probe([features for features, _ in training], labels)
    seconds = time.process_time() - start
    described = probe.description
    correlation = "unknown" if described.correlation is None else f"{described.correlation:.2f}"
    print(
        f"Probe: {len(described.types)} types, {sum(described.cells)} cells of {described.patients} patients, trained "
        f"and cross-validated by {described.validation} in {seconds:.0f} s of one core; {described.accuracy:.1%} "
        f"called as labelled out of fold; correlation {correlation}; left out {described.left_out or 'none'}.\n"
    )
    return probe


def _evaluate(probe: Probe, features: Features, truth: Truth, blood: dict[str, float] | None = None) -> pd.DataFrame:
    """One row a type: the truth, what is said, and whether the intervals hold it."""
    counted = probe.differential(features)
    names = [name for name in probe.description.types if cell_type(name).is_counted]
    groups = {name: {name} for name in names} | {BLASTS: {name for name in names if cell_type(name).is_blast}}
    leukocytes = {cell: name for cell, name in truth.items() if cell_type(name).is_counted}
    rows = []
    for name, group in groups.items():
        share = counted.share_of(*group)
        in_smear = sum(one in group for one in leukocytes.values()) / max(len(leukocytes), 1)
        row = {
            "patient": features.patient_id,
            "type": name,
            "share": in_smear,
            "called": abs(share.called - in_smear),
            "corrected": abs(share.value - in_smear),
            "classifier": _holds(share.classifier, in_smear),
            "width": share.high - share.low,
        }
        if blood is not None:
            leukocytes_in_blood = sum(share for one, share in blood.items() if cell_type(one).is_counted)
            in_blood = sum(blood.get(one, 0) for one in group) / leukocytes_in_blood
            row |= {"both": _holds((share.low, share.high), in_blood), "counting": _holds(share.counting, in_blood)}
        rows.append(row)
    return pd.DataFrame(rows)


def _holds(interval: tuple[float, float], value: float) -> bool:
    return interval[0] - 1e-9 <= value <= interval[1] + 1e-9


def _show(found: Sequence[pd.DataFrame]) -> None:
    table = pd.concat(found)
    means = table.drop(columns="patient").groupby("type", sort=False).mean()
    means.loc["mean over types"] = means.drop(index=BLASTS).mean()
    said = pd.DataFrame(
        {
            "share %": means["share"],
            "error as called": means["called"],
            "error corrected": means["corrected"],
            "classifier interval holds the smear %": means["classifier"],
            **({"interval of both holds the blood %": means["both"]} if "both" in means else {}),
            **({"counting alone holds the blood %": means["counting"]} if "both" in means else {}),
            "width of both": means["width"],
        }
    )
    print(f"{table['patient'].nunique()} patients counted; errors and widths in percent points, means over patients.\n")
    print(f"| type | {' | '.join(said.columns)} |\n|---{'|---' * len(said.columns)}|")
    for name, row in said.iterrows():
        print(f"| {name} | {' | '.join(f'{100 * value:.1f}' for value in row)} |")
    print()


def _labelled(features: Features, truth: Truth) -> Features:
    """Those cells only whose type is known."""
    return _some(features, np.array([i for i, cell in enumerate(features.cells) if cell in truth]), features.patient_id)


def _some(features: Features, rows: NDArray[np.intp], patient: str) -> Features:
    """Rows of features as a patient of their own; a row that comes twice is two cells."""
    names = [features.cells[i] for i in rows]
    twice = len(set(names)) < len(names)
    cells = tuple(f"{name} {i}" if twice else name for i, name in enumerate(names))
    origin = replace(features.origin, smear_fingerprint=patient)
    return Features(patient, features.values[rows], cells, origin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    for name in ("apl-aml", "pbc"):
        command = commands.add_parser(name)
        command.add_argument("path", type=Path)
        command.add_argument("--features", type=Path, help="keep features here, and use those that are there")
    command = commands.add_parser("synthetic")
    command.add_argument("--patients", type=int, default=60)
    command.add_argument("--cells", type=int, default=100)
    asked = parser.parse_args()
    print(f"\n{machine()}\n")
    if asked.what == "synthetic":
        synthetic(asked.patients, asked.cells)
    else:
        {"apl-aml": apl_aml, "pbc": pbc}[asked.what](asked.path, asked.features)


if __name__ == "__main__":
    main()
