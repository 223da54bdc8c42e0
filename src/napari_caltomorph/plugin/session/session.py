"""The state that the panels of a window share: what is inspected, its reviews, and the cell types of its smears.

Labelled cells train a probe, which counts the cell types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_caltomorph.cohort import find_patients
from napari_caltomorph.differential import (
    BLOOD_CELLS,
    FOLDER,
    CellLabels,
    Differential,
    Probe,
    SmearId,
    cell_type,
    load_probe,
)
from napari_caltomorph.encoding.torch_loading import load_torch
from napari_caltomorph.errors import LooksLikeCohort
from napari_caltomorph.plugin.session.cell_columns import BY_TYPE, CERTAINTY, GROUPED
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.session.reviews import ReviewState
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.smear import read_smear

if TYPE_CHECKING:
    from napari_caltomorph.diagnosis import PredictOptions, Predictor

Counts = Mapping[SmearId, Differential]
_PROPERTY = "caltomorph_session"


class DifferentialState:
    """The labels (given here, read from sub-folders, or loaded), probe and counts of all smears inspected in a window.

    All inspected smears are kept, as training counts them again: some 2 kB a cell (features, columns), and no pixels.
    `train`, `count` and `count_others` take time and import torch: call them in a worker. They change nothing; hand
    what they return to `set_probe` and `add_counts` on the main thread.
    """

    def __init__(self) -> None:
        self.labels = CellLabels()
        self.probe: Probe | None = None
        self.counts: dict[SmearId, Differential] = {}
        self._inspections: dict[SmearId, Inspection] = {}

    def open(self, inspection: Inspection) -> None:
        """Add a smear: labels of its sub-folders are stored, and stored labels are set on its cells."""
        if self._is_open(inspection):
            self.store_labels(inspection)
            return
        smear, bag = smear_of(inspection), inspection.bag
        self._inspections[smear] = inspection
        pairs = zip(bag.cells, bag.labels, strict=True)
        of_folders = {cell: label for cell, label in pairs if label}
        self.labels = CellLabels().labelled(smear, of_folders, by=FOLDER, when="").merged(self.labels)
        self.set_labels(inspection)

    def set_labels(self, inspection: Inspection) -> None:
        """Set the stored labels on the cells of a smear."""
        known = self.labels.of(smear_of(inspection))
        inspection.cells.set_labels([known.get(cell, "") for cell in inspection.bag.cells])

    def store_labels(self, inspection: Inspection) -> bool:
        """Store the labels that the cells of an open smear have now, and return whether any is new."""
        if not self._is_open(inspection):
            return False
        smear = smear_of(inspection)
        pairs = zip(inspection.bag.cells, inspection.cells.labels, strict=True)
        labels = {cell: cell_type(label).name for cell, label in pairs if label}
        known = self.labels.of(smear)
        removed = [cell for cell in inspection.bag.cells if cell in known and cell not in labels]
        new = {cell: name for cell, name in labels.items() if known.get(cell) != name}
        self.labels = self.labels.without(smear, removed).labelled(smear, new)
        return bool(removed or new)

    def add_labels(self, labels: CellLabels) -> None:
        """Add labels from a file; on a cell that has a label already, they win."""
        self.labels = self.labels.merged(labels)

    def set_probe(self, probe: Probe, counts: Counts = MappingProxyType({})) -> None:
        """Count with another probe from now on; the counts of the previous one are dropped."""
        self.probe, self.counts = probe, dict(counts)

    def add_counts(self, counts: Counts) -> None:
        """Add counts, or replace those of the same smears."""
        self.counts |= counts

    def train(self, progress: OnProgress) -> tuple[Probe, Counts]:
        """Train a probe on the labelled cells of all inspected smears, and count these with it.

        It is trained on the features of the model; where a labelled smear is not diagnosed, on those of the encoder in
        the package.
        """
        from napari_caltomorph.differential import train_probe

        labels, inspections = self.labels, dict(self._inspections)
        progress(Progress("Loading features", 0, 1, "smears"))
        labelled = [one for smear, one in inspections.items() if labels.of(smear)]
        is_diagnosed = all(one.is_diagnosed for one in labelled)
        encoder = None if is_diagnosed else load_probe(BLOOD_CELLS).description.encoder
        probe = train_probe([one.features(progress, encoder) for one in labelled], labels, progress=progress)
        return probe, {smear: _count(probe, one, labels, progress) for smear, one in inspections.items()}

    def count_with(self, probe: Probe, inspection: Inspection, progress: OnProgress) -> tuple[Probe, Counts]:
        """Count one smear with a probe, which is to be used from then on."""
        return probe, {smear_of(inspection): _count(probe, inspection, self.labels, progress)}

    def count(self, inspection: Inspection, progress: OnProgress) -> Counts:
        """Count one smear with the probe; labels that were given by hand are kept."""
        assert self.probe is not None
        return self.count_with(self.probe, inspection, progress)[1]

    def count_others(self, inspection: Inspection, path: Path, progress: OnProgress) -> Counts:
        """Count the smear at a path, or each of the smears in it, with the encoder of the probe."""
        assert self.probe is not None
        from napari_caltomorph.differential.run import encode_smear
        from napari_caltomorph.encoding import EncodeOptions

        try:
            smears = [read_smear(path)]
        except LooksLikeCohort:
            found = find_patients(path).items()
            smears = [replace(one.read(), patient_id=name) for name, one in found]
        progress(Progress("Loading the encoder", 0, 1, "encoders"))
        encoder = inspection.encoder(self.probe.description.encoder)
        counts = {}
        for one in smears:
            graded, features = encode_smear(one, encoder, EncodeOptions(), progress=progress)
            smear = SmearId(one.patient_id, graded.fingerprint)
            labels = CellLabels.of_folders(graded).merged(self.labels)
            counts[smear] = _with_blasts(self.probe.differential(features, labels.of(smear)))
        return counts

    def _is_open(self, inspection: Inspection) -> bool:
        return self._inspections.get(smear_of(inspection)) is inspection


def smear_of(inspection: Inspection) -> SmearId:
    """Return which smear is inspected."""
    return SmearId(inspection.bag.patient_id, inspection.bag.smear_fingerprint or "")


def show_cell_types(inspection: Inspection, differential: Differential) -> None:
    """Set the predicted type of each cell, and its probability, as columns; the first time, colour by type."""
    inspection.differential = differential
    place = {cell: i for i, cell in enumerate(differential.cells)}
    rows = [place[cell] for cell in inspection.bag.cells]
    types = np.array(differential.cell_types, dtype=object)[rows]
    cells = inspection.cells
    is_first = BY_TYPE not in cells.columns
    if is_first or not np.array_equal(cells.columns[BY_TYPE], types):
        cells.set_column(BY_TYPE, types)
        certainty = np.array(differential.certainty)[rows]
        cells.set_column(CERTAINTY, certainty)
        kinds = np.array([differential.all_types.index(name) for name in types])
        cells.set_column(GROUPED, np.argsort(np.lexsort((np.array(differential.distance)[rows], certainty, kinds))))
        if is_first or inspection.coloring == BY_TYPE:
            inspection.color_by(BY_TYPE)
        if is_first and not inspection.is_diagnosed:
            cells.sort_by(GROUPED, descending=False)


def _count(probe: Probe, inspection: Inspection, labels: CellLabels, progress: OnProgress) -> Differential:
    features = inspection.features(progress, probe.description.encoder)
    return _with_blasts(probe.differential(features, labels.of(smear_of(inspection))))


def _with_blasts(differential: Differential) -> Differential:
    """Compute the bootstrap of the blasts here, in the worker, and not when the window first shows it."""
    _ = differential.blasts
    return differential


class Session:
    """What is inspected in one window (`changed` is emitted when it is another), and what is known of cell types.

    The loaded models are the window's, not a panel's: all that was inspected shares them, however often the panel is
    opened again.
    """

    changed = Signal()

    def __init__(self) -> None:
        self.inspection: Inspection | None = None
        self.predictor: Predictor | None = None
        self.differential = DifferentialState()
        self.reviews = ReviewState()

    def predictor_of(self, options: PredictOptions, progress: OnProgress) -> Predictor:
        """Return the window's predictor if it is of these options, or another, which it then is; call it in a worker.

        It imports torch.
        """
        load_torch(progress)
        from napari_caltomorph.diagnosis import Predictor

        if self.predictor is None or self.predictor.options != options:
            self.predictor = Predictor(options)
        return self.predictor

    def show(self, inspection: Inspection | None) -> None:
        self.inspection = inspection
        self.changed.emit()


def session_of(panel: Any) -> Session:
    """Return the session of the window that contains a panel (a `QWidget`); it is deleted with the window."""
    window = panel
    while (parent := window.parentWidget()) is not None:  # a floating dock is a window too, and a child of this one
        window = parent
    session = window.property(_PROPERTY)
    if session is None:
        session = Session()
        window.setProperty(_PROPERTY, session)
    assert isinstance(session, Session)
    return session
