"""A training that is killed, cancelled, stopped by hand or begun twice: nothing is lost, nothing is half done."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.training.factories import (
    ORIGIN,
    PROCESSES,
    are_same,
    are_same_members,
    names,
    read,
    save_features,
    tiny,
    weights_of,
    with_column,
)

from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.encoding import Features
from napari_caltomorph.errors import OutputRefused, TrainingRefused
from napari_caltomorph.progress import Cancelled, Progress
from napari_caltomorph.training import FinishEarly, TrainOptions, TrainProgress, train, training_folder
from napari_caltomorph.training.members import FoldCheckpoint

# Long enough to be disturbed: 3 members of 6 epochs of 3 steps.
OPTIONS = tiny(epochs=6, dropout=0.2, hemoglobin=True)


def train_slowly(folder: Path, out: Path, options: TrainOptions = OPTIONS, wait: float = 0.02) -> None:
    train(read(folder), None, options, out=out, resume=True, progress=lambda _: time.sleep(wait))


@pytest.fixture(scope="module")
def undisturbed(few) -> Ensemble:
    return train(read(few), None, OPTIONS)


class Stop:
    """Raises an error when a training has come to some epoch of some fold, or at the so many-th call."""

    def __init__(
        self, error: Exception | type[Exception], *, fold: int = 0, epoch: int = 0, calls: int = 10**9
    ) -> None:
        self._error, self._fold, self._epoch, self._calls = error, fold, epoch, calls
        self.seen: list[TrainProgress] = []

    def __call__(self, progress: Progress) -> None:
        if isinstance(progress, TrainProgress):
            self.seen.append(progress)
            if (progress.fold, progress.epoch) >= (self._fold, self._epoch) and self._calls == 10**9:
                raise self._error
        if len(self.seen) > self._calls:
            raise self._error


@pytest.fixture(scope="module")
def stopped_once(few, tmp_path_factory) -> Path:
    """The folder of a training that was stopped after two epochs of the second member."""
    out = tmp_path_factory.mktemp("stopped") / "model"
    with pytest.raises(Cancelled):
        train(read(few), None, OPTIONS, out=out, progress=Stop(Cancelled, fold=1, epoch=2))
    return training_folder(out)


@pytest.fixture
def stopped(stopped_once, tmp_path) -> Path:
    """The name of a model whose training was stopped; a copy that a test may change."""
    shutil.copytree(stopped_once, tmp_path / "model.training")
    return tmp_path / "model"


@pytest.mark.skipif(os.name != "posix", reason="no SIGKILL there")
def test_killed_at_random_moments_and_resumed_it_ends_as_if_never_killed(few, tmp_path, undisturbed):
    out, moments, killed = tmp_path / "model", random.Random(1), 0
    for _ in range(3):
        process = PROCESSES.Process(target=train_slowly, args=(few, out))
        process.start()
        while process.is_alive() and not (training_folder(out) / "training.json").exists():
            time.sleep(0.001)
        process.join(moments.uniform(0, 0.4))
        process.kill()
        process.join()
        killed += process.exitcode == -9
        if out.exists():
            break
    assert killed >= 2
    if not out.exists():
        train(read(few), None, OPTIONS, out=out, resume=True)
    # Killed after the model took its place, the last process may not have come to removing its training.
    assert set(names(tmp_path)) - {"model.training"} == {"model"}
    assert are_same_members(Ensemble.load(out), undisturbed)
    mine = json.loads((out / "model.json").read_text())["training"]
    theirs = json.loads(undisturbed.description.model_dump_json())["training"]
    assert mine["folds"] == theirs["folds"]
    assert mine["out_of_fold"] == theirs["out_of_fold"]


def test_killed_between_the_best_weights_and_the_state_it_ends_the_same(few, tmp_path, undisturbed):
    """The best weights are written first: a kill right after leaves them one epoch ahead."""
    with pytest.raises(Cancelled):
        train(read(few), None, OPTIONS, out=tmp_path / "m", progress=Stop(Cancelled, fold=1, epoch=3))
    work = training_folder(tmp_path / "m")
    ahead = (work / "fold_1.best.safetensors").read_bytes()
    train_two = tmp_path / "m2"
    with pytest.raises(Cancelled):
        train(read(few), None, OPTIONS, out=train_two, progress=Stop(Cancelled, fold=1, epoch=2))
    (training_folder(train_two) / "fold_1.best.safetensors").write_bytes(ahead)
    assert are_same_members(train(read(few), None, OPTIONS, out=train_two, resume=True), undisturbed)


@pytest.mark.parametrize("stop_at", [0, 4, 23, 70])
def test_cancelling_at_any_moment_leaves_what_resumes_to_the_same_end(few, tmp_path, undisturbed, stop_at):
    out = tmp_path / "model"
    with pytest.raises(Cancelled):
        train(read(few), None, OPTIONS, out=out, progress=Stop(Cancelled, calls=stop_at))
    assert not out.exists()
    assert names(tmp_path) in ([], ["model.training"])
    resumed = train(read(few), None, OPTIONS, out=out, resume=True)
    assert are_same_members(resumed, undisturbed)
    assert names(tmp_path) == ["model"]


def test_cancelled_before_an_epoch_is_done_nothing_remains(few, tmp_path):
    with pytest.raises(Cancelled):
        train(read(few), None, OPTIONS, out=tmp_path / "model", progress=Stop(Cancelled, calls=2))
    assert names(tmp_path) == []

    def at_once(progress: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        train(read(few), None, OPTIONS, out=tmp_path / "model", progress=at_once)
    assert names(tmp_path) == []


def test_a_resumed_training_does_no_epoch_twice_and_counts_the_time_of_all_runs(few, stopped):
    first = FoldCheckpoint(training_folder(stopped), 0)
    first.end(replace(first.history(), seconds=5_000.0))
    again = Stop(Cancelled, fold=99)
    ensemble = train(read(few), None, OPTIONS, out=stopped, resume=True, progress=again)
    assert (again.seen[0].fold, again.seen[0].epoch) == (0, 6)
    assert min(p.epoch for p in again.seen if p.fold == 1) == 2
    assert again.seen[-1].done == again.seen[-1].total == 3 * 6 * 3
    assert [p.done for p in again.seen] == sorted(p.done for p in again.seen)
    assert ensemble.description.training.seconds > 5_000


def warnings_of(ensemble: Ensemble) -> tuple[str, ...]:
    """The warnings about members that a prediction has."""
    cells = np.zeros((2, ensemble.description.encoder.width), np.float32)
    warnings = ensemble.predict(Features("somebody", cells, ("one", "two"), ORIGIN)).warnings
    return tuple(warning for warning in warnings if "by hand" in warning)


def test_finished_early_the_members_that_have_an_epoch_make_the_ensemble_where_that_is_wanted(
    few, tmp_path, undisturbed
):
    stop = Stop(FinishEarly(keep_unfinished=True), fold=1, epoch=2)
    ensemble = train(read(few), None, OPTIONS, out=tmp_path / "m", progress=stop)
    training = ensemble.description.training
    assert [(fold.epochs, fold.stopped_by) for fold in training.folds] == [(6, "fixed number of epochs"), (2, "hand")]
    assert any("2 of 3 members are in the model" in note for note in training.notes)
    loaded = Ensemble.load(tmp_path / "m")
    for text in (training.remarks[0], (tmp_path / "m" / "README.md").read_text("utf-8"), *warnings_of(loaded)):
        assert "1 of 2 (member 2 after 2 epochs)" in text
    assert loaded.description.members_in_words == "2 members, 1 unfinished"
    assert are_same(weights_of(ensemble, 0), weights_of(undisturbed, 0))
    assert not are_same(weights_of(ensemble, 1), weights_of(undisturbed, 1))
    assert names(tmp_path) == ["m"]
    assert are_same_members(loaded, ensemble)
    patients = ensemble.patients.table
    assert patients["fold"].isna().sum() == 10  # those of the third fold
    assert patients.loc[patients["fold"].isna()].filter(like="out_of_fold_p_").isna().all(axis=None)
    assert patients.loc[patients["fold"].notna()].filter(like="out_of_fold_p_").notna().all(axis=None)
    assert len(training.out_of_fold.per_fold["accuracy"]) == 2


@pytest.mark.parametrize(("early", "epoch"), [(FinishEarly(keep_unfinished=True), 0), (FinishEarly(), 2)])
def test_finished_early_an_unfinished_member_is_left_out_unless_it_is_wanted_and_has_an_epoch(few, early, epoch):
    ensemble = train(read(few), None, OPTIONS, progress=Stop(early, fold=1, epoch=epoch))
    assert [fold.stopped_by for fold in ensemble.description.training.folds] == ["fixed number of epochs"]
    assert any("1 of 3 members" in note for note in ensemble.description.training.notes)
    assert not ensemble.description.training.unfinished
    assert not list(warnings_of(ensemble))


def test_finished_early_before_a_member_has_finished_there_is_no_model_and_it_resumes(few, tmp_path, undisturbed):
    with pytest.raises(Cancelled):
        train(read(few), None, OPTIONS, out=tmp_path / "m", progress=Stop(FinishEarly(), fold=0, epoch=2))
    assert names(tmp_path) == ["m.training"]
    resumed = train(read(few), None, OPTIONS, out=tmp_path / "m", resume=True)
    assert are_same_members(resumed, undisturbed)


def test_a_member_at_its_end_is_not_called_stopped_by_hand(few):
    ensemble = train(read(few), None, OPTIONS, progress=Stop(FinishEarly, fold=0, epoch=6))
    assert ensemble.description.training.folds[0].stopped_by == "fixed number of epochs"


def test_finished_early_before_any_epoch_it_is_cancelled(few, tmp_path):
    with pytest.raises(Cancelled):
        train(read(few), None, OPTIONS, out=tmp_path / "m", progress=Stop(FinishEarly, calls=1))
    assert names(tmp_path) == []


def test_without_resume_a_training_that_was_stopped_is_not_overwritten(few, stopped):
    kept = sorted(training_folder(stopped).glob("[!.]*"))  # not the lock, which names the last run
    before = [path.read_bytes() for path in kept]
    with pytest.raises(OutputRefused, match=r"model\.training contains a training that was stopped; .*--resume"):
        train(read(few), None, OPTIONS, out=stopped)
    assert sorted(training_folder(stopped).glob("[!.]*")) == kept
    assert [path.read_bytes() for path in kept] == before


def test_other_options_are_refused_with_the_difference(few, stopped):
    other = OPTIONS.model_copy(update={"learning_rate": 0.5, "seed": 3})
    with pytest.raises(
        TrainingRefused, match=r"other options \(--learning-rate 0\.003 then, 0\.5 now; --seed 0 then, 3"
    ):
        train(read(few), None, other, out=stopped, resume=True)
    assert (training_folder(stopped) / "fold_0.state.safetensors").is_file()


def relabel(cohort, folder):
    return with_column(cohort, "coarse", {"aml-000": "lymphoma"})


def remove_one(cohort, folder):
    (folder / "features" / "aml-000.h5").unlink()
    return read(folder)


def spoil_features(cohort, folder):
    save_features(folder, "aml-000", Features.load(folder / "features" / "aml-000.h5").values + 1)
    return cohort


def regroup(cohort, folder):  # changes who stops a member, and nothing else
    return with_column(cohort, "group", dict.fromkeys(cohort.table["patient_id"][:9], "one"))


def refold(cohort, folder):
    return with_column(cohort, "fold", {"aml-000": 1 if cohort.table["fold"][0] != 1 else 2})


def test_a_training_that_an_earlier_version_began_is_refused(few, stopped):
    path = training_folder(stopped) / "training.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "format"}))
    with pytest.raises(TrainingRefused, match=r"by another version.*remove that folder"):
        train(read(few), None, OPTIONS, out=stopped, resume=True)


@pytest.mark.parametrize("change", [relabel, remove_one, spoil_features, regroup, refold])
def test_other_data_are_refused(own, stopped, change):
    with pytest.raises(TrainingRefused, match="began with other patients, labels, folds or features; resume with"):
        train(change(read(own), own), None, OPTIONS, out=stopped, resume=True)
    assert (training_folder(stopped) / "fold_0.state.safetensors").is_file()


@pytest.mark.parametrize("file", ["fold_1.state.safetensors", "fold_1.best.safetensors", "training.json"])
@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_a_damaged_checkpoint_is_one_sentence_that_names_the_file_to_remove(few, stopped, undisturbed, file, damage):
    path = training_folder(stopped) / file
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "other": b"PK\x03\x04" + content, "empty": b""}[damage])
    if file == "fold_1.best.safetensors":
        # It is written again in each epoch that is the best so far: all, without validation.
        assert are_same_members(train(read(few), None, OPTIONS, out=stopped, resume=True), undisturbed)
        return
    with pytest.raises(TrainingRefused, match=rf"{file} .*remove .*training") as refused:
        train(read(few), None, OPTIONS, out=stopped, resume=True)
    assert "\n" not in str(refused.value)
    if (file, damage) == ("fold_1.state.safetensors", "cut"):
        path.unlink()
        assert are_same_members(train(read(few), None, OPTIONS, out=stopped, resume=True), undisturbed)


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_weights_of_a_member_at_its_end_are_one_sentence(few, stopped, undisturbed, damage):
    path = training_folder(stopped) / "fold_0.best.safetensors"
    path.write_bytes(path.read_bytes()[:100]) if damage == "cut" else path.unlink()
    with pytest.raises(TrainingRefused, match=r"fold_0\.best\.safetensors .*remove .*fold_0\.state") as error:
        train(read(few), None, OPTIONS, out=stopped, resume=True)
    assert "\n" not in str(error.value)
    (training_folder(stopped) / "fold_0.state.safetensors").unlink()
    assert are_same_members(train(read(few), None, OPTIONS, out=stopped, resume=True), undisturbed)


def test_two_trainings_of_one_model_at_once_the_second_is_refused(few, tmp_path, undisturbed):
    out = tmp_path / "model"
    process = PROCESSES.Process(target=train_slowly, args=(few, out))
    process.start()
    while not (training_folder(out) / "training.json").exists():
        assert process.is_alive()
        time.sleep(0.001)
    for resume in (True, False):  # the first has no finished epoch yet
        with pytest.raises(OutputRefused, match=rf"Another run writes to .*process {process.pid} on "):
            train(read(few), None, OPTIONS, out=out, resume=resume)
    process.join()
    assert process.exitcode == 0
    assert are_same_members(Ensemble.load(out), undisturbed)


def test_a_model_that_exists_is_refused_before_anything_is_trained(few, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(OutputRefused, match="model exists already; choose another name"):
        train(read(few), None, OPTIONS, out=tmp_path / "model", progress=Stop(AssertionError))


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_other_files_is_not_taken_for_a_training(few, tmp_path, resume):
    theirs = tmp_path / "model.training" / "thesis.docx"
    theirs.parent.mkdir()
    theirs.write_text("three years")
    with pytest.raises(OutputRefused, match=r"model\.training is not the folder of a training; choose another"):
        train(read(few), None, OPTIONS, out=tmp_path / "model", resume=resume)
    assert names(theirs.parent) == ["thesis.docx"]


def test_resume_without_a_training_begins_one(few, tmp_path, undisturbed):
    assert are_same_members(train(read(few), None, OPTIONS, out=tmp_path / "model", resume=True), undisturbed)


def train_on_a_disk_that_fills(folder: Path, out: Path, message: Path) -> None:
    """The largest size of files comes down after two epochs of the second member."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(progress: Progress) -> None:
        if isinstance(progress, TrainProgress) and (progress.fold, progress.epoch) == (1, 2):
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

    try:
        train(read(folder), None, OPTIONS, out=out, progress=fill)
    except OutputRefused as error:
        message.write_text(str(error), encoding="utf-8")


