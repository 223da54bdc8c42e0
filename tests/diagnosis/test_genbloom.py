"""GenBloom's checkpoints, as they are published, are the same network here; what is none is refused."""

from __future__ import annotations

import pickle

import pytest
import torch
from tests.diagnosis.genbloom_files import backbone, forward, write_genbloom

from napari_caltomorph.diagnosis.genbloom import download_genbloom, find_genbloom, read_genbloom
from napari_caltomorph.diagnosis.member import AGGREGATORS
from napari_caltomorph.diagnosis.options import GENBLOOM
from napari_caltomorph.errors import DownloadRefused, WeightsMissing, WeightsRefused


def network_of(path, kind):
    published = read_genbloom(path, kind)
    network = AGGREGATORS[kind](published.feature_width, 8, published.options)
    network.load_state_dict(published.weights)
    return network.eval()


@pytest.mark.parametrize("kind", GENBLOOM)
@pytest.mark.parametrize("layer_scale", [1.0, None])
def test_a_checkpoint_gives_what_a_second_forward_pass_gives(tmp_path, kind, layer_scale):
    entries = backbone(layer_scale=layer_scale)
    network, cells = network_of(write_genbloom(tmp_path / "w.pth", kind, entries), kind), torch.randn(30, 24)
    with torch.inference_mode():
        assert (network(cells[None])[0] - forward(entries, cells)).abs().max() <= 1e-5


def test_at_its_real_width_it_has_twelve_heads(tmp_path):
    entries = backbone(width=768, features=768, layer_scale=1.0)
    path, cells = write_genbloom(tmp_path / "w.pth", "genbloom-v", entries), torch.randn(20, 768)
    published = read_genbloom(path, "genbloom-v")
    assert published.options.model_dump(include={"depth", "heads", "width", "mlp_width"}) == {
        "depth": 2,
        "heads": 12,
        "width": 768,
        "mlp_width": 3072,
    }
    with torch.inference_mode():
        assert (network_of(path, "genbloom-v")(cells[None])[0] - forward(entries, cells)).abs().max() <= 1e-5


def test_weights_are_known_by_their_values(tmp_path):
    entries = backbone()
    paths = {kind: write_genbloom(tmp_path / kind, kind, entries) for kind in GENBLOOM}
    sums = {read_genbloom(path, kind).options.weights_sha256 for kind, path in paths.items()}
    entries["norm.bias"][0] += 1
    other = read_genbloom(write_genbloom(tmp_path / "other", "genbloom-v", entries), "genbloom-v")
    assert len(sums) == 1
    assert other.options.weights_sha256 not in sums


class RunsCode:
    def __reduce__(self):
        return print, ("run",)


def without(*names):
    return {name: value for name, value in backbone().items() if name not in names}


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        (without("blocks.1.mlp.fc2.bias"), r"blocks\.1\.mlp\.fc2\.bias is missing"),
        (without("cls_token"), "cls_token is missing"),
        (without("blocks.0.ls2.gamma"), "gamma .*no place"),
        (backbone() | {"patch_embed.project.weight": torch.zeros(4)}, "project.weight is no matrix"),
        (backbone() | {"register_tokens": torch.zeros(1, 4, 128)}, "register_tokens has no place"),
        (backbone() | {"blocks.0.ls1.gamma": torch.ones(64)}, "ls1.gamma has no place"),
        (backbone() | {"norm.bias": torch.full((128,), torch.nan)}, "not a finite number"),
    ],
)
def test_another_network_is_refused(tmp_path, entries, problem):
    path = write_genbloom(tmp_path / "w.pth", "genbloom-g", entries)
    with pytest.raises(WeightsRefused, match=rf"w\.pth.*{problem}"):
        read_genbloom(path, "genbloom-g")


def test_the_other_of_the_two_is_named(tmp_path):
    path = write_genbloom(tmp_path / "w.pth", "genbloom-v", backbone())
    with pytest.raises(WeightsRefused, match="--aggregator genbloom-v"):
        read_genbloom(path, "genbloom-g")


def test_code_in_a_checkpoint_is_not_run(tmp_path, capsys):
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"teacher": RunsCode()}))
    with pytest.raises(WeightsRefused, match=r"w\.pth"):
        read_genbloom(tmp_path / "w.pth", "genbloom-v")
    assert not capsys.readouterr().out


def test_without_weights_it_says_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("CALTOMORPH_HOME", str(tmp_path))
    with pytest.raises(WeightsMissing, match=r"weights download genbloom-v.*genbloom_v\.pth from .*MarrLab/GenBloom"):
        find_genbloom("genbloom-v", None)
    with pytest.raises(WeightsMissing, match=r"gone\.pth"):
        find_genbloom("genbloom-v", tmp_path / "gone.pth")
    (tmp_path / "weights").mkdir()
    kept = write_genbloom(tmp_path / "weights" / "genbloom-v.pth", "genbloom-v", backbone())
    assert find_genbloom("genbloom-v", None) == kept


@pytest.mark.parametrize("kind", GENBLOOM)
def test_a_checkpoint_is_downloaded_checked_and_kept(kind, hub, home, tmp_path):
    name = GENBLOOM[kind].published.replace("<0 to 4>", "0")
    content = write_genbloom(tmp_path / "w.pth", kind, backbone()).read_bytes()
    hub.repositories["MarrLab/GenBloom"] = {name: b"no weights", "README.md": b""}
    with pytest.raises(WeightsRefused, match="nothing was kept"):
        download_genbloom(kind)
    assert not list((home / "weights").iterdir())
    hub.repositories["MarrLab/GenBloom"][name] = content
    assert download_genbloom(kind).read_bytes() == content
    assert find_genbloom(kind, None) == home / "weights" / f"{kind}.pth"
    hub.repositories["MarrLab/GenBloom"] = {"README.md": b""}
    with pytest.raises(DownloadRefused, match=name):
        download_genbloom(kind)
