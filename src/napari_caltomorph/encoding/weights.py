"""Where an encoder's weights are, how they come here, and whether they are what they claim to be."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_caltomorph.encoding.encoders import ENCODERS, Encoder, find_network
from napari_caltomorph.encoding.locations import WEIGHT_FILES, WEIGHT_SUFFIXES, HubFolder, WeightsFolder
from napari_caltomorph.errors import OutputRefused, WeightsMissing, WeightsRefused, first_line
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.storage import StrPath, file_sha256, home, move, replacing


@dataclass(frozen=True)
class WeightsReport:
    """The checks of one weights file."""

    encoder: str
    path: Path
    file_sha256: str  # SHA-256 of the file
    weights_sha256: str  # SHA-256 of the weights in it, the same for every file form
    is_known: bool  # The file's sum is one that its authors published
    preprocessing: str  # How images are prepared for it
    notes: tuple[str, ...]  # What of the file was left out or changed


def verify_weights(encoder: Encoder, given: StrPath | None = None) -> WeightsReport:
    """Load a weights file, strictly, and return its checksums.

    Parameters
    ----------
    encoder : Encoder
    given : str or Path, optional
        A file; without it, the one that is kept for this encoder.

    Raises
    ------
    WeightsMissing
        It is not on this machine.
    WeightsRefused
        It is damaged, or does not fit the encoder.
    """
    from napari_caltomorph.encoding.load import read_network

    encoder, path = find_network(encoder, given)
    network = read_network(encoder, path)
    found = file_sha256(path)
    is_known = found in {source.sha256 for source in encoder.sources}
    return WeightsReport(
        encoder.name, path, found, network.weights_sha256, is_known, str(network.preprocessing), network.notes
    )


def add_weights(file: StrPath, encoder: Encoder | None = None) -> WeightsReport:
    """Copy a weights file (``.pth``, ``.bin``, ``.pt``, ``.safetensors``) to the folder where it is found from now on.

    Parameters
    ----------
    file : str or Path
    encoder : Encoder, optional
        The encoder that it is for; without it, the shapes in the file tell.

    Returns
    -------
    WeightsReport
        Its checksums, and where the copy is.

    Raises
    ------
    WeightsMissing
        There is no such file.
    WeightsRefused
        It is damaged, or fits no encoder, or not this one.
    OutputRefused
        The folder cannot be written.
    """
    file = Path(file)
    if not file.is_file():
        raise WeightsMissing(f"{file} does not exist; check the path.")
    if file.suffix.lower() not in WEIGHT_SUFFIXES:
        raise WeightsRefused(f"{file} is no weights file; it ends with one of {', '.join(WEIGHT_SUFFIXES)}.")
    encoder = encoder or _recognise(file)
    if not isinstance(encoder.location, WeightsFolder):
        raise WeightsRefused(f"{encoder.name} keeps no weights of yours. {encoder.location.fix(encoder.name)}")
    report = verify_weights(encoder, file)
    target = home("weights") / f"{encoder.name}{file.suffix.lower()}"
    with replacing(target) as part:
        shutil.copyfile(file, part)
    for suffix in WEIGHT_SUFFIXES:
        if suffix != target.suffix:
            target.with_name(f"{encoder.name}{suffix}").unlink(missing_ok=True)
    return dataclasses.replace(report, path=target)


def download_weights(encoder: Encoder, *, progress: OnProgress = ignore) -> WeightsReport:
    """Download an encoder's weights from its authors, check them, and keep them.

    Parameters
    ----------
    encoder : Encoder
    progress : callable
        See `OnProgress`.

    Returns
    -------
    WeightsReport
        Its checksums, and where the file is.

    Raises
    ------
    WeightsMissing
        The download fails; the message names the file to get and what to do with it.
    DownloadRefused
        The file is not the one its authors published.
    WeightsRefused
        It does not fit.
    """
    if encoder.sources:
        return _from_authors(encoder, progress)
    if encoder.repository:
        return _from_hub(encoder, progress)
    raise WeightsMissing(f"{encoder.name} is not downloaded. {encoder.location.fix(encoder.name)}")


def _from_authors(encoder: Encoder, progress: OnProgress) -> WeightsReport:
    import requests

    from napari_caltomorph.transfers import RemoteFile, fetched

    source = encoder.sources[0]
    with _download_folder() as folder, contextlib.ExitStack() as stack:
        try:
            file = RemoteFile.at(source.url, source.file, source.sha256)
            paths = stack.enter_context(fetched([file], encoder.name, progress=progress))
        except requests.RequestException as error:
            raise WeightsMissing(
                f"{source.url} could not be downloaded ({_short(error)}); run the same again, and it continues; or get "
                f"that file on another machine and run `caltomorph weights add {source.file}`."
            ) from error
        try:
            return add_weights(shutil.move(paths[source.file], folder / source.file), encoder)
        except WeightsRefused as error:
            raise WeightsRefused(
                f"{source.url} gave a file that holds no weights of {encoder.name}; nothing was kept. Try again later, "
                "or get it from another place."
            ) from error


def _from_hub(encoder: Encoder, progress: OnProgress) -> WeightsReport:
    """Download a repository in timm's form; a file for the table's encoders, for any other a folder of its commit."""
    from napari_caltomorph.hub import Repository, downloaded, list_files

    repository = Repository.at(f"hf://{encoder.repository}")
    listing = list_files(repository, progress=progress)
    here = {file.name: file for file in listing.files}
    weights = next((name for name in WEIGHT_FILES if name in here), "")
    if "config.json" not in here or not weights:
        raise WeightsRefused(
            f"{repository.page} is no model in timm's form, with a config.json and a {WEIGHT_FILES[0]}: choose "
            "another, or name its weights file with --encoder timm:ARCHITECTURE --weights FILE."
        )
    wanted = (here["config.json"], here[weights])
    licence = f"licence: {listing.licence or f'not stated; see {repository.page}'}"
    location = encoder.location
    if isinstance(location, HubFolder) and (kept := location.folder / listing.commit).is_dir():
        report = verify_weights(encoder, kept)
        return dataclasses.replace(report, notes=(*report.notes, licence))
    with _download_folder() as temporary, downloaded(listing, wanted, progress=progress) as paths:
        folder = temporary / listing.commit
        folder.mkdir()
        for name, path in paths.items():
            shutil.move(path, folder / name)
        if not isinstance(location, HubFolder):
            report = add_weights(folder / weights, encoder)
            return dataclasses.replace(report, notes=(*report.notes, licence))
        report = verify_weights(encoder, folder)
        (folder / "origin.json").write_text(json.dumps(listing.origin(wanted), indent=2), "utf-8")
        location.folder.mkdir(parents=True, exist_ok=True)
        move(folder, kept, is_new=True)
    pinned, path = find_network(encoder, kept)
    return dataclasses.replace(report, encoder=pinned.name, path=path, notes=(*report.notes, licence))


@contextlib.contextmanager
def _download_folder() -> Iterator[Path]:
    """Yield a folder on the disk where the weights will stand: they may be larger than the system's own for such."""
    folder = home("weights")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as name:
            yield Path(name)
    except OSError as error:
        raise OutputRefused(f"{folder} could not be written ({error.strerror or error}); free some space.") from error


