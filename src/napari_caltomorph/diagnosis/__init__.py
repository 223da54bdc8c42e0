"""Features -> diagnosis: aggregators, the ensemble, attention, and the prediction that everything shown derives from.

Only the names that need no torch are imported here; `Ensemble` and `Predictor` come when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
