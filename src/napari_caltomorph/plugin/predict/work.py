"""What *Predict patient* does in a thread: predict cells or their features, or open a saved prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_caltomorph.diagnosis import Prediction, PredictOptions
from napari_caltomorph.diagnosis.prediction_files import find_smear
from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.plugin.gallery.layers import ranked_order
from napari_caltomorph.plugin.gallery.pictures import CellPictures, read_pictures
from napari_caltomorph.plugin.session.session import Session
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.smear import Smear, check_smear
from napari_caltomorph.storage import place_of

if TYPE_CHECKING:
    from napari_caltomorph.diagnosis import Predictor


@dataclass(frozen=True)
class Predicted:
    """A prediction; without the smear there are no layers, and `problem` gives the reason."""

    prediction: Prediction
    smear: Smear | None = None
    pictures: CellPictures | None = None
    predictor: Predictor | None = None
    problem: str = ""
    folder: Path | None = None  # where it is saved


def predict_cells(session: Session, options: PredictOptions, smear: Smear, progress: OnProgress) -> Predicted:
    """Predict a smear, and read its cells for the gallery."""
    predictor = session.predictor_of(options, progress)
    graded, prediction = predictor.predict(smear, progress=progress)
    pictures = read_pictures(graded, ranked_order(graded, prediction), progress=progress)
    is_missing = graded.path is not None and not graded.path.exists()
    problem = f"The cells cannot be shown: {graded.path} is missing; restore it." if is_missing else ""
    return Predicted(prediction, graded, pictures, predictor, problem)


def predict_features(session: Session, options: PredictOptions, file: Path, progress: OnProgress) -> Predicted:
    """Predict cells that were encoded before."""
    predictor = session.predictor_of(options, progress)
    from napari_caltomorph.encoding.features import load_bag

    bag = load_bag([file], waiting=lambda: progress(Progress("Reading", 0, 1, "feature files")))
    prediction = predictor.predict_bag(bag, place_of([file]), progress=progress)
    problem = f"The cells cannot be shown: {file.name} contains features and no images."
    return Predicted(prediction, predictor=predictor, problem=problem)


def open_saved(path: Path, progress: OnProgress) -> Predicted:
    """Read a saved prediction, and its cells where its smear still exists."""
    prediction, folder = Prediction.load(path), path if path.is_dir() else path.parent
    cells = prediction.original or prediction  # cells that were left out can be included again
    try:
        smear = find_smear(cells)
    except SmearUnreadable as error:
        return Predicted(prediction, problem=f"The cells cannot be shown: {error}", folder=folder)
    smear = check_smear(smear, progress=progress)
    pictures = read_pictures(smear, ranked_order(smear, cells), progress=progress)
    return Predicted(prediction, smear, pictures, folder=folder)
