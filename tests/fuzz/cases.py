"""The inputs of the fuzz tests, by kind: which files are written, and which door opens which of them."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import dataclass

from hypothesis import strategies as st
from tests.fuzz import saved_files as saved
from tests.fuzz.h5_files import SEEDS as H5_SEEDS
from tests.fuzz.h5_files import h5_files
from tests.fuzz.image_seeds import images, png
from tests.fuzz.mutations import Seed, mutated, mutated_json
from tests.fuzz.table_files import CELLS, IMAGES, TYPES, csv_files, workbooks
from tests.fuzz.zip_files import zip_files, zipped


@dataclass(frozen=True)
class Case:
    """Files to write into an empty folder, and what is opened; the folder itself where `opened` is empty."""

    door: str
    opened: str
    files: dict[str, bytes]


@st.composite
def image_cases(draw: st.DrawFn) -> Case:
    seed, suffix = draw(st.sampled_from(images()))
    content = draw(mutated(seed))
    if draw(st.integers(0, 9)) == 0:  # the start of one file and the end of another
        other, _ = draw(st.sampled_from(images()))
        cut = draw(st.integers(0, len(content)))
        content = content[:cut] + other.content[cut:]
    if draw(st.integers(0, 9)) == 0:
        suffix = draw(st.sampled_from((".tif", ".png", ".jpg", ".bmp")))
    kind = draw(st.sampled_from(("folder", "folder", "file", "zip")))
    if kind == "file":
        return Case("smear", f"cell{suffix}", {f"cell{suffix}": content})
    files = {f"p1/a{suffix}": content, "p1/b.png": png()}
    if kind == "zip":
        entries = [(name, content, zipfile.ZIP_DEFLATED) for name, content in files.items()]
        return Case("smear", "p1.zip", {"p1.zip": zipped(entries)})
    return Case("smear", "p1", files)


_ZIP_DOORS = (("smear", "z.zip"),) * 4 + (("patients", "z.zip"), ("patients", ""), ("cohort", "z.zip"), ("cohort", ""))


@st.composite
def zip_cases(draw: st.DrawFn) -> Case:
    archive = draw(zip_files())
    door, opened = draw(st.sampled_from(_ZIP_DOORS))
    files = {"z.zip": archive}
    if not opened:
        files["p9/a.png"] = png()
    return Case(door, opened, files)


_ODD_NAMES = ("t.csv", "t.tsv", "t.xlsx", "t.parquet", "t.txt", "t.xls")
_NEIGHBOURS = {f"p{number}/a.png": png() for number in (1, 2, 3)} | {"p1.h5": H5_SEEDS[0].content}


_LABELS = {"labels": CELLS, "label table": IMAGES, "type map": TYPES}
_LABELLED = {f"{name}.png": png() for name in ("basophil/a", "LYT/b", "odd/c", "eosinophil/c")}


@st.composite
def table_cases(draw: st.DrawFn) -> Case:
    kind = draw(st.sampled_from(("csv", "csv", "csv", "xlsx", *_LABELS, "odd")))
    if kind in _LABELS:
        return Case(kind, "cells.csv", {"cells.csv": draw(csv_files(_LABELS[kind]))} | _LABELLED)
    name = {"csv": "t.csv", "xlsx": "t.xlsx"}.get(kind) or draw(st.sampled_from(_ODD_NAMES))
    content = draw({"csv": csv_files(), "xlsx": workbooks()}.get(kind, st.one_of(csv_files(), workbooks())))
    door, opened = draw(st.sampled_from((("cohort", name),) * 3 + (("cohort", ""), ("patients", name))))
    if draw(st.integers(0, 9)) == 0:
        door = door.replace("cohort", "checked cohort")
    return Case(door, opened, {name: content} | _NEIGHBOURS)


@st.composite
def saved_cases(draw: st.DrawFn) -> Case:
    kind = draw(st.sampled_from(_SAVED))
    if kind in ("ensemble", "training patients", "added model"):
        files = {f"model/{name}": content for name, content in draw(saved.models()).items()}
        return Case(kind, "model", files)
    if kind == "evaluation":
        return Case(kind, "", draw(saved.evaluations()))
    if kind == "options":
        name, content = draw(saved.options())
        return Case(kind, name, {name: content})
    if kind == "probe":
        return Case(kind, "probe.safetensors", {"probe.safetensors": draw(saved.probes())})
    if kind == "weights":
        return draw(_weights())
    content = {
        "prediction": saved.prediction(),
        "saved cohort": saved.cohort(),
        "patients": saved.cohort(),
        "cohort": saved.cohort(),
        "label map": saved.LABEL_MAP,
        "journal": saved.JOURNAL,
        "classes map": saved.CLASSES_MAP,
    }[kind]
    name = "run.json" if kind == "journal" else "saved.json"
    return Case(kind, name, {name: draw(mutated_json(content))})


_SAVED = ("ensemble",) * 4 + ("training patients", "added model", "journal", "probe", "label map", "classes map")
_SAVED += ("evaluation", "prediction", "options") * 2 + ("saved cohort", "patients", "cohort", "weights")


class _Canary:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        import os

        return os.system, ("touch escaped",)


@st.composite
def _weights(draw: st.DrawFn) -> Case:
    """Weights that are pickles with code, archives of torch, or safetensors."""
    suffix = draw(st.sampled_from((".pth", ".safetensors")))
    code = pickle.dumps({"state_dict": _Canary()})
    archive = zipped([("a/data.pkl", code, 0), ("a/version", b"3\n", 0), ("a/byteorder", b"little", 0)])
    content = draw(st.sampled_from((code, archive, saved.probe(), b"version https://git-lfs.github.com/spec/v1\n")))
    content = draw(mutated(Seed("weights", content))) if draw(st.booleans()) else content
    return Case("weights", f"weights{suffix}", {f"weights{suffix}": content})


@st.composite
def h5_cases(draw: st.DrawFn) -> Case:
    files = {"p.h5": draw(h5_files())}
    if draw(st.integers(0, 3)):
        return Case("features", "p.h5", files)
    table = "patient,diagnosis\np,AML\nq,MDS\n"
    return Case("cohort", "", files | {"q.h5": H5_SEEDS[0].content, "t.csv": table.encode()})


CASES = {
    "images": image_cases(),
    "zips": zip_cases(),
    "tables": table_cases(),
    "saved": saved_cases(),
    "h5": h5_cases(),
}
