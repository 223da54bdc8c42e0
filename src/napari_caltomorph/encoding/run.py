"""A smear -> its features: batches of cells through the encoder, while the next cells are read."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, field_validator

from napari_caltomorph.about import library_version
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.encoding.h5_process import FeatureOrigin
from napari_caltomorph.encoding.load import LoadedEncoder, load_encoder
from napari_caltomorph.encoding.options import EncodeOptions
from napari_caltomorph.encoding.stream import encode_smears
from napari_caltomorph.errors import FeaturesRefused, OutputRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.reading import read_document
from napari_caltomorph.smear import QUALITY_RULES, Grade, Smear, check_smear, smear_fingerprint
from napari_caltomorph.smear.cell_batches import THREADS
from napari_caltomorph.smear.readers import Readers, SmearToRead, ThreadReader
from napari_caltomorph.storage import StrPath, replacing

Images = list[NDArray[np.uint8]]

_GRADES = ".grades.json"

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
        `values` (N, D) float32 in the order of `smear.usable`; also `views` where the encoder makes them.

    Raises
    ------
    WeightsMissing, WeightsRefused, DeviceMissing, SmearUnreadable
    """
    return grade_and_encode(smear, options, encoder=encoder, cache=cache, progress=progress)[1]


def grade_and_encode(
    smear: Smear,
    options: EncodeOptions | None = None,
    *,
    encoder: LoadedEncoder | None = None,
    cache: StrPath | None = None,
    progress: OnProgress = ignore,
) -> tuple[Smear, Features]:
    """Return the graded smear and what `encode` returns; a smear without grades is read once for both."""
    options = options or EncodeOptions()
    encoder = encoder or load_encoder(options)
    smear = encoder.at_scale(smear)
    folder = None if cache is None else _folder(Path(cache), encoder.weights_sha256, encoder.precision, encoder.views)
    known: dict[str, NDArray[np.float32]] = {}
    if smear.grades is None and folder is not None:
        smear = _graded_before(smear, folder, progress)
    if is_new := smear.grades is None:
        smear, known = _read_and_encode(smear, encoder, options.batch_size, progress)
    origin = origin_of(smear, encoder)
    path = None if folder is None else folder / f"{smear.fingerprint}.h5"
    known = known or _reusable(path, origin)
    missing = [int(i) for i in smear.usable if smear.cells[i] not in known]
    values = _encode_cells(smear, missing, encoder, options.batch_size, progress)
    known |= {smear.cells[i]: value for i, value in zip(missing, values, strict=True)}
    if path is not None and (missing or is_new):
        _keep(smear, Features(smear.patient_id, np.stack(list(known.values())), tuple(known), origin), path)
    return smear, features_of_cells(smear, known, origin)


def features_of_cells(smear: Smear, known: Mapping[str, NDArray[np.float32]], origin: FeatureOrigin) -> Features:
    """Return the features of the usable cells, in their order, of those that are known by cell."""
    cells = tuple(smear.cells[i] for i in smear.usable)
    return Features(smear.patient_id, np.stack([known[cell] for cell in cells]), cells, origin)


def kept_features(cache: Path, weights_sha256: str, smear_fingerprint: str) -> Iterator[Features]:
    """Yield what `encode` kept of a smear with these weights, one a precision; the latest first."""
    pattern = _folder(cache, weights_sha256, "*").relative_to(cache) / f"{smear_fingerprint}.h5"
    for path in sorted(cache.glob(str(pattern)), key=lambda path: -path.stat().st_mtime):
        try:
            found = Features.load(path, views=True)
        except FeaturesRefused:
            continue  # damaged: as good as not kept
        if found.origin.weights_sha256 == weights_sha256:
            yield found


def _folder(cache: Path, weights_sha256: str, precision: str, views: int = 0) -> Path:
    return cache / f"{weights_sha256[:16]}-{precision}{f'-{views}views' * bool(views)}"


