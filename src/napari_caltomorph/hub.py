"""Repositories on the Hugging Face Hub: what one holds, its files, and new ones of the user's own.

Nothing is asked before a person asks for it. `huggingface_hub` finds the user's token and speaks with the Hub; files
come through `transfers`, as the library's own downloads neither continue in another process nor compare checksums.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from napari_caltomorph.errors import CaltomorphError, DownloadRefused, first_line, shortened
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.storage import StrPath
from napari_caltomorph.transfers import TIMEOUT_SECONDS, RemoteFile, fetched, run_in_threads

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Answer = TypeVar("Answer")

_PART = r"[\w-][\w.-]{0,95}"
_ADDRESS = re.compile(rf"hf://((?P<kind>models|datasets)/)?(?P<name>{_PART}/{_PART})(@(?P<revision>[\w./-]+))?")
_CHECKSUM = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True)
class Repository:
    """A repository, at a branch, tag or commit."""

    name: str  # OWNER/NAME
    kind: Literal["model", "dataset"] = "model"
    revision: str = "main"

    @classmethod
    def at(cls, address: str) -> Repository:
        """Return the repository of an address such as ``hf://OWNER/NAME@REVISION``; `DownloadRefused` for others."""
        found = _ADDRESS.fullmatch(address)
        if found is None or ".." in address or "--" in found["name"]:
            raise DownloadRefused(
                f"{address} is no address on the Hub; write hf://OWNER/NAME or hf://OWNER/NAME@REVISION."
            )
        return cls(found["name"], "dataset" if found["kind"] == "datasets" else "model", found["revision"] or "main")

    @property
    def page(self) -> str:
        """Its page for a browser."""
        return f"{_endpoint()}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit."""

    repository: Repository
    commit: str
    licence: str | None  # As the Hub abbreviates it, e.g. ``apache-2.0``
    files: tuple[RemoteFile, ...]

    def origin(self, files: Sequence[RemoteFile]) -> dict[str, Any]:
        """Return where files come from, as is recorded next to what is made of them."""
        named = asdict(self.repository) | {"page": self.repository.page, "commit": self.commit, "licence": self.licence}
        return named | {"checksums": {file.name: file.checksum for file in files}}


def is_address(text: StrPath) -> bool:
    """Whether a text is an address on the Hub, and no path."""
    return os.fspath(text).startswith("hf://")


def list_files(repository: Repository, under: str = "", *, progress: OnProgress = ignore) -> Listing:
    """Ask the Hub what a repository holds.

    Parameters
    ----------
    repository : Repository
    under : str
        Only the files below this folder; none where it does not exist.
    progress : callable
        Called ten times a second until the Hub has answered; see `OnProgress`.

    Returns
    -------
    Listing
        Its commit, and the files with sizes and checksums.

    Raises
    ------
    DownloadRefused
        There is no network or no such repository, or it asks for a login; the message says what to do.
    """
    return _ask(repository, lambda: _list(repository, under), progress)


@contextlib.contextmanager
def downloaded(
    listing: Listing, files: Sequence[RemoteFile], *, progress: OnProgress = ignore
) -> Iterator[dict[str, Path]]:
    """Yield the downloaded files of a listing by their names, as `fetched` does; `DownloadRefused` for the network."""
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, and not in its __all__

    repository, headers = listing.repository, build_hf_headers(library_name="napari-caltomorph")
    source = f"{repository.kind}--{repository.name.replace('/', '--')}"
    with contextlib.ExitStack() as stack:
        with _explained(repository):
            paths = stack.enter_context(fetched(files, source, headers, progress=progress))
        yield paths


def upload(folder: Path, repository: Repository, *, private: bool = False, progress: OnProgress = ignore) -> str:
    """Upload all files of a folder as one commit, into a repository that is made where there is none.

    Parameters
    ----------
    folder : Path
    repository : Repository
    private : bool
        A new repository is visible to its owner only.
    progress : callable
        Called ten times a second until it is done; see `OnProgress`.

    Returns
    -------
    str
        The repository's page.

    Raises
    ------
    DownloadRefused
        There is no network, the user is not logged in, or must not write there.
    """
    from huggingface_hub import get_token

    if get_token() is None:
        raise DownloadRefused(f"Nothing was uploaded to {repository.page}: {_LOG_IN}, with a token that may write.")

    def send() -> str:
        api = _api()
        api.create_repo(repository.name, repo_type=repository.kind, private=private, exist_ok=True)
        api.upload_folder(
            folder_path=folder,
            repo_id=repository.name,
            repo_type=repository.kind,
            revision=repository.revision,
            commit_message="Upload with napari-caltomorph",
        )
        return repository.page

    return _ask(repository, send, progress, "Uploading")