def _recognise(file: Path) -> Encoder:
    """Return the encoder whose network a file fits; only encoders of the weights folder are tried.

    DinoBloom and RedDino have the same networks: the file's name decides between them.
    """
    import torch

    from napari_caltomorph.encoding.checkpoints import read_checkpoint
    from napari_caltomorph.encoding.key_names import misfit, named_as
    from napari_caltomorph.encoding.load import build_module

    weights = read_checkpoint(file)
    candidates = [e for e in ENCODERS.values() if isinstance(e.location, WeightsFolder)]
    fitting: list[Encoder] = []
    for encoder in candidates:
        if fitting and encoder.architecture != fitting[0].architecture:
            continue
        with torch.device("meta"):
            module = build_module(encoder)
        if not misfit(named_as(module, encoder.translate(weights))[0], module):
            fitting.append(encoder)
    if not fitting:
        names = ", ".join(e.name for e in candidates)
        raise WeightsRefused(
            f"{file} fits none of {names}; for another network, use the encoder timm:<architecture> with --weights."
        )
    called = file.stem.lower().replace("_", "-")
    named = [e for e in fitting if e.name.split("-")[0] in called] if len(fitting) > 1 else fitting
    if len(named) != 1:
        names = " and ".join(e.name for e in fitting)
        raise WeightsRefused(f"{file} fits {names}, which are the same network: say which with --encoder NAME.")
    return named[0]


def _short(error: Exception) -> str:
    name = type(error).__name__
    known = {"ConnectionError": "no connection", "ConnectTimeout": "no answer", "ReadTimeout": "no answer"}
    return known.get(name) or first_line(error)[:120]
