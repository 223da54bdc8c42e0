"""``caltomorph cut``: fields in, a smear out, what was left out is counted."""

from __future__ import annotations

import pytest
from PIL import Image
from tests.fields.drawn import draw_field

from napari_caltomorph.cli.app import run
from napari_caltomorph.diagnosis import Prediction
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


def test_fields_of_patients_are_cut_and_predicted(run, tmp_path):
    patients, out = tmp_path / "patients", tmp_path / "patients" / "results"
    for name, pixels in (("P1", draw_field([(45, 55)])), ("P2", 255 - draw_field())):
        (patients / name).mkdir(parents=True)
        Image.fromarray(pixels).save(patients / name / "a.png")
    arguments = ("predict", patients, "--each", "--cut", "--width-um", "22", "--model", "demo", "--out", out)
    ended = run(*arguments)
    assert ended.code == 1
    assert "P1: 1 cell in 1 field" in ended.out
    assert "a.png" in ended.err
    assert "1 of 2 smears failed: P2" in ended.err
    assert Prediction.load(out / "P1").patient_id == "P1"
    assert read_smear(out / "P1" / "cut_cells").field_of_view_um == pytest.approx(22, abs=0.01)
    again = run(*arguments)  # What was cut is no further patient
    assert "as predicted on" in again.out
    assert "1 of 2 smears failed" in again.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("notes.txt", "--cut"), ("notes.txt", "JPEG")),
        (("missing", "--cut"), ("missing", "does not exist")),
        (("notes.txt", "--pixel-size", "0.1"), ("--cut",)),
        (("--features", ".", "--cut"), ("--cut", "--features")),
    ],
)
def test_what_cannot_be_cut_is_one_sentence(run, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    ended = run("predict", *arguments, "--model", "demo", "--out", "results")
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert all(word in ended.err for word in words)
