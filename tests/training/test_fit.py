"""A step of training: its patients and cells, and the effects of padding and of the size of batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.training.factories import WIDTH, are_same, bags_of, read, save_features, tiny, with_column

from napari_caltomorph.encoding import FeatureOrigin
from napari_caltomorph.progress import Cancelled
from napari_caltomorph.taxonomy import Taxonomy, caltomorph_taxonomy
from napari_caltomorph.training import TrainOptions, train
from napari_caltomorph.training.bags import LabelledBags
from napari_caltomorph.training.fit import Batch, fit_member, training_steps
from napari_caltomorph.training.folds import MemberSplit, member_split
from napari_caltomorph.training.members import FoldCheckpoint, new_member, predict_bags


def numbered(lengths: list[int], classes: list[int] | None = None) -> LabelledBags:
    """Bags of one feature, the number of patient and cell: 1000 p + c + 1, which is never 0."""
    classes = classes or [i % 2 for i in range(len(lengths))]
    return LabelledBags(
        taxonomy=Taxonomy(name="two", classes=caltomorph_taxonomy().classes[:2]),
        values=tuple(
            (1000 * p + np.arange(n, dtype=np.float32) + 1)[:, None].astype(np.float32) for p, n in enumerate(lengths)
        ),
        classes=np.array(classes, dtype=np.intp),
        hemoglobin=np.where(np.arange(len(lengths)) % 3 == 0, np.nan, 10.0 + np.arange(len(lengths))),
        folds=np.zeros(len(lengths), dtype=np.intp),
        table=pd.DataFrame({"patient_id": [f"p{i}" for i in range(len(lengths))]}),
        origin=FeatureOrigin(),
    )


def steps_of(bags: LabelledBags, patients, options: TrainOptions, rng) -> Iterator[list[Batch]]:
    return training_steps(bags, bags.on(torch.device("cpu")), patients, options, rng)


def shown(batches: list[Batch]) -> list[tuple[int, list[int]]]:
    """Return patient and cells of each row, as the numbers in the bags say; the padding is checked."""
    rows = []
    for batch in batches:
        assert (batch.bags[~batch.mask] == 0).all()
        for bag, mask in zip(batch.bags[..., 0], batch.mask, strict=True):
            cells = bag[mask].long() - 1
            assert len(cells)
            assert len(set((cells // 1000).tolist())) == 1
            rows.append((int(cells[0]) // 1000, (cells % 1000).tolist()))
    return rows


lengths = st.lists(st.integers(1, 40), min_size=1, max_size=60)
sizes = st.integers(1, 9)


@settings(max_examples=30, deadline=None)
@given(lengths, sizes, sizes, st.integers(1, 30), st.integers(0, 99))
def test_an_epoch_shows_every_patient_once_and_no_cell_twice(lengths, size, accumulate, most, seed):
    bags = numbered(lengths)
    options = TrainOptions(batch_size=size, accumulate=accumulate, max_cells=most, balance="none")
    patients = np.flatnonzero(np.arange(len(lengths)) % 5 != 1)
    if not len(patients):
        patients = np.array([0])
    steps = list(steps_of(bags, patients, options, np.random.default_rng(seed)))
    assert len(steps) == MemberSplit(0, patients, patients[:0], patients[:0]).steps_per_epoch(options)
    assert all(len(batches) <= accumulate for batches in steps)
    assert all(1 <= len(batch) <= size for batches in steps for batch in batches)
    rows = [row for batches in steps for row in shown(batches)]
    assert sorted(patient for patient, _ in rows) == patients.tolist()
    for patient, cells in rows:
        assert len(set(cells)) == len(cells) == min(most, lengths[patient])
        assert max(cells) < lengths[patient]


@settings(max_examples=30, deadline=None)
@given(lengths, sizes, st.integers(0, 99))
def test_rows_carry_the_class_and_hemoglobin_of_their_patient(lengths, size, seed):
    bags = numbered(lengths)
    options = TrainOptions(batch_size=size)
    for batches in steps_of(bags, np.arange(len(lengths)), options, np.random.default_rng(seed)):
        for batch in batches:
            patients = [patient for patient, _ in shown([batch])]
            assert batch.classes.tolist() == bags.classes[patients].tolist()
            np.testing.assert_array_equal(batch.hemoglobin, bags.hemoglobin[patients].astype(np.float32))


def test_cells_and_order_are_sampled_again_in_each_epoch():
    bags, options = numbered([30] * 20), TrainOptions(batch_size=4, max_cells=10)
    epochs = [
        [shown(batches) for batches in steps_of(bags, np.arange(20), options, np.random.default_rng([0, 0, e]))]
        for e in (1, 2, 1)
    ]
    assert epochs[0] == epochs[2]
    assert [[p for p, _ in step] for step in epochs[0]] != [[p for p, _ in step] for step in epochs[1]]


def test_patients_of_like_length_come_together_so_that_little_is_padded():
    rng = np.random.default_rng(0)
    bags = numbered(rng.integers(1, 500, size=64).tolist())
    options = TrainOptions(batch_size=8)
    batches = [b for step in steps_of(bags, np.arange(64), options, rng) for b in step]
    cells, places = (sum(int(x(b)) for b in batches) for x in (lambda b: b.mask.sum(), lambda b: b.mask.numel()))
    assert cells / places > 0.85


def test_balanced_sampling_shows_all_classes_equally_often():
    bags = numbered([3] * 100, classes=[0] * 90 + [1] * 10)
    options = TrainOptions(balance="sampling")
    rows = []
    for epoch in range(30):
        steps = steps_of(bags, np.arange(100), options, np.random.default_rng(epoch))
        rows.append([patient for batches in steps for patient, _ in shown(batches)])
        assert len(rows[-1]) == 100
    assert 0.45 < np.mean(bags.classes[np.concatenate(rows)]) < 0.55


def step_once(bags, options, tmp_path, split=None):
    """Train for one epoch; return the weights."""
    split = split or MemberSplit(0, np.arange(len(bags)), np.array([], dtype=np.intp), np.array([0]))
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    history = fit_member(bags, split, options, FoldCheckpoint(folder, 0))
    return history, FoldCheckpoint(folder, 0).best()


def first_gradient(bags, options, tmp_path):
    """Return the gradient of a first step over all patients, which AdamW's first moment is a tenth of."""
    folder = tmp_path / str(len(list(tmp_path.iterdir())))

    def stop(history, step):
        if history.epochs:
            raise Cancelled

    split = MemberSplit(0, np.arange(len(bags)), np.array([], dtype=np.intp), np.array([0]))
    with pytest.raises(Cancelled):
        fit_member(bags, split, options, FoldCheckpoint(folder, 0), on_step=stop)
    state = load_file(folder / "fold_0.state.safetensors")
    return {name: value for name, value in state.items() if name.endswith("exp_avg")}


