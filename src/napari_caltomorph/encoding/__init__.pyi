from .encoders import DEMO_ENCODER, ENCODERS, Encoder, find_encoder, find_weights, known_encoders
from .features import Features, load_bag
from .h5_process import FeatureOrigin
from .load import LoadedEncoder, load_encoder
from .options import ComputeOptions, EncodeOptions
from .run import encode
from .weights import WeightsReport, add_weights, download_weights, verify_weights

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
    "known_encoders",
    "load_bag",
    "load_encoder",
    "verify_weights",
]
