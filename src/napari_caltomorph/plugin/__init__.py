"""napari's face: reader, writer, sample data, and the panels."""

from importlib.metadata import PackageNotFoundError, version

from napari_caltomorph.errors import PackageMissing

_OLDEST = (0, 8)


def _refuse_older_napari() -> None:
    """Raise where napari is older than the panels work with; without napari, only `session` is of use."""
    try:
        found = version("napari")
    except PackageNotFoundError:
        return
    if tuple(int(part) for part in found.split(".")[:2]) < _OLDEST:
        raise PackageMissing(
            f"cAItomorph needs napari 0.8 or newer, and this is napari {found}: run `pip install --upgrade napari`."
        )


_refuse_older_napari()
