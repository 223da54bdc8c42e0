"""What is chosen before an evaluation: the model, the cohort, its features, and the options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from qtpy.QtCore import QSettings, Signal
from qtpy.QtWidgets import QLabel, QLineEdit, QWidget

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.jobs import EvaluateModelOptions, EvaluateRequest
from napari_caltomorph.plugin.widgets.cohort_chooser import CohortChooser
from napari_caltomorph.plugin.widgets.model_chooser import ModelChooser
from napari_caltomorph.plugin.widgets.options_form import JobOptionsForm, options_of
from napari_caltomorph.plugin.widgets.parts import (
    WARNING,
    colored,
    column_of,
    line,
    named_folder,
    path_in,
    row_of,
)
from napari_caltomorph.plugin.widgets.settings import last_cohort, last_evaluation, preferences
from napari_caltomorph.plugin.widgets.task_row import TaskRow

_EMPTY = (
    "Choose a model, and patients of known diagnosis that it was not trained on: the test split of its own cohort "
    "(read with the options of its training, or as the saved <i>cohort.json</i>), or another cohort with the split "
    "<i>all</i>. Then click <b>Evaluate</b>. Nothing is changed."
)
_FEATURES = (
    "The folder of the features. Patients without features are encoded into it first. Not needed where the cohort is "
    "a folder of features"
)
# Chosen next to the model and in napari's Preferences, for encoding, predicting and evaluating alike.
_ELSEWHERE = ("device", "precision", "weights", "field_of_view", "encode_missing")


Request = TypeVar("Request")


class CohortSetup(QWidget, Generic[Request]):
    """Patients of known diagnosis, their features, and the options of a job; `make` makes its request.

    `submitted` follows Return in the cohort's place, `changed` each change.
    """

    submitted = Signal()
    changed = Signal()

    def __init__(self, make: Callable[..., Request], options: Any, settings: QSettings, about: str) -> None:
        super().__init__()
        self._make = make
        self.chooser = CohortChooser(settings)
        features = str(last_cohort().value("features", ""))
        self.features = QLineEdit(features, placeholderText="folder with one .h5 a patient", toolTip=_FEATURES)
        self.options = options
        self.chooser.submitted.connect(self.submitted)
        for part in (self.chooser, self.options):
            part.changed.connect(self.changed)
        self.features.textChanged.connect(lambda _: self.changed.emit())
        features_row = named_folder("Features", self.features)
        self.column = column_of(self, self.chooser, features_row, self.options, line(about))
        self.column.addStretch(1)

    def request(self) -> Request:
        """Return what is chosen; raise where an input is missing or not valid."""
        return self._make(**self.inputs())

    def inputs(self) -> dict[str, Any]:
        """Return the fields of the request; raise as that does."""
        return {
            "cohort": self.chooser.path(),
            "patients": self.chooser.options(),
            "features": path_in(self.features),
            "options": self.options.options(),
        }

    def remember(self) -> None:
        self.chooser.remember()
        self.options.remember()
        last_cohort().setValue("features", self.features.text().strip())

    def is_of(self, request: Request) -> bool:
        try:
            return self.request() == request
        except CaltomorphError:
            return False


class ModelSetup(CohortSetup[Request]):
    """The same, and a model."""

    def __init__(self, make: Callable[..., Request], options: Any, settings: QSettings, about: str) -> None:
        super().__init__(make, options, settings, about)
        self.models = ModelChooser(for_patients=False)
        self.models.changed.connect(self.changed)
        self.column.insertWidget(0, self.models)

    def inputs(self) -> dict[str, Any]:
        return {"model": preferences().model, **super().inputs()}


class OldResultNote(QLabel):
    """A sentence, shown while the result, made by the request that `shown` returns, is not of what is chosen now."""

    def __init__(
        self, sentence: str, setup: CohortSetup[Request], run: TaskRow, shown: Callable[[], Request | None]
    ) -> None:
        super().__init__(colored(f"<b>{sentence}</b>", WARNING), wordWrap=True, visible=False)
        self._setup, self._run, self._shown = setup, run, shown
        setup.changed.connect(self.update_note)
        run.ended.connect(self.update_note)

    def update_note(self) -> None:
        request = self._shown()
        self.setVisible(request is not None and not self._run.is_busy and not self._setup.is_of(request))


class EvaluateSetup(ModelSetup[EvaluateRequest]):
    """All inputs of an evaluation."""

    def __init__(self) -> None:
        super().__init__(EvaluateRequest, EvaluateOptionsForm(), last_evaluation(), _EMPTY)


class EvaluateOptionsForm(JobOptionsForm):
    """Split, out of fold and audit are shown."""

    def __init__(self) -> None:
        super().__init__(EvaluateModelOptions, ("split", "out_of_fold", "audit"), _ELSEWHERE)
        split, out_of_fold, audit = self.shown.values()
        split.align()
        self.widget("split").setMinimumContentsLength(8)  # two options side by side in a dock of 360 px
        audit.align()
        column_of(self, row_of(split, out_of_fold, stretch=(split,)), audit, self.section)
        try:
            last = EvaluateModelOptions.model_validate_json(str(last_evaluation().value("options", "{}")))
        except ValidationError:  # options of another version
            last = EvaluateModelOptions()
        self.set(**last.model_dump())

    def options(self) -> EvaluateModelOptions:
        """Return the choice, here and in the Preferences; raise `OptionRefused` for a text that is not valid."""
        stored = preferences()
        return options_of(
            EvaluateModelOptions,
            **self.values(),
            device=stored.device,
            precision=stored.precision,
            weights=Path(stored.weights) if stored.weights else None,
            field_of_view=stored.field_of_view or None,
            encode_missing=True,
        )

    def remember(self) -> None:
        # A threshold is written into a model only in the session in which that was chosen.
        not_kept = {*_ELSEWHERE, "store_threshold"}
        last_evaluation().setValue("options", self.options().model_dump_json(exclude=not_kept))