def _list(repository: Repository, under: str) -> Listing:
    from huggingface_hub.hf_api import RepoFile

    api, name, kind = _api(), repository.name, repository.kind
    info: Any = api.repo_info(name, repo_type=kind, revision=repository.revision, timeout=TIMEOUT_SECONDS)
    commit = str(info.sha)
    if not _CHECKSUM.fullmatch(commit):
        raise ValueError("no commit")
    entries = api.list_repo_tree(name, under or None, recursive=True, revision=commit, repo_type=kind)
    try:
        files = tuple(_file(repository, commit, one) for one in entries if isinstance(one, RepoFile))
    except Exception as error:
        if _code(error) != "EntryNotFound":
            raise
        files = ()
    licences = [tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:")]
    return Listing(repository, commit, licences[0] if licences else None, files)


def _file(repository: Repository, commit: str, entry: Any) -> RemoteFile:
    from huggingface_hub import hf_hub_url

    checksum = entry.lfs.sha256 if entry.lfs is not None else entry.blob_id
    if not _CHECKSUM.fullmatch(checksum):  # it becomes the name of a file
        raise ValueError("no checksum")
    url = hf_hub_url(repository.name, entry.path, repo_type=repository.kind, revision=commit, endpoint=_endpoint())
    return RemoteFile(entry.path, url, int(entry.size), checksum)


def _api() -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(endpoint=_endpoint(), library_name="napari-caltomorph")


def _endpoint() -> str:
    """Return the Hub's address: the library reads it once, when it is imported."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def _ask(
    repository: Repository, call: Callable[[], Answer], progress: OnProgress, stage: str = "Asking the Hub"
) -> Answer:
    """Return the answer to one call; the caller can cancel while it waits."""
    with _explained(repository):
        return run_in_threads([call], lambda: progress(Progress(stage, 0, 1, "answers")))[0]


@contextlib.contextmanager
def _explained(repository: Repository) -> Iterator[None]:
    """Raise `DownloadRefused`, with what to do, for what a network or the Hub does."""
    try:
        yield
    except CaltomorphError:
        raise
    except Exception as error:
        sentence = _sentence(error, repository)
        if sentence is None:
            raise
        raise DownloadRefused(sentence) from error


def _code(error: Exception) -> str | None:
    """Return the Hub's own name of an error."""
    response = getattr(error, "response", None)
    return None if response is None else response.headers.get("X-Error-Code")


def _sentence(error: Exception, repository: Repository) -> str | None:
    """Return what has happened and what to do; None for what is no error of the network or the Hub.

    Errors are known by their names: `huggingface_hub` has changed the library that it speaks HTTP with, and `requests`
    has the same ones.
    """
    page, again = repository.page, "run the same again: it continues where it stopped"
    response = getattr(error, "response", None)
    if response is not None:
        missing = f"{page} does not exist, or is private: check the name; if it is private, {_LOG_IN}."
        status = response.status_code
        answers = {
            "GatedRepo": f"{page} asks you to accept its conditions: open that page, accept them, then {_LOG_IN}.",
            "RepoNotFound": missing,
            "RevisionNotFound": f"{page} has no revision {repository.revision}; choose one that its page lists.",
            "EntryNotFound": f"{page} has no such file any more ({response.url}); {again}.",
            401: missing,  # the Hub does not tell what is private from what is not there
            403: f"{page} refuses you; ask its owner for access, then {_LOG_IN}.",
            429: f"{page} had too many requests from here; wait some minutes, or {_LOG_IN}; then {again}.",
        }
        otherwise = f"{page} has a problem (it answered {status}); later, {again}."
        return answers.get(_code(error) or "", answers.get(status, otherwise))
    names = {one.__name__ for one in type(error).__mro__}
    kinds = {
        "OfflineModeIsEnabled": f"HF_HUB_OFFLINE is set, so {page} was not asked; unset it.",
        "ProxyError": f"The proxy between here and {page} does not work ({_reason(error)}); check HTTPS_PROXY.",
        "SSLError": f"{page} has no certificate that is trusted here ({_reason(error)}); set REQUESTS_CA_BUNDLE.",
        "Timeout": f"{page} did not answer; check the network, then {again}.",
        "TimeoutException": f"{page} did not answer; check the network, then {again}.",
        "HTTPError": f"{page} cannot be reached from here; check the network, then {again}.",
        "RequestException": f"{page} cannot be reached from here; check the network, then {again}.",
        "ValueError": f"{page} gave no answer of the Hub, maybe a login page of this network; open it in a browser.",
    }
    return next((sentence for name, sentence in kinds.items() if name in names), None)


def _reason(error: Exception) -> str:
    return shortened(first_line(error), 80)
