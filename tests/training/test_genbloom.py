"""A model on a published patient encoder: frozen or trained further, and complete without the published file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.diagnosis.genbloom_files import backbone, forward, write_genbloom
from tests.training.factories import WIDTH, bags_of, names, patients_of_fold, read, tiny, write_cohort

from napari_caltomorph.cohort import feature_files
from napari_caltomorph.diagnosis import Ensemble, export_model
from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.errors import FeaturesRefused, ModelRefused, WeightsMissing
from napari_caltomorph.evaluation import evaluate
from napari_caltomorph.evaluation.options import EvaluateOptions
from napari_caltomorph.explanation.changed_bags import what_if
from napari_caltomorph.explanation.contribution import contributions
from napari_caltomorph.progress import Cancelled
from napari_caltomorph.training import TrainOptions, train

ENTRIES = backbone(features=WIDTH)


def options_on(path, **changes):
    return tiny(aggregator="genbloom-v", aggregator_weights=path, scaling="none", **changes)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_genbloom(tmp_path_factory.mktemp("weights") / "genbloom_v.pth", "genbloom-v", ENTRIES)


@pytest.fixture(scope="module")
def trained(few, checkpoint, tmp_path_factory):
    """A frozen model of 3 folds, in a folder; the training was cancelled once, and resumed."""
    folder = tmp_path_factory.mktemp("models") / "model"
    options = options_on(checkpoint, epochs=20, learning_rate=1e-2)
    steps = []

    def cancel(progress):
        steps.append(progress)
        if len(steps) == 80:
            raise Cancelled

    with pytest.raises(Cancelled):
        train(read(few), few / "features", options, out=folder, progress=cancel)
    return train(read(few), few / "features", options, out=folder, resume=True)


@pytest.fixture
def bag(few):
    return Features.load(next(iter((few / "features").glob("aml-*.h5"))))


def test_only_heads_are_trained_and_members_share_the_published_weights(trained, bag):
    loaded = Ensemble.load(trained.folder)
    expected = forward(ENTRIES, torch.from_numpy(bag.values)).numpy()
    embeddings = loaded.member_outputs(bag).embeddings
    assert np.abs(embeddings - expected).max() <= 1e-5
    weights = {member.aggregator.project.weight.data_ptr() for member in loaded.members}
    assert len(weights) == 1
    sizes = {path.name: path.stat().st_size for path in trained.folder.glob("*.safetensors")}
    assert sizes["aggregator.safetensors"] > 10 * sizes["fold_0.safetensors"]
    losses = trained.description.training.folds[0].train_loss
    assert losses[-1] < losses[0]


def test_heads_trained_on_pooled_patients_are_those_of_the_whole_member(trained, few):
    table = trained.training_patients().table.set_index("patient_id")
    patient = patients_of_fold(read(few), 1)[0]
    bag = Features.load(few / "features" / f"{patient}.h5")
    recorded = table.filter(like="out_of_fold_p_").loc[patient].to_numpy(float)
    assert trained.member_outputs(bag, [1]).probabilities[0] == pytest.approx(recorded, abs=1e-5)


def test_the_model_needs_no_published_file_and_is_sealed(trained, bag, tmp_path, monkeypatch):
    monkeypatch.setenv("CALTOMORPH_HOME", str(tmp_path))
    exported = export_model(trained.folder, tmp_path / "exported")
    assert Ensemble.load(exported).predict(bag).malignancy == pytest.approx(trained.predict(bag).malignancy)
    assert "private" not in names(exported)
    assert trained.description.training.options["aggregator_weights"] == "genbloom_v.pth"
    assert "Apache-2.0" in (exported / "README.md").read_text()
    shared = exported / "aggregator.safetensors"
    content = shared.read_bytes()
    shared.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelRefused, match=r"aggregator\.safetensors"):
        Ensemble.load(exported)
    shared.unlink()
    with pytest.raises(ModelRefused, match=r"aggregator\.safetensors"):
        Ensemble.load(exported)


def test_cells_are_explained_as_in_any_transformer(trained, bag):
    prediction = trained.predict(bag)
    assert prediction.attention_kind == "rollout"
    assert prediction.attention.mean() == pytest.approx(1)
    assert np.ptp(prediction.attention) > 0
    found = contributions(trained, bag, trained.description.taxonomy.slugs[0])
    assert abs(found.unaccounted) < 0.05 * abs(found.log_odds - found.baseline_log_odds)
    fewer = what_if(trained, prediction, bag, [0])
    assert fewer.original == prediction
    assert not np.array_equal(fewer.probabilities, prediction.probabilities)


def test_trained_further_each_member_has_its_own_weights(few, checkpoint, tmp_path):
    options = options_on(checkpoint, fine_tune=True, epochs=1)
    ensemble = train(read(few), few / "features", options, out=tmp_path / "model")
    assert not (tmp_path / "model" / "aggregator.safetensors").exists()
    one, other = (member.aggregator.project.weight for member in Ensemble.load(tmp_path / "model").members[:2])
    assert not torch.equal(one, other)
    assert not torch.equal(one, ENTRIES["patch_embed.project.weight"])
    assert "trained further" in str(ensemble.description.aggregator)


def test_what_follows_from_a_published_encoder():
    frozen, further = (TrainOptions(aggregator="genbloom-v", fine_tune=one) for one in (False, True))
    assert (frozen.scaling, further.scaling) == ("none", "none")
    assert frozen.learning_rate == TrainOptions(aggregator="mean").learning_rate
    assert further.learning_rate == TrainOptions().learning_rate
    with pytest.raises(ValidationError, match="scaling none"):
        TrainOptions(aggregator="genbloom-g", scaling="standardise")


def test_features_that_it_does_not_take_are_refused(few, checkpoint, tmp_path):
    with pytest.raises(WeightsMissing, match="gone"):
        bags_of(few, options_on(tmp_path / "gone.pth"))
    other = write_genbloom(tmp_path / "w.pth", "genbloom-v", backbone(features=WIDTH + 1))
    with pytest.raises(FeaturesRefused, match=rf"takes features of dinobloom-b, {WIDTH + 1} wide"):
        bags_of(few, options_on(other))
    cohort = write_cohort(tmp_path / "c", {"aml": 6, "cll": 6}, origin=FeatureOrigin(encoder="demo-vit"))
    with pytest.raises(FeaturesRefused, match="these are of demo-vit"):
        bags_of(cohort, options_on(checkpoint))


@pytest.mark.parametrize(("name", "is_said"), [("aml-hehr-embeddings", True), ("clinic", False)])
def test_evaluating_on_patients_of_its_authors_says_so(trained, few, name, is_said):
    cohort = replace(read(few), name=name)
    files = [str(paths[0]) for paths in feature_files(cohort, few / "features").values()]
    table = cohort.table.assign(patient_id=[f"new {i}" for i in range(len(cohort))], features=files, path=None)
    result = evaluate(trained, replace(cohort, table=table), None, EvaluateOptions(split="all"))
    assert any("AML-Hehr" in note for note in result.notes) == is_said
