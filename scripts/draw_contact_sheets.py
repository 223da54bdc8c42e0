"""Draw the contact sheet of all cell types that the documentation shows.

    python scripts/draw_contact_sheets.py                     (writes docs/images/synthetic_cells.png)
    python scripts/draw_contact_sheets.py --seed 5 --side 144 --out sheet.png

Eight cells of each type, each from another patient's slide, named by its type; the last rows show Auer rods and
red cells.
Compare it with a sheet of real cells when the drawings change, and raise `GENERATOR_VERSION`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from napari_caltomorph.synthetic import CELL_TYPES, CellType, RedCells, Stain
from napari_caltomorph.synthetic.cells import paint_cell

OUT = Path(__file__).parents[1] / "docs" / "images" / "synthetic_cells.png"
PER_ROW = 8
COLUMNS = 2
LABEL = 14  # Height of a label, px.
NORMAL = RedCells(13.5)

LYMPHOCYTE, MYELOBLAST = CELL_TYPES["lymphocyte"], CELL_TYPES["myeloblast"]
ALL_WITH_AUER_RODS = replace(MYELOBLAST, cytoplasm=replace(MYELOBLAST.cytoplasm, auer_rods=1.0))

ROWS: list[tuple[str, CellType, RedCells]] = [(slug.replace("_", " "), row, NORMAL) for slug, row in CELL_TYPES.items()]
ROWS += [
    ("myeloblast with Auer rod", ALL_WITH_AUER_RODS, NORMAL),
    ("hemoglobin 7 g/dl", LYMPHOCYTE, RedCells(7.0)),
    ("hemoglobin 17 g/dl", LYMPHOCYTE, RedCells(17.0)),
    ("rouleaux, 10 g/dl", LYMPHOCYTE, RedCells(10.0, rouleaux=0.8)),
    ("teardrops, 11 g/dl", LYMPHOCYTE, RedCells(11.0, teardrops=0.4)),
]


def draw_row(number: int, kind: CellType, red_cells: RedCells, seed: int, side: int) -> NDArray[np.uint8]:
    """Return `PER_ROW` cells side by side, each of another patient."""
    cells = []
    for column in range(PER_ROW):
        stain = Stain.sample(np.random.default_rng([seed, column]))
        rng = np.random.default_rng([seed, number, column])
        canvas, _ = paint_cell(kind, rng, stain, red_cells)
        image = stain.develop(rng, canvas.grid, canvas.densities)
        cells.append(np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS)))
    return np.concatenate(cells, axis=1)


def main() -> None:
    """Draw the sheet and write it with 256 colours: it stays small, and no eye sees the difference."""
    parser = argparse.ArgumentParser(description="Draw a contact sheet of all synthetic cell types.")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=84, help="px of a cell on the sheet")
    options = parser.parse_args()
    side, down = options.side, -(-len(ROWS) // COLUMNS)
    width = PER_ROW * side
    sheet = Image.new("RGB", (COLUMNS * width + LABEL, down * (side + LABEL)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (label, kind, red_cells) in enumerate(ROWS):
        left, top = number // down * (width + LABEL), number % down * (side + LABEL)
        pen.text((left + 2, top + 1), label, fill="black")
        row = draw_row(number, kind, red_cells, options.seed, side)
        sheet.paste(Image.fromarray(row), (left, top + LABEL))
    sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(options.out, optimize=True)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
