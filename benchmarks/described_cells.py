"""How many labelled leukocytes, smudge cells and platelets `describe_cells` calls one centred leukocyte.

For each smear (a folder whose sub-folders are named after types, such as a patient of APL-AML, or all of PBC) every
usable cell is described; a table has a row for each type. `--sheet` draws the cells of a type that are called wrongly.

    python benchmarks/described_cells.py PBC/ APL-AML/All/*/"Signed slides" --width-um 45 --sheet worst.png
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections import Counter, defaultdict
from pathlib import Path

from PIL import Image, ImageDraw

from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.fields import Verdict, describe_cells
from napari_caltomorph.smear import check_smear, read_smear

NO_LEUKOCYTE = ("smudge", "thrombocyte", "platelet")
_SIDE, _ACROSS = 150, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("smears", nargs="+", type=Path)
    parser.add_argument("--width-um", type=float, help="of an image, where the files do not say it")
    parser.add_argument("--sheet", type=Path, help="PNG of the cells that are called wrongly, each with its label")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} CPUs")
    counts: dict[str, Counter[Verdict]] = defaultdict(Counter)
    wrong, cells, seconds = [], 0, 0.0
    for path in arguments.smears:
        try:
            smear = check_smear(read_smear(path))
        except CaltomorphError as error:
            print(error)
            continue
        start = time.process_time()
        described = describe_cells(smear, arguments.width_um)
        seconds += time.process_time() - start
        cells += len(described.cells)
        for index, one in zip(smear.usable, described.cells, strict=True):
            label = smear.labels[index] or path.name
            counts[label][one.verdict] += 1
            is_other = any(word in label.casefold() for word in NO_LEUKOCYTE)
            if (one.verdict is Verdict.ONE) == is_other:
                wrong.append((label, str(one.verdict), Image.fromarray(smear.image(int(index)))))
    print(f"\n| {'type':28} |   n | " + " | ".join(Verdict) + " |")
    for label, found in sorted(counts.items()):
        numbers = " | ".join(f"{found[verdict]:{len(verdict)}}" for verdict in Verdict)
        print(f"| {label:28} | {found.total():3} | {numbers} |")
    print(f"\n{cells} cells, {1000 * seconds / cells:.0f} ms of CPU time a cell")
    if arguments.sheet:
        draw(wrong[:: max(1, len(wrong) // 72)][:72], arguments.sheet)


def draw(wrong: list[tuple[str, str, Image.Image]], path: Path) -> None:
    """Write a contact sheet."""
    sheet = Image.new("RGB", (_ACROSS * _SIDE, -(-len(wrong) // _ACROSS) * (_SIDE + 26)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (label, verdict, image) in enumerate(wrong):
        left, top = number % _ACROSS * _SIDE, number // _ACROSS * (_SIDE + 26)
        sheet.paste(image.resize((_SIDE - 4, _SIDE - 4)), (left, top))
        pen.text((left, top + _SIDE - 4), f"{label[:22]}\n{verdict}", fill="black")
    sheet.save(path)


if __name__ == "__main__":
    main()
