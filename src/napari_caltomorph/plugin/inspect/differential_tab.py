"""The *Differential* tab: label cells with keys, train a probe on them in seconds, and count cell types.

Labels belong to the selection model, so that its undo reverts them; `DifferentialState` stores them for all smears of
the window. The probe counts again whenever a label changes: a correction by hand is a label.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QHBoxLayout, QPushButton

from napari_caltomorph.differential import BLOOD_CELLS, Probe, SmearId, load_probe, read_labels, save_labels
from napari_caltomorph.errors import CaltomorphError, counted
from napari_caltomorph.plugin.inspect.differential_parts import NARROW, DifferentialView, LabelButtons
from napari_caltomorph.plugin.session.cell_columns import BY_CLASS, BY_LABEL, BY_TYPE
from napari_caltomorph.plugin.session.inspection import Inspection
from napari_caltomorph.plugin.session.session import Counts, DifferentialState, show_cell_types, smear_of
from napari_caltomorph.plugin.widgets.inspection_view import InspectionView
from napari_caltomorph.plugin.widgets.parts import column_of, line
from napari_caltomorph.plugin.widgets.settings import choose_file, choose_folder, choose_new_file, preferences
from napari_caltomorph.plugin.widgets.task_row import TaskRow
from napari_caltomorph.plugin.widgets.tasks import LatestJob

_COUNT_TIP = "Count the cells of this smear by type, with the probe in the package, which was learnt from real cells"
_EMPTY = "Select cells and label them: press a letter over the picture, or click a button."
_PROBES, _TABLES = "Probes (*.safetensors)", "Tables (*.csv)"


class DifferentialTab(InspectionView):
    """Labels, probe and counts of the smears that are inspected in a window."""

    def __init__(self, state: DifferentialState) -> None:
        super().__init__()
        self.state = state
        self._recounting = LatestJob(self)
        self._bound: Inspection | None = None
        # One count when labelling pauses, not one a cell.
        self._pause = QTimer(self, singleShot=True, interval=250)
        self._pause.timeout.connect(self._count_again)
        self.keys = LabelButtons()
        self.keys.label_chosen.connect(self.label)
        self.words, self.about = line(), line()
        self.task = TaskRow("Train probe")
        self.task.button.setToolTip("Train on the labelled cells of all smears inspected here, and count them")
        self.task.requested.connect(self._train)
        self.view = DifferentialView()
        self.buttons: dict[str, QPushButton] = {}
        labels = self._row(
            ("Load labels", "Labelled cells from a table, of this smear or of others", self._load_labels_dialog),
            ("Save labels", "All labelled cells as a table that others can reuse", self._save_labels),
            ("Confirm types", "Label the selected cells with their predicted types", self.confirm_types),
        )
        probe = self._row(
            ("Load probe", "Count with a saved probe", self._load_probe_dialog),
            ("Save probe", "The probe, to count other smears with", self._save_probe),
            ("Count others", "Count another smear, or all smears in a folder", self._count_others_dialog),
            ("Export", "The counts of all smears as CSV tables", self._export_dialog),
        )
        self.counter = QPushButton("Count with blood-cells", toolTip=_COUNT_TIP, clicked=lambda: self.count_with())
        column_of(self, self.counter, self.view, self.keys, self.words, labels, self.task, self.about, probe)
        self.layout().addStretch()

    def on_inspection(self) -> None:
        self.view.draw(self.plot_style)
        self._bind_keys(self.inspection if self.isVisible() else None)
        if self.inspection is not None:
            self.state.open(self.inspection)
            self._pause.start()
        self._show()

    def on_edits(self) -> None:
        if self.state.store_labels(self.inspected):
            self._show_labels()
            self._pause.start()

    def on_selection(self) -> None:
        cells = self.inspected.cells
        self.buttons["Confirm types"].setEnabled(bool(cells.selected) and BY_TYPE in cells.columns)

    def on_look(self) -> None:
        self.view.draw(self.plot_style)

    def on_closed(self) -> None:
        self._bind_keys(None)
        self._stop()

    def show_inspection(self, inspection: Inspection | None) -> None:
        self._store_labels()
        super().show_inspection(inspection)

    def close_inspection(self) -> None:
        self._store_labels()
        super().close_inspection()

    def showEvent(self, event: Any) -> None:
        super().showEvent(event)
        self._bind_keys(self.inspection)

    def hideEvent(self, event: Any) -> None:
        super().hideEvent(event)
        self._bind_keys(None)  # a letter labels only while its effect is visible

    def label(self, name: str) -> None:
        """Label the selected cells; after a single one, the next is selected."""
        if self.inspection is None:
            return
        cells = self.inspection.cells
        if not cells.selected:
            self.task.show_message("Select cells first: click one in the picture, or drag over several.")
            return
        self.task.show_message("")
        if self.inspection.coloring == BY_CLASS:
            self.inspection.color_by(BY_LABEL)
            self.task.show_message("Colours now show labels, no longer the class; choose them at Colour, above.")
        cells.label(name)
        if len(cells.selected) == 1:
            cells.step(1)

    def count_with(self, probe: Probe | None = None) -> None:
        """Count the cells of this smear with a probe, by default the one in the package, and use it from now on."""
        self._stop()
        chosen = probe or load_probe(BLOOD_CELLS)
        if stated := preferences().field_of_view:
            self.inspected.state_width(stated)
        self.task.start(partial(self.state.count_with, chosen, self.inspected), self._on_trained)

    def confirm_types(self) -> None:
        """Label the selected cells with the types that the probe predicts."""
        cells = self.inspected.cells
        types = cells.columns[BY_TYPE]
        cells.set_labels([str(types[i]) if i in cells.selected else old for i, old in enumerate(cells.labels)])

    def load_labels(self, path: Path) -> None:
        """Add labelled cells from a table; `LabelsUnreadable` if it is none."""
        self.state.add_labels(read_labels(path))
        if self.inspection is not None:
            self.state.set_labels(self.inspection)
            self._pause.start()
        self._show_labels()

    def load_probe(self, path: Path) -> None:
        """Count with a saved probe from now on; `ProbeRefused` if it is none."""
        self.state.set_probe(Probe.load(path))
        self._pause.start()
        self._show()

    def count_others(self, path: Path) -> None:
        """Count another smear, or all smears in a folder."""
        self.task.start(partial(self.state.count_others, self.inspected, path), self._on_counts)

    def export(self, folder: Path) -> None:
        """Write the counts of all smears; `OutputRefused` if that fails."""
        from napari_caltomorph.differential.run import save_differentials

        files = save_differentials(list(self.state.counts.values()), folder)
        self.task.show_message(f"Written: {', '.join(map(str, files))}")

    def _train(self) -> None:
        self._stop()
        self.task.start(self.state.train, self._on_trained)

    def _on_trained(self, trained: tuple[Probe, Counts]) -> None:
        self.state.set_probe(*trained)
        self._show()

    def _on_counts(self, counts: Counts) -> None:
        self.state.add_counts(counts)
        self._show(next(iter(counts)))

    def _count_again(self) -> None:
        """Count the inspected smear with its labels as they are now."""
        if self.inspection is not None and self.state.probe is not None:
            self._recounting.start(partial(self.state.count, self.inspection), self._on_counts, self.task.show_error)

    def _show(self, chosen: SmearId | None = None) -> None:
        here = None if self.inspection is None else smear_of(self.inspection)
        probe = self.state.probe
        self.view.show_counts(self.state.counts, probe, chosen or here)
        if self.inspection is not None and here in self.state.counts:
            show_cell_types(self.inspection, self.state.counts[here])
        self.about.setText("" if probe is None else _in_words(probe))
        self.about.setVisible(probe is not None)
        for name in ("Save probe", "Count others"):
            self.buttons[name].setEnabled(probe is not None)
        self.buttons["Export"].setEnabled(bool(self.state.counts))
        self._show_labels()
        if self.inspection is not None:
            self.on_selection()

    def _show_labels(self) -> None:
        labels = () if self.inspection is None else self.inspection.cells.labels
        self.keys.show_counts(labels)
        self.buttons["Save labels"].setEnabled(len(self.state.labels) > 0)
        if self.inspection is None:
            return
        here = sum(map(bool, labels))
        elsewhere = len(self.state.labels) - len(self.state.labels.of(smear_of(self.inspection)))
        words = f"<b>{counted(here, 'cell')} labelled</b> of {len(labels):,}" if here else _EMPTY
        self.words.setText(f"{words}; {counted(elsewhere, 'cell')} of other smears" if elsewhere else words)

    def _bind_keys(self, inspection: Inspection | None) -> None:
        for one in (self._bound, inspection):
            if one is not None and one.gallery is not None:
                for key, name in self.keys.keys.items():
                    one.gallery.bind_key(key, partial(self.label, name) if one is inspection else None)
        self._bound = inspection

    def _store_labels(self) -> None:
        """Store what was labelled, or undone, while the tab was hidden."""
        if self.inspection is not None:
            self.state.store_labels(self.inspection)

    def _stop(self) -> None:
        self._pause.stop()
        self.task.cancel()
        self._recounting.stop()

    def _row(self, *buttons: tuple[str, str, Callable[[], None]]) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(2)
        for text, tip, act in buttons:
            button = self.buttons[text] = QPushButton(text, toolTip=tip, styleSheet=NARROW)
            button.clicked.connect(partial(self._try, act))
            row.addWidget(button)
        return row

    def _try(self, act: Callable[[], None], _: bool = False) -> None:
        """Do what may fail because of a user's file, and show the error."""
        try:
            act()
        except CaltomorphError as error:
            self.task.show_error(str(error))

    def _load_labels_dialog(self) -> None:
        if path := choose_file(self, "Labelled cells", _TABLES):
            self.load_labels(path)

    def _save_labels(self) -> None:
        if path := choose_new_file(self, "Save the labelled cells", "labels.csv", _TABLES):
            save_labels(self.state.labels, path)

    def _load_probe_dialog(self) -> None:
        if path := choose_file(self, "Probe", _PROBES):
            self.load_probe(path)

    def _save_probe(self) -> None:
        path = choose_new_file(self, "Save the probe", "probe.safetensors", _PROBES)
        if path and self.state.probe is not None:
            self.state.probe.save(path)

    def _count_others_dialog(self) -> None:
        if path := choose_folder(self, "A smear, or a folder of smears"):
            self.count_others(path)

    def _export_dialog(self) -> None:
        if folder := choose_folder(self, "Export the counts into"):
            self.export(folder)


def _in_words(probe: Probe) -> str:
    described = probe.description
    learnt = f"{counted(len(described.types), 'type')} from {counted(sum(described.cells), 'cell')}"
    return f"{learnt}; {described.errors_in_words}"
