"""What must hold for results as HL7 FHIR and as a table, and for `caltomorph export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from tests.report.factories import make_prediction

from napari_caltomorph.cli import main
from napari_caltomorph.csv_files import read_csv
from napari_caltomorph.diagnosis import Prediction
from napari_caltomorph.diagnosis.policy import Policy
from napari_caltomorph.errors import ExportRefused, OutputRefused, PredictionUnreadable
from napari_caltomorph.jobs import export_results
from napari_caltomorph.laboratory import add_review
from napari_caltomorph.laboratory.share import pseudonym

CLEAR = [[0.02] * 7 + [0.86]] * 2


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Eight patients, one in each state."""
    folder = tmp_path / "results"

    def save(patient: str, **update: Any) -> Prediction:
        prediction = make_prediction(
            6, patient_id=patient, member_probabilities=CLEAR, member_hemoglobin=[11.0, 11.0], **update
        )
        prediction.save(folder / patient / "prediction.json")
        return prediction

    policy = Policy(name="ours", version="1", min_cells=7)
    save("agreed")
    save("other", warnings=("Images are \x1b[31mblurred.",))
    save("differ")
    save("tell")
    save("new")
    save("unclear").model_copy(update={"member_probabilities": [[0.125] * 8] * 2}).save(
        folder / "unclear" / "prediction.json"
    )
    save("withheld", policy=policy)
    save("stated", policy=policy)
    of = {one.parent.name: Prediction.load(one) for one in folder.glob("*/prediction.json")}
    add_review(folder, of["agreed"], "agree", by="Ann")
    add_review(folder, of["other"], "other", by="Ann", diagnosis="mds", comment="few blasts")
    add_review(folder, of["differ"], "agree", by="Ann")
    add_review(folder, of["differ"], "other", by="Bob", diagnosis="a rare one")
    add_review(folder, of["tell"], "cannot tell", by="Ann")
    add_review(folder, of["stated"], "other", by="Ann", diagnosis="a rare one")
    return folder


