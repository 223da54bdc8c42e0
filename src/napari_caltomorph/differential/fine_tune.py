"""An encoder fine-tuned on labelled cells, and the probe on it, from cells that the fine-tuning did not see.

A probe that is cross-validated on cells that its encoder was trained on would err far less there than on any others. So
two fifths of the cells are held out, whole patients where there are enough: they choose the weights, and train and
cross-validate the probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_caltomorph.differential.labels import CellLabels
from napari_caltomorph.encoding import EncodeOptions, LoadedEncoder, find_weights
from napari_caltomorph.encoding.checkpoints import tensors_sha256
from napari_caltomorph.encoding.fine_tuning import FineTuning, LabelledCells, before_last_stage, fine_tune, half_weights
from napari_caltomorph.encoding.preprocessing import Preprocessing
from napari_caltomorph.errors import TrainingRefused
from napari_caltomorph.progress import OnProgress, Progress
from napari_caltomorph.smear import Smear

if TYPE_CHECKING:
    from torch import Tensor

PARTS, HELD_OUT = 5, 2
LEARNING_RATE = 3e-4
_WIDER = 1.6  # Of a cell in memory by the encoder's field: for turning and zooming


@dataclass(frozen=True)
class Tuned:
    """An encoder with its fine-tuned weights."""

    encoder: LoadedEncoder
    weights: dict[str, Tensor]  # float16, as they are saved
    held_out: CellLabels  # The labels of cells that the weights were not fitted to
    cells: int  # How many they were fitted to
    by_patient: bool  # Whether whole patients were held out


def tune_encoder(
    smears: Sequence[Smear],
    labels: CellLabels,
    encoder: LoadedEncoder,
    compute: EncodeOptions,
    minutes: float,
    *,
    progress: OnProgress,
) -> Tuned:
    """Fine-tune the last stage of an encoder on the labelled cells of graded smears, for some minutes, on the CPU.

    Raises `TrainingRefused` where there are too few cells, or the network has no blocks.
    """
    cells, places = _cells(smears, labels, encoder.preprocessing, progress)
    by_patient = len(np.unique([patient for patient, _ in places])) >= PARTS
    if by_patient:
        patients = {patient: number for number, patient in enumerate(dict.fromkeys(name for name, _ in places))}
        cells = replace(cells, part=np.array([patients[name] % PARTS for name, _ in places]))
    is_held_out = cells.part < HELD_OUT
    training, held_out = cells.where(~is_held_out), cells.where(is_held_out)
    held_out = held_out.where(np.isin(held_out.labels, np.unique(training.labels)))
    frozen = before_last_stage(encoder.module)
    weights_file = find_weights(encoder.encoder, compute.weights)
    how = FineTuning(encoder.encoder, weights_file, encoder.preprocessing, frozen, minutes, LEARNING_RATE)
    best: dict[str, Tensor] = {}
    for now in fine_tune(training, held_out, how, progress=progress):
        if now.is_best:
            best = half_weights(now.encoder)
    module = encoder.module
    module.load_state_dict(best)
    kept = {place for place, held in zip(places, is_held_out, strict=True) if held}
    rest = CellLabels()
    for smear in smears:
        mine = {cell: kind for cell, kind in labels.of(smear).items() if (smear.patient_id, cell) in kept}
        rest = rest.labelled(smear, mine)
    tuned = replace(encoder, weights_sha256=tensors_sha256(best))
    return Tuned(tuned, best, rest, len(training.labels), by_patient)


def _cells(
    smears: Sequence[Smear], labels: CellLabels, preprocessing: Preprocessing, progress: OnProgress
) -> tuple[LabelledCells, list[tuple[str, str]]]:
    """Return the usable labelled cells, and the patient and cell of each; parts are by the bytes of their files."""
    images: list[NDArray[np.uint8]] = []
    types, parts, places = list[str](), list[int](), list[tuple[str, str]]()
    width = None if preprocessing.field_um is None else _WIDER * preprocessing.field_um
    wider = replace(preprocessing, field_um=width)
    side = preprocessing.size if width is None else round(_WIDER * preprocessing.size)
    for smear in smears:
        known = labels.of(smear)
        for number, index in enumerate(map(int, smear.usable)):
            progress(Progress("Reading cells", number, len(smear.usable)))
            if (cell := smear.cells[index]) in known:
                image = Image.fromarray(wider.framed(smear.image(index), smear.pixel_size_um))
                images.append(np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)))
                types.append(known[cell])
                parts.append(int((smear.grades or ())[index].digest[:8], 16) % PARTS)
                places.append((smear.patient_id, cell))
    if not images:
        raise TrainingRefused("No cell of these smears is labelled; label some cells of at least two types.")
    return LabelledCells(np.stack(images), np.array(types), np.array(parts), width or 1.0), places
