"""What is drawn on the cells of the gallery: frames, heat, ranks, images over single cells; legend and caption."""

from __future__ import annotations

import napari
import numpy as np
from matplotlib.colors import to_rgba, to_rgba_array
from napari.layers import Image, Points
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer

from napari_caltomorph.plugin.gallery.over_picture import PictureText
from napari_caltomorph.plugin.gallery.pictures import Grid
from napari_caltomorph.plugin.napari_versions import camera_of
from napari_caltomorph.plugin.plot_style import plot_style_of
from napari_caltomorph.plugin.session.cell_columns import BY_CLASS, BY_LABEL, BY_TYPE
from napari_caltomorph.plugin.session.inspection import Inspection, Overlay
from napari_caltomorph.plugin.session.selection import CellSelection
from napari_caltomorph.report import PlotStyle
from napari_caltomorph.report.drawing import short, unbroken

_HOT = "#ff3b00"
_HOTTEST = 0.45
# A cell must be this wide on the screen, in pixels, for its rank to be written below it.
_READABLE = 110
# Text for all cells would freeze the window.
_MOST_TEXTS = 150
# Letters that fit below such a cell.
_LONGEST = 13
# Of such a text: its size in points, and how far its middle is below the frame, in pixels.
_TEXT_SIZE, _BELOW_FRAME = 9, 13
# What the caption leaves free for napari's scale bar, in pixels.
_SCALE_BAR = 190
_MOST_IN_LEGEND = 25
_TITLES = {BY_CLASS: "Class of the cell alone", BY_LABEL: "Label", BY_TYPE: "Type"}


def paint(points: Points, inspection: Inspection, style: PlotStyle) -> None:
    """Colour the squares, which are in rank order: frames by class or label, left out faded."""
    ranked = inspection.bag.order
    left_out = np.isin(ranked, list(inspection.cells.left_out))
    frames = to_rgba_array(inspection.colors[ranked])
    frames[left_out] = to_rgba(style.faint)
    faces = np.zeros((len(ranked), 4))
    if inspection.gallery.heat:  # none up to an average cell's attention, the most for the most attended
        logs = np.log(np.maximum(inspection.bag.attention[ranked], 1.0))
        faces[:] = to_rgba(_HOT)
        faces[:, 3] = _HOTTEST * logs / max(float(logs.max()), 1e-9)
    faces[left_out] = to_rgba(style.background, 0.66)
    with points.events.blocker_all():  # one update for all of it
        points.border_color = frames
        points.face_color = faces


def set_frames(points: Points, inspection: Inspection, grid: Grid) -> None:
    """Make the frames of marked cells thick; a cell that is filtered away has none."""
    marked = np.isin(inspection.bag.order, list(inspection.cells.marked))
    size, width = grid.frames(marked)
    with points.events.blocker_all():
        # napari 0.9 uses `shown` only where some dimension is sliced, so hidden points get size 0 too.
        points.size = np.where(points.shown, size, 0)
        points.border_width = width


class PictureTexts:
    """The legend of the frames' colours at the top of the picture, the caption of the current cell at its bottom."""

    def __init__(self, viewer: napari.viewer.Viewer, inspection: Inspection) -> None:
        self._viewer, self._inspection = viewer, inspection
        self.legend = PictureText(viewer, at_top=True)
        self.caption = PictureText(viewer, at_top=False, free=_SCALE_BAR)

    def update(self, *, frames: bool, cells: bool) -> None:
        """Write them anew, where the picture shows frames, or cells at all."""
        shown = frames and self._inspection.gallery.legend
        self.legend.show(_legend(self._inspection) if shown else "", plot_style_of(self._viewer.theme))
        self.update_caption(cells=cells)

    def update_caption(self, *, cells: bool) -> None:
        """Write the caption anew: selecting changes no legend, which counts all cells."""
        first, *rest = (cells and self._inspection.caption) or ("",)
        if (count := len(self._inspection.cells.selected)) > 1:
            rest.append(f"{count:,} selected")
        text = " &#183; ".join([f"<b>{first}</b>", *map(unbroken, rest)]) if first else ""
        self.caption.show(text, plot_style_of(self._viewer.theme))

    def close(self) -> None:
        self.legend.close()
        self.caption.close()


def _legend(inspection: Inspection) -> str:
    if not (shown := inspection.legend):
        return ""
    words = [f"<b>{unbroken(_TITLES[inspection.coloring])}</b>"]
    words += [
        f"<span style='color:{color}'>&#9632;</span>&nbsp;{unbroken(f'{name} {count:,}')}"
        for name, color, count in shown
    ]
    words[_MOST_IN_LEGEND:] = [unbroken(f"and {len(shown) - _MOST_IN_LEGEND + 1} more")] * (
        len(words) > _MOST_IN_LEGEND
    )
    # Only between the entries a line may break.
    return "&nbsp;&nbsp; ".join(words)


