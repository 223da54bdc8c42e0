"""The terminal's face: ``caltomorph``, one file a verb. A verb parses, calls the library, and shows the result."""

import sys
import warnings
from collections.abc import Sequence

from napari_caltomorph.cli.interrupts import catching_interrupts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``caltomorph`` and return its exit code: 0 done, 1 in part, 2 bad usage or input, 130 stopped by Ctrl-C.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of this process where not given.
    """
    if arguments is None and not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries warn developers; ours are part of the result
    with catching_interrupts(to_the_end=arguments is None) as interrupts:
        try:
            from napari_caltomorph.cli.app import run

            return run(arguments, interrupts)
        except BaseException:
            if interrupts.number:  # an interrupt inside an import can come out as any other error
                return interrupts.exit_code
            raise
