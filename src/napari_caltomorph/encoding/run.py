"""A smear -> its features: batches of cells through the encoder, while the next cells are read."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.about import library_version
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.encoding.h5_process import FeatureOrigin
from napari_caltomorph.encoding.load import LoadedEncoder, load_encoder
from napari_caltomorph.encoding.options import EncodeOptions
from napari_caltomorph.errors import CellUnreadable, FeaturesRefused, OutputRefused, SmearUnreadable
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import QUALITY_RULES, Smear, check_smear
from napari_caltomorph.storage import StrPath

Images = list[NDArray[np.uint8]]

# Decoded pixels of a batch: 64 cells of 800 px. Larger images come fewer at once, down to one.
_BATCH_BYTES = 2**27


def encode(
    smear: Smear,
    options: EncodeOptions | None = None,
    *,
    encoder: LoadedEncoder | None = None,
    cache: StrPath | None = None,
    progress: OnProgress = ignore,
) -> Features:
    """Turn every usable cell of a smear into one feature vector.

    Parameters
    ----------
    smear : Smear
        N usable cells, uint8 RGB, any size; graded first if it is not.
    encoder : LoadedEncoder, optional
        The encoder of `options`, when it is loaded already.
    cache : str or Path, optional
        A folder. Features found there are reused if they were made in the same way from the same smear; new ones are
        added.

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
    smear = encoder.at_scale(smear)
    origin = _origin(smear, encoder)
    path = None if cache is None else _place(Path(cache), encoder.weights_sha256, encoder.precision, smear.fingerprint)
    known = _reusable(path, origin)
    missing = [int(i) for i in smear.usable if smear.cells[i] not in known]
    values = _encode_cells(smear, missing, encoder, options.batch_size, progress)
    known |= {smear.cells[i]: value for i, value in zip(missing, values, strict=True)}
    if path is not None and missing:
        _keep(Features(smear.patient_id, np.stack(list(known.values())), tuple(known), origin), path)
    cells = tuple(smear.cells[i] for i in smear.usable)
    return Features(smear.patient_id, np.stack([known[cell] for cell in cells]), cells, origin)


def kept_features(cache: Path, weights_sha256: str, smear_fingerprint: str) -> Iterator[Features]:
    """Yield what `encode` kept of a smear with these weights, one a precision; the latest first."""
    pattern = _place(cache, weights_sha256, "*", smear_fingerprint).relative_to(cache)
    for path in sorted(cache.glob(str(pattern)), key=lambda path: -path.stat().st_mtime):
        try:
            found = Features.load(path)
        except FeaturesRefused:
            continue  # damaged: as good as not kept
        if found.origin.weights_sha256 == weights_sha256:
            yield found


def _place(cache: Path, weights_sha256: str, precision: str, smear_fingerprint: str) -> Path:
    return cache / f"{weights_sha256[:16]}-{precision}" / f"{smear_fingerprint}.h5"


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
    frame = encoder.preprocessing.framed
    with closing(_read_ahead(smear, indices, batch_size)) as batches:
        for values in encoder.stream([frame(image, smear.pixel_size_um) for image in batch] for batch in batches):
            done.append(values)
            count += len(values)
            progress(Progress("Encoding", count, len(indices)))
    return np.concatenate(done)


def _read_ahead(smear: Smear, indices: list[int], batch_size: int) -> Generator[Images, None, None]:
    """Yield batches of images; the next batch is decoded while the caller computes on this one."""
    remaining = iter(indices)

    def read() -> Images:
        batch: Images = []
        while len(batch) < batch_size and sum(image.nbytes for image in batch) < _BATCH_BYTES:
            index = next(remaining, None)
            if index is None:
                break
            batch.append(_read(smear, index))
        return batch

    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead = reader.submit(read)
        while batch := ahead.result():
            ahead = reader.submit(read)
            yield batch


def _read(smear: Smear, index: int) -> NDArray[np.uint8]:
    try:
        return smear.image(index)
    except CellUnreadable as error:  # it was readable when it was checked
        raise SmearUnreadable(
            f"{smear.path or smear.patient_id}: {smear.cells[index]} can no longer be read ({error}); open it again."
        ) from error
