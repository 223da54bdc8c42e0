"""What this package states about itself: what it is for, and its version."""

from __future__ import annotations

from importlib.metadata import version

RESEARCH_USE = "Research use only. Not for diagnosis."


def library_version() -> str:
    """Return the version of this package that is installed."""
    return version("napari-caltomorph")


def library_versions(*names: str) -> dict[str, str]:
    """Return the installed versions of some packages, by name."""
    return {name: version(name) for name in names}
