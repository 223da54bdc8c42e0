"""What an evaluation is made of: the model, the cohort, its features, and whom to judge."""

from __future__ import annotations

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_caltomorph.cohort import CohortOptions
from napari_caltomorph.errors import CaltomorphError, EvaluationRefused
from napari_caltomorph.jobs import EvaluateRequest
from napari_caltomorph.plugin.evaluate.options_form import EvaluateOptionsForm
from napari_caltomorph.plugin.widgets.cohort_chooser import CohortChooser
from napari_caltomorph.plugin.widgets.model_chooser import ModelChooser
from napari_caltomorph.plugin.widgets.parts import line
from napari_caltomorph.plugin.widgets.settings import last_cohort, last_evaluation, preferences
from napari_caltomorph.storage import path_of

_EMPTY = (
    "Choose a model, and patients of known diagnosis whom it has not learnt from: the test split of its own cohort "
    "(read with the options of its training, or as the saved <i>cohort.json</i>), or another cohort with the split "
    "<i>all</i>. Then click <b>Evaluate</b>. Nothing is changed."
)


# As wide as the names in the cohort chooser, so that what is chosen stands in one column.
_NAMES_WIDTH = 71


class EvaluateSetup(QWidget):
    """All that is chosen before an evaluation. `asked` follows Return in the cohort's place, `changed` each change."""

    asked = Signal()
    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.models = ModelChooser()
        self.chooser = CohortChooser()
        # Judging reads names only: cells were looked at when they were encoded.
        self.chooser.check_cells.setChecked(False)
        self.chooser.check_cells.hide()
        self._restore()
        self.features = QLineEdit(
            str(last_cohort().value("features", "")), placeholderText="folder with one .h5 a patient"
        )
        self.features.setToolTip(
            "Where features are, or where they are made first of patients who have none. Not needed where the cohort "
            "is a folder of features"
        )
        self.options = EvaluateOptionsForm()
        self._empty = line(_EMPTY)
        self.chooser.asked.connect(self.asked)
        for signal in (
            self.models.changed,
            self.chooser.place.textChanged,
            self.chooser.taxonomy.currentIndexChanged,
            self.chooser.min_cells.valueChanged,
            self.chooser.more.changed,
            self.features.textChanged,
            self.options.changed,
        ):
            signal.connect(lambda *_: self.changed.emit())
        for fold in (self.chooser.fold, self.options.fold):
            fold.toggled.connect(self._arrange)
        self._build()
        self._arrange()

    def request(self) -> EvaluateRequest:
        """Return the evaluation as it is chosen.

        Raises
        ------
        CaltomorphError
            Something is missing, or cannot be; the message says what to do.
        """
        stored, place, features = preferences(), self.chooser.place.text().strip(), self.features.text().strip()
        if not place:
            raise EvaluationRefused("Choose a cohort first: a directory, a table, or a saved cohort.json.")
        return EvaluateRequest(
            model=stored.model,
            cohort=path_of(place).expanduser().absolute(),
            patients=self.chooser.options(),
            features=path_of(features).expanduser().absolute() if features else None,
            options=self.options.options(),
        )

    def remember(self) -> None:
        """Let the next session begin with what is chosen."""
        self.chooser.remember()
        self.options.remember()
        last_cohort().setValue("features", self.features.text().strip())
        last_evaluation().setValue("cohort_options", self.chooser.options().model_dump_json())

    def is_of(self, request: EvaluateRequest) -> bool:
        """Whether a request is what is chosen now."""
        try:
            return self.request() == request
        except CaltomorphError:
            return False

    def _restore(self) -> None:
        try:
            last = CohortOptions.model_validate_json(str(last_evaluation().value("cohort_options", "{}")))
        except ValidationError:  # options of another version: begin anew
            return
        self.chooser.min_cells.setValue(last.min_cells)
        self.chooser.more.set(last.model_dump())

    def _build(self) -> None:
        browse = QPushButton("Browse")
        browse.setFixedWidth(60)
        browse.clicked.connect(self._browse)
        row = QHBoxLayout()
        row.addWidget(self.features, 1)
        row.addWidget(browse)
        self._folder = QWidget()
        form = QFormLayout(self._folder)
        form.setContentsMargins(0, 0, 0, 0)
        name = QLabel("Features")
        name.setMinimumWidth(_NAMES_WIDTH)
        form.addRow(name, row)
        self._rest = QWidget()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widget in (self.models, self.chooser, self._folder, self.options, self._empty):
            column.addWidget(widget)
        column.addWidget(self._rest, 1)
        self._column = column

    def _arrange(self) -> None:
        """Show the options that are unfolded in place of the rest: a dock is low."""
        in_cohort, in_options = self.chooser.fold.is_open, self.options.fold.is_open
        is_folded = not in_cohort and not in_options
        self.chooser.setVisible(not in_options)
        self.options.setVisible(not in_cohort)
        for widget in (self.models, self._folder, self._empty, self._rest):
            widget.setVisible(is_folded)
        self._column.setStretchFactor(self.chooser, int(in_cohort))
        self._column.setStretchFactor(self.options, int(in_options))

    def _browse(self) -> None:
        start = self.features.text().strip() or preferences().folder
        if path := QFileDialog.getExistingDirectory(self, "Features", start):
            self.features.setText(path)
