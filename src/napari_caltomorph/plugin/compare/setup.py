"""What is chosen before a comparison: the cohort, its features, what is varied, and the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QLabel, QLineEdit, QWidget

from napari_caltomorph.jobs import CompareRequest
from napari_caltomorph.plugin.evaluate.setup import CohortSetup
from napari_caltomorph.plugin.train.setup import TrainOptionsForm
from napari_caltomorph.plugin.widgets.options_form import OptionRefused, OptionsForm, options_of
from napari_caltomorph.plugin.widgets.parts import NAMES_WIDTH, column_of, line, link, named_folder, path_in, row_of
from napari_caltomorph.plugin.widgets.settings import last_comparison
from napari_caltomorph.training import TrainOptions
from napari_caltomorph.training.comparison import COMPARISON_FILE
from napari_caltomorph.training.variants import CompareOptions

_ABOUT = (
    "Which way of training suits your patients? Each variant differs from the reference in one thing, and is trained "
    "on the same folds. The reference is what you choose under <i>Recipe</i>, <i>Epochs</i> and <i>More options</i>. "
    "The test split is not used. Patients need features: <i>Open cohort</i> encodes them."
)
_VARIED = {
    "aggregators": "Every aggregator, each with the learning rate that was chosen for it",
    "depths": "The transformer with these numbers of layers, each with cls and mean pooling",
    "sizes": "These shares of the training patients of each member",
}
_OUT = "Tables, figure and finished variants are written into this folder; in it, a stopped comparison is resumed"
# A comparison trains one member after another, and makes no estimate for other laboratories.
_WITHOUT = ("elsewhere", "workers", "scheduler")


class CompareSetup(CohortSetup[CompareRequest]):
    """All inputs of a comparison. `open_clicked` follows the link to the comparison in the folder of the results."""

    open_clicked = Signal()

    def __init__(self) -> None:
        super().__init__(CompareRequest, ReferenceForm(), last_comparison(), _ABOUT)
        self.variants = VariantsForm()
        self.out = QLineEdit(str(last_comparison().value("out", "")), placeholderText="folder for the results")
        self.out.setToolTip(_OUT)
        self._saved = line(f"This folder has a comparison: {link('open it')}. <b>Compare</b> continues it.")
        self._saved.linkActivated.connect(lambda _: self.open_clicked.emit())
        self.out.textChanged.connect(lambda _: self.changed.emit())
        self.variants.changed.connect(self.changed)
        self.changed.connect(self.look_for_saved)
        options = self.column.indexOf(self.options)
        for place, part in enumerate((self.variants, self.options, named_folder("Results", self.out), self._saved)):
            self.column.insertWidget(options + place, part)
        self.look_for_saved()

    def inputs(self) -> dict[str, Any]:
        return {**super().inputs(), "comparison": self.variants.options(), "out": self.folder()}

    def folder(self) -> Path:
        """Return the folder of the results; raise where none is chosen."""
        if (path := path_in(self.out)) is None:
            raise OptionRefused("Choose a folder for the results first.")
        return path

    def remember(self) -> None:
        super().remember()
        last_comparison().setValue("comparison", self.variants.options().model_dump_json())
        last_comparison().setValue("out", self.out.text().strip())

    def look_for_saved(self) -> None:
        """Offer the comparison in the folder of the results, if there is one."""
        folder = path_in(self.out)
        self._saved.setVisible(folder is not None and (folder / COMPARISON_FILE).is_file())


class VariantsForm(QWidget):
    """What is varied. `changed` follows each change."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.form = OptionsForm(CompareOptions, ("depths", "shares", "encoders"))
        self.form.align()
        self.varied = {name: QCheckBox(name, toolTip=about) for name, about in _VARIED.items()}
        column_of(self, row_of(QLabel("Vary", minimumWidth=NAMES_WIDTH), *self.varied.values()), self.form)
        self._restore()
        for box in self.varied.values():
            box.toggled.connect(lambda _: self._on_changed())
        self.form.changed.connect(self.changed)
        self._on_changed()

    def options(self) -> CompareOptions:
        """Return the choice; raise `OptionRefused` where it is not valid."""
        values = self.form.values()
        what = [name for name, box in self.varied.items() if box.isChecked()]
        if not what and not values["encoders"]:
            raise OptionRefused("Choose what is varied: aggregators, depths, sizes, or features of another encoder.")
        return options_of(CompareOptions, what=what or ["encoders"], **values)

    def _restore(self) -> None:
        try:
            last = CompareOptions.model_validate_json(str(last_comparison().value("comparison", "{}")))
        except ValidationError:  # options of another version
            last = CompareOptions()
        self.form.set(last.model_dump())
        for name, box in self.varied.items():
            box.setChecked(name in last.what)

    def _on_changed(self) -> None:
        for name, option in (("depths", "depths"), ("sizes", "shares")):
            self.form.widget(option).setEnabled(self.varied[name].isChecked())
        self.changed.emit()


class ReferenceForm(TrainOptionsForm):
    """The training that all variants differ from in one thing."""

    def __init__(self) -> None:
        super().__init__(last_comparison(), _WITHOUT)

    def options(self) -> TrainOptions:
        """Return only what was changed: learning rates follow the aggregators, unless one is given."""
        return TrainOptions(**super().options().changed)
