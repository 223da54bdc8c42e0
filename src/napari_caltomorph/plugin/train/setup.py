"""What a training is made of: the cohort, encoder and features, the model's place, the options."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_caltomorph.cohort import Cohort
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.jobs import TrainRequest, train_command
from napari_caltomorph.plugin.cohort.encoding import CohortEncoding
from napari_caltomorph.plugin.train.cohort import TrainCohort
from napari_caltomorph.plugin.train.options_form import TrainOptionsForm
from napari_caltomorph.plugin.widgets.model_place import ModelPlace
from napari_caltomorph.plugin.widgets.parts import ERROR, colored, counted, line, plain
from napari_caltomorph.plugin.widgets.worker import Job
from napari_caltomorph.storage import path_of
from napari_caltomorph.training import features_ready

# A feature folder is counted when its name was typed to the end.
_COUNT_AFTER_MS = 400


class TrainSetup(QWidget):
    """All that is chosen before a training."""

    def __init__(self) -> None:
        super().__init__()
        self._counting: Job | None = None
        self._is_ready: bool | None = None
        self.cohort = TrainCohort()
        self.cohort.read.connect(self._on_read)
        self.encoding = CohortEncoding()
        self.encoding.run.hide()  # patients are encoded as the first part of a training
        self._ready = line()
        self.model = ModelPlace()
        self.options = TrainOptionsForm()
        self._count_soon = QTimer(self, singleShot=True, interval=_COUNT_AFTER_MS)
        self._count_soon.timeout.connect(self.count_features)
        self.encoding.features.textChanged.connect(lambda _: self._count_soon.start())
        for fold in (self.cohort.chooser.fold, self.options.fold):
            fold.toggled.connect(self._arrange)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widget in (self.cohort, self.encoding, self._ready, self.model, self.options):
            column.addWidget(widget)
        self._rest = QWidget()
        column.addWidget(self._rest, 1)
        self._column = column
        self._arrange()

    @property
    def text(self) -> str:
        """What is said about the features."""
        return str(self._ready.text())

    def request(self) -> TrainRequest:
        """Return the training as it is chosen, and remember it.

        Raises
        ------
        CaltomorphError
            Something is missing, or cannot be; the message says what to do.
        """
        cohort, _, _ = self.cohort.as_chosen()
        request = TrainRequest(
            cohort=cohort,
            features=self._features(cohort),
            out=self.model.folder(),
            options=self.options.options(),
            resume=self.model.is_begun,
            encoding=self.encoding.options(),
        )
        request.refuse_existing()
        self.model.remember()
        self.options.remember()
        return request

    def command(self) -> str:
        """Return the line for a terminal that does the same.

        Raises
        ------
        CaltomorphError
            As `request`.
        """
        request = self.request()
        _, place, patients = self.cohort.as_chosen()
        is_to_encode = self._is_ready is False and not request.options.skip_missing
        return train_command(
            place,
            patients,
            request.features,
            request.out,
            request.options,
            resume=request.resume,
            encoding=request.encoding if is_to_encode else None,
        )

    def count_features(self) -> None:
        """Say how many of the training patients have features in the chosen folder."""
        if self._counting is not None:
            self._counting.drop()
        self._is_ready = None
        if (cohort := self.cohort.cohort) is None:
            return
        folder = self._folder()
        self._counting = Job(self, lambda _: features_ready(cohort, folder))
        self._counting.returned.connect(self._on_counted)
        self._counting.errored.connect(self._on_not_counted)
        self._counting.ended.connect(self._on_counting_ended)
        self._counting.start()

    def _arrange(self) -> None:
        """Show the options that are unfolded in place of the rest: a dock is low."""
        in_cohort, in_options = self.cohort.chooser.fold.is_open, self.options.fold.is_open
        is_folded = not in_cohort and not in_options
        self.cohort.setVisible(not in_options)
        self.encoding.setVisible(is_folded)
        self._ready.setVisible(is_folded and bool(self.text))
        self.model.setVisible(is_folded)
        self.options.setVisible(not in_cohort)
        self._rest.setVisible(is_folded)
        self._column.setStretchFactor(self.cohort, int(in_cohort))
        self._column.setStretchFactor(self.options, int(in_options))

    def _on_read(self, cohort: Cohort) -> None:
        measured = int(cohort.table["hemoglobin_g_dl"].notna().sum())
        self.options.hemoglobin.setText(f"hemoglobin ({measured} values)")
        self.model.suggest(cohort.name)
        self.count_features()

    def _folder(self) -> Path | None:
        text = self.encoding.features.text().strip()
        return path_of(text).expanduser().absolute() if text else None

    def _features(self, cohort: Cohort) -> Path | None:
        folder = self._folder()
        if folder is None and cohort.table["features"].isna().all():
            raise TrainingRefused("Choose a folder for the features first.")
        return folder

    def _on_counted(self, counts: tuple[int, int]) -> None:
        ready, patients = counts
        self._is_ready = ready == patients
        missing = "" if self._is_ready else "; the rest is encoded first"
        self._ready.setText(f"{ready} of {counted(patients, 'patient')} ready{missing}.")
        self._arrange()

    def _on_not_counted(self, error: Exception) -> None:
        self._ready.setText(colored(plain(str(error)), ERROR))
        self._arrange()

    def _on_counting_ended(self) -> None:
        if self.sender() is self._counting:
            self._counting = None  # Qt deletes it
