"""A cohort and its features -> an ensemble, and how the ways of training compare.

Only the names that need no torch are imported here; `train` comes when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
