"""``caltomorph cohort show`` shows a cohort, keeps it when asked, and says what is wrong in one line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from napari_caltomorph.cli.app import run
from napari_caltomorph.cohort import read_cohort
from napari_caltomorph.smear.trees import folders_in
from napari_caltomorph.synthetic import SynthOptions, synthesize_cohort


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect") / "drawn"
    synthesize_cohort(folder, SynthOptions(patients=16, cells=5, seed=2))
    return folder


def test_classes_splits_and_patients_left_out_are_shown(drawn: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["cohort", "show", str(drawn), "--min-cells", "5"]) == 0
    output = " ".join(capfd.readouterr().out.split())  # lines wrap at the terminal's width
    assert "16 patients found, 16 in" in output
    assert "Acute leukemia" in output
    assert "5 ... 5 ... 5" in output


def test_nothing_is_written_without_the_option(drawn: Path, tmp_path: Path) -> None:
    before = sorted(drawn.rglob("*"))
    assert run(["cohort", "show", str(drawn), "--min-cells", "5"]) == 0
    assert sorted(drawn.rglob("*")) == before
    saved, figures = tmp_path / "cohort.json", tmp_path / "figures"
    assert run(["cohort", "show", str(drawn), "--min-cells", "5", "--save", str(saved), "--figures", str(figures)]) == 0
    assert len(read_cohort(saved)) == 16
    assert {p.name for p in figures.iterdir()} == {"flow.png", "classes.png", "preview.png"}
    assert folders_in(tmp_path) == []  # no patients of a later run


def test_pictures_are_not_replaced_silently(drawn: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    preview = tmp_path / "preview.png"
    preview.write_bytes(b"of another cohort")
    words = ["cohort", "show", str(drawn), "--min-cells", "5", "--figures", str(tmp_path)]
    assert run(words) == 2
    refusal = capfd.readouterr().err
    assert all(word in refusal for word in ("preview.png", "--overwrite"))
    assert [path.name for path in tmp_path.iterdir()] == ["preview.png"]
    assert run([*words, "--overwrite"]) == 0
    assert preview.read_bytes() != b"of another cohort"


def test_columns_can_be_chosen_and_rows_kept(drawn: Path, capfd: pytest.CaptureFixture[str]) -> None:
    female = int((pd.read_csv(drawn / "patients.csv")["sex"] == "female").sum())
    assert run(["cohort", "show", str(drawn), "--min-cells", "5", "--min-patients", "1", "--where", "sex=female"]) == 0
    assert f"{female} in" in " ".join(capfd.readouterr().out.split())
    assert run(["cohort", "show", str(drawn), "--label-column", "nonsense"]) == 2
    assert "no column 'nonsense'" in capfd.readouterr().err


def test_the_older_name_shows_the_same(drawn: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for verb in (["cohort", "show"], ["inspect"]):
        assert run([*verb, str(drawn), "--min-cells", "5"]) == 0
        outputs.append(capfd.readouterr().out)
    assert outputs[0] == outputs[1]
    assert run(["inspect", "--help"]) == 0
    assert "older name of `caltomorph cohort show`" in " ".join(capfd.readouterr().out.split())
    assert run(["--help"]) == 0
    assert "inspect" not in capfd.readouterr().out


def test_what_is_no_cohort_is_one_line_and_exit_code_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["cohort", "show", str(tmp_path)]) == 2
    error = capfd.readouterr().err
    assert "is no known cohort" in error
    assert len(error.strip().splitlines()) == 1
    (tmp_path / "file").write_text("in the way")
    assert run(["cohort", "show", str(tmp_path), "--save", str(tmp_path / "file" / "cohort.json")]) == 2


@pytest.mark.parametrize(
    ("table", "words", "message"),
    [
        ("", (), "is empty; export the table again"),
        ("patient_id,diagnosis\n", (), "has no rows"),
        ("patient_id diagnosis\nsynthetic_001 AML\n", (), "separate columns with , ; or tab"),
        ("patient_id,diagnosis\nnobody,AML\n", (), "no id matches"),
        ("who,diagnosis\nsynthetic_001,AML\n", (), "name it with --id-column"),
        ("patient_id,diagnosis,disease\nsynthetic_001,AML,AML\n", (), "name one with --label-column"),
        ("patient_id,diagnosis,diagnosis\nsynthetic_001,AML,CLL\n", (), "rename one"),
        ("patient_id,diagnosis,split\nsynthetic_001,AML,validation\n", (), "not train or test"),
        ("patient_id,diagnosis,split\nsynthetic_001,AML,Train\nsynthetic_002,CLL,\n", (), "is empty in 1 of 2 rows"),
        ("patient_id,diagnosis\nsynthetic_001,AML\n", ("--hemoglobin-column", "Hb"), "has no column 'Hb'"),
        ("patient_id,diagnosis\nsynthetic_001,AML\n", ("--where", "Site"), "is not COLUMN=VALUE"),
        ("patient_id,diagnosis\nsynthetic_001,AML\n", ("--where", "diagnosis=CLL"), "no row has diagnosis=CLL"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_line(
    drawn: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    table: str,
    words: tuple[str, ...],
    message: str,
) -> None:
    for patient in drawn.glob("*/*/"):
        (tmp_path / patient.name).symlink_to(patient)
    (tmp_path / "patients.csv").write_text(table)
    assert run(["cohort", "show", str(tmp_path), "--min-cells", "5", "--min-patients", "1", *words]) == 2
    output, error = capfd.readouterr()
    assert output == ""
    assert len(error.strip().splitlines()) == 1
    assert message in error
