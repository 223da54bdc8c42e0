"""What must hold for the drift of a folder of predictions, and for `caltomorph monitor`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.report.factories import EVIL, Page, make_prediction

from napari_caltomorph.cli import main
from napari_caltomorph.diagnosis.domain import AspectResult, DomainResult
from napari_caltomorph.errors import CohortUnreadable, PredictionUnreadable
from napari_caltomorph.laboratory import MonitorOptions, WatchRecord, monitor
from napari_caltomorph.report.monitor_page import drift_page

OPTIONS = MonitorOptions(reference=30)
BEGIN = datetime(2026, 9, 1, tzinfo=UTC)


def domain(score: float) -> DomainResult:
    aspect = AspectResult(aspect="smear", p_value=0.5, score=score, reference=(0.0, 1.0))
    return DomainResult(p_value=0.5, patients=100, aspects=(aspect,), cell_tails=(0.5,) * 3)


def write(folder: Path, patients: Iterable[str], scores: Iterable[float], *, hours: int = 0, **update) -> None:
    """Predictions, an hour apart, of the patients in this order."""
    for number, (patient, score) in enumerate(zip(patients, scores, strict=False)):
        created = BEGIN + timedelta(hours=hours + number)
        about = {"patient_id": patient, "created": created.isoformat(), "domain": domain(score)}
        prediction = make_prediction(3, seed=number + abs(hours), **(about | update))
        prediction.save(folder / f"{patient}" / "prediction.json")


def scores(shift: float, count: int = 70, at: int = 45, seed: int = 1) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=count)
    values[at:] += shift
    return values


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seventy patients, named against the order of time, of which the last 25 are farther from the training."""
    folder = tmp_path_factory.mktemp("drifted")
    write(folder, (f"P{999 - i}" for i in range(70)), scores(3))
    return folder


def chart(drift, name="domain distance"):
    return next(one for one in drift.charts if one.name == name)


def test_drift_is_found_in_the_order_of_time_and_said_in_words(drifted: Path) -> None:
    drift = monitor(drifted, OPTIONS)
    assert [one.patient_id for one in drift.patients] == [f"P{999 - i}" for i in range(70)]
    assert [one.name for one in drift.alarms] == ["domain distance"]
    found = chart(drift)
    assert 40 <= found.start <= 46 <= found.alarm < 60
    assert drift.state == "drift"
    first = f"{drift.patients[found.start].patient_id}, number {found.start + 1} in order of prediction"
    last = f"found with number {found.alarm + 1}, {drift.patients[found.alarm].patient_id}"
    for part in ("risen since 2026-09-02", first, last, "standard deviations above the first 30 patients", "stain"):
        assert part in found.sentence
    assert any("grain of the background" in note for note in drift.notes)  # not measured, so no chart


