"""The terminal's face: ``caltomorph``, one file a verb. A verb parses, calls the library, and shows the result."""

import sys
import warnings
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``caltomorph`` and return its exit code: 0 done, 1 in part, 2 bad usage or input, 130 stopped.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of this process where not given.
    """
    if arguments is None and not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries warn developers; ours are part of the result
    try:
        from napari_caltomorph.cli.app import run

        return run(arguments)
    except KeyboardInterrupt:  # while the imports ran; later ones `run` handles
        return 130
