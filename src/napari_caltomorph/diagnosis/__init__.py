"""Features -> diagnosis: aggregators, the ensemble, attention, and the prediction from which all outputs derive."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
