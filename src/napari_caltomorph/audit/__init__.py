"""Can the diagnosis be predicted without the cells? Shortcuts in stain, background, number of cells, size and site."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
