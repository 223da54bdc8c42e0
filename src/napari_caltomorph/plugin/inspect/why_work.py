"""What the tab *Why* asks, as work for a thread: it loads what it needs, and answers for the prediction's cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.progress import OnProgress

if TYPE_CHECKING:
    from napari_caltomorph.encoding import Features
    from napari_caltomorph.explanation.changed_bags import CellChanges
    from napari_caltomorph.explanation.contribution import Contributions
    from napari_caltomorph.explanation.faithfulness import Faithfulness


@dataclass(frozen=True)
class Asked:
    """A class of a prediction, and which of its cells were left out when it was asked about."""

    inspection: Inspection
    slug: str
    left_out: frozenset[int]

    @property
    def kept(self) -> list[int]:
        """The cells of the bag, as numbers of the prediction's cells."""
        return [i for i in range(len(self.inspection.prediction.cells)) if i not in self.left_out]

    def bag(self, progress: OnProgress) -> Features:
        """Return the features of the cells that are kept."""
        cells = self.inspection.prediction.cells
        return self.inspection.features(progress).of_cells([cells[i] for i in self.kept])


def ask_contributions(asked: Asked, progress: OnProgress) -> tuple[Asked, Contributions]:
    """Return each cell's contribution; cells that are left out contribute nothing."""
    bag, ensemble = asked.bag(progress), asked.inspection.ensemble()
    from napari_caltomorph.explanation.contribution import contributions

    found = contributions(ensemble, bag, asked.slug, progress=progress)
    cells = asked.inspection.prediction.cells
    values = np.zeros(len(cells))
    values[asked.kept] = found.values
    return asked, replace(found, cells=cells, values=values)


def ask_without(asked: Asked, chosen: tuple[int, ...], progress: OnProgress) -> CellChanges:
    """Return what changes without each of these cells."""
    bag, ensemble = asked.bag(progress), asked.inspection.ensemble()
    from napari_caltomorph.explanation.changed_bags import leave_one_out

    rows = np.searchsorted(asked.kept, chosen)
    found = leave_one_out(ensemble, bag, asked.slug, rows, progress=progress)
    return replace(found, rows=np.array(asked.kept)[found.rows])


def ask_faithfulness(asked: Asked, progress: OnProgress) -> Faithfulness:
    """Return the curves of each order, and of random ones."""
    bag, ensemble = asked.bag(progress), asked.inspection.ensemble()
    from napari_caltomorph.explanation.faithfulness import cell_scores, faithfulness

    scores = cell_scores(ensemble, bag, asked.slug, progress=progress)
    return faithfulness(ensemble, bag, asked.slug, scores, progress=progress)