def test_the_verb_shows_it_and_writes_a_page_that_loads_nothing(drifted: Path, tmp_path: Path, capsys) -> None:
    page = tmp_path / "page.html"
    assert main(["monitor", str(drifted), "--reference", "30", "--out", str(page)]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "risen" in printed
    numbers = json.loads((tmp_path / "page.json").read_text("utf-8"))
    assert numbers["state"] == "drift"
    text = Page(page.read_text("utf-8")).text
    assert text.index("Domain distance has risen") < text.index("Charts")
    assert main(["monitor", str(drifted), "--since", "2026-09-03", "--out", str(page)]) == 0
    assert json.loads((tmp_path / "page.json").read_text("utf-8"))["state"] == "no verdict"
    assert main(["monitor", str(tmp_path / "nothing")]) == 2
    assert "prediction.json" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()


def test_the_ledger_decides_the_order_where_a_clock_was_set_back(tmp_path: Path) -> None:
    names = [f"P{i}" for i in range(40)]
    write(tmp_path, names[:20], scores(0))
    write(tmp_path, names[20:], scores(0), hours=-1000)
    about = {"at": "2026-01-01T00:00:00+00:00", "version": "1"}
    lines = [WatchRecord(event="predicted", export=n, prediction=f"{n}/prediction.json", **about) for n in names]
    lines = [WatchRecord(event="started", **about), *lines]
    ledger = "".join(f"{line.model_dump_json()}\n" for line in lines)
    (tmp_path / "watch.jsonl").write_text(ledger + '{"torn')
    write(tmp_path, ["by hand"], [0.0], hours=5)  # not in the ledger: by its own time
    drift = monitor(tmp_path, OPTIONS)
    by_ledger = [one.patient_id for one in drift.patients]
    assert [one for one in by_ledger if one != "by hand"] == names
    assert by_ledger.index("by hand") == 6 - 1
    assert any("damaged" in note for note in drift.notes)


def test_of_a_patient_the_newest_prediction_counts_and_both_are_named(tmp_path: Path) -> None:
    write(tmp_path, [f"P{i}" for i in range(35)], scores(0))
    again = make_prediction(3, patient_id="P3", created="2026-12-01T00:00:00+00:00", domain=domain(0))
    again.save(tmp_path / "P3 again" / "prediction.json")
    drift = monitor(tmp_path, OPTIONS)
    assert len(drift.patients) == 35
    assert drift.patients[-1].folder == "P3 again"
    assert [one.folder for one in drift.replaced] == ["P3"]


def test_what_is_not_comparable_or_damaged_is_left_out_and_said(tmp_path: Path) -> None:
    write(tmp_path, [f"old{i}" for i in range(5)], scores(0), hours=-100, model_fingerprint="0" * 64)
    write(tmp_path, [f"P{i}" for i in range(32)], scores(0))
    write(tmp_path, ["undated"], [0.0], created="yesterday")
    (tmp_path / "P1" / "prediction.json").write_text('{"half')
    drift = monitor(tmp_path, OPTIONS)
    assert len(drift.patients) == 31
    notes = " ".join(drift.notes)
    assert all(part in notes for part in ("5 patients predicted by another model", "yesterday", "P1"))


def test_too_few_patients_have_no_verdict(tmp_path: Path) -> None:
    write(tmp_path, [f"P{i}" for i in range(30)], scores(9, at=20))
    drift = monitor(tmp_path, OPTIONS)
    assert (drift.state, drift.charts) == ("no verdict", ())
    assert "30" in drift.sentences[0]
    (tmp_path / "P0" / "prediction.json").write_text("")
    for folder in tmp_path.glob("P*"):
        (folder / "prediction.json").write_text("")
    with pytest.raises(PredictionUnreadable, match="P0"):
        monitor(tmp_path, OPTIONS)


def test_hemoglobin_is_compared_with_the_analyser_in_any_unit_and_order(drifted: Path, tmp_path: Path) -> None:
    from napari_caltomorph.diagnosis import Prediction

    rows = []
    for number in range(70):
        estimate = Prediction.load(drifted / f"P{999 - number}").hemoglobin
        rows.append((f"p{999 - number}", estimate - (2.5 if number >= 40 else 0.0) + 0.1 * np.sin(number)))
    table = tmp_path / "analyser.csv"
    lines = [f"{patient};{value:.2f}".replace(".", ",") for patient, value in reversed(rows)]
    table.write_text("\n".join(["patient_id;hemoglobin_g_dl", *lines, "p999;3,0", "other;11,0"]))
    drift = monitor(drifted, OPTIONS.model_copy(update={"hemoglobin": table}))
    found = chart(drift, "error of hemoglobin, g/dl")
    assert found.direction == "risen"
    assert drift.patients[found.patients[found.start]].patient_id == "P959"
    assert len(found.values) == 69  # p999 has two values
    assert any("several values" in note for note in drift.notes)
    table.write_text("patient_id,color\nP999,red\nP998,red\n")
    with pytest.raises(CohortUnreadable, match="hemoglobin_g_dl"):
        monitor(drifted, OPTIONS.model_copy(update={"hemoglobin": table}))


def test_a_changed_class_mix_is_named_and_ids_are_no_html(tmp_path: Path) -> None:
    one, other = (np.array([row] * 5) for row in np.eye(8)[2:4] * 0.92 + 0.01)
    write(tmp_path, [f"P{i}" for i in range(32)], scores(0), member_probabilities=one)
    write(tmp_path, [f"Q{i}" for i in range(30)], scores(0), hours=40, member_probabilities=other, model_name=EVIL)
    drift = monitor(tmp_path, OPTIONS)
    found = chart(drift, "class mix")
    assert found.direction == "changed"
    names = make_prediction(3).taxonomy.names
    assert any(name in found.sentence for name in names[2:4])
    page = Page(drift_page(drift))
    assert not any(tag == "script" for tag, _ in page.tags)
