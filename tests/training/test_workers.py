"""Folds in parallel on Dask workers: the same members, also when workers stop or die."""

from __future__ import annotations

import logging
import time

import psutil
import pytest
from tests.training.factories import FOLDS, are_same_members, names, read, tiny

from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.errors import ClusterMissing, TrainingRefused
from napari_caltomorph.progress import Cancelled
from napari_caltomorph.training import FinishEarly, TrainProgress, train, training_folder

pytest.importorskip("distributed")

# Long enough that something can happen meanwhile.
OPTIONS = tiny(epochs=25, dropout=0.2, batch_size=2)
SIDE_BY_SIDE = OPTIONS.model_copy(update={"workers": 2})


@pytest.fixture(scope="module")
def one_by_one(few) -> Ensemble:
    return train(read(few), None, OPTIONS)


def dask_workers() -> list[psutil.Process]:
    return [c for c in psutil.Process().children() if "spawn_main" in str(c.cmdline())]


def test_members_are_the_same_and_a_worker_that_is_killed_has_its_member_done_by_another(few, tmp_path, one_by_one):
    own = {child.pid for child in psutil.Process().children()}
    killed, seen = [], []

    def kill_one(progress):
        if not isinstance(progress, TrainProgress):
            return
        seen.append(progress)
        if progress.epoch >= 2 and not killed:
            workers = [worker for worker in dask_workers() if worker.pid not in own]
            assert len(workers) == 2
            workers[0].kill()
            killed.append(workers[0].pid)

    ensemble = train(read(few), few / "features", SIDE_BY_SIDE, out=tmp_path / "model", progress=kill_one)
    assert killed
    assert are_same_members(ensemble, one_by_one)
    assert names(tmp_path) == ["model"]
    assert {p.fold for p in seen} == set(range(FOLDS))
    assert seen[-1].done == seen[-1].total == FOLDS * 25 * 10
    assert not [worker for worker in dask_workers() if worker.pid not in own]


def test_cancelled_workers_stop_and_what_they_leave_resumes_to_the_same_end(few, tmp_path, one_by_one, scheduler):
    def cancel(progress):
        if isinstance(progress, TrainProgress) and progress.epoch >= 2:
            raise Cancelled

    options = OPTIONS.model_copy(update={"scheduler": scheduler})
    with pytest.raises(Cancelled):
        train(read(few), None, options, out=tmp_path / "model", progress=cancel)
    work = training_folder(tmp_path / "model")
    before = {p.name: p.stat().st_mtime_ns for p in work.iterdir()}
    assert "stop" not in before
    time.sleep(0.2)
    assert {p.name: p.stat().st_mtime_ns for p in work.iterdir()} == before
    resumed = train(read(few), None, OPTIONS, out=tmp_path / "model", resume=True)  # by one process
    assert are_same_members(resumed, one_by_one)


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler that runs already, with two workers in threads of this process."""
    import distributed

    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    ) as cluster:
        yield cluster.scheduler_address


def test_finished_early_all_members_that_have_an_epoch_make_the_ensemble(few, scheduler):
    def stop(progress):
        if isinstance(progress, TrainProgress) and progress.epoch >= 2:
            raise FinishEarly(keep_unfinished=True)

    options = OPTIONS.model_copy(update={"scheduler": scheduler})
    ensemble = train(read(few), None, options, progress=stop)
    folds = ensemble.description.training.folds
    assert 1 <= len(folds) <= 2
    assert {fold.stopped_by for fold in folds} == {"hand"}
    assert any(f"{len(folds)} of 3 members" in note for note in ensemble.description.training.notes)
    known = ensemble.patients.table["fold"]
    assert sorted(set(known.dropna())) == list(range(len(folds)))


def test_an_error_stops_all_workers_before_it_is_raised(few, tmp_path, scheduler):
    """No worker writes to the folder any more when `train` has raised; so it can be resumed at once."""
    options = OPTIONS.model_copy(update={"scheduler": scheduler})

    def spoil(progress):
        if isinstance(progress, TrainProgress) and progress.epoch >= 2:
            raise RuntimeError("a bug in a face")

    with pytest.raises(RuntimeError, match="a bug in a face"):
        train(read(few), None, options, out=tmp_path / "model", progress=spoil)
    work = training_folder(tmp_path / "model")
    before = {p.name: p.stat().st_mtime_ns for p in work.iterdir()}
    time.sleep(0.3)
    assert {p.name: p.stat().st_mtime_ns for p in work.iterdir()} == before


def test_what_one_process_refuses_workers_refuse(few, scheduler):
    options = tiny(warmup_epochs=0, schedule="constant", scheduler=scheduler)
    options = options.model_copy(update={"learning_rate": 1e37})  # beyond what the options allow
    with pytest.raises(TrainingRefused, match="is not a number in the first epoch; use a smaller --learning-rate"):
        train(read(few), None, options)


def test_a_scheduler_that_does_not_answer_is_one_sentence_and_leaves_nothing(few, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_caltomorph.dask_workers._CONNECT_SECONDS", 0.3)
    options = tiny(scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ClusterMissing, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9; check the address"):
        train(read(few), None, options, out=tmp_path / "model")
    assert names(tmp_path) == []
