"""GenBloom's published patient encoders as weights of our transformer (Dasdelen et al. 2026; Hub: MarrLab/GenBloom).

GenBloom is a DINOv2 transformer without positions: the same network as `TransformerAggregator`, but for LayerScale.
That multiplies what a layer adds by a constant, so it is multiplied into the last weights of attention and MLP.
"""

from __future__ import annotations

import re
import shutil
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from napari_caltomorph.diagnosis.options import GENBLOOM, GenBloomGOptions, GenBloomVOptions
from napari_caltomorph.diagnosis.transformer import TransformerAggregator
from napari_caltomorph.encoding.checkpoints import read_checkpoint, tensors_sha256
from napari_caltomorph.encoding.key_names import misfit
from napari_caltomorph.errors import DownloadRefused, WeightsMissing, WeightsRefused
from napari_caltomorph.hub import Repository, downloaded, list_files
from napari_caltomorph.progress import OnProgress, ignore
from napari_caltomorph.storage import StrPath, home, replacing

# Only their own training uses these. Positions are zero.
_NOT_USED = re.compile(r"(dino_head|ibot_head)\.|pos_embed$|mask_token$")
# GenBloom-G has its blocks in one chunk: ``blocks.0.3.`` is the fourth.
_BLOCK = re.compile(r"blocks\.(?:0\.)?(\d+)\.(?=[a-z])")
_HEAD_WIDTH = 64  # Of all of DINOv2's networks; a checkpoint does not tell


class PatientEncoder(NamedTuple):
    """A published patient encoder."""

    options: GenBloomVOptions | GenBloomGOptions
    weights: dict[str, Tensor]  # Of a `TransformerAggregator`
    feature_width: int  # D of the cells that it takes


def find_genbloom(kind: str, given: StrPath | None) -> Path:
    """Return the checkpoint that was given, or the one that is kept with the weights of encoders.

    Raises `WeightsMissing` where it is not on this machine; the message says how to get it.
    """
    if given is not None:
        if not Path(given).is_file():
            raise WeightsMissing(f"{given} is no file; check the path of --aggregator-weights.")
        return Path(given)
    kept = home("weights") / f"{kind}.pth"
    if not kept.is_file():
        raise WeightsMissing(
            f"The weights of {kind} are not on this machine: run `caltomorph weights download {kind}`, or get "
            f"{GENBLOOM[kind].published} from https://huggingface.co/MarrLab/GenBloom on another machine and name it "
            f"with --aggregator-weights, or keep it as {kept}."
        )
    return kept


def download_genbloom(kind: str, *, progress: OnProgress = ignore) -> Path:
    """Download a checkpoint from its authors, check it, and keep it with the weights of encoders.

    Of GenBloom-G, it is the one of fold 0. Raises `DownloadRefused` and `WeightsRefused`; nothing is kept then.
    """
    listing = list_files(Repository.at("hf://MarrLab/GenBloom"), "checkpoints", progress=progress)
    name = GENBLOOM[kind].published.replace("<0 to 4>", "0")
    wanted = [file for file in listing.files if file.name == name]
    if not wanted:
        raise DownloadRefused(f"{listing.repository.page} holds no {name}; see there what its authors publish now.")
    kept = home("weights") / f"{kind}.pth"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with downloaded(listing, wanted, progress=progress) as paths, replacing(kept) as part:
        shutil.move(paths[name], part)
        try:
            read_genbloom(part, kind)
        except WeightsRefused as error:
            raise WeightsRefused(
                f"{listing.repository.page} gave a {name} that holds no weights of {kind}; nothing was kept. Try again "
                "later, or name a file of another place with --aggregator-weights."
            ) from error
    return kept


def read_genbloom(path: Path, kind: str) -> PatientEncoder:
    """Read a checkpoint of GenBloom-V or -G; nothing in it is run. What was read last is kept in memory.

    Raises `WeightsRefused` where it is damaged, or contains another network.
    """
    status = path.stat()
    return _read(path, kind, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1)
def _read(path: Path, kind: str, changed: int, size: int) -> PatientEncoder:
    entries = read_checkpoint(path)
    found = "genbloom-v" if any(key.startswith("backbone.") for key in entries) else "genbloom-g"
    weights = _ours(entries)
    missing = [key for key in ("project.weight", "cls_token", "blocks.0.mlp.fc1.weight") if key not in weights]
    if missing:
        raise WeightsRefused(f"{path} is no checkpoint of GenBloom ({missing[0]} is missing); get it from its authors.")
    if weights["project.weight"].ndim != 2:
        raise WeightsRefused(
            f"{path} is no checkpoint of GenBloom (project.weight is no matrix); get it from its authors."
        )
    if found != kind:
        raise WeightsRefused(f"{path} is a checkpoint of {found}, not of {kind}; choose --aggregator {found}.")
    width, feature_width = weights["project.weight"].shape
    options = GENBLOOM[kind](
        depth=len({key.split(".")[1] for key in weights if key.startswith("blocks.")}),
        heads=max(1, width // _HEAD_WIDTH),
        width=width,
        mlp_width=len(weights["blocks.0.mlp.fc1.weight"]),
        weights_sha256=tensors_sha256(weights),
    )
    with torch.device("meta"):
        network = TransformerAggregator(feature_width, 1, options)
    if problem := misfit(weights, network):
        raise WeightsRefused(f"{path} is no checkpoint of GenBloom ({problem}); get it from its authors.")
    if not all(bool(value.isfinite().all()) for value in weights.values()):
        raise WeightsRefused(f"{path} is damaged (a weight is not a finite number); get it from its authors again.")
    return PatientEncoder(options, weights, feature_width)


def _ours(entries: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the names of `TransformerAggregator`, with LayerScale multiplied into them."""
    weights = {}
    for key, value in entries.items():
        name = _BLOCK.sub(r"blocks.\1.", key.removeprefix("backbone.")).removeprefix("patch_embed.")
        if not _NOT_USED.match(name):
            weights[name] = value.float()
    scales = [name for name in weights if re.fullmatch(r"blocks\.\d+\.ls[12]\.gamma", name)]
    if len(scales) != 2 * len({name.split(".")[1] for name in weights if name.startswith("blocks.")}):
        return weights  # in some layers only: they then have no place in the network
    for name in scales:
        block, layer, _ = name.rsplit(".", 2)
        last = [f"{block}.{'attn.proj' if layer == 'ls1' else 'mlp.fc2'}.{part}" for part in ("weight", "bias")]
        if all(one in weights and weights[one].shape[:1] == weights[name].shape for one in last):
            scale = weights.pop(name)
            weights |= {one: torch.einsum("i...,i->i...", weights[one], scale) for one in last}
    return weights
