"""Differential counts by a probe against the truth: real cells and patients, and synthetic ones.

    python -m benchmarks.differential shipped CELLS [--apl-aml COHORT] [--chula FIELDS] [--features DIR]
    python -m benchmarks.differential apl-aml COHORT [--features DIR]
    python -m benchmarks.differential pbc CELLS [--features DIR]
    python -m benchmarks.differential synthetic [--patients 60] [--cells 100]

``shipped``: the probe of the package as it is. CELLS is the folder that it was trained on; the tenth of its cells from
which neither probe nor encoder learnt is counted. COHORT and FIELDS are those of `benchmarks/blood_encoder.py`, other
laboratories of which nothing was trained or chosen on.
``apl-aml``: a probe is trained on the cell labels of half of the patients of the APL-AML cohort (Sidhom et al. 2021),
and counts the other half, and the other way round. ``pbc``: single cells without patients (Acevedo et al. 2020); a
probe is trained on half of the cells, and counts patients of 100 cells sampled from the other half, with random
compositions. ``synthetic``: synthetic patients of all diseases on the demo encoder, half with labels and half to count.

In the other modes, real cells are encoded with EfficientNet-Lite0 (ImageNet weights), which has never seen blood.
Errors are in percent points of the leukocytes. "In the smear" is the share among these cells, which the classifier's
interval should contain; "in the blood" is the share that the cells were sampled with, where it is known, which the
interval of both errors should contain. Prints Markdown; docs/differential.md has one run.
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
from benchmarks.blood_encoder import CACHED_UM, FIELD_UM, chula, family
from benchmarks.speed import machine
from numpy.typing import NDArray
from scripts.train_blood_encoder import read_cells
from scripts.train_blood_probe import labelled, laboratories, smear_of

from napari_caltomorph.differential import (
    BLOOD_CELLS,
    OTHER,
    CellLabels,
    Probe,
    cell_type,
    load_probe,
    train_probe,
)
from napari_caltomorph.encoding import EncodeOptions, Features, LoadedEncoder, encode, load_encoder
from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.smear import check_smear, read_smear, smear_from_array
from napari_caltomorph.synthetic import synthesize_patient
from napari_caltomorph.synthetic.patients import COMPOSITIONS

BLASTS = "all blasts"
GROUPS = {
    "neutrophils": {"segmented neutrophil", "band neutrophil"},
    "immature granulocytes": {"metamyelocyte", "myelocyte", "promyelocyte"},
}
FEWEST, POOLED = 20, 200  # Labelled cells of a patient who is counted, and of patients who are counted as one
Truth = dict[str, str]
Known = tuple[Features, Truth]


def shipped(cells: Path, cohort: Path | None, fields: Path | None, kept: Path | None) -> None:
    """Count with the probe of the package: cells kept apart, patients of another laboratory, and blurred fields."""
    probe, every = load_probe(BLOOD_CELLS), read_cells(cells, FIELD_UM)
    apart = labelled(every, every.part == 0)

    def at(width: float) -> LoadedEncoder:
        return load_encoder(EncodeOptions(encoder="blood-lite", field_of_view=width))

    own = at(every.width_um)
    smears = {"kept apart": [_known(*smear_of(apart.images, apart.labels, "kept apart", own))]}
    smears["kept apart, in made-up laboratories"] = [_known(*one) for one in laboratories(apart, at(25), seed=5000)]
    for wrong in (0.5, 0.75, 1.33, 2):
        encoder = at(every.width_um * wrong)
        smears[f"kept apart, width stated {wrong:g} times"] = [
            _known(*smear_of(apart.images, apart.labels, "wrong scale", encoder))
        ]
    if cohort:
        smears["APL-AML"] = _patients(cohort, at(FIELD_UM), kept)
    if fields:
        boxes = chula(fields)
        smears["Chula"] = [_known(*smear_of(np.stack(boxes.images), boxes.types, "Chula", at(CACHED_UM)))]
    _show_calls(probe, smears)
    _show([_evaluate(probe, *one) for one in smears["kept apart, in made-up laboratories"]])
    if cohort:
        _show_unlearnt(probe, smears["APL-AML"])
        patients = [_labelled(*one) for one in smears["APL-AML"] if len(one[1]) >= FEWEST]
        _show([_evaluate(probe, *one) for one in patients])
        _show([_evaluate(probe, *one) for one in _pooled(patients)])


def _show_calls(probe: Probe, smears: dict[str, list[Known]]) -> None:
    """A row for each set of smears: cells of learnt types that are called other, and how many of the rest are right."""
    print("Cells of the types that the probe learnt:\n")
    print("| cells | n | called other % | types right %, of the rest | families right %, of the rest |")
    print("|---|---|---|---|---|")
    for where, known in smears.items():
        cells = pd.concat([_calls(probe, *one) for one in known])
        cells = cells[cells["true"].isin(probe.description.types)]
        rest = cells[cells["called"] != OTHER]
        families = family(rest["true"].to_numpy(str)) == family(rest["called"].to_numpy(str))
        shares = ((cells["called"] == OTHER).mean(), (rest["true"] == rest["called"]).mean(), families.mean())
        print(f"| {where} | {len(cells)} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |")
    print()
    for where, known in smears.items():
        for warning in probe.differential(known[0][0]).smear_warnings if len(known) == 1 else ():
            print(f"{where}: {warning}.\n")


def _show_unlearnt(probe: Probe, known: Sequence[Known]) -> None:
    """A row for each type that the probe never saw: how many of its cells are called other, and what the rest is."""
    cells = pd.concat([_calls(probe, *one) for one in known])
    cells = cells[~cells["true"].isin(probe.description.types)]
    print("Cells of the types that it never saw:\n\n| labelled | n | called other % | the rest is called |")
    print("|---|---|---|---|")
    for name, some in cells.groupby("true"):
        called = Counter(some["called"][some["called"] != OTHER]).most_common(4)
        rest = ", ".join(f"{one} {count}" for one, count in called)
        print(f"| {name} | {len(some)} | {100 * (some['called'] == OTHER).mean():.0f} | {rest} |")
    print()


def _calls(probe: Probe, features: Features, truth: Truth) -> pd.DataFrame:
    called = dict(zip(features.cells, probe.differential(features).called, strict=True))
    return pd.DataFrame({"true": truth, "called": {cell: called[cell] for cell in truth}})


def _pooled(known: Sequence[Known]) -> list[Known]:
    """Patients one after the other as one, until there are `POOLED` labelled cells."""
    pools: list[list[Known]] = [[]]
    for one in known:
        if sum(len(truth) for _, truth in pools[-1]) >= POOLED:
            pools.append([])
        pools[-1].append(one)
    joined = []
    for number, pool in enumerate(pools):
        named = [(features.patient_id, cell) for features, _ in pool for cell in features.cells]
        values = np.concatenate([features.values for features, _ in pool])
        origin = replace(pool[0][0].origin, smear_fingerprint=f"pool {number}")
        features = Features(f"pool {number}", values, tuple(map("/".join, named)), origin)
        truth = {f"{one.patient_id}/{cell}": name for one, types in pool for cell, name in types.items()}
        joined.append((features, truth))
    return joined


def apl_aml(cohort: Path, kept: Path | None) -> None:
    """Train on half of the patients and count the other half, then the other way round."""
    known = _patients(cohort, load_encoder(EncodeOptions(encoder="efficientnet-lite0")), kept)
    order = np.random.default_rng(0).permutation(len(known))
    halves = [[known[i] for i in order[start::2]] for start in (0, 1)]
    found = []
    for training, counted in (halves, halves[::-1]):
        probe = _train(training)
        found += [_evaluate(probe, *_labelled(*one)) for one in counted if len(one[1]) >= FEWEST]
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


def _patients(cohort: Path, encoder: LoadedEncoder, kept: Path | None) -> list[Known]:
    names = sorted(pd.read_csv(cohort / "master.csv")["Patient_ID"])
    read = [_read(cohort / "All" / name, encoder, kept) for name in names]
    return [one for one in read if one is not None]


def _known(features: Features, labels: CellLabels) -> Known:
    return features, labels.of(features)


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
    names = [name for name in counted.types if cell_type(name).is_counted]
    sums = {BLASTS: {name for name in names if cell_type(name).is_blast}} | GROUPS
    groups = {name: {name} for name in names} | {name: some for name, some in sums.items() if some & set(names)}
    leukocytes = {cell: name if name in names else OTHER for cell, name in truth.items() if cell_type(name).is_counted}
    rows = []
    for name, group in groups.items():
        share = counted.share_of(*group)
        in_smear = sum(one in group for one in leukocytes.values()) / max(len(leukocytes), 1)
        row = {
            "patient": features.patient_id,
            "type": name,
            "share": in_smear,
            "too many": share.called - in_smear,
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
    means.loc["mean over types"] = means.drop(index=[BLASTS, *GROUPS], errors="ignore").mean()
    spread = 1.96 * table.groupby("type", sort=False)["too many"].sem().reindex(means.index)
    said = pd.DataFrame(
        {
            "share %": means["share"],
            "called minus share": means["too many"],
            "± (95 %)": spread,
            "error as called": means["called"],
            "error corrected": means["corrected"],
            "classifier interval holds the smear %": means["classifier"],
            **({"interval of both holds the blood %": means["both"]} if "both" in means else {}),
            **({"counting alone holds the blood %": means["counting"]} if "both" in means else {}),
            "width of both": means["width"],
        }
    )
    print(f"{table['patient'].nunique()} smears counted; errors and widths in percent points, means over smears.\n")
    print(f"| type | {' | '.join(said.columns)} |\n|---{'|---' * len(said.columns)}|")
    for name, row in said.iterrows():
        print(f"| {name} | {' | '.join('' if np.isnan(value) else f'{100 * value:.1f}' for value in row)} |")
    print()


def _labelled(features: Features, truth: Truth) -> Known:
    """Those cells only whose type is known."""
    rows = np.array([i for i, cell in enumerate(features.cells) if cell in truth])
    return _some(features, rows, features.patient_id), truth


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
    command = commands.add_parser("shipped")
    command.add_argument("path", type=Path)
    command.add_argument("--apl-aml", type=Path)
    command.add_argument("--chula", type=Path)
    command.add_argument("--features", type=Path, help="keep features here, and use those that are there")
    command = commands.add_parser("synthetic")
    command.add_argument("--patients", type=int, default=60)
    command.add_argument("--cells", type=int, default=100)
    asked = parser.parse_args()
    print(f"\n{machine()}\n")
    if asked.what == "synthetic":
        synthetic(asked.patients, asked.cells)
    elif asked.what == "shipped":
        shipped(asked.path, asked.apl_aml, asked.chula, asked.features)
    else:
        {"apl-aml": apl_aml, "pbc": pbc}[asked.what](asked.path, asked.features)


if __name__ == "__main__":
    main()