def bundles(file: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The resources of each patient by their code, read by a library that checks FHIR R4B."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for line in file.read_text("utf-8").splitlines():
        document = json.loads(line)
        Bundle.model_validate(document)
        of_code: dict[str, list[dict[str, Any]]] = {}
        urls = [entry["fullUrl"] for entry in document["entry"]]
        assert len(set(urls)) == len(urls)
        for entry in document["entry"]:
            one = entry["resource"]
            assert one["meta"]["tag"][0]["code"] == "research-use-only"
            code = one["code"]["coding"][0]["code"] if "code" in one else one["resourceType"]
            of_code.setdefault(code, []).append(one)
            assert ("valueQuantity" in one or "valueCodeableConcept" in one) + ("dataAbsentReason" in one) < 2
        report = of_code["report"][0]
        assert {one["reference"] for one in report["result"]} <= {*urls}
        found[report["subject"]["identifier"]["value"]] = of_code
    return found


def test_reports_are_fhir_and_have_the_status_of_their_reviews(results: Path, tmp_path: Path) -> None:
    made = export_results(results, tmp_path / "out.ndjson", "fhir")
    assert (made.patients, made.withheld, made.problems) == (8, 2, ())
    found = bundles(made.path)
    reports = {patient: codes["report"][0] for patient, codes in found.items()}
    assert {patient: report["status"] for patient, report in reports.items()} == {
        "agreed": "final", "other": "amended", "differ": "preliminary", "tell": "preliminary",
        "new": "preliminary", "unclear": "preliminary", "withheld": "preliminary", "stated": "amended",
    }  # fmt: skip
    assert {name: [one["text"] for one in report.get("conclusionCode", [])] for name, report in reports.items()} == {
        "agreed": ["Healthy"], "other": ["MDS"], "differ": [], "tell": ["Healthy"], "new": ["Healthy"],
        "unclear": [], "withheld": [], "stated": ["a rare one"],
    }  # fmt: skip
    assert all("Research use only" in report["conclusion"] for report in reports.values())
    agreed = found["agreed"]
    each = agreed["class-probabilities"][0]["component"]
    shares = {one["code"]["coding"][0]["code"]: one["valueQuantity"]["value"] for one in each}
    assert shares["healthy"] == 0.86
    assert len(shares) == 8
    assert agreed["hemoglobin-estimate"][0]["valueQuantity"] == {
        "value": 11.0, "unit": "g/dL", "system": "http://unitsofmeasure.org", "code": "g/dL"
    }  # fmt: skip
    assert [one["valueQuantity"]["value"] for one in agreed["hemoglobin-estimate"][0]["component"]] == [8.5, 14.0]
    assert agreed["Device"][0]["identifier"][0]["value"] == "f" * 64
    assert agreed["predicted-class"][0]["status"] == "final"
    other = found["other"]
    assert other["predicted-class"][0]["status"] == "preliminary"
    assert other["reviewer-diagnosis"][0]["valueCodeableConcept"]["coding"][0]["code"] == "mds"
    assert other["reviewer-diagnosis"][0]["note"] == [{"text": "few blasts"}]
    assert "\\x1b[31m" in other["predicted-class"][0]["note"][0]["text"]
    assert [one["performer"][0]["display"] for one in found["differ"]["reviewer-diagnosis"]] == ["Ann", "Bob"]
    assert found["unclear"]["predicted-class"][0]["valueCodeableConcept"]["text"] == "No class stands out"


def test_a_withheld_prediction_has_reasons_and_no_number(results: Path, tmp_path: Path) -> None:
    export_results(results / "withheld" / "prediction.json", tmp_path / "one.json", "fhir")
    document = json.loads((tmp_path / "one.json").read_text("utf-8"))
    one = Bundle.model_validate(document)
    text = json.dumps(document)
    assert "6 cells, fewer than 7" in text
    assert [part for part in ("0.86", "Healthy", "11.0", "8.5") if part in text] == []
    absent = [e.resource.code.text for e in one.entry if getattr(e.resource, "dataAbsentReason", None) is not None]
    assert len(absent) == 4
    export_results(results, tmp_path / "all.csv", "csv")
    row = read_csv(tmp_path / "all.csv").set_index("patient_id").loc["withheld"]
    assert row[["diagnosis", "most_probable_class", "p_healthy", "malignancy", "hemoglobin_g_dl"]].isna().all()
    assert "fewer than 7" in row["withheld"]


def test_a_table_has_one_row_a_patient_and_runs_no_formula(results: Path, tmp_path: Path) -> None:
    made = export_results(results, tmp_path / "out.csv", "csv")
    table = read_csv(made.path).set_index("patient_id")
    assert len(table) == 8
    columns = ["patient_id", "status", "diagnosis", "most_probable_class", "stands_out", "p_acute_leukemia"]
    assert made.path.read_text("utf-8").startswith(",".join(columns))
    assert table.loc["unclear", ["diagnosis", "stands_out"]].isna().tolist() == [True, False]
    assert table.loc["other", ["status", "diagnosis", "reviewed_diagnosis"]].tolist() == ["amended", "Healthy", "MDS"]
    make_prediction(6, patient_id="=1+1").save(results / "=1+1" / "prediction.json")
    export_results(results, tmp_path / "more.csv", "csv")
    assert "\n'=1+1," in (tmp_path / "more.csv").read_text("utf-8")


def test_pseudonyms_are_the_same_in_each_export_and_the_key_is_nowhere(results: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    key.write_text("0123456789abcdefghijklmnopqrstuv")
    export_results(results, tmp_path / "a.csv", "csv", pseudonymise=key)
    export_results(results, tmp_path / "b.ndjson", "fhir", pseudonymise=key, share=True)
    ids = read_csv(tmp_path / "a.csv")["patient_id"].tolist()
    assert ids == sorted(pseudonym(one.name, key.read_bytes()) for one in results.iterdir() if one.is_dir())
    assert ids == list(bundles(tmp_path / "b.ndjson"))
    assert all(key.read_text() not in (tmp_path / name).read_text("utf-8") for name in ("a.csv", "b.ndjson"))
    for name in ("c.csv", "d.csv"):  # without a key, no export can be joined with another
        export_results(results, tmp_path / name, "csv", share=True)
    assert not {*read_csv(tmp_path / "c.csv")["patient_id"]} & {*read_csv(tmp_path / "d.csv")["patient_id"]}


def test_nothing_is_written_over_a_file_or_where_something_is_wrong(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine")
    with pytest.raises(OutputRefused, match="exists already"):
        export_results(results, out, "csv")
    assert out.read_text() == "mine"
    for name, form, why in (("a.txt", "csv", "ends with"), ("a.json", "fhir", r"8 patients.*\.ndjson")):
        with pytest.raises(ExportRefused, match=why):
            export_results(results, tmp_path / name, form)
    with pytest.raises(ExportRefused, match="secrets"):
        export_results(results, tmp_path / "a.csv", "csv", pseudonymise=tmp_path / "none")
    with pytest.raises(PredictionUnreadable, match=r"prediction\.json"):
        export_results(tmp_path, tmp_path / "a.csv", "csv")
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["out.csv"]


def test_the_verb_shows_what_was_left_out_withheld_and_stripped(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "new" / "prediction.json").write_text("{")
    out = tmp_path / "shared.csv"
    assert main(["export", str(results), "--as", "csv", "--out", str(out), "--share"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    for part in ("7 patients; 2 of them withheld", "stripped: dates (7 patients)", "names of reviewers (5 patients)"):
        assert part in shown
    assert "new" in shown.partition("Left out:")[2]
    assert main(["export", str(results), "--as", "csv", "--out", str(out)]) == 2
