"""napari-caltomorph: from a blood smear's single-cell images to a diagnosis and the cells that made it.

Research use only. Not for diagnosis.

Names are imported when first used, so that ``import napari_caltomorph`` loads no torch.
"""

import os

import lazy_loader

# What Metal lacks is computed on the CPU instead of being refused. torch reads this when it is imported.
os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
