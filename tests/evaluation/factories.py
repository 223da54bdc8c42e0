"""Shared by the tests of evaluation: evaluations of simulated predictions, and small cohorts in memory."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_caltomorph.cohort import Cohort, with_types
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.evaluation import EvaluateOptions, Evaluation, Provenance
from napari_caltomorph.evaluation.patients import COLUMNS
from napari_caltomorph.taxonomy import CoarseClass, DetailedClass, Taxonomy, caltomorph_taxonomy

TAXONOMY = Taxonomy(
    name="three",
    classes=(
        CoarseClass(
            slug="acute",
            name="Acute leukemia",
            malignant=True,
            color="#d55e00",
            detailed=(DetailedClass(slug="aml", name="AML"), DetailedClass(slug="all", name="ALL")),
        ),
        CoarseClass(slug="mds", name="MDS", malignant=True, color="#e69f00", detailed=()),
        CoarseClass(slug="reactive", name="Reactive", malignant=False, color="#0072b2", detailed=()),
        CoarseClass(slug="healthy", name="Healthy", malignant=False, color="#009e73", detailed=()),
    ),
)
SLUGS, NAMES = TAXONOMY.slugs, TAXONOMY.names
MALIGNANT = {"acute", "mds"}
FAST = EvaluateOptions(resamples=20, device="cpu")

PROVENANCE = Provenance(
    model_name="tiny",
    model_fingerprint="f" * 64,
    model_synthetic=False,
    members=2,
    calibration=None,
    threshold=Threshold(value=0.5, rule="the paper's"),
    encoder="dinobloom-b",
    encoder_weights_sha256="a" * 64,
    training_cohort="Clinic A",
    training_recipe="robust",
    training_check="ids, smears and shared images",
    cohort_name="Clinic B",
    cohort_source="/clinic_b",
    cohort_layout="table",
    cohort_fingerprint="c" * 64,
    cohort_left_out={},
    cohort_notes=(),
    device="cpu",
    seconds=1.0,
    created="2026-01-01T00:00:00+00:00",
    library_versions={"torch": "2"},
)


def evaluation_of(
    truth: list[str | None],
    probabilities: np.ndarray,
    *,
    coarse_set: list[str | None] | None = None,
    row: list[str | None] | None = None,
    detailed: list[str | None] | None = None,
    measured: list[float | None] | None = None,
    hemoglobin: list[float | None] | None = None,
    options: EvaluateOptions = FAST,
    threshold: float = 0.5,
    taxonomy: Taxonomy = TAXONOMY,
) -> Evaluation:
    """An evaluation of these predictions; `truth` holds slugs, None for everything else."""
    count = len(truth)
    empty = [None] * count
    patients = pd.DataFrame(
        {
            "patient_id": [f"P{i:03d}" for i in range(count)],
            "split": "test",
            "raw_label": [t or (row or empty)[i] for i, t in enumerate(truth)],
            "detailed": detailed or empty,
            "truth": truth,
            "coarse_set": coarse_set or empty,
            "row": row or empty,
            "measured_hemoglobin_g_dl": measured or empty,
            "hemoglobin_g_dl": hemoglobin or empty,
            "n_cells": 100,
            "fold": None,
            "path": None,
            "smear_fingerprint": None,
            "is_outside_domain": None,
            "far_aspects": None,
            "has_other_scale": None,
            "warnings": "",
        }
    ).astype(COLUMNS)
    for index, slug in enumerate(taxonomy.slugs):
        patients[f"p_{slug}"] = np.asarray(probabilities, dtype=float)[:, index]
    return Evaluation(
        patients=patients,
        taxonomy=taxonomy,
        cohort_taxonomy=taxonomy,
        provenance=PROVENANCE.model_copy(update={"threshold": Threshold(value=threshold, rule="the paper's")}),
        options=options,
    )


@st.composite
def predictions(draw, least: int = 1, most: int = 30):
    """True slugs and probabilities with many ties."""
    patients = draw(st.integers(least, most))
    truth = draw(st.lists(st.sampled_from(TAXONOMY.slugs), min_size=patients, max_size=patients))
    shares = draw(arrays(np.int64, (patients, 4), elements=st.integers(1, 4))).astype(float)
    return truth, shares / shares.sum(axis=1, keepdims=True)


def simulated(per_class: tuple[int, ...], *, seed: int = 0, separation: float = 1.0) -> tuple[list[str], np.ndarray]:
    """Patients of each class, and probabilities that lean to the truth."""
    rng = np.random.default_rng(seed)
    classes = np.repeat(np.arange(4), per_class)
    logits = rng.normal(size=(len(classes), 4))
    logits[np.arange(len(classes)), classes] += separation
    shares = np.exp(logits)
    return [TAXONOMY.slugs[c] for c in classes], shares / shares.sum(axis=1, keepdims=True)


def cohort_of(rows: list[dict[str, object]], **changes: object) -> Cohort:
    """A cohort in memory."""
    cohort = Cohort(
        name="made",
        source="/made",
        layout="table",
        taxonomy=caltomorph_taxonomy(),
        table=with_types(pd.DataFrame(rows)),
    )
    return replace(cohort, **changes)


def csv_of(evaluation: Evaluation) -> pd.DataFrame:
    """predictions.csv as another program reads it."""
    return pd.read_csv(io.StringIO(evaluation.table().to_csv(index=False)))
