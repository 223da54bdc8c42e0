"""Members learn from views of the cells, drawn anew each epoch; everything else takes the cells as they are."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.training.factories import ORIGIN, are_same_members, bags_of, read, save_features, tiny

from napari_caltomorph.diagnosis import Ensemble
from napari_caltomorph.encoding import Features, load_bag
from napari_caltomorph.errors import FeaturesRefused, ModelRefused
from napari_caltomorph.evaluation import EvaluateOptions, evaluate
from napari_caltomorph.training import train
from napari_caltomorph.training.fit import training_steps
from napari_caltomorph.training.members import predict_bags

VIEWS = "2 of made up"
OPTIONS = tiny(aggregator="mean", epochs=4)
OUT_OF_FOLD = EvaluateOptions(split="train", out_of_fold=True, average_views=True, resamples=0)


@pytest.fixture(scope="module")
def viewed(few, tmp_path_factory):
    """The cohort `few`, whose cells have two views each: 100 and 200 more than the cells as they are."""
    folder = shutil.copytree(few, tmp_path_factory.mktemp("views") / "few")
    for file in (folder / "features").glob("*.h5"):
        values = Features.load(file).values
        stacked = np.stack([values, values + 100, values + 200], axis=1)
        save_features(folder, file.stem, stacked, replace(ORIGIN, views=VIEWS))
    return folder


@pytest.fixture(scope="module")
def trained(viewed, tmp_path_factory):
    """The folder of a model of that cohort, and the model."""
    out = tmp_path_factory.mktemp("trained") / "model"
    return out, train(read(viewed), None, OPTIONS, out=out)


def test_an_epoch_draws_one_view_of_each_cell_and_the_next_one_others(few, viewed):
    plain, bags = bags_of(few), bags_of(viewed)
    assert all((one == other).all() for one, other in zip(plain.values, bags.values, strict=True))
    assert plain.fingerprint != bags.fingerprint
    tensors, patients = bags.on(torch.device("cpu")), np.arange(len(bags))

    def drawn(seed):
        steps = training_steps(bags, tensors, patients, tiny(), np.random.default_rng(seed))
        return torch.cat([batch.bags[batch.mask] for batches in steps for batch in batches])

    one = drawn(0)
    assert torch.equal(one, drawn(0))
    view = (one[:, 0] / 100).round()
    assert {0, 1, 2} == set(view.tolist())
    cells = (one - 100 * view[:, None]).double().sum(dim=0).numpy()
    np.testing.assert_allclose(cells, np.concatenate(plain.values).sum(axis=0), rtol=1e-3, atol=0.1)
    assert one.sum() != drawn(1).sum()


def test_a_training_on_views_resumes_and_is_sealed_with_them(viewed, trained, tmp_path):
    folder, whole = trained

    def stop(progress):
        if (getattr(progress, "fold", 0), getattr(progress, "epoch", 0)) == (1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(read(viewed), None, OPTIONS, out=tmp_path / "again", progress=stop)
    again = train(read(viewed), None, OPTIONS, out=tmp_path / "again", resume=True)
    assert are_same_members(whole, again)
    assert Ensemble.load(folder).description.encoder.views == VIEWS
    bags = bags_of(viewed)
    assert predict_bags(whole.members[0], bags, np.arange(3), OPTIONS).logits.shape == (3, 3)


def test_members_are_averaged_over_the_views_of_a_bag(viewed, trained):
    _, whole = trained
    path = viewed / "features" / "aml-000.h5"
    features = load_bag([path], views=True)
    apart = [whole.member_outputs(replace(features, values=one, views=None)) for one in features.views]
    averaged = whole.predict(features)
    mean = np.mean([one.probabilities for one in apart], axis=0)
    np.testing.assert_allclose(averaged.member_probabilities, mean, atol=1e-12)
    assert averaged.averaged_views == VIEWS
    assert "2 views" in averaged.probabilities_in_words
    plain = whole.predict(Features.load(path))
    assert plain.averaged_views is None
    assert (plain.attention == averaged.attention).all()
    assert (plain.alone == averaged.alone).all()
    assert np.abs(plain.member_probabilities - mean).max() > 1e-3
    with pytest.raises(FeaturesRefused, match="made up"):
        whole.predict(replace(features, origin=replace(ORIGIN, views="2 of others")))


def test_an_evaluation_averages_views_only_where_there_are_any(few, viewed, trained):
    _, model = trained
    as_they_are = evaluate(model, read(viewed), None, OUT_OF_FOLD.model_copy(update={"average_views": False}))
    averaged = evaluate(model, read(viewed), None, OUT_OF_FOLD)
    assert averaged.options.average_views
    assert any(VIEWS in note for note in averaged.notes)
    column = f"p_{averaged.taxonomy.slugs[0]}"
    assert (averaged.patients[column] != as_they_are.patients[column]).any()
    with pytest.raises(FeaturesRefused, match=r"aml-0.*--views"):
        evaluate(model, read(few), None, OUT_OF_FOLD)
    without = model.description.encoder.model_copy(update={"views": None})
    description = model.description.model_copy(update={"encoder": without})
    with pytest.raises(ModelRefused, match="--average-views"):
        evaluate(replace(model, description=description), read(viewed), None, OUT_OF_FOLD)
