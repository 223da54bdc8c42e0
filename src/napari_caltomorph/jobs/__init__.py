"""One function for each job that a person starts, called by the terminal's verb and by napari's panel alike.

A job takes options, reports progress, and returns a frozen result. The faces build the options and show the result.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
