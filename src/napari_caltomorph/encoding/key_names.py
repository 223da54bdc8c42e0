"""The names of a checkpoint's entries -> those of timm's network, whoever saved it.

Which prefix the entries have (``module.``, ``model.encoder.``, ``backbone.``) is learnt from the network: it is the one
with which most of its entries are found. Values are not changed, except position embeddings where timm stores them in
another form or for another image size.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from napari_caltomorph.errors import WeightsRefused, first_line

if TYPE_CHECKING:
    import torch
    from torch import nn

    StateDict = dict[str, torch.Tensor]

# DINOv2's training code, its gated MLP, DeiT III, and transformers' Dinov2Model and Dinov2WithRegistersModel.
_RENAMED = tuple(
    (re.compile(old), new)
    for old, new in (
        (r"\bblocks\.\d+\.(\d+)\.", r"blocks.\1."),
        (r"\.mlp\.(w12|weights_in)\.", ".mlp.fc1."),
        (r"\.mlp\.(w3|weights_out)\.", ".mlp.fc2."),
        (r"\.gamma_(\d)$", r".ls\1.gamma"),
        (r"\bembeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"\bembeddings\.position_embeddings$", "pos_embed"),
        (r"\bembeddings\.(cls_token|mask_token|register_tokens)$", r"\1"),
        (r"\bencoder\.layer\.(\d+)\.", r"blocks.\1."),
        (r"\.attention\.output\.dense\.", ".attn.proj."),
        (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
        (r"\blayernorm\.", "norm."),
    )
)
_QUERY = re.compile(r"\.attention\.attention\.query\.")

# What only training needs, next to the classifier of timm's table.
_HEADS = ("head", "fc", "classifier", "dino_head", "ibot_head", "mask_token")
# Of a student and a teacher, the teacher is the one that is used (DINO, iBOT); so is an average of weights.
_PREFERRED = ("teacher", "ema")
_EXAMPLES = 3


def named_as(module: nn.Module, weights: StateDict) -> tuple[StateDict, tuple[str, ...]]:
    """Return a checkpoint's entries under the names of a timm network, and a sentence for what was left out.

    Raises `WeightsRefused` where two networks are in it, and nothing says which is meant.
    """
    expected = module.state_dict()
    forms = [(named, _prefix(named, expected)) for named in (weights, _renamed(weights))]
    named, prefix = max(forms, key=lambda form: _fits(form[0], form[1], expected))
    inside = {key.removeprefix(prefix): value for key, value in named.items() if key.startswith(prefix)}
    heads = _heads(module)
    dropped = [key for key in inside if key not in expected and _is_below(key, heads)]
    left_out = {key.split(".")[0] for key in dropped} | {
        _part(key, prefix) for key in named if not key.startswith(prefix)
    }
    kept = _without_registers_in_positions({key: value for key, value in inside.items() if key not in set(dropped)})
    return kept, (f"left out, as it is not part of the encoder: {', '.join(sorted(left_out))}",) if left_out else ()


def adapted_to(module: nn.Module, weights: StateDict) -> tuple[StateDict, tuple[str, ...]]:
    """Return weights as timm itself loads them into this network, and a sentence for what it resampled."""
    adapt: Callable[..., StateDict] | None = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    if adapt is None or _patch(weights) != _patch(module.state_dict()):  # it would resample patches as well
        return weights, ()
    try:
        adapted = adapt(dict(weights), module)
    except Exception as error:  # shapes that nobody expected may raise anything there
        raise WeightsRefused(
            f"timm cannot fit these weights to {type(module).__name__} ({first_line(error)})"
        ) from error
    resampled = [
        f"{key} {_shape(weights[key])} -> {_shape(value)}"
        for key, value in adapted.items()
        if key in weights and weights[key].numel() != value.numel()
    ]
    return adapted, (f"resampled to the network's image size: {', '.join(resampled)}",) if resampled else ()


def misfit(weights: Mapping[str, torch.Tensor], module: nn.Module) -> str:
    """Return why weights do not fit a network, naming the first entries, or an empty string."""
    expected = module.state_dict()
    missing = [key for key in expected if key not in weights]
    extra = [key for key in weights if key not in expected]
    other = [
        f"{key} has shape {tuple(weights[key].shape)}, expected {tuple(value.shape)}"
        for key, value in expected.items()
        if key in weights and weights[key].shape != value.shape
    ]
    problems = [
        *other[:1],
        _examples(missing, "is missing", "are missing"),
        _examples(extra, "has no place in it", "have no place in it"),
    ]
    return "; ".join(problem for problem in problems if problem)


def vit_arguments(module: nn.Module, weights: StateDict) -> dict[str, Any]:
    """Return what the entries of a `VisionTransformer` say about it that its architecture's name may not.

    That is its image size, LayerScale, register tokens, and which of its tokens have a position.
    """
    grid, patch, tokens = weights.get("pos_embed"), _patch(weights), weights.get("reg_token")
    expected = module.state_dict()
    own, embedding = expected.get("pos_embed"), cast(Any, module).patch_embed
    if grid is None or own is None or patch is None or patch != _patch(expected) or grid.shape[2:] != own.shape[2:]:
        return {}
    stride = embedding.img_size[0] // embedding.grid_size[0]  # that of a hybrid's convolutions as well
    arguments: dict[str, Any] = {"init_values": 1.0} if "blocks.0.ls1.gamma" in weights else {}
    registers = 0
    if tokens is not None and tokens.ndim == 3:
        arguments["reg_tokens"] = registers = tokens.shape[1]
    for extra in {0, 1 + registers}:  # tokens besides the patches that have a position
        side = math.isqrt(max(grid.shape[1] - extra, 0))
        if side and side**2 + extra == grid.shape[1]:
            arguments |= {"img_size": side * stride, "no_embed_class": not extra}
    return arguments


def resembles(weights: Mapping[str, torch.Tensor]) -> str:
    """Return which vision transformer of timm has entries of these shapes, as a hint, or an empty string."""
    patch = weights.get("patch_embed.proj.weight")
    if patch is None or patch.ndim != 4 or "cls_token" not in weights:
        return ""
    size = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1536: "giant"}.get(patch.shape[0])
    depth = len({key.split(".")[1] for key in weights if key.startswith("blocks.")})
    family = "_dinov2" if "blocks.0.ls1.gamma" in weights else ""
    name = f" (in timm vit_{size}_patch{patch.shape[-1]}{family}...)" if size else ""
    return f"a vision transformer of {depth} layers, {patch.shape[0]} numbers, patches of {patch.shape[-1]} px{name}"


def _renamed(weights: StateDict) -> StateDict:
    import torch

    renamed = {}
    for key, value in weights.items():
        if _QUERY.search(key):
            names = (_QUERY.sub(f".attention.attention.{part}.", key) for part in ("query", "key", "value"))
            parts = [weights[name] for name in names if name in weights and weights[name].shape == value.shape]
            if len(parts) == 3 and value.ndim:
                key, value = _QUERY.sub(".attn.qkv.", key), torch.cat(parts)
        elif re.search(r"\.attention\.attention\.(key|value)\.", key):
            continue
        for old, new in _RENAMED:
            key = old.sub(new, key)
        renamed[key] = value
    return renamed


def _without_registers_in_positions(weights: StateDict) -> StateDict:
    """Add CLS's position to CLS where there are register tokens, as timm does: there, only patches have positions."""
    registers, positions, cls = (weights.get(key) for key in ("register_tokens", "pos_embed", "cls_token"))
    if registers is None or positions is None or cls is None or {t.ndim for t in (registers, positions, cls)} != {3}:
        return weights
    if cls.shape != positions[:, :1].shape:
        return weights
    rest = {key: value for key, value in weights.items() if key != "register_tokens"}
    return rest | {"reg_token": registers, "cls_token": cls + positions[:, :1], "pos_embed": positions[:, 1:]}


