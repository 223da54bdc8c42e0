"""What *Differential* knows of a window's smears: their labelled cells, the probe, and the counts; no widget in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_caltomorph.differential import FOLDER, CellLabels, Differential, Probe, SmearId, cell_type
from napari_caltomorph.errors import LooksLikeCohort
from napari_caltomorph.plugin.gallery.colors import BY_TYPE
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.smear import find_smears, read_smear

# The probability of what the probe calls a cell: sorted by it, the doubtful ones come first.
CERTAINTY = "p_called"
Counts = Mapping[SmearId, Differential]


@dataclass(frozen=True)
class Trained:
    """A probe, and what it makes of the smears that were seen."""

    probe: Probe
    counts: Counts


class DifferentialState:
    """Follows the labels that a person gives, smear after smear.

    `train`, `count` and `count_others` take time and import torch: call them in a worker, and keep what they return on
    the main thread.

    Attributes
    ----------
    labels : CellLabels
        Of all smears: given here, taken over from sub-folders, or loaded.
    probe : Probe or None
    """

    def __init__(self) -> None:
        self.labels = CellLabels()
        self.probe: Probe | None = None
        self._seen: dict[SmearId, Inspection] = {}

    def __contains__(self, inspection: Inspection) -> bool:
        return self._seen.get(smear_of(inspection)) is inspection

    def open(self, inspection: Inspection) -> None:
        """Begin with a smear: its sub-folders' labels come into the book, and the book's labels onto its cells."""
        smear, prediction = smear_of(inspection), inspection.prediction
        self._seen[smear] = inspection
        pairs = zip(prediction.cells, prediction.labels, strict=True)
        of_folders = {cell: label for cell, label in pairs if label}
        self.labels = CellLabels().labelled(smear, of_folders, by=FOLDER, when="").merged(self.labels)
        self.show(inspection)

    def show(self, inspection: Inspection) -> None:
        """Put the book's labels onto the cells of a smear."""
        known = self.labels.of(smear_of(inspection))
        inspection.cells.set_labels([known.get(cell, "") for cell in inspection.prediction.cells])

    def keep(self, inspection: Inspection) -> bool:
        """Write down what the cells of a smear are labelled now, and return whether that is news."""
        smear = smear_of(inspection)
        pairs = zip(inspection.prediction.cells, inspection.cells.labels, strict=True)
        said = {cell: cell_type(label).name for cell, label in pairs if label}
        known = self.labels.of(smear)
        gone = [cell for cell in inspection.prediction.cells if cell in known and cell not in said]
        new = {cell: name for cell, name in said.items() if known.get(cell) != name}
        self.labels = self.labels.without(smear, gone).labelled(smear, new)
        return bool(gone or new)

    def add(self, labels: CellLabels) -> None:
        """Add labels from a file; on a cell that is labelled already, they win."""
        self.labels = self.labels.merged(labels)

    def train(self, progress: OnProgress) -> Trained:
        """Train a probe on the labelled cells of all smears that were seen, and count these with it."""
        from napari_caltomorph.differential import train_probe

        labels, seen = self.labels, dict(self._seen)
        progress(Progress("Loading features", 0, 1, "smears"))
        features = {smear: one.features(progress) for smear, one in seen.items() if labels.of(smear)}
        probe = train_probe(list(features.values()), labels, progress=progress)
        return Trained(probe, {smear: _counted(probe, one, labels, progress) for smear, one in seen.items()})

    def count(self, inspection: Inspection, progress: OnProgress) -> Counts:
        """Count one smear with the probe; labels given by hand stand."""
        assert self.probe is not None
        return {smear_of(inspection): _counted(self.probe, inspection, self.labels, progress)}

    def count_others(self, inspection: Inspection, path: Path, progress: OnProgress) -> Counts:
        """Count the smear at a path, or each of the smears in it, on the encoder of the inspected one.

        Raises
        ------
        CaltomorphError
            There is no smear, or one that cannot be read; the message names it.
        """
        assert self.probe is not None
        from napari_caltomorph.differential.run import encode_smear
        from napari_caltomorph.encoding import EncodeOptions
        from napari_caltomorph.smear import check_smear

        try:
            smears = [read_smear(path)]
        except LooksLikeCohort:
            smears = [read_smear(one) for one in find_smears(path)]
        progress(Progress("Loading the encoder", 0, 1, "encoders"))
        encoder = inspection.encoder()
        counts = {}
        for one in smears:
            graded = check_smear(one, progress=progress)
            features = encode_smear(graded, encoder, EncodeOptions(), progress=progress)
            smear = SmearId(one.patient_id, graded.fingerprint)
            labels = CellLabels.of_folders(graded).merged(self.labels)
            counts[smear] = _with_draws(self.probe.differential(features, labels.of(smear)))
        return counts


def smear_of(inspection: Inspection) -> SmearId:
    """Return whose cells are inspected."""
    return SmearId(inspection.prediction.patient_id, inspection.prediction.smear_fingerprint or "")


def show_calls(inspection: Inspection, counted: Differential) -> None:
    """Let the table, the order, the frames and the report know what each cell is taken for, and how surely."""
    inspection.differential = counted
    place = {cell: i for i, cell in enumerate(counted.cells)}
    rows = [place[cell] for cell in inspection.prediction.cells]
    types = np.array(counted.cell_types, dtype=object)[rows]
    cells = inspection.cells
    is_first = BY_TYPE not in cells.columns
    if is_first or not np.array_equal(cells.columns[BY_TYPE], types):
        cells.set_column(BY_TYPE, types)
        cells.set_column(CERTAINTY, np.array(counted.certainty)[rows])
        if is_first or inspection.coloring == BY_TYPE:
            inspection.color_by(BY_TYPE)


def _counted(probe: Probe, inspection: Inspection, labels: CellLabels, progress: OnProgress) -> Differential:
    counted = probe.differential(inspection.features(progress), labels.of(smear_of(inspection)))
    return _with_draws(counted)


def _with_draws(counted: Differential) -> Differential:
    """Let the draws be made here, in the worker, and not when the window first shows them."""
    assert counted.blasts is not None
    return counted
