"""Numbers from arrays: metrics with their intervals, ROC curves, reliability. Nothing here knows patients."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
