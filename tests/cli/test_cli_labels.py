"""`caltomorph labels import`: what became of every name, and a table that `differential train` takes."""

from __future__ import annotations

from PIL import Image

from napari_caltomorph.differential import read_labels


def test_every_name_is_shown_with_its_type_and_the_table_is_written(run, make_cell, tmp_path):
    for number, name in enumerate(("basophil", "basophil", "mixt", "odd[cells]")):
        (tmp_path / "cells" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_cell(number, 48)).save(tmp_path / "cells" / name / f"{number}.png")
    code, out, err = run("labels", "import", tmp_path / "cells", "--out", tmp_path / "labels.csv")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert any(line.startswith("basophil basophil 2") for line in lines)
    assert any(line.startswith("mixt left out 1") for line in lines)
    assert any(line.startswith("odd[cells] odd[cells] 1") for line in lines)
    assert "3 cells of 2 types; 1 labelled cell left out." in lines
    assert read_labels(tmp_path / "labels.csv").counts == {"basophil": 2, "odd[cells]": 1}


def test_a_folder_without_labels_is_one_line(run, make_cell, tmp_path):
    (tmp_path / "cells").mkdir()
    Image.fromarray(make_cell(1, 48)).save(tmp_path / "cells" / "1.png")
    code, _, err = run("labels", "import", tmp_path / "cells", "--out", tmp_path / "labels.csv")
    assert code == 2
    assert "no cell has a label" in err
    assert not (tmp_path / "labels.csv").exists()
