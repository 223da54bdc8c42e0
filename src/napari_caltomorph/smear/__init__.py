"""One patient's blood smear: reading its cells from disk, and grading their images."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
