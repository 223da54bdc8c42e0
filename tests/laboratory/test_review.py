"""What must hold for reviews of predictions, and for `caltomorph review`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from tests.report.factories import make_prediction

from napari_caltomorph.cli import main
from napari_caltomorph.csv_files import read_csv
from napari_caltomorph.errors import OutputRefused, PredictionUnreadable, ReviewRefused
from napari_caltomorph.laboratory import MonitorOptions, add_review, agreement, monitor, read_reviewed
from napari_caltomorph.laboratory.review import read_reviews

CLEAR, UNCLEAR = [[0.02] * 7 + [0.86]] * 5, [[0.125] * 8] * 5


def save(folder: Path, patient: str, created: str = "2026-09-01T00:00:00+00:00", probabilities=CLEAR):
    prediction = make_prediction(3, seed=1, patient_id=patient, created=created, member_probabilities=probabilities)
    prediction.save(folder / patient / "prediction.json")
    return prediction


def states(folder: Path) -> dict[str, str]:
    return {one.patient.patient_id: one.state for one in read_reviewed(folder)[0]}


def test_newest_review_of_each_person_counts_and_no_line_is_lost(tmp_path: Path) -> None:
    a, b, c, d = (save(tmp_path, patient) for patient in "abcd")
    add_review(tmp_path, a, "cannot tell", by="Ann")
    add_review(tmp_path, a, "agree", by="ann ")
    add_review(tmp_path, b, "agree", by="Ann")
    add_review(tmp_path, b, "other", by="Bob", diagnosis="another")
    add_review(tmp_path, c, "agree", by="Ann")
    save(tmp_path, "c", "2026-10-01T00:00:00+00:00")
    assert states(tmp_path) == {
        "a": "agreed", "b": "reviewers differ", "c": "of an earlier prediction", "d": "not reviewed"
    }  # fmt: skip
    assert len((tmp_path / "reviews.jsonl").read_text().splitlines()) == 5
    add_review(tmp_path, d, "other", by="Ann", diagnosis="A rare one")
    add_review(tmp_path, d, "other", by="Bob", diagnosis="a rare one")
    assert states(tmp_path)["d"] == "other diagnosis"
    shares = {one.name: (one.right, one.patients) for one in agreement(read_reviewed(tmp_path)[0])}
    assert shares["all"] == shares["2026-09"] == shares[f"predicted {a.predicted_class}"] == (1, 3)
    assert shares["between reviewers"] == (1, 2)
    with pytest.raises(ReviewRefused, match="agree instead"):
        add_review(tmp_path, d, "other", by="Ann", diagnosis=d.predicted_class.upper())
    with pytest.raises(ReviewRefused, match="name is missing"):
        add_review(tmp_path, d, "agree", by=" ")
    with pytest.raises(ReviewRefused, match=r"cells\.csv"):
        add_review(tmp_path, d, "agree", by="Ann", labels={"no such cell": "blast"})


def test_a_review_is_found_whichever_folder_is_named(tmp_path: Path) -> None:
    a = save(tmp_path, "a")
    add_review(tmp_path / "a", a, "agree", by="Ann", labels={a.cells[0]: "blast"})
    assert (tmp_path / "a" / "reviews.jsonl").exists()
    (tmp_path / "predictions.csv").touch()  # from now on it is a folder of results
    add_review(tmp_path / "a", a, "cannot tell", by="Bob")
    assert len((tmp_path / "reviews.jsonl").read_text().splitlines()) == 1
    for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "prediction.json"):
        (patient,) = read_reviewed(folder)[0]
        assert [one.reviewer for one in patient.of_this] == ["Ann", "Bob"]
        assert "with 1 corrected cell; Bob on 2" in patient.in_words
    add_review(tmp_path / "a" / "prediction.json", a, "cannot tell", by="Bob")
    assert len((tmp_path / "reviews.jsonl").read_text().splitlines()) == 2
    with pytest.raises(PredictionUnreadable, match="no prediction in it can be read"):
        read_reviewed(tmp_path / "predictions.csv")
    with pytest.raises(OutputRefused, match="connect its drive"):
        add_review(tmp_path / "lost" / "a", a, "agree", by="Ann")
    assert not (tmp_path / "lost").exists()


_REVIEWER = """
import sys
from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.laboratory import add_review
prediction = Prediction.load(sys.argv[1] + "/a")
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    add_review(sys.argv[1], prediction, "agree", by=sys.argv[2], comment=str(number))
"""


def test_two_processes_that_review_at_once_lose_nothing(tmp_path: Path) -> None:
    save(tmp_path, "a")
    both = [
        Popen([sys.executable, "-c", _REVIEWER, str(tmp_path), name], stdin=PIPE, stdout=PIPE, text=True)
        for name in ("Ann", "Bob")
    ]
    for one in both:
        assert one.stdout.readline() == "ready\n"
    for one in both:
        one.stdin.write("\n")
        one.stdin.flush()
    assert [one.wait() for one in both] == [0, 0]
    for one in both:
        one.communicate()
    reviews, problems = read_reviews(tmp_path)
    assert not problems
    for name in ("Ann", "Bob"):
        assert [one.comment for one in reviews if one.reviewer == name] == list(map(str, range(40)))


@pytest.mark.skipif(sys.platform == "win32", reason="other permissions")
def test_colleagues_who_may_write_into_the_folder_may_add_reviews(tmp_path: Path) -> None:
    a = save(tmp_path, "a")
    tmp_path.chmod(0o775)
    usual = os.umask(0o022)
    try:
        add_review(tmp_path, a, "agree", by="Ann")
    finally:
        os.umask(usual)
    for name in ("reviews.jsonl", ".reviews.jsonl.lock"):
        assert (tmp_path / name).stat().st_mode & 0o060 == 0o060


def test_the_verb_adds_shows_and_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unclear = save(tmp_path, "a", probabilities=UNCLEAR)
    sure = save(tmp_path, "b")
    out, folder = tmp_path / "reviews.csv", str(tmp_path)
    assert main(["review", folder, "a", "--agree", "--by", "Ann"]) == 2
    assert "nothing to agree with" in " ".join(capsys.readouterr().err.split())
    assert main(["review", folder, "a", "--other", unclear.predicted_class, "--by", "Ann"]) == 0
    assert states(tmp_path)["a"] == "diagnosis stated"  # of no class that was shown, though it is the first one
    assert not agreement(read_reviewed(tmp_path)[0])
    assert main(["review", folder, "a", "--other", "a rare one", "--comment", "=1+1", "--by", "Ann"]) == 0
    with (tmp_path / "reviews.jsonl").open("a") as file:
        file.write('{"torn')
    capsys.readouterr()
    assert main(["review", folder, "--by", "Ann", "--export", str(out)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"No class stands out ({sure.predicted_class})" not in shown
    for part in (
        f"b {sure.predicted_class} not reviewed",
        "Ann: a rare one",
        "a No class stands",
        "diagnosis stated",
        "line 3 is damaged",
    ):
        assert part in shown
    written = read_csv(out)[["patient_id", "diagnosis", "comment"]].to_numpy().tolist()
    assert written[1:] == [["a", "a rare one", "=1+1"]]
    for wrong in (["a"], ["--agree"], ["a", "--agree", "--cannot-tell", "--by", "Ann"], ["no", "--agree"]):
        assert main(["review", folder, *wrong]) == 2
    assert len((tmp_path / "reviews.jsonl").read_text().splitlines()) == 3
    assert main(["review", folder, "b", "--agree", "--by", "Ann"]) == 0
    assert states(tmp_path)["b"] == "agreed"


def test_agreement_that_falls_is_drift(tmp_path: Path) -> None:
    for number in range(70):
        patient = save(tmp_path, f"P{number:02}", f"2026-09-01T00:{number // 60:02}:{number % 60:02}+00:00")
        verdict = "agree" if number < 40 else "other"
        add_review(tmp_path, patient, verdict, by="Ann", diagnosis="another" if verdict == "other" else "")
    drift = monitor(tmp_path, MonitorOptions(reference=30))
    assert [one.name for one in drift.alarms] == ["agreement of reviews"]
    assert drift.alarms[0].alarm >= 40
    assert "agreed 33 % of 30 patients, 100 % of the first 30" in drift.alarms[0].sentence