def _prefix(weights: StateDict, expected: Mapping[str, Any]) -> str:
    """Return what stands before most of the network's names in the weights'."""
    anchors = list(expected)[:8]
    found = {key[: -len(a)] for key in weights for a in anchors if f".{key}".endswith(f".{a}")}
    fits = {prefix: _fits(weights, prefix, expected) for prefix in sorted(found)}
    most = max(fits.values(), default=0)
    if 2 * most < len(expected):
        return ""
    best = [prefix for prefix, fit in fits.items() if fit == most]
    preferred = [prefix for prefix in best if any(word in prefix for word in _PREFERRED)] or best
    if len(preferred) > 1:
        raise WeightsRefused(
            f"two networks of this kind are in it ({preferred[0]}... and {preferred[1]}...): save the one that you mean"
        )
    return preferred[0]


def _fits(weights: StateDict, prefix: str, expected: Mapping[str, Any]) -> int:
    return sum(prefix + key in weights for key in expected)


def _heads(module: nn.Module) -> tuple[str, ...]:
    classifier = getattr(module, "pretrained_cfg", {}).get("classifier") or ()
    return (*((classifier,) if isinstance(classifier, str) else classifier), *_HEADS)


def _is_below(key: str, parents: Iterable[str]) -> bool:
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)


def _patch(weights: Mapping[str, torch.Tensor]) -> tuple[int, ...] | None:
    weight = weights.get("patch_embed.proj.weight")
    return None if weight is None or weight.ndim != 4 else tuple(weight.shape[2:])


def _part(key: str, prefix: str) -> str:
    """Return the name of the part of a checkpoint that a key is of, seen from the network at `prefix`."""
    parts, before = key.split("."), prefix.split(".")
    shared = next((i for i, (mine, its) in enumerate(zip(parts, before, strict=False)) if mine != its), 0)
    return ".".join(parts[: shared + 1])


def _shape(value: torch.Tensor) -> str:
    return "x".join(str(length) for length in value.shape[1:])


def _examples(keys: list[str], one: str, several: str) -> str:
    if not keys:
        return ""
    more = f" and {len(keys) - _EXAMPLES} more" if len(keys) > _EXAMPLES else ""
    return f"{', '.join(keys[:_EXAMPLES])}{more} {one if len(keys) == 1 else several}"
