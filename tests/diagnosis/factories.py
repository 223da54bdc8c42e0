"""Real models with random weights, small enough for hundreds of tests, and bags of features for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from napari_caltomorph.diagnosis import (
    AGGREGATOR_OPTIONS,
    Ensemble,
    FoldRecord,
    ModelDescription,
    TrainingRecord,
    TransformerOptions,
)
from napari_caltomorph.diagnosis.hemoglobin_error import ErrorInterval
from napari_caltomorph.diagnosis.member import Member
from napari_caltomorph.diagnosis.model_file import EncoderNeed, HemoglobinTarget, MemberFile, Threshold
from napari_caltomorph.diagnosis.model_folder import build_member
from napari_caltomorph.encoding import FeatureOrigin, Features
from napari_caltomorph.taxonomy import caltomorph_taxonomy

WIDTH = 24
ENCODER = EncoderNeed(name="demo-vit", weights_sha256="a" * 64, preprocessing="resize-and-so-on", width=WIDTH)
ORIGIN = FeatureOrigin(
    encoder=ENCODER.name,
    weights_sha256=ENCODER.weights_sha256,
    preprocessing=ENCODER.preprocessing,
    precision="float32",
    smear_fingerprint="f" * 64,
    field_of_view_um=25.0,
)

SMALL = {
    "transformer": {"depth": 3, "heads": 2, "width": 16, "mlp_width": 32},
    "genbloom-v": {"depth": 2, "heads": 2, "width": 16, "mlp_width": 32},
    "genbloom-g": {"depth": 2, "heads": 2, "width": 16, "mlp_width": 32},
    "abmil": {"width": 16, "attention_width": 12},
    "wbcmil": {"attention_width": 12},
    "concepts": {"width": 16, "concepts": 8, "reference": 7},
    "mean": {},
    "max": {},
}
RECORD = TrainingRecord(
    recipe="robust",
    options={"learning_rate": 0.0005},
    cohort="Clinic A",
    patients={"mds": 7, "healthy": 9},
    folds=(
        FoldRecord(
            patients=13,
            validation_patients=3,
            epochs=30,
            best_epoch=21,
            stopped_by="validation loss",
            train_loss=(1.0,),
        ),
    ),
    out_of_fold={
        "pooled": {"balanced_accuracy": {"value": 0.5, "low": 0.4, "high": 0.6125}},
        "per_fold": {"balanced_accuracy": [0.25, 0.75]},
    },
    notes=("Two patients were left out.",),
    seconds=90,
    machine="a laptop",
)

MakeMember = Callable[..., Member]
MakeEnsemble = Callable[..., Ensemble]
MakeFeatures = Callable[..., Features]


@pytest.fixture(scope="session")
def make_member() -> MakeMember:
    """``make_member(seed=0, feature_width=24, kind="transformer", **options)``: a member whose layers all matter."""
    return _member


@pytest.fixture(scope="session")
def make_ensemble() -> MakeEnsemble:
    """``make_ensemble(seed=0, members=3, **description)``: an ensemble that tells its bags apart."""
    return _ensemble


@pytest.fixture(scope="session")
def make_features() -> MakeFeatures:
    """``make_features(cells=60, seed=0, values=None, patient_id="patient", **origin)``."""
    return _features


def _ensemble(seed: int = 0, members: int = 3, **changes: Any) -> Ensemble:
    fields = {
        "name": "tiny",
        "description": "Random weights, for the tests.",
        "synthetic": True,
        "created": "2026-01-01T00:00:00+00:00",
        "encoder": ENCODER,
        "field_of_view_um": 25.0,
        "taxonomy": caltomorph_taxonomy(),
        "hemoglobin": HemoglobinTarget(error=ErrorInterval(level=0.9, low=-3.0, high=3.5, patients=40)),
        "aggregator": TransformerOptions(depth=2, heads=2, width=16, mlp_width=32),
        "classifier_width": 12,
        "threshold": Threshold(value=0.5, rule="the paper's"),
        "training": RECORD,
        "members": (MemberFile(file="fold_0.safetensors", sha256="0" * 64),),
        "library_versions": {"torch": torch.__version__},
    }
    description = ModelDescription(**fields | changes)
    voters = []
    for k in range(members):
        torch.manual_seed(1000 * seed + k)
        voters.append(_enlivened(build_member(description)))
        if description.hemoglobin is not None:
            voters[-1].hemoglobin_mean.fill_(11.5 + k)
            voters[-1].hemoglobin_std.fill_(2.5)
    return Ensemble(description, tuple(voters))


def _member(seed: int = 0, feature_width: int = WIDTH, kind: str = "transformer", **options: Any) -> Member:
    torch.manual_seed(seed)
    chosen = AGGREGATOR_OPTIONS[kind](**SMALL[kind] | options)
    return _enlivened(Member(feature_width, 8, chosen, classifier_width=12, hemoglobin=True))


def _enlivened(member: Member) -> Member:
    """Larger weights than at the start of training: there, attention is near uniform and every bag looks the same."""
    with torch.no_grad():
        for name, weight in member.named_parameters():
            if name.endswith("weight") and weight.ndim == 2:
                weight.mul_(2)
            elif name.endswith("bias") or "norm" in name:
                weight.add_(torch.randn_like(weight), alpha=0.1)
    return member.eval()


def _features(
    cells: int = 60,
    seed: int = 0,
    values: np.ndarray | None = None,
    patient_id: str = "patient",
    **origin: Any,
) -> Features:
    if values is None:
        values = np.random.default_rng(seed).normal(size=(cells, WIDTH)).astype(np.float32)
    names = tuple(f"Gal-{i + 1:06d}.RGB.TIF" for i in range(len(values)))
    created = FeatureOrigin(**{key: getattr(ORIGIN, key) for key in ORIGIN.__dataclass_fields__} | origin)
    return Features(patient_id, values, names, created)
