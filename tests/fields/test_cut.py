"""A folder of fields becomes a smear, can be resumed, and each cell is in it once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.fields.drawn import draw_field
from tests.stopping import Cancels

from napari_caltomorph.errors import FieldUnreadable, NoCellsFound, OutputRefused
from napari_caltomorph.fields import CutOptions, cut_cells
from napari_caltomorph.progress import Cancelled

OPTIONS = CutOptions(pixel_size=0.25)


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """Three fields: two cells and one at the border; the first one again, moved; another cell."""
    folder = tmp_path_factory.mktemp("fields")
    first = draw_field([(25, 30), (65, 70), (40, 8)])
    moved = np.clip(first[24:, 36:].astype(int) * 9 // 10 + 5, 0, 255).astype(np.uint8)
    for number, pixels in enumerate((first, moved, draw_field([(45, 55)], seed=4))):
        Image.fromarray(pixels).save(folder / f"field_{number}.png")
    return folder


def test_cut_cells_are_a_smear_with_its_scale(fields, tmp_path):
    result = cut_cells(fields, tmp_path / "smear", OPTIONS)
    smear = result.smear
    assert [len(field.cells) for field in result.fields] == [2, 0, 1]
    assert (result.fields[0].near_border, result.fields[1].repeats) == (1, 2)
    assert (len(smear), smear.canvas) == (3, (144, 144))
    assert smear.field_of_view_um == pytest.approx(25, abs=0.01)
    table = pd.read_csv(tmp_path / "smear" / "fields.csv")
    assert list(table) == ["cell", "field", "x_px", "y_px", "x_um", "y_um", "diameter_um", "confidence"]
    assert table.loc[0, ["x_um", "y_um"]].tolist() == pytest.approx([30, 25], abs=1)
    assert list(table["cell"]) == list(smear.cells)
    with Image.open(tmp_path / "smear" / "overview_field_0.jpg") as picture:
        assert picture.size == (440, 360)


def test_the_middle_of_a_cut_is_the_cell_and_its_stain_is_untouched(fields, tmp_path):
    smear = cut_cells(fields / "field_2.png", tmp_path / "smear", OPTIONS).smear
    field = np.asarray(Image.open(fields / "field_2.png"))
    nucleus = field[174:186, 214:226].mean(axis=(0, 1))  # (45, 55) micrometres
    assert smear.image(0)[66:78, 66:78].mean(axis=(0, 1)) == pytest.approx(nucleus, abs=4)


def test_a_stopped_run_is_resumed_with_the_same_result(fields, tmp_path):
    stop = Cancels(lambda now: now.stage == "Cutting cells" and now.done == 1)
    out = tmp_path / "smear"
    with pytest.raises(Cancelled):
        cut_cells(fields, out, OPTIONS, progress=stop)
    written = {path: path.stat().st_mtime_ns for path in out.glob("*.tif")}
    assert len(written) == 2
    resumed = cut_cells(fields, out, OPTIONS)
    assert resumed.fields == cut_cells(fields, tmp_path / "other", OPTIONS).fields
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_other_options_replace_the_cells(fields, tmp_path):
    cut_cells(fields, tmp_path / "smear", OPTIONS)
    smear = cut_cells(fields / "field_2.png", tmp_path / "smear", CutOptions(pixel_size=0.25, width_um=20)).smear
    assert (len(smear), smear.field_of_view_um) == (1, pytest.approx(20, abs=0.01))


def test_a_folder_with_other_files_is_refused(fields, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputRefused, match=r"notes\.txt"):
        cut_cells(fields, tmp_path, OPTIONS)


def test_fields_without_cells_show_what_was_found(tmp_path):
    Image.fromarray(draw_field(platelets=[(20, 20)])).save(tmp_path / "empty.png")
    with pytest.raises(NoCellsFound, match="0 cells in 1 field"):
        cut_cells(tmp_path / "empty.png", tmp_path / "smear", OPTIONS)
    assert (tmp_path / "smear" / "overview_empty.jpg").exists()


def test_a_damaged_field_is_a_problem_and_the_others_are_cut(fields, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    Image.fromarray(255 - draw_field()).save(tmp_path / "inverted.png")
    result = cut_cells([tmp_path, fields / "field_2.png"], tmp_path / "smear", OPTIONS)
    assert result.count == 1
    assert ["bad.png" in result.problems[0], "inverted.png" in result.problems[1]] == [True, True]


def test_fields_of_one_name_do_not_overwrite_each_other(fields, tmp_path):
    for name in ("a.png", "a.bmp", "b/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(draw_field([(45, 55)], seed=len(name))).save(tmp_path / name)
    result = cut_cells([tmp_path, tmp_path / "b"], tmp_path / "smear", OPTIONS)
    assert len(result.smear) == result.count == 3 - sum(field.repeats for field in result.fields)
    assert len({field.field for field in result.fields}) == 3


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(FieldUnreadable, match=tmp_path.name):
        cut_cells(tmp_path, tmp_path / "smear", OPTIONS)
