"""``caltomorph cut``: fields in, a smear out, what was left out is counted."""

from __future__ import annotations

from PIL import Image
from tests.fields.drawn import draw_field

from napari_caltomorph.cli.app import run
from napari_caltomorph.smear import read_smear


def test_fields_become_a_smear(tmp_path, capsys):
    (tmp_path / "fields").mkdir()
    Image.fromarray(draw_field([(45, 55), (40, 6)])).save(tmp_path / "fields" / "a.png")
    (tmp_path / "fields" / "b.jpg").write_bytes(b"")
    code = run(["cut", str(tmp_path / "fields"), "--out", str(tmp_path / "smear")])
    out, err = capsys.readouterr()
    assert code == 1
    assert "1 cell in 1 field" in out
    assert "1 near a border" in out
    assert "red cells" in out
    assert "b.jpg" in err
    assert len(read_smear(tmp_path / "smear")) == 1
