"""``python -m napari_caltomorph.cli`` is ``caltomorph``."""

import sys

from napari_caltomorph.cli import main

sys.exit(main())
