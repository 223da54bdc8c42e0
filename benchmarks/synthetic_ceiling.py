"""The best possible result on synthetic patients, for observers who know the truth about every cell.

No image is made: patients are sampled, and classifiers that know the type of each cell and the hemoglobin, and then how
many red cells are in rouleaux or teardrops, predict the coarse class. No reader of the images can do better. The result
is about the table of compositions alone, not about a model or an image.

    python benchmarks/synthetic_ceiling.py
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from napari_caltomorph.synthetic import CELL_TYPES, SyntheticPatient, SynthOptions, synthesize_patients
from napari_caltomorph.taxonomy import caltomorph_taxonomy

RED_CELLS = 2  # columns
OBSERVERS = {
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000)),
    "boosted trees": lambda: HistGradientBoostingClassifier(max_iter=150, learning_rate=0.08, random_state=0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=16_000, help="to train on; half as many more for the test")
    parser.add_argument("--cells", type=int, default=500, help="of each patient")
    args = parser.parse_args()
    x, y, _ = counted(synthesize_patients(SynthOptions(patients=args.patients, cells=args.cells, seed=1)))
    unseen = synthesize_patients(SynthOptions(patients=args.patients // 2, cells=args.cells, seed=2))
    test_x, test_y, detailed = counted(unseen)
    print(f"{len(y)} sampled patients of {args.cells} cells for training, {len(test_y)} others for the test\n")
    for known, columns in (("cell types and hemoglobin", -RED_CELLS), ("the same, rouleaux and teardrops", None)):
        for name, make in OBSERVERS.items():
            said = make().fit(x[:, :columns], y).predict(test_x[:, :columns])
            right = said == test_y
            error = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / len(right))
            print(f"{known}, {name}: accuracy {right.mean():.3f} +- {error:.3f}")
    print(
        f"\nThe last of them, in percent of each true class:\n\n{confusion(test_y, said)}\n\nRight, by detailed class:"
    )
    for slug in dict.fromkeys(detailed):
        print(f"  {slug:18} {right[np.array(detailed) == slug].mean():.2f}")


def counted(patients: Iterator[SyntheticPatient]) -> tuple[NDArray[np.float64], NDArray[np.int64], list[str]]:
    """Return what an observer knows, (N, types + 3), the coarse class (N,), and the detailed slug of each."""
    column = {slug: number for number, slug in enumerate(CELL_TYPES)}
    order = caltomorph_taxonomy().slugs
    rows, labels, detailed = [], [], []
    for patient in patients:
        count = np.bincount([column[one] for one in patient.cell_types], minlength=len(column))
        # The root spreads small shares, where most of the difference lies.
        rows.append([*np.sqrt(count / len(patient)), patient.hemoglobin_g_dl, patient.rouleaux, patient.teardrops])
        labels.append(order.index(patient.coarse))
        detailed.append(patient.detailed)
    return np.array(rows), np.array(labels), detailed


def confusion(truth: NDArray[np.int64], said: NDArray[np.int64]) -> str:
    """Return a table of the shares of each true class (row) that were called each class (column)."""
    names = [one.slug for one in caltomorph_taxonomy().classes]
    lines = [" " * 22 + "".join(f"{name[:8]:>9}" for name in names)]
    for name, row in zip(names, confusion_matrix(truth, said, normalize="true") * 100, strict=True):
        lines.append(f"{name:22}" + "".join(f"{value:9.0f}" for value in row))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
