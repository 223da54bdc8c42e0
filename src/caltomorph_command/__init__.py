"""The command ``caltomorph``, next to the library: Ctrl-C is caught before anything is imported that takes time.

Importing the library takes a tenth of a second where the disk is slow, and importing a part of it imports its whole
``__init__`` first. After that, `napari_caltomorph.cli.interrupts` takes over.
"""


def main() -> int:
    """Run ``caltomorph`` with the arguments of this process, and return its exit code."""
    try:
        from napari_caltomorph.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130
