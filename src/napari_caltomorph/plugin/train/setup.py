"""What is chosen before a training: the cohort, encoder and features, the model's folder, and the options."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSettings, QTimer, Signal
from qtpy.QtWidgets import QCheckBox, QLabel, QLineEdit, QMessageBox, QPushButton, QWidget

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.diagnosis.installed import place_for
from napari_caltomorph.errors import CaltomorphError, ModelRefused, TrainingRefused, counted
from napari_caltomorph.jobs import TrainRequest, train_command
from napari_caltomorph.plugin.cohort.encoding import CohortEncoding
from napari_caltomorph.plugin.train.cohort import TrainCohort
from napari_caltomorph.plugin.widgets.options_form import JobOptionsForm, OptionRefused, options_of
from napari_caltomorph.plugin.widgets.parts import (
    ERROR,
    chooser_grid,
    colored,
    column_of,
    line,
    link,
    path_in,
    plain,
    row_of,
    tip,
)
from napari_caltomorph.plugin.widgets.settings import choose_folder, last_training, preferences
from napari_caltomorph.plugin.widgets.tasks import LatestJob
from napari_caltomorph.storage import home
from napari_caltomorph.training import DECIDING, TrainOptions, features_ready, training_folder

# Features are counted when the name of their folder is complete.
_COUNT_AFTER_MS = 400


class TrainSetup(QWidget):
    """All inputs of a training."""

    def __init__(self) -> None:
        super().__init__()
        self._counting = LatestJob(self)
        self._is_ready: bool | None = None
        self.cohort = TrainCohort()
        self.cohort.read.connect(self._on_read)
        self.encoding = CohortEncoding()
        self.encoding.run.hide()  # patients are encoded as the first part of a training
        self._ready = line()
        self.model = ModelPlace()
        self.options = TrainOptionsForm(last_training())
        self._count_soon = QTimer(self, singleShot=True, interval=_COUNT_AFTER_MS, timeout=self.count_features)
        self.encoding.features.textChanged.connect(lambda _: self._count_soon.start())
        self._ready.hide()
        column_of(self, self.cohort, self.encoding, self._ready, self.model, self.options).addStretch(1)

    @property
    def text(self) -> str:
        return str(self._ready.text())

    def request(self) -> TrainRequest:
        """Return the chosen training, and remember it; raise where an input is missing or not valid."""
        cohort, _, _ = self.cohort.as_chosen()
        features = path_in(self.encoding.features)
        if features is None and cohort.table["features"].isna().all():
            raise TrainingRefused("Choose a folder for the features first.")
        request = TrainRequest(
            cohort=cohort,
            features=features,
            out=self.model.folder(),
            options=self.options.options(),
            resume=self.model.is_begun,
            encoding=self.encoding.options(),
        )
        request.refuse_existing()
        self.encoding.remember()
        self.model.remember()
        self.options.remember()
        return request

    def command(self) -> str:
        """Return the terminal command of the chosen training; raise as `request` does."""
        request = self.request()
        _, place, patients = self.cohort.as_chosen()
        is_to_encode = self._is_ready is False and not request.options.skip_missing
        encoding = request.encoding if is_to_encode else None
        features, out, options = request.features, request.out, request.options
        return train_command(place, patients, features, out, options, resume=request.resume, encoding=encoding)

    def count_features(self) -> None:
        """Count in the background which training patients have features in the chosen folder, and show it."""
        self._counting.stop()
        self._is_ready = None
        if (cohort := self.cohort.cohort) is not None:
            folder = path_in(self.encoding.features)
            self._counting.start(lambda _: features_ready(cohort, folder), self._on_counted, self._on_not_counted)

    def _on_read(self, cohort: Cohort) -> None:
        measured = int(cohort.table["hemoglobin_g_dl"].notna().sum())
        self.options.hemoglobin.setText(f"hemoglobin ({measured} values)")
        self.model.suggest(cohort.name)
        self.count_features()

    def _on_counted(self, counts: tuple[int, int]) -> None:
        ready, patients = counts
        self._is_ready = ready == patients
        self.encoding.set_needed(not self._is_ready)
        others = "; the others are encoded first, or skipped if chosen so"
        missing = ": there is nothing to encode" if self._is_ready else others
        self._ready.setText(f"{ready} of {counted(patients, 'patient')} ready{missing}.")
        self._ready.show()

    def _on_not_counted(self, problem: str) -> None:
        self._ready.setText(colored(plain(problem), ERROR))
        self._ready.show()


class TrainOptionsForm(JobOptionsForm):
    """Recipe, epochs and hemoglobin are shown.

    Recipe, aggregator and epochs set the numbers that follow from them; those that the user has changed stay. The
    options `without` are not offered.
    """

    def __init__(self, settings: QSettings, without: Sequence[str] = ()) -> None:
        # Device and precision are chosen in napari's Preferences, for encoding, training and predicting alike.
        super().__init__(TrainOptions, ("recipe", "epochs"), ("hemoglobin", "device", "precision", *without))
        self._settings = settings
        self.hemoglobin = QCheckBox("hemoglobin", toolTip=TrainOptions.model_fields["hemoglobin"].description or "")
        self.hemoglobin.toggled.connect(self._on_changed)
        self.shown["recipe"].align()
        recipe = self.widget("recipe")
        recipe.setMinimumContentsLength(4)  # two options side by side in a dock of 360 px
        self.widget("epochs").setStyleSheet("QAbstractSpinBox { min-width: 66px; max-width: 66px; }")  # napari's: 90
        shown = row_of(*self.shown.values(), stretch=self.shown.values())
        target = row_of(QLabel("Diagnosis, and"), self.hemoglobin)
        column_of(self, target, shown, self.section)
        self._decided: dict[str, Any] = {}
        self._restore()

    def options(self) -> TrainOptions:
        """Return the choice, here and in the Preferences; raise `OptionRefused` where it is not valid."""
        stored = preferences()
        elsewhere = {"hemoglobin": self.hemoglobin.isChecked(), "device": stored.device, "precision": stored.precision}
        return options_of(TrainOptions, **self.values(), **elsewhere)

    def remember(self) -> None:
        options = self.options()
        changed = options.model_dump(mode="json", include=set(options.changed) - {"device", "precision"})
        self._settings.setValue("options", json.dumps(changed))

    def _restore(self) -> None:
        try:
            last = TrainOptions(**json.loads(str(self._settings.value("options", "{}"))))
        except (ValueError, TypeError):  # options of another version
            last = TrainOptions()
        self.set(**last.model_dump(include=set(DECIDING)))
        self.hemoglobin.setChecked(last.hemoglobin)
        self.set(**last.model_dump())

    def _on_changed(self) -> None:
        default = TrainOptions()
        chosen = {name: self.value(name) for name in DECIDING}
        decided = {name: value for name, value in chosen.items() if value != getattr(default, name)}
        if decided != self._decided:
            before, after = TrainOptions(**self._decided), TrainOptions(**decided)
            self._decided = decided
            followed = {name: getattr(after, name) for name in self.section.defaults if name not in DECIDING}
            self.section.defaults |= followed
            self.more.set({n: v for n, v in followed.items() if self._is_still(n, getattr(before, n))})
            self.section.count_changed()
        super()._on_changed()

    def _is_still(self, name: str, value: object) -> bool:
        """Whether an option still has a value."""
        try:
            return bool(self.value(name) == value)
        except OptionRefused:
            return False


class ModelPlace(QWidget):
    """A line for the name or folder of the model; `changed` follows each change of it and of `is_begun`."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.edit = QLineEdit(str(last_training().value("model", "")), placeholderText="name, or a new folder")
        self.edit.setToolTip(tip(f"With a name, the model is in {home('models')}, and found by that name"))
        self.edit.textChanged.connect(self.refresh)
        browse = QPushButton("Browse", toolTip="Choose the folder in which the model's own folder is made")
        browse.clicked.connect(self._browse)
        self._begun: Path | None = None
        self._note = line(
            "A training of this model was stopped. It is resumed from the last finished epoch, with the options that "
            f"it was started with; or {link('discard it')}."
        )
        self._note.linkActivated.connect(lambda _: self._ask_to_discard())
        chooser_grid(self, "Model", self.edit, browse, self._note)
        self.refresh()

    @property
    def is_begun(self) -> bool:
        """Whether a training of this model was stopped, and can be resumed."""
        return self._begun is not None

    @property
    def text(self) -> str:
        return str(self._note.text()) if self.is_begun else ""

    def folder(self) -> Path:
        """Return the folder of the model; raise `ModelRefused` for no name, or one that no model can have."""
        text, path = self.edit.text().strip(), path_in(self.edit)
        if path is None:
            raise ModelRefused("Give the model a name, or choose a folder for it.")
        is_path = "/" in text or "\\" in text or text.startswith("~")
        return path if is_path else place_for(text)

    def suggest(self, name: str) -> None:
        """Set a name, if there is none."""
        if not self.edit.text().strip():
            self.edit.setText(name)

    def remember(self) -> None:
        last_training().setValue("model", self.edit.text().strip())

    def refresh(self) -> None:
        """Check whether a training of this model was stopped."""
        self._begun = None
        with suppress(CaltomorphError):
            work = training_folder(self.folder())
            self._begun = work if work.is_dir() else None
        self._note.setVisible(self.is_begun)
        self.changed.emit()

    def discard(self) -> None:
        """Remove the checkpoints of the stopped training."""
        if self._begun is not None:
            shutil.rmtree(self._begun, ignore_errors=True)
        self.refresh()

    def _ask_to_discard(self) -> None:
        answer = QMessageBox.question(
            self, "Discard the training", tip(f"Remove the checkpoints of this training? They are in\n{self._begun}")
        )
        if answer == QMessageBox.StandardButton.Yes:
            self.discard()

    def _browse(self) -> None:
        if parent := choose_folder(self, "Make the model's folder in"):
            self.edit.setText(str(parent / (Path(self.edit.text().strip()).name or "model")))