def origin_of(smear: Smear, encoder: LoadedEncoder) -> FeatureOrigin:
    return FeatureOrigin(
        encoder=encoder.encoder.name,
        weights_sha256=encoder.weights_sha256,
        preprocessing=str(encoder.preprocessing),
        precision=encoder.precision,
        smear_fingerprint=smear.fingerprint,
        quality_rules=QUALITY_RULES,
        field_of_view_um=smear.field_of_view_um,
        assumed_export=smear.assumed_export,
        views=encoder.views_in_words,
        library_version=library_version(),
    )


def _reusable(path: Path | None, origin: FeatureOrigin) -> dict[str, NDArray[np.float32]]:
    """Return cell -> feature of a file that was made in the same way, or nothing."""
    if path is None or not path.is_file():
        return {}
    try:
        found = Features.load(path, views=True)
    except FeaturesRefused:
        return {}  # damaged: made again and replaced
    if not found.origin.matches(origin):
        return {}
    return dict(zip(found.cells, found.stacked, strict=True))


class _Grades(BaseModel, extra="forbid"):
    """What grading found of a smear, next to its features: the next time no image is decoded."""

    quality_rules: str
    grades: tuple[Grade, ...]
    notes: tuple[str, ...]

    @field_validator("grades", mode="before")
    @classmethod
    def _without_nulls(cls, grades: Iterable[Any]) -> list[Any]:
        """Leave out what is null, as JSON has no NaN."""
        return [{k: v for k, v in one.items() if v is not None} if isinstance(one, dict) else one for one in grades]


def _keep(smear: Smear, features: Features, path: Path) -> None:
    """Add to the cache; a full disk there must not cost the user the result that is already computed."""
    grades = _Grades(quality_rules=QUALITY_RULES, grades=smear.grades or (), notes=smear.notes)
    try:
        features.save(path)
        with replacing(path.with_suffix(_GRADES)) as part:
            part.write_text(grades.model_dump_json(), "utf-8")
    except OutputRefused as error:
        logging.getLogger(__name__).warning("Features were not kept for the next time: %s", error)


def _graded_before(smear: Smear, folder: Path, progress: OnProgress) -> Smear:
    """Return a smear with its grades if its features are in this folder of a cache, by its bytes; else as it is."""
    if not folder.is_dir():
        return smear
    path = folder / f"{smear_fingerprint(smear, progress=progress)}.h5"
    if not path.is_file():
        return smear
    try:
        kept = _Grades.model_validate(read_document(path.with_suffix(_GRADES)))
    except (OSError, ValueError):
        return check_smear(smear, progress=progress)  # of an earlier version, or damaged
    if kept.quality_rules != QUALITY_RULES or len(kept.grades) != len(smear):
        return check_smear(smear, progress=progress)
    return replace(smear, grades=kept.grades, notes=tuple(dict.fromkeys((*smear.notes, *kept.notes))))


def _read_and_encode(
    smear: Smear, encoder: LoadedEncoder, batch_size: int, progress: OnProgress
) -> tuple[Smear, dict[str, NDArray[np.float32]]]:
    """Grade and encode a smear in one pass; return it with its grades, and the features of its usable cells."""
    done = 0

    def on_cells(_: str | None, share: float) -> None:
        nonlocal done
        done = max(done, int(share * len(smear)))
        progress(Progress("Encoding", done, len(smear)))

    on_cells(None, 0)
    wanted = SmearToRead(smear.patient_id, lambda: smear, threads=THREADS)
    with Readers([wanted], [ThreadReader()]) as readers:
        (encoded,) = encode_smears(readers, encoder, batch_size, on_cells)
    graded = encoded.graded()
    on_cells(None, 1)
    return graded, encoded.by_cell()


def _encode_cells(
    smear: Smear, indices: list[int], encoder: LoadedEncoder, batch_size: int, progress: OnProgress
) -> NDArray[np.float32]:
    """Encode the cells with these indices: (len(indices), D) float32, or (len(indices), 1 + K, D) with views."""
    done: list[NDArray[np.float32]] = [np.empty((0, *encoder.shape), np.float32)]
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
            batch.append(smear.image_again(index))
        return batch

    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead = reader.submit(read)
        while batch := ahead.result():
            ahead = reader.submit(read)
            yield batch
