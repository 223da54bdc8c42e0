"""The model folder: what is saved comes back, and what was changed, lost or swapped is refused."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_caltomorph.diagnosis import (
    AbmilOptions,
    Ensemble,
    MaxOptions,
    MeanOptions,
    TransformerOptions,
    WbcmilOptions,
    read_description,
)
from napari_caltomorph.diagnosis.model_card import model_card
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.diagnosis.model_folder import TrainingPatients
from napari_caltomorph.diagnosis.training_record import OutOfFold
from napari_caltomorph.errors import ModelRefused, OutputRefused
from napari_caltomorph.storage import file_sha256

UNDATED = {"created": "2026-01-01T00:00:00+00:00"}


@pytest.fixture
def folder(tmp_path, make_ensemble):
    make_ensemble().save(tmp_path / "model")
    return tmp_path / "model"


def edit(folder, change):
    path = folder / "model.json"
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def name_as_it_is(folder, index):
    """Write into model.json the sum that a changed member file now has, as a forger would."""
    sha256 = file_sha256(folder / f"fold_{index}.safetensors")
    edit(folder, lambda m: m["members"][index].update(sha256=sha256))


def test_saved_and_loaded_ensemble_predicts_the_same_to_the_last_bit(tmp_path, make_ensemble, make_features):
    created = make_ensemble()
    saved = created.save(tmp_path / "model")
    loaded = Ensemble.load(tmp_path / "model")
    assert loaded.description == saved.description
    for before, after in zip(created.members, loaded.members, strict=True):
        for name, value in before.state_dict().items():
            assert torch.equal(after.state_dict()[name], value)
    features = make_features(300)
    one, other = (e.predict(features).model_copy(update=UNDATED) for e in (saved, loaded))
    assert one == other
    assert one.model_dump_json() == other.model_dump_json()
    unsaved = created.predict(features)
    assert (unsaved.member_probabilities == other.member_probabilities).all()
    assert (unsaved.attention == other.attention).all()
    assert (unsaved.alone == other.alone).all()


def test_loaded_ensemble_saved_again_is_the_same_model(tmp_path, folder):
    again = Ensemble.load(folder).save(tmp_path / "again")
    assert again.description == read_description(folder)
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_models_of_other_weights_have_other_fingerprints(tmp_path, make_ensemble):
    fingerprints = {make_ensemble(seed=s).save(tmp_path / str(s)).description.fingerprint for s in range(3)}
    assert len(fingerprints) == 3


def test_loading_uses_no_random_numbers(folder):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Ensemble.load(folder)
    assert torch.equal(torch.rand(3), expected)


def test_loaded_weights_do_not_hang_on_the_files(folder, make_features):
    ensemble = Ensemble.load(folder)
    before = ensemble.predict(make_features()).model_copy(update=UNDATED)
    for path in folder.glob("*.safetensors"):
        path.write_bytes(b"")
    assert ensemble.predict(make_features()).model_copy(update=UNDATED) == before


def test_folder_holds_the_description_the_members_and_the_card(folder):
    names = {"model.json", "README.md", "fold_0.safetensors", "fold_1.safetensors", "fold_2.safetensors"}
    assert {path.name for path in folder.iterdir()} == names


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("order of classes", lambda m: m["taxonomy"]["classes"].reverse()),
        ("a class that becomes benign", lambda m: m["taxonomy"]["classes"][2].update(malignant=False)),
        ("error of hemoglobin", lambda m: m["hemoglobin"]["error"].update(low=-0.1)),
        ("encoder", lambda m: m["encoder"].update(name="dinobloom-b")),
        ("encoder weights", lambda m: m["encoder"].update(weights_sha256="c" * 64)),
        ("preprocessing", lambda m: m["encoder"].update(preprocessing="another")),
        ("field of view", lambda m: m.update(field_of_view_um=12.5)),
        ("depth", lambda m: m["aggregator"].update(depth=3)),
        ("heads", lambda m: m["aggregator"].update(heads=4)),
        ("pooling", lambda m: m["aggregator"].update(pooling="mean")),
        ("no hemoglobin", lambda m: m.update(hemoglobin=None)),
    ],
)
def test_edited_description_is_noticed(folder, what, change):
    edit(folder, change)
    with pytest.raises(ModelRefused, match=r"model\.json was changed since the model was made"):
        Ensemble.load(folder)


def test_threshold_may_be_edited_and_is_then_used(folder, make_features):
    malignancy = Ensemble.load(folder).predict(make_features()).malignancy
    for value, is_malignant in ((malignancy - 0.001, True), (malignancy + 0.001, False)):
        edit(folder, lambda m, value=value: m["threshold"].update(value=value, rule="ours", cohort="our clinic"))
        prediction = Ensemble.load(folder).predict(make_features())
        assert prediction.is_malignant is is_malignant
        assert prediction.threshold == Threshold(value=value, rule="ours", cohort="our clinic")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(surprise=1), "surprise: Extra inputs are not permitted"),
        (lambda m: m.pop("taxonomy"), "taxonomy: Field required"),
        (lambda m: m.update(members=[]), "members: "),
        (lambda m: m.update(members=[m["members"][0]] * 2), r"fold_0\.safetensors is named twice"),
        (lambda m: m["threshold"].update(value=1.5), r"threshold\.value"),
        (lambda m: m["hemoglobin"].update(std=1.0), r"hemoglobin\.std: Extra inputs are not permitted"),
        (lambda m: m.update(field_of_view_um=float("inf")), "field_of_view_um"),
        (lambda m: m["aggregator"].update(kind="abmil"), r"aggregator\.abmil\.depth: Extra inputs"),
        (lambda m: m["aggregator"].update(kind="graph"), "aggregator: Input tag 'graph'"),
        (lambda m: m["aggregator"].pop("kind"), "aggregator: Unable to extract tag"),
        (lambda m: m["training"].update(seed=0), r"training\.seed: Extra inputs are not permitted"),
        (lambda m: m["members"][0].update(file="../../fold_0.safetensors"), r"members\.0\.file"),
        (lambda m: m["members"][0].update(file="/etc/passwd"), r"members\.0\.file"),
        (lambda m: m["members"][0].update(file="fold_0.safetensors\n"), r"members\.0\.file"),
    ],
)
def test_description_that_is_not_as_it_must_be_is_refused_with_the_field_named(folder, change, message):
    edit(folder, change)
    with pytest.raises(ModelRefused, match=message):
        Ensemble.load(folder)


def test_newer_schema_names_the_upgrade(folder):
    edit(folder, lambda m: m.update(schema_version=2, something_new=True))
    with pytest.raises(ModelRefused, match="schema version 2, this version reads 1; run `pip install --upgrade"):
        Ensemble.load(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"1" * 5000])
def test_description_that_is_no_object_is_refused(folder, content):
    (folder / "model.json").write_bytes(content)
    with pytest.raises(ModelRefused, match=r"model\.json"):
        Ensemble.load(folder)


def test_huge_description_is_refused_before_it_is_read(folder):
    with (folder / "model.json").open("wb") as file:
        file.truncate(2**40)  # sparse: a terabyte that takes no disk
    with pytest.raises(ModelRefused, match=r"model\.json .*again"):
        Ensemble.load(folder)


def test_what_is_no_model_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("text")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(ModelRefused, match=f"{path.name} is not a model folder"):
            Ensemble.load(path)


def test_missing_member_is_named(folder):
    (folder / "fold_1.safetensors").unlink()
    with pytest.raises(ModelRefused, match=r"lacks fold_1\.safetensors, one of its 3 members"):
        Ensemble.load(folder)


def test_member_with_one_changed_byte_is_refused(folder):
    path = folder / "fold_2.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelRefused, match=r"fold_2\.safetensors .*not the one that model\.json names"):
        Ensemble.load(folder)


def test_member_of_another_model_is_refused(tmp_path, folder, make_ensemble):
    make_ensemble(seed=1).save(tmp_path / "other")
    shutil.copyfile(tmp_path / "other" / "fold_0.safetensors", folder / "fold_0.safetensors")
    with pytest.raises(ModelRefused, match=r"fold_0\.safetensors .*not the one that model\.json names"):
        Ensemble.load(folder)


def test_member_of_a_model_of_other_meaning_is_refused_even_when_its_sum_is_written_in(tmp_path, folder, make_ensemble):
    make_ensemble(field_of_view_um=30.0).save(tmp_path / "other")
    shutil.copyfile(tmp_path / "other" / "fold_0.safetensors", folder / "fold_0.safetensors")
    name_as_it_is(folder, 0)
    with pytest.raises(ModelRefused, match="get the model again"):
        Ensemble.load(folder)


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_truncated_member_is_refused_even_when_its_sum_is_written_in(folder, size):
    path = folder / "fold_0.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    name_as_it_is(folder, 0)
    with pytest.raises(ModelRefused, match=r"fold_0\.safetensors .*again"):
        Ensemble.load(folder)


def test_pickle_in_place_of_a_member_is_not_run(tmp_path, folder):
    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "was_run"), "w"))

    torch.save({"project.weight": Malicious()}, folder / "fold_0.safetensors")
    name_as_it_is(folder, 0)
    with pytest.raises(ModelRefused, match="get the model again"):
        Ensemble.load(folder)
    assert not (tmp_path / "was_run").exists()


def test_member_of_other_shapes_is_refused_before_memory_is_taken(tmp_path, folder, make_ensemble):
    wide = TransformerOptions(depth=1, heads=1, width=2**20, mlp_width=2**20)  # terabytes
    claims = make_ensemble().description.model_copy(update={"aggregator": wide})
    weights = load_file(folder / "fold_0.safetensors")
    save_file(weights, folder / "fold_0.safetensors", metadata={"seal": claims.seal})
    edit(folder, lambda m: m.update(aggregator=json.loads(wide.model_dump_json()), members=m["members"][:1]))
    name_as_it_is(folder, 0)
    with pytest.raises(ModelRefused, match=r"does not fit model\.json: .* has shape"):
        Ensemble.load(folder)


def test_existing_folder_is_not_overwritten(folder, make_ensemble):
    before = read_description(folder)
    with pytest.raises(OutputRefused, match="exists already"):
        make_ensemble(seed=1).save(folder)
    assert read_description(folder) == before
    saved = make_ensemble(seed=1, members=1).save(folder, overwrite=True)
    assert Ensemble.load(folder).description == saved.description
    assert not (folder / "fold_1.safetensors").exists()


def test_overwriting_spares_a_folder_that_is_no_model(tmp_path, make_ensemble):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputRefused, match="no model to overwrite"):
        make_ensemble().save(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_failed_save_leaves_nothing_behind(tmp_path, make_ensemble):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputRefused, match="file is a file, not a folder"):
        make_ensemble().save(tmp_path / "file" / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_full_disk_leaves_nothing_behind_and_spares_the_old_model(tmp_path, make_ensemble):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        small = make_ensemble(members=1).save(disk / "model")
        with pytest.raises(OutputRefused, match="No space left on device"):
            make_ensemble(seed=1, members=12).save(disk / "model", overwrite=True)
        assert [path.name for path in disk.iterdir()] == ["model"]
        assert Ensemble.load(disk / "model").description == small.description
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_card_is_written_from_the_description(tmp_path, make_ensemble):
    threshold = Threshold(value=0.37, rule="97 % sensitivity out of fold", cohort="Clinic A")
    created = make_ensemble(name="our model", threshold=threshold).save(tmp_path / "m")
    card = (tmp_path / "m" / "README.md").read_text("utf-8")
    description = created.description
    for text in (
        "# our model",
        "**Synthetic:",
        "Research use only. Not for diagnosis.",
        description.encoder.weights_sha256,
        "threshold 0.37: 97 % sensitivity out of fold, on Clinic A",
        "3 members, each a transformer of 2 layers, 2 heads, width 16, MLP 32, read at a CLS token,",
        "learning rate 0.0005",
        "Recipe: robust. Cohort: Clinic A.",
        "| MDS | malignant | MDS | 7 |",
        "| 1 | 13 | 3 | 30 | 21 | validation loss |",
        "![Loss of each member after each epoch](training_curves.png)",
        "## Out-of-fold: single members, not the ensemble\n",
        "| balanced accuracy | 0.500 (0.400 to 0.613) | 0.250, 0.750 |",
        "- Two patients were left out.",
        "2 min on a laptop",
        "not calibrated",
        "25.0 µm",
        "measured minus estimated was -3.0 to +3.5 for 90 % of 40 held-out patients",
        *(f"| {c.name} |" for c in description.taxonomy.classes),
    ):
        assert text in card, text


def test_card_of_a_model_of_real_cells_does_not_call_it_synthetic(tmp_path, make_ensemble):
    make_ensemble(synthetic=False, hemoglobin=None, field_of_view_um=None).save(tmp_path / "m")
    card = (tmp_path / "m" / "README.md").read_text("utf-8")
    assert "ynthetic" not in card
    assert "hemoglobin" not in card
    assert "field of view unknown" in card


def test_card_of_a_model_that_stopped_on_its_own_folds_calls_their_numbers_optimistic(make_ensemble):
    description = make_ensemble().description
    training = description.training.model_copy(update={"recipe": "paper"})
    card = model_card(description.model_copy(update={"training": training}))
    assert "## Out-of-fold: single members, not the ensemble; optimistic: stopped on the fold itself\n" in card


def test_card_shows_no_curves_and_no_numbers_where_there_are_none(make_ensemble):
    description = make_ensemble().description
    training = description.training.model_copy(update={"folds": (), "out_of_fold": OutOfFold(), "notes": ()})
    card = model_card(description.model_copy(update={"training": training}))
    assert "png" not in card
    assert "ut-of-fold" not in card
    assert "## Notes" not in card


@pytest.mark.parametrize(
    ("options", "words", "limit"),
    [
        (TransformerOptions(pooling="mean"), "width 512, MLP 2048, read as the mean of the cells", "Attention shows"),
        (AbmilOptions(), "gated attention (ABMIL) of width 512, attention width 128", "Attention shows"),
        (WbcmilOptions(), "attention of its own for each class (as SCEMILA), attention width 128", "Attention shows"),
        (MeanOptions(), "the mean of the cells' features", "It has no attention"),
        (MaxOptions(), "the largest value of each feature among the cells", "It has no attention"),
    ],
)
def test_card_describes_any_aggregator(make_ensemble, options, words, limit):
    card = model_card(make_ensemble().description.model_copy(update={"aggregator": options}))
    assert f"{words}," in card
    assert f"- {limit}" in card


@pytest.mark.parametrize(
    "spoil", [lambda w: w * float("nan"), lambda w: w.to(torch.int64), lambda w: w.to(torch.float8_e4m3fn)]
)
def test_member_whose_weights_are_no_finite_numbers_is_refused(folder, spoil):
    path = folder / "fold_0.safetensors"
    weights = load_file(path)
    weights["feature_std"] = spoil(weights["feature_std"])
    save_file(weights, path, metadata={"seal": read_description(folder).seal})
    name_as_it_is(folder, 0)
    with pytest.raises(ModelRefused, match=r"fold_0\.safetensors .*get the model again"):
        Ensemble.load(folder)


def test_members_of_earlier_versions_have_no_shift_and_their_mean_is_the_average_cell(folder, make_features):
    before = Ensemble.load(folder).predict(make_features())
    path = folder / "fold_0.safetensors"
    weights = load_file(path)
    weights["feature_mean"].fill_(0.0)
    fewer = {name: value for name, value in weights.items() if name not in ("log_prior_shift", "average_cell")}
    save_file(fewer, path, metadata={"seal": read_description(folder).seal})
    name_as_it_is(folder, 0)
    old = Ensemble.load(folder)
    assert np.array_equal(old.predict(make_features()).member_probabilities, before.member_probabilities)
    assert not old.members[0].log_prior_shift.any()
    assert torch.equal(old.members[0].average_cell, old.members[0].feature_mean)


@pytest.fixture
def private(folder):
    """The training patients of a model, and its ``private/``."""
    table = pd.DataFrame({"patient_id": ["a", "b"], "coarse": "mds", "fold": [0, 1]})
    table = table.assign(detailed="mds", hemoglobin_g_dl=9.5, fingerprint="f" * 64)
    patients = TrainingPatients(table, torch.zeros(3, 2, 16))
    patients.save(folder)
    return patients, folder / "private"


def test_training_patients_are_read_as_they_were_saved(folder, private):
    read = Ensemble.load(folder).training_patients()
    assert read.table["patient_id"].tolist() == ["a", "b"]
    assert torch.equal(read.embeddings, private[0].embeddings)


def rewrite(private, change):
    path = private / "patients.csv"
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: rewrite(p, lambda text: text.replace("b,mds", "b,nonsense")),
        lambda p: rewrite(p, lambda text: text.replace("b,mds", "b,")),
        lambda p: rewrite(p, lambda text: text.replace("b,mds,1", "b,mds,x")),
        lambda p: rewrite(p, lambda text: text.replace("fingerprint", "sum")),
        lambda p: rewrite(p, lambda text: ""),
        lambda p: save_file({"embeddings": torch.zeros(3, 1, 16)}, p / "embeddings.safetensors"),
        lambda p: save_file({"embeddings": torch.zeros(2, 2, 16)}, p / "embeddings.safetensors"),
        lambda p: save_file({"embeddings": torch.full((3, 2, 16), torch.inf)}, p / "embeddings.safetensors"),
        lambda p: (p / "embeddings.safetensors").unlink(),
    ],
)
def test_damaged_training_patients_are_refused(folder, private, spoil):
    spoil(private[1])
    with pytest.raises(ModelRefused, match=r"private .*get the model again"):
        Ensemble.load(folder).training_patients()