@pytest.mark.parametrize("cut", [(1, 30), (4, 8), (7, 5), (29, 2)])
@pytest.mark.parametrize("aggregator", ["transformer", "abmil"])
def test_one_large_batch_has_the_gradient_of_accumulated_small_ones(few, tmp_path, cut, aggregator):
    options = tiny(batch_size=30, dropout=0, hemoglobin=True, warmup_epochs=0, clip=1e6, aggregator=aggregator)
    bags = bags_of(few)
    bags = replace(bags, hemoglobin=np.where(np.arange(30) % 4 == 0, np.nan, bags.hemoglobin))
    expected = first_gradient(bags, options, tmp_path)
    small = options.model_copy(update={"batch_size": cut[0], "accumulate": cut[1]})
    result = first_gradient(bags, small, tmp_path)
    assert len(expected) > 10
    for name, value in expected.items():
        torch.testing.assert_close(result[name], value, rtol=1e-4, atol=1e-7)


def test_the_last_patients_of_an_epoch_are_trained_on_too(few, tmp_path):
    """Of 8 batches, steps of 3 leave 2 for the last one: whatever its patients are, they change the weights."""
    bags, options = bags_of(few), tiny(epochs=1, batch_size=4, accumulate=3, balance="none", scaling="none")
    split = MemberSplit(0, np.arange(30), np.array([], dtype=np.intp), np.array([0]))
    rng = np.random.default_rng([options.seed, 0, 1])
    last = list(steps_of(bags, split.train, options, rng))[-1]
    assert len(last) == 2
    in_last = [
        p for p in range(30) for b in last for row in b.bags if (row[0] == torch.tensor(bags.values[p])).all(1).any()
    ]
    assert len(in_last) == sum(map(len, last))
    _, before = step_once(bags, options, tmp_path, split)
    classes = bags.classes.copy()
    classes[in_last] = (classes[in_last] + 1) % 3
    _, after = step_once(replace(bags, classes=classes), options, tmp_path, split)
    assert not are_same(before, after)


@pytest.mark.parametrize("aggregator", ["transformer", "abmil", "wbcmil", "concepts", "mean", "max"])
def test_neither_padding_nor_the_size_of_batches_changes_the_outputs_of_a_member(few, aggregator):
    bags, options = bags_of(few), tiny(aggregator=aggregator, hemoglobin=True)
    member = new_member(bags, member_split(bags, 0, options), options)
    patients = np.random.default_rng(0).permutation(30)
    single = [predict_bags(member, bags, np.array([p]), options) for p in patients]
    for size in (3, 8, 30):
        together = predict_bags(member, bags, patients, options.model_copy(update={"batch_size": size}))
        for name in ("logits", "hemoglobin", "embedding"):
            expected = torch.cat([getattr(one, name) for one in single])
            torch.testing.assert_close(getattr(together, name), expected, rtol=1e-5, atol=1e-5)


