"""Cells -> features: encoders, their weights, and the files that features are kept in.

Only the names that need no torch are imported here; `encode` and `load_encoder` come when first used.
"""

from typing import TYPE_CHECKING, Any

from napari_caltomorph.callable_room import make_callable
from napari_caltomorph.encode.encoders import DEMO_ENCODER, ENCODERS, Encoder, find_encoder
from napari_caltomorph.encode.features import FeatureOrigin, Features
from napari_caltomorph.encode.options import ComputeOptions, EncodeOptions
from napari_caltomorph.encode.weights import (
    WeightsReport,
    add_weights,
    download_weights,
    find_weights,
    verify_weights,
)

if TYPE_CHECKING:
    from napari_caltomorph.encode.load import LoadedEncoder, load_encoder
    from napari_caltomorph.encode.run import encode

_LATE = {
    "LoadedEncoder": "napari_caltomorph.encode.load",
    "encode": "napari_caltomorph.encode.run",
    "load_encoder": "napari_caltomorph.encode.load",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        from importlib import import_module

        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


make_callable(__name__)

__all__ = [
    "DEMO_ENCODER",
    "ENCODERS",
    "ComputeOptions",
    "EncodeOptions",
    "Encoder",
    "FeatureOrigin",
    "Features",
    "LoadedEncoder",
    "WeightsReport",
    "add_weights",
    "download_weights",
    "encode",
    "find_encoder",
    "find_weights",
    "load_encoder",
    "verify_weights",
]
