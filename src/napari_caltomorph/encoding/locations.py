"""Where the weights of an encoder are found on this machine, and where they can be downloaded."""

from __future__ import annotations

import importlib.resources
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from napari_caltomorph.storage import home

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
"""What a folder in timm's form calls its weights; the first is preferred."""
HUB_FOLDER = "hf-hub"
"""In the weights folder: ``OWNER/NAME/COMMIT``, each in timm's form."""


@dataclass(frozen=True)
class Source:
    """A file that can be downloaded; `sha256` is None where its authors publish no checksum."""

    url: str
    sha256: str | None = None

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[-1].split("?", 1)[0]


class WeightsLocation(Protocol):
    """Where an encoder's weights are found."""

    def find(self, encoder: str) -> Path | None:
        """The weights file, or None when it is not on this machine."""

    def fix(self, encoder: str) -> str:
        """What to do when it is missing, in one sentence."""


@dataclass(frozen=True)
class WeightsFolder:
    """A file in the weights folder, put there by ``caltomorph weights add`` or ``download``."""

    def find(self, encoder: str) -> Path | None:
        paths = (home("weights") / f"{encoder}{suffix}" for suffix in WEIGHT_SUFFIXES)
        return next((path for path in paths if path.is_file()), None)

    def fix(self, encoder: str) -> str:
        return f"Run `caltomorph weights download {encoder}`, or `caltomorph weights add FILE` if you have the file."


@dataclass(frozen=True)
class ShippedFile:
    """A file next to this one."""

    file: str

    def find(self, encoder: str) -> Path | None:
        path = Path(str(importlib.resources.files(__package__) / self.file))
        return path if path.is_file() else None

    def fix(self, encoder: str) -> str:
        return "Install napari-caltomorph again: a file of it is missing."


@dataclass(frozen=True)
class PackageFile:
    """A file of another pip package, found without importing it."""

    package: str
    file: str
    extra: str

    def find(self, encoder: str) -> Path | None:
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            return None
        path = Path(spec.origin).parent / self.file
        return path if path.is_file() else None

    def fix(self, encoder: str) -> str:
        return f"Run `pip install 'napari-caltomorph[{self.extra}]'`."


@dataclass(frozen=True)
class UserFile:
    """A file, or a folder in timm's form, that the user names on each call."""

    path: Path | None = None

    def find(self, encoder: str) -> Path | None:
        return self.path

    def fix(self, encoder: str) -> str:
        return "Name its file, or its folder, with --weights FILE."


@dataclass(frozen=True)
class HubFolder:
    """A repository of the Hugging Face Hub in timm's form, of which a revision was downloaded before."""

    repository: str
    revision: str | None = None

    @property
    def folder(self) -> Path:
        """Where its revisions are, each in a folder named by its commit."""
        return home("weights") / HUB_FOLDER / self.repository

    def find(self, encoder: str) -> Path | None:
        """The revision's folder; without one, that of the latest download."""
        here = sorted(self.folder.glob(self.revision or "*"), key=lambda path: path.stat().st_mtime)
        return here[-1] if here else None

    def fix(self, encoder: str) -> str:
        return f"Run `caltomorph weights download {encoder}`, or name a folder with its files with --weights."
