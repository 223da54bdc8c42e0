"""Predictions of patients whose truth is known -> numbers, each with its interval; and calibration fitted on them.

Only the names that need no torch are imported here; `evaluate` comes when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
