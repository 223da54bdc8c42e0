"""Encoding a cohort that is cancelled, killed, or shared by several processes: nothing is ever half done."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from tests.cohort.factories import (
    CELLS,
    OPTIONS,
    PATIENTS,
    assert_same,
    bytes_in,
    cohort_of,
    journal,
    leftovers,
    patient_folders,
    times_in,
    values_in,
)
from tests.stopping import Cancels

from napari_caltomorph.cohort import encode_cohort
from napari_caltomorph.dask_workers import device_of
from napari_caltomorph.errors import ClusterMissing, OutputRefused
from napari_caltomorph.progress import Cancelled

# Forked from a server that has torch loaded, a process starts in a blink; so one test can kill many.
PROCESSES = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
if os.name == "posix":
    PROCESSES.set_forkserver_preload(["napari_caltomorph.cohort.encode"])


@pytest.mark.parametrize("stop_at", [0, 1, 2, 3, 5, 8, 12, 15])
def test_cancelling_at_any_moment_leaves_nothing_half_done(images, tmp_path, stop_at):
    threads = threading.active_count()
    try:
        encode_cohort(cohort_of(images, 2), tmp_path / "f", OPTIONS, progress=Cancels(call=stop_at))
        outcome = "complete"
    except Cancelled:
        outcome = "stopped"
    assert threading.active_count() == threads
    assert not leftovers(tmp_path / "f")
    assert all(len(values) == CELLS for values in values_in(tmp_path / "f").values())
    if (tmp_path / "f" / "run.json").exists():
        assert journal(tmp_path / "f")["runs"][0]["outcome"] == outcome
    before = times_in(tmp_path / "f")
    summary = encode_cohort(cohort_of(images, 2), tmp_path / "f", OPTIONS)
    assert summary.encoded + summary.skipped == 2
    assert before.items() <= times_in(tmp_path / "f").items()


def encode_slowly(images: Path, folder: Path) -> None:
    encode_cohort(cohort_of(images), folder, OPTIONS, progress=lambda _: time.sleep(0.01))


@pytest.mark.skipif(os.name != "posix", reason="no SIGKILL there")
def test_killed_at_random_moments_and_resumed_it_is_as_if_never_killed(images, tmp_path):
    encode_cohort(cohort_of(images), tmp_path / "undisturbed", OPTIONS)
    folder = tmp_path / "f"
    moments = random.Random(4)
    kills = []
    while len(kills) < 4:
        before = times_in(folder)
        if len(before) == PATIENTS:  # done already: begin again
            shutil.rmtree(folder)
            before = {}
        process = PROCESSES.Process(target=encode_slowly, args=(images, folder))
        process.start()
        while process.is_alive() and not (folder / "run.json").exists():
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.4))
        process.kill()
        process.join()
        kills.append((process.exitcode, len(before)))
        assert before.items() <= times_in(folder).items()  # no finished patient is encoded again
        assert all(len(values) == CELLS for values in values_in(folder).values())
    assert [code for code, _ in kills].count(-9) >= 2
    (folder / ".caltomorph-0123456789abcdef.part").write_bytes(b"half a file")
    before = times_in(folder)
    encode_cohort(cohort_of(images), folder, OPTIONS)
    assert before.items() <= times_in(folder).items()
    assert bytes_in(folder) == bytes_in(tmp_path / "undisturbed")
    assert {p.name for p in folder.iterdir()} == {p.name for p in (tmp_path / "undisturbed").iterdir()}
    assert "killed" in {run["outcome"] for run in journal(folder)["runs"]}


def test_a_second_run_at_the_same_time_is_refused(images, tmp_path, reference):
    process = PROCESSES.Process(target=encode_slowly, args=(images, tmp_path / "f"))
    process.start()
    while not (tmp_path / "f" / "run.json").exists():
        assert process.is_alive()
        time.sleep(0.001)
    with pytest.raises(OutputRefused, match=rf"Another run writes to .*process {process.pid} on "):
        encode_cohort(cohort_of(images), tmp_path / "f", OPTIONS)
    process.join()
    assert process.exitcode == 0
    assert_same(values_in(tmp_path / "f"), reference, tolerance=1e-5)


def readers_of(process: psutil.Process) -> list[psutil.Process]:
    """The processes that read cells for this one."""
    return [child for child in process.children() if "napari_caltomorph.smear.cell_process" in child.cmdline()]


@pytest.mark.parametrize("is_killed", [False, True])
def test_other_processes_read_and_change_no_byte_also_when_one_is_killed(images, tmp_path, is_killed):
    seen: list[psutil.Process] = []

    def watch(progress):
        if progress.stage == "Encoding" and progress.done and not seen:
            seen.extend(readers_of(psutil.Process()))
            if sys.platform == "linux":
                mapped = [region.path for one in seen for region in one.memory_maps()]
                assert not [path for path in mapped if "libtorch" in path]
                # What they share has no name that could stay behind.
                assert not [path for path in mapped if path.startswith("/dev/shm")]
            if is_killed:
                seen[0].kill()

    encode_cohort(cohort_of(images), tmp_path / "one", OPTIONS)
    two = OPTIONS.model_copy(update={"workers": 2})
    summary = encode_cohort(cohort_of(images), tmp_path / "two", two, progress=watch)
    assert len(seen) == 2
    assert (summary.encoded, summary.failed) == (PATIENTS, ())
    assert bytes_in(tmp_path / "two") == bytes_in(tmp_path / "one")
    assert not readers_of(psutil.Process())


def encode_with_others(images: Path, folder: Path) -> None:
    options = OPTIONS.model_copy(update={"workers": 2})
    encode_cohort(cohort_of(images), folder, options, progress=lambda _: time.sleep(0.05))


@pytest.mark.skipif(os.name != "posix", reason="no SIGKILL there")
def test_processes_that_read_end_with_the_one_that_is_killed(images, tmp_path):
    process = PROCESSES.Process(target=encode_with_others, args=(images, tmp_path / "f"))
    process.start()
    while len(readers := readers_of(psutil.Process(process.pid))) < 2:
        assert process.is_alive()
        time.sleep(0.001)
    process.kill()
    process.join()
    assert psutil.wait_procs(readers, timeout=60)[1] == []


def test_any_dask_scheduler_will_do(own_images, reference, tmp_path):
    distributed = pytest.importorskip("distributed")
    gone = patient_folders(own_images)[4]
    cohort = cohort_of(own_images)
    shutil.rmtree(gone)
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": ":0"},
    ) as cluster:
        options = OPTIONS.model_copy(update={"scheduler": cluster.scheduler_address})
        summary = encode_cohort(cohort, tmp_path / "f", options)
        again = encode_cohort(cohort, tmp_path / "f", options)
    assert (summary.encoded, [record.patient_id for record in summary.failed]) == (PATIENTS - 1, [gone.name])
    assert (again.encoded, again.skipped) == (0, PATIENTS - 1)
    assert_same(values_in(tmp_path / "f"), {k: v for k, v in reference.items() if k != gone.name}, tolerance=1e-5)


def test_a_scheduler_that_does_not_answer_is_one_sentence(images, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("napari_caltomorph.dask_workers._CONNECT_SECONDS", 0.3)
    options = OPTIONS.model_copy(update={"scheduler": "tcp://127.0.0.1:9"})
    with pytest.raises(ClusterMissing, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        encode_cohort(cohort_of(images), tmp_path / "f", options)


def test_numbered_workers_take_the_gpus_in_turn():
    assert [device_of(worker, "auto", gpus=2) for worker in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert device_of(3, "auto", gpus=1) == "auto"
    assert device_of(3, "cpu", gpus=4) == "cpu"
    assert device_of(1, "cuda:3", gpus=4) == "cuda:3"
    assert device_of("SLURMCluster-1", "auto", gpus=4) == "auto"  # its job sees the GPU that it was given
