"""Reviews in one window: what is known of each prediction that is shown, and what is typed and not saved yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from psygnal import Signal

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.differential.cell_types import cell_type
from napari_caltomorph.errors import CaltomorphError, ReviewRefused
from napari_caltomorph.laboratory.review import (
    Review,
    Reviews,
    Verdict,
    add_review,
    fingerprint,
    newest,
    read_reviews,
    review_folder,
    seen,
)
from napari_caltomorph.plugin.session.inspection import Inspection


@dataclass
class Draft:
    """A review that is not saved yet."""

    verdict: Verdict | None = None
    diagnosis: str = ""
    comment: str = ""
    agrees_with: str = ""  # Fingerprint of the prediction that was shown with the verdict "agree"

    @property
    def is_begun(self) -> bool:
        return bool(self.verdict or self.diagnosis or self.comment)


class ReviewState:
    """The reviews of a window; `changed` is emitted when others are known.

    `load` and `add` read and write files: call them in a worker, then `tell` on the main thread.
    """

    changed = Signal()
    waiting_changed = Signal()
    next_requested = Signal()

    def __init__(self) -> None:
        self.waiting = 0  # patients of *Predict patients* who are not reviewed, without the one that is shown
        self.problems: tuple[str, ...] = ()  # of the files that were read last
        self._known: dict[Path, dict[str, tuple[Review, ...]]] = {}  # by folder of their file, and by patient
        self._folders: dict[str, Path] = {}  # fingerprint of a prediction -> where it is saved
        self._drafts: dict[tuple[str, str | None], Draft] = {}

    def set_folder(self, prediction: Prediction, folder: Path) -> None:
        """Note where a prediction is saved, in place of what was saved there: its reviews are kept there."""
        folder = folder.absolute()
        others = {key: place for key, place in self._folders.items() if place != folder}
        self._folders = others | {fingerprint(prediction): folder}

    def folder_of(self, prediction: Prediction) -> Path | None:
        """Return where a prediction is saved; None where it is not, e.g. after cells were left out."""
        return self._folders.get(fingerprint(prediction))

    def of(self, prediction: Prediction, folder: Path | None) -> Reviews:
        """Return what is known of the reviews of a prediction that is saved in a folder."""
        places = [] if folder is None else [folder.absolute().parent, folder.absolute()]
        known = (self._known.get(place, {}).get(prediction.patient_id) for place in places)
        return Reviews(seen(prediction), next((reviews for reviews in known if reviews), ()))

    def draft(self, prediction: Prediction) -> Draft:
        """Return what is typed of the review of a patient; it stays while other patients are shown.

        An agreement is with one prediction, and ends when the patient has another.
        """
        draft = self._drafts.setdefault(_key(prediction), Draft())
        if draft.verdict == "agree" and draft.agrees_with != fingerprint(prediction):
            draft.verdict = None
        return draft

    def choose(self, prediction: Prediction, verdict: Verdict) -> None:
        """Note a verdict without a diagnosis, or take it back."""
        draft = self.draft(prediction)
        draft.verdict = None if draft.verdict == verdict else verdict
        draft.diagnosis, draft.agrees_with = "", fingerprint(prediction)

    def load(self, folder: Path) -> None:
        """Read the reviews of a folder of results, or of a patient's; a file that cannot be read is a problem."""
        place = review_folder(folder)
        try:
            reviews, self.problems = read_reviews(folder)
        except CaltomorphError as error:
            self.problems = (str(error),)
        else:
            self._known[place] = self._known.get(place, {}) | newest(reviews)

    def add(self, prediction: Prediction, folder: Path, by: str, labels: dict[str, str]) -> None:
        """Save what is typed as a review; it is kept where that fails. Raise as `add_review`."""
        draft = self.draft(prediction)
        diagnosis = draft.diagnosis.strip()
        if draft.verdict is None:
            raise ReviewRefused("Choose Agree, Cannot tell or a diagnosis first.")
        predicted = seen(prediction)["predicted"]
        is_same = predicted is not None and diagnosis.casefold() == str(predicted).casefold()
        verdict: Verdict = "agree" if is_same else draft.verdict
        add_review(
            folder,
            prediction,
            verdict,
            by=by,
            diagnosis=diagnosis if verdict == "other" else "",
            comment=draft.comment,
            labels=labels,
        )
        self._drafts.pop(_key(prediction), None)
        self.load(folder)

    def set_waiting(self, patients: int) -> None:
        if patients != self.waiting:
            self.waiting = patients
            self.waiting_changed.emit()

    def tell(self) -> None:
        """Let views show what was loaded or added."""
        self.changed.emit()

    def request_next(self) -> None:
        """Ask for the next patient of *Predict patients* who is not reviewed."""
        self.next_requested.emit()


def corrected_cells(inspection: Inspection) -> dict[str, str]:
    """Return cell -> label of the cells of the result that were labelled here, and not by the name of a folder."""
    bag, kept = inspection.bag, set(inspection.result.cells)
    rows = zip(bag.cells, bag.labels, inspection.cells.labels, strict=True)
    return {
        cell: label
        for cell, of_folder, label in rows
        if label and cell in kept and not (of_folder and cell_type(of_folder).name == label)
    }


def _key(prediction: Prediction) -> tuple[str, str | None]:
    return prediction.patient_id, prediction.smear_fingerprint