def test_the_size_of_batches_does_not_change_the_validation_loss(many_bags, tmp_path):
    bags = many_bags
    split = member_split(bags, 0, tiny())
    assert len(split.validation)
    # One step an epoch, always the same: only the validation is cut differently where steps are accumulated.
    losses = [
        step_once(bags, tiny(epochs=1, batch_size=size, accumulate=1000 // size, dropout=0), tmp_path, split)
        for size in (400, 16)
    ]
    assert losses[0][0].validation_loss == pytest.approx(losses[1][0].validation_loss, rel=1e-3)


def test_validation_runs_in_eval_mode_and_with_all_cells(many_bags, tmp_path):
    bags = many_bags
    options = tiny(epochs=1, batch_size=64, dropout=0.9, max_cells=1, label_smoothing=0.3)
    split = member_split(bags, 0, options)
    history, best = step_once(bags, options, tmp_path, split)
    member = new_member(bags, split, options)
    member.load_state_dict(best)
    member.eval()
    losses = []
    for patient in split.validation:  # computed again, one patient at a time
        with torch.no_grad():
            logits = member(torch.from_numpy(bags.values[patient])[None]).logits
        losses.append(-torch.log_softmax(logits, dim=1)[0, int(bags.classes[patient])].item())
    assert max(len(bags.values[p]) for p in split.validation) > 1
    assert history.validation_loss == (pytest.approx(np.mean(losses), rel=1e-5),)


def test_rare_classes_weigh_more_and_on_average_patients_weigh_one(few, tmp_path):
    """A network that cannot learn (its rate is nearly nothing) has the loss that the weights say."""
    bags = bags_of(few)
    rare = np.flatnonzero(bags.classes == 0)[:2]
    chosen = np.sort(np.concatenate([rare, np.flatnonzero(bags.classes == 1), np.flatnonzero(bags.classes == 2)]))
    split = MemberSplit(0, chosen, np.array([], dtype=np.intp), np.array([0]))
    fixed = {"epochs": 1, "learning_rate": 1e-12, "dropout": 0, "label_smoothing": 0}
    history, best = step_once(bags, tiny(**fixed, balance="weights"), tmp_path, split)
    member = new_member(bags, split, tiny())
    member.load_state_dict(best)
    logits = predict_bags(member, bags, chosen, tiny()).logits - member.log_prior_shift  # training sees none
    each = torch.nn.functional.cross_entropy(logits, torch.from_numpy(bags.classes[chosen]), reduction="none").numpy()
    weights = (22 / 3 / np.array([2, 10, 10]))[bags.classes[chosen]]
    assert weights.mean() == pytest.approx(1)
    assert history.train_loss[0] == pytest.approx((weights * each).mean(), rel=1e-4)
    plain, _ = step_once(bags, tiny(**fixed, balance="none"), tmp_path, split)
    assert plain.train_loss[0] == pytest.approx(each.mean(), rel=1e-4)


def test_patients_without_hemoglobin_train_the_classes_only(few):
    """A value that is missing changes nothing but the scale's and the loss's patients; it is never taken for 0."""
    cohort = read(few)
    without = list(cohort.table["patient_id"][::3])
    some = with_column(cohort, "hemoglobin_g_dl", dict.fromkeys(without))
    ensemble = train(some, None, tiny(hemoglobin=True))
    known = some.table["hemoglobin_g_dl"].dropna().to_numpy(float)
    for member in ensemble.members:
        assert known.min() < float(member.hemoglobin_mean) < known.max()
        assert all(value.isfinite().all() for value in member.state_dict().values())
    assert ensemble.description.hemoglobin.error.patients == len(known)


def test_all_cells_of_patients_with_many_are_in_reach(own):
    """`max_cells` samples again each time, so that no cell is left out for good."""
    save_features(own, "aml-000", np.random.default_rng(0).normal(size=(300, WIDTH)))
    bags = bags_of(own)
    patient = int(np.argmax([len(v) for v in bags.values]))
    options, seen = tiny(max_cells=50), set()
    for epoch in range(60):
        for batches in steps_of(bags, np.array([patient]), options, np.random.default_rng(epoch)):
            assert batches[0].bags.shape[1] <= 50
            seen |= {row.tobytes() for row in batches[0].bags[0].numpy()}
    assert len(seen) == 300


def test_one_epoch_counts_every_patient_once_in_the_loss(few, tmp_path):
    bags = bags_of(few)
    fixed = {"epochs": 1, "learning_rate": 1e-12, "dropout": 0, "balance": "none"}
    losses = [
        step_once(bags, tiny(**fixed, batch_size=size, accumulate=accumulate), tmp_path)[0].train_loss[0]
        for size, accumulate in ((30, 1), (7, 1), (4, 3), (1, 1))
    ]
    assert losses[1:] == pytest.approx([losses[0]] * 3, rel=1e-5)