class RankTexts:
    """Ranks below the cells that are in view and large enough, written when the camera stops."""

    def __init__(
        self, viewer: napari.viewer.Viewer, points: Points, inspection: Inspection, grid: Grid, owner: QObject
    ) -> None:
        self._viewer, self._points, self._inspection, self._grid = viewer, points, inspection, grid
        self._written: tuple[tuple[int, ...], float] | None = None
        # Zooming fires many events; one update when it stops is enough.
        self._settle = QTimer(owner, singleShot=True, interval=120)
        self._settle.timeout.connect(self._write)

    def on_camera(self, event: object = None) -> None:
        """Write them soon."""
        self._settle.start()

    def update(self, grid: Grid) -> None:
        """Write them now."""
        self._grid, self._written = grid, None
        self._write()

    def stop(self) -> None:
        """Write no more."""
        self._settle.stop()

    def _write(self) -> None:
        points, grid = self._points, self._grid
        if points not in self._viewer.layers or len(points.data) != len(self._inspection.bag.cells):
            return  # some were deleted by a script, and the gallery is about to be
        order = self._inspection.cells.order
        places = points.data[self._inspection.bag.ranks[order] - 1]
        pixel = float(points.scale[-1]) * camera_of(self._viewer).zoom
        positions = _readable_positions(points, grid, places, pixel)
        if (positions, pixel) == self._written:
            return
        self._written = positions, pixel
        if positions:
            cells = [int(order[position]) for position in positions]
            _write_texts(points, self._inspection, cells, grid, plot_style_of(self._viewer.theme), pixel)
        else:
            points.text.visible = False


def _readable_positions(points: Points, grid: Grid, places: NDArray[np.float64], pixel: float) -> tuple[int, ...]:
    """Return the positions in view whose cells are wide enough for a text."""
    if grid.cell[1] * pixel < _READABLE or not points.visible:
        return ()
    top_left, bottom_right = points.corner_pixels[:, -2:]
    half = np.array(grid.cell) / 2
    inside = (places >= top_left - half) & (places <= bottom_right + half)
    return tuple(np.flatnonzero(inside.all(axis=1))[:_MOST_TEXTS].tolist())


def _write_texts(
    points: Points, inspection: Inspection, cells: list[int], grid: Grid, style: PlotStyle, pixel: float
) -> None:
    """Write rank and attention below these cells, or the label or type where frames are coloured by it.

    `pixel`: width of a pixel of the picture on the screen.
    """
    bag = inspection.bag
    labels = None if inspection.coloring == BY_CLASS else inspection.types
    strings = [""] * len(bag.cells)
    for cell in cells:
        rank = int(bag.ranks[cell])
        text = f"#{rank}"
        if cell in inspection.cells.left_out:
            text += "   left out"
        elif labels and labels[cell]:
            text = short(labels[cell], _LONGEST)
        elif bag.has_attention:
            text += f"   {bag.attention[cell]:.2f}x"
        strings[rank - 1] = text
    gap = grid.pitch[0] - grid.framed
    below = (grid.framed / 2 + min(_BELOW_FRAME / pixel, gap / 2), 0)
    points.text = {
        "string": strings,
        "size": _TEXT_SIZE,
        "color": style.text,
        "anchor": "center",
        "translation": below,
    }


class CellOverlays:
    """Images that lie over single cells of one gallery and move with them, one layer a name."""

    def __init__(self, viewer: napari.viewer.Viewer, points: Points) -> None:
        self._viewer, self._points = viewer, points
        self._layers: dict[str, tuple[Image, int]] = {}

    @property
    def layers(self) -> list[Image]:
        return [layer for layer, _ in self._layers.values()]

    def add(self, overlay: Overlay) -> None:
        """Add the layer of an overlay, in place of the one of its name."""
        name = overlay.name
        if name in self._layers and self._layers[name][0] in self._viewer.layers:
            self._viewer.layers.remove(self._layers[name][0])
        metadata = self._points.metadata  # it is one of this result's layers
        layer = self._viewer.add_image(
            overlay.image, name=name, units=self._points.units, metadata=metadata, **overlay.options
        )
        self._layers[name] = layer, overlay.cell
        self._viewer.layers.selection.active = self._points  # the keys of the gallery remain active

    def place(self, cells: CellSelection, grid: Grid) -> None:
        """Move each to where its cell is now; hide those whose cell is not shown."""
        pixel = np.array(self._points.scale[-2:])
        for layer, cell in self._layers.values():
            position = cells.position(cell)
            layer.visible = position is not None and self._points.visible
            if position is not None:
                step = np.array(grid.cell) / layer.data.shape[:2]
                layer.scale = pixel * step
                layer.translate = pixel * (np.array(grid.corner(position)) + (step - 1) / 2)