@pytest.mark.skipif(os.name != "posix", reason="no such limit there")
def test_a_disk_that_fills_leaves_the_epoch_before_to_resume_from(few, tmp_path, undisturbed):
    message, out = tmp_path / "message", tmp_path / "model"
    process = PROCESSES.Process(target=train_on_a_disk_that_fills, args=(few, out, message))
    process.start()
    process.join()
    assert process.exitcode == 0
    sentence = message.read_text()
    assert "model.training/fold_1." in sentence
    assert "could not be written (File too large); free some space" in sentence
    assert not [name for name in names(training_folder(out)) if name.endswith(".part")]
    seen = Stop(Cancelled, fold=99)
    resumed = train(read(few), None, OPTIONS, out=out, resume=True, progress=seen)
    assert min(p.epoch for p in seen.seen if p.fold == 1) == 2
    assert are_same_members(resumed, undisturbed)


def test_progress_counts_to_its_total_and_names_fold_and_epoch(few):
    seen = Stop(Cancelled, fold=99)
    train(read(few), None, OPTIONS, progress=seen)
    assert [p.done for p in seen.seen] == sorted(p.done for p in seen.seen)
    assert {p.total for p in seen.seen} == {3 * 6 * 3}
    assert seen.seen[-1].done == 3 * 6 * 3
    assert {(p.fold, p.epoch) for p in seen.seen} == {(fold, epoch) for fold in range(3) for epoch in range(7)}
    assert all(p.train_loss is None for p in seen.seen if p.epoch == 0)
    assert all(p.validation_loss is None and p.best_epoch is None for p in seen.seen)  # without validation
