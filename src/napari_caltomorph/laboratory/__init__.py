"""What a laboratory keeps of its own patients over time: what was predicted, what people said about it, what drifts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
