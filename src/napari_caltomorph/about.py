"""What this package states about itself: what it is for, and its version."""

from __future__ import annotations

from importlib.metadata import version

RESEARCH_USE = "Research use only. Not for diagnosis."


def library_version() -> str:
    """Return the version of this package that is installed."""
    return version("napari-caltomorph")
