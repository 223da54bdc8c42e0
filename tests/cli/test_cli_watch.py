"""``caltomorph watch``: each patient of a folder once, through a kill, a copy, and an export that changes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import Counter

import pandas as pd
import pytest
from tests.cli.conftest import COMMAND

from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.synthetic import synthesize_patient, write_smear


def records(out):
    return [json.loads(line) for line in (out / "watch.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_killed_watch_goes_on_where_it_was(patients, run, tmp_path):
    scanner, out = tmp_path / "scanner", tmp_path / "out"
    shutil.copytree(patients, scanner)
    for number in range(3, 6):
        write_smear(synthesize_patient("aml", cells=6, seed=number), scanner / f"p{number}")
    before = sorted(scanner.rglob("*"))
    words = ("watch", str(scanner), "--model", "demo", "--out", str(out), "--settle", "0")
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL) as process:
        while not list(out.glob("*/prediction.json")):
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
    done = {file: file.stat().st_mtime_ns for file in out.glob("*/prediction.json")}
    assert 1 <= len(done) < 5
    code, text, _ = run(*words, "--once")
    assert code == 0
    assert "5 patients predicted" in text
    assert {file: file.stat().st_mtime_ns for file in done} == done
    events = [(one["event"], one["export"]) for one in records(out)]
    assert Counter(one for one in events if one[0] == "predicted") == {("predicted", f"p{n}"): 1 for n in range(1, 6)}
    assert sorted(pd.read_csv(out / "predictions.csv")["patient_id"]) == [f"p{number}" for number in range(1, 6)]
    assert sorted(scanner.rglob("*")) == before

    # An export that changes is predicted anew, and both are kept; a copy is not predicted again.
    first = Prediction.load(out / "p1")
    shutil.copytree(scanner / "p2", scanner / "p2 copy")
    shutil.copy(next((scanner / "p3").glob("*.TIF")), scanner / "p1" / "Gal-000099.RGB.TIF")
    shutil.copytree(out, tmp_path / "of another model")
    assert run(*words, "--once", "--report").code == 0
    (copy,) = [one for one in records(out) if one["event"] == "duplicate"]
    assert (copy["export"], copy["problem"]) == ("p2 copy", "p2")
    assert not (out / "p2 copy").exists()
    (changed,) = [one for one in records(out) if one["earlier"]]
    assert Prediction.load(out / changed["earlier"]) == first
    assert len(Prediction.load(out / "p1").cells) == len(first.cells) + 1
    assert (out / "p1" / "report.html").exists()

    # A kill between the new file and its line in the ledger: it is not predicted again, and the line names both.
    lines = (out / "watch.jsonl").read_text("utf-8").splitlines(keepends=True)
    place = next(number for number, one in enumerate(records(out)) if one == changed)
    (out / "watch.jsonl").write_text("".join(lines[:place]), "utf-8")
    files = {file: file.stat().st_mtime_ns for file in (out / "p1").glob("prediction*.json")}
    assert run(*words, "--once", "--report").code == 0
    assert {file: file.stat().st_mtime_ns for file in (out / "p1").glob("prediction*.json")} == files
    again = [one for one in records(out)[place:] if one["export"] == "p1" and one["event"] == "predicted"]
    assert [one["earlier"] for one in again] == [changed["earlier"]]

    # What would mix two models, write into the watched folder, or have no cells, is refused in a sentence.
    other = out.with_name("of another model")
    line = (other / "watch.jsonl").read_text("utf-8").replace("demo (synthetic), ", "demo (synthetic), other ")
    (other / "watch.jsonl").write_text(line, "utf-8")
    code, _, error = run(*words[:5], other, "--once")
    assert (code, "another model" in error) == (2, True)
    code, _, error = run(*words[:5], scanner / "out", "--once")
    assert (code, "overlap" in error) == (2, True)
    (scanner / "p9").mkdir()
    (scanner / "p9" / "cell.tif").write_bytes(b"no image")
    (scanner / "p1").rename(tmp_path / "p1")  # what is done may be moved away
    code, text, _ = run(*words, "--once")
    assert (code, "p9: failed" in text) == (1, True)
    assert (out / "p1" / "prediction.json").exists()
