"""Cells -> features: encoders, their weights, and the files that features are kept in.

Only the names that need no torch are imported here; `encode` and `load_encoder` come when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
