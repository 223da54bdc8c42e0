"""A smear -> its features: batches of cells through the encoder, while the next cells are read."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_caltomorph.encode.device import is_out_of_memory
from napari_caltomorph.encode.features import FeatureOrigin, Features, library_version
from napari_caltomorph.encode.load import LoadedEncoder, load_encoder
from napari_caltomorph.encode.options import EncodeOptions
from napari_caltomorph.errors import FeaturesRefused, OutputRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import QUALITY_RULES, Smear, check_smear

Images = list[NDArray[np.uint8]]

# A CPU gains nothing from more cells at once, and eight of DinoBloom-B take a second: often enough to cancel.
_CPU_CELLS = 8


def encode(
    smear: Smear,
    options: EncodeOptions | None = None,
    *,
    encoder: LoadedEncoder | None = None,
    cache: Path | None = None,
    progress: OnProgress = ignore,
) -> Features:
    """Turn every usable cell of a smear into one feature vector.

    Parameters
    ----------
    smear : Smear
        N usable cells, uint8 RGB, any size; graded first if it is not.
    options : EncodeOptions
    encoder : LoadedEncoder, optional
        The encoder of `options`, when it is loaded already.
    cache : Path, optional
        A folder. Features found there are reused if they were made in the very same way of the very same smear;
        new ones are added.
    progress : callable
        Called with a `Progress` after every batch; raising `Cancelled` in it stops cleanly.

    Returns
    -------
    Features
        `values` (N, D) float32 in the order of `smear.usable`.

    Raises
    ------
    WeightsMissing, WeightsRefused, DeviceMissing, SmearUnreadable
    """
    options = options or EncodeOptions()
    if smear.grades is None:
        smear = check_smear(smear, progress=progress)
    encoder = encoder or load_encoder(options)
    origin = _origin(smear, encoder)
    path = (
        None
        if cache is None
        else cache / f"{encoder.weights_sha256[:16]}-{encoder.precision}" / f"{smear.fingerprint}.h5"
    )
    known = _reusable(path, origin)
    missing = [int(i) for i in smear.usable if smear.cells[i] not in known]
    values = _encode_cells(smear, missing, encoder, options.batch_size, progress)
    known |= {smear.cells[i]: value for i, value in zip(missing, values, strict=True)}
    if path is not None and missing:
        _keep(Features(smear.patient_id, np.stack(list(known.values())), tuple(known), origin), path)
    cells = tuple(smear.cells[i] for i in smear.usable)
    return Features(smear.patient_id, np.stack([known[cell] for cell in cells]), cells, origin)


def _origin(smear: Smear, encoder: LoadedEncoder) -> FeatureOrigin:
    return FeatureOrigin(
        encoder=encoder.encoder.name,
        weights_sha256=encoder.weights_sha256,
        preprocessing=str(encoder.preprocessing),
        precision=encoder.precision,
        smear_fingerprint=smear.fingerprint,
        quality_rules=QUALITY_RULES,
        field_of_view_um=smear.field_of_view_um,
        library_version=library_version(),
    )


def _reusable(path: Path | None, origin: FeatureOrigin) -> dict[str, NDArray[np.float32]]:
    """Return cell -> feature of a file that was made in the same way, or nothing."""
    if path is None or not path.is_file():
        return {}
    try:
        found = Features.load(path)
    except FeaturesRefused:
        return {}  # damaged: made again and replaced
    if not found.origin.matches(origin):
        return {}
    return dict(zip(found.cells, found.values, strict=True))


def _keep(features: Features, path: Path) -> None:
    """Add to the cache; a full disk there must not cost the user the result that is already computed."""
    try:
        features.save(path)
    except OutputRefused as error:
        logging.getLogger(__name__).warning("Features were not kept for the next time: %s", error)


def _encode_cells(
    smear: Smear, indices: list[int], encoder: LoadedEncoder, batch_size: int, progress: OnProgress
) -> NDArray[np.float32]:
    """Encode the cells with these indices: (len(indices), D) float32."""
    done: list[NDArray[np.float32]] = [np.empty((0, encoder.width), np.float32)]
    count = 0
    if indices:
        progress(Progress("Encoding", 0, len(indices)))
    for images in _read_ahead(smear, indices, batch_size):
        for values in _in_memory(encoder, images):
            done.append(values)
            count += len(values)
            progress(Progress("Encoding", count, len(indices)))
    return np.concatenate(done)


def _read_ahead(smear: Smear, indices: list[int], batch_size: int) -> Iterator[Images]:
    """Yield batches of images; the next batch is decoded while the caller computes on this one."""
    batches = [indices[i : i + batch_size] for i in range(0, len(indices), batch_size)]

    def read(batch: list[int]) -> Images:
        return [smear.image(i) for i in batch]

    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead: deque[Future[Images]] = deque()
        for batch in batches:
            ahead.append(reader.submit(read, batch))
            if len(ahead) == 2:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _in_memory(encoder: LoadedEncoder, images: Images) -> Iterator[NDArray[np.float32]]:
    """Encode images in pieces that fit: out of memory halves the piece and goes on, down to one cell."""
    size, start = len(images), 0
    if encoder.device.type == "cpu":
        size = min(size, _CPU_CELLS)
    while start < len(images):
        try:
            values = encoder.features(images[start : start + size])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or size == 1:
                raise
            size = size // 2
            if encoder.device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        start += len(values)
        yield values
