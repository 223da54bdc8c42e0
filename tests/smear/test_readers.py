"""Several smears read at once, by threads or processes: every patient's own cells, whatever happens to the others."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from napari_caltomorph.errors import SmearUnreadable
from napari_caltomorph.smear import Reason, check_smear, open_place, readers
from napari_caltomorph.smear.cell_process import BLOCK_BYTES
from napari_caltomorph.smear.process_reader import ProcessReader
from napari_caltomorph.smear.readers import Part, Readers, SmearToRead, ThreadReader


@pytest.fixture(scope="module")
def patients(tmp_path_factory, make_export) -> Path:
    """``good``, ``other``, ``empty`` (no usable cell) and ``gone`` (no folder)."""
    folder = tmp_path_factory.mktemp("patients")
    make_export(folder / "good", cells=20)
    good = sorted((folder / "good").glob("*.TIF"))
    (folder / "good" / "repeat.tif").write_bytes(good[0].read_bytes())
    (folder / "good" / "zeros.tif").write_bytes(bytes(100))
    make_export(folder / "other", cells=10)
    (folder / "empty").mkdir()
    for number in range(3):
        Image.fromarray(np.full((50, 50, 3), 200 + number, np.uint8)).save(folder / "empty" / f"{number}.png")
    return folder


def wanted(folder: Path, *names: str, **changes) -> list[SmearToRead]:
    return [SmearToRead(name, partial(open_place, str(folder / name)), **changes) for name in names]


def read(smears: list[SmearToRead], kind: type, count: int = 2) -> dict[str, list[Part]]:
    found: dict[str, list[Part]] = {one.key: [] for one in smears}
    with Readers(smears, [kind() for _ in range(count)]) as reading:
        while not reading.is_done:
            if (part := reading.take(0.05)) is not None:
                part.release()
                found[part.key].append(part)
    assert reading._bytes == 0
    return found


@pytest.mark.parametrize("kind", [ThreadReader, ProcessReader])
def test_each_patient_has_its_own_cells_and_a_bad_one_its_own_error(patients, kind):
    found = read(wanted(patients, "good", "empty", "gone", "other"), kind)
    for name in ("good", "other"):
        *parts, last = found[name]
        smear = open_place(str(patients / name))
        assert str(last.smear.grades) == str(check_smear(smear).grades)  # NaN is no NaN
        assert sum(part.cells for part in parts) == len(smear)
        images = {digest: image for part in parts for digest, image in part.images.items()}
        usable = {last.smear.grades[i].digest: smear.image(i) for i in last.smear.usable}
        assert images.keys() == usable.keys()
        assert all(np.array_equal(images[digest], image) for digest, image in usable.items())
        # A repeated cell is given once.
        assert sum(len(part.images) for part in parts) == len(images)
    assert found["good"][-1].smear.left_out_counts() == {Reason.REPEAT: 1, Reason.UNREADABLE: 1}
    for name in ("empty", "gone"):
        assert isinstance(found[name][-1].error, SmearUnreadable)
        assert name in str(found[name][-1].error)


@pytest.mark.parametrize("kind", [ThreadReader, ProcessReader])
def test_of_a_smear_without_news_only_the_grades_are_given(patients, kind):
    asked = []

    def has_news(smear):
        asked.append(smear.fingerprint)
        return smear.patient_id == "good"

    found = read(wanted(patients, "good", "other", has_news=has_news), kind, count=1)
    assert len(asked) == 2
    assert sum(len(part.images) for part in found["good"]) == 20
    assert not any(part.images for part in found["other"])
    assert found["other"][-1].smear.fingerprint == asked[1]


def test_what_waits_is_bounded(patients, monkeypatch):
    monkeypatch.setattr(readers, "BYTES_IN_FLIGHT", 1)
    with Readers(wanted(patients, "good"), [ThreadReader()]) as reading:
        first = reading.take(30)
        assert reading.take(0.1) is None
        first.release()
        assert reading.take(30).cells


def test_an_image_larger_than_the_shared_blocks_comes_too(tmp_path):
    side = int((BLOCK_BYTES / 3) ** 0.5) + 1
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.bmp")
    first, last = read(wanted(tmp_path, "large.bmp"), ProcessReader, count=1)["large.bmp"]
    assert last.error is None
    (image,) = first.images.values()
    assert np.array_equal(image, pixels)


def test_a_patient_whose_reading_kills_the_process_fails_alone(patients):
    before = psutil.Process().children()
    deadly = SmearToRead("deadly", partial(os._exit, 3))
    wrong = SmearToRead("wrong", partial(int, "x"))
    found = read([deadly, wrong, *wanted(patients, "good")], ProcessReader, count=1)
    (part,) = found["deadly"]
    assert isinstance(part.error, SmearUnreadable)
    assert "deadly was not read" in str(part.error)
    assert "invalid literal for int" in str(found["wrong"][-1].error)
    assert len(found["good"][-1].smear) == 22
    assert psutil.Process().children() == before


def test_a_process_that_is_killed_is_replaced_and_counts_no_cell_twice(patients):
    reader = ProcessReader()
    parts = []
    for part in reader.read(wanted(patients, "good")[0]):
        if not parts:
            reader._child._process.kill()
        parts.append(part)
    reader.close()
    assert parts[-1].smear is not None
    assert sum(part.cells for part in parts) == 22
    assert len({digest for part in parts for digest in part.images}) == 20


def test_stopping_ends_a_process_that_is_busy():
    before = psutil.Process().children()
    with Readers([SmearToRead("slow", partial(time.sleep, 600))], [ProcessReader()]) as reading:
        assert reading.take(0.2) is None
        assert len(psutil.Process().children()) == len(before) + 1
    assert psutil.Process().children() == before
