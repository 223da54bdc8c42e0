"""How often a local validation gives the right verdict, by simulation of laboratories.

Malignancy is a normal score, of malignant patients higher than of others. A model is *good* (it keeps our default
limits with some room), *shifted* (it ranks as well, but all malignancies are lower, as with another stain), *weak* (it
ranks worse than the AUROC limit), or *just below* the limit of sensitivity at its threshold, and near that of
specificity at another. Half of the patients are malignant::

    python benchmarks/validation_verdicts.py --laboratories 1000
"""

from __future__ import annotations

import argparse
from collections import Counter
from statistics import NormalDist

import numpy as np
import pandas as pd
from scipy.special import expit

from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.evaluation import EvaluateOptions, Evaluation, Provenance
from napari_caltomorph.evaluation.patients import COLUMNS
from napari_caltomorph.laboratory import Criteria, StatedCriteria, validate
from napari_caltomorph.taxonomy import CoarseClass, Taxonomy

SIZES = (20, 50, 100, 200, 400)
LIMITS = {"sensitivity": 0.85, "specificity": 0.5, "AUROC": 0.8}
CRITERIA = Criteria(
    judged_by="bound",
    sensitivity_at_least=LIMITS["sensitivity"],
    specificity_at_least=LIMITS["specificity"],
    auroc_at_least=LIMITS["AUROC"],
    choose_by="sensitivity=0.97",
)
_QUANTILE = NormalDist().inv_cdf
# Scores of malignant patients less those of others, in standard deviations; and the shift of all scores. At 0 and
# above, a patient is called malignant; without a shift, 97 % of malignant patients are.
MODELS = {
    "good": (3.5, 0.0),
    "shifted": (3.5, -1.9),
    "weak": (0.8, 0.0),
    "just below": (1.85, _QUANTILE(LIMITS["sensitivity"] - 0.001) - _QUANTILE(0.97)),
}
COLUMNS_SHOWN = (
    *("use", "use with changed threshold", "too few cases", "do not use"),
    *("wrong use", "below sensitivity", "below specificity"),
)

_TAXONOMY = Taxonomy(
    name="two",
    classes=(
        CoarseClass(slug="malignant_one", name="Malignant", malignant=True, color="#d55e00", detailed=()),
        CoarseClass(slug="other", name="Other", malignant=False, color="#0072b2", detailed=()),
    ),
)
_NONE = Provenance(
    model_name="drawn",
    model_fingerprint="0" * 64,
    model_synthetic=True,
    members=1,
    calibration=None,
    threshold=Threshold(value=0.5, rule="more probably malignant than not"),
    encoder=None,
    encoder_weights_sha256=None,
    training_cohort="drawn",
    training_recipe="none",
    training_check="not possible",
    cohort_name="drawn",
    cohort_source="drawn",
    cohort_layout="table",
    cohort_fingerprint="0" * 64,
    cohort_left_out={},
    cohort_notes=(),
    device="cpu",
    seconds=0,
    created="",
    library_versions={},
)


def laboratory(patients: int, model: str, rng: np.random.Generator) -> Evaluation:
    """Return an evaluation of so many drawn patients, half of them malignant."""
    distance, shift = MODELS[model]
    is_malignant = np.arange(patients) % 2 == 0
    scores = rng.normal(size=patients) + np.where(is_malignant, 0.0, -distance) + shift + _QUANTILE(0.97)
    malignancy = expit(scores)
    table = pd.DataFrame(
        {
            **{name: [None] * patients for name in COLUMNS},
            "patient_id": [str(i) for i in range(patients)],
            "truth": np.where(is_malignant, "malignant_one", "other"),
            "warnings": "",
        }
    ).astype(COLUMNS)
    table["p_malignant_one"], table["p_other"] = malignancy, 1 - malignancy
    return Evaluation(table, _TAXONOMY, _TAXONOMY, _NONE, EvaluateOptions(resamples=0))


def verdicts(patients: int, model: str, laboratories: int, seed: int = 0) -> dict[str, float]:
    """Return how often each verdict is given, and how often it is wrong.

    ``wrong use``: use is allowed, and the true sensitivity or specificity at the threshold to be used, or the true
    AUROC, breaks its limit. ``below sensitivity`` and ``below specificity``: the truth at the other threshold is below
    the interval that is reported for it, which should be rarer than 2.5 %.
    """
    rng, found = np.random.default_rng(seed), Counter[str]()
    stated = StatedCriteria(criteria=CRITERIA, source="simulation", sha256="0" * 64)
    for _ in range(laboratories):
        result = validate(laboratory(patients, model, rng), stated)
        kind = result.verdict.kind
        found[kind] += 1
        if result.threshold is None or result.at_changed is None:
            continue
        truths = truth(model, result.threshold.value)
        for check in result.at_changed:
            found[f"below {check.name}"] += truths[check.name] < (check.metric.low or 0.0)
        used = truths if kind == "use with changed threshold" else truth(model, 0.5)
        found["wrong use"] += kind.startswith("use") and any(used[name] < limit for name, limit in LIMITS.items())
    return {name: found[name] / laboratories for name in COLUMNS_SHOWN}


def truth(model: str, threshold: float) -> dict[str, float]:
    """Return the true numbers of a model at a threshold of malignancy."""
    distance, shift = MODELS[model]
    place = shift + _QUANTILE(0.97) - float(np.log(threshold / (1 - threshold)))
    normal = NormalDist()
    return {
        "sensitivity": normal.cdf(place),
        "specificity": 1 - normal.cdf(place - distance),
        "AUROC": normal.cdf(distance / 2**0.5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--laboratories", type=int, default=1000)
    count = parser.parse_args().laboratories
    print(f"| model | patients | {' | '.join(COLUMNS_SHOWN)} |")
    print(f"|---|---:|{'---:|' * len(COLUMNS_SHOWN)}")
    for model in MODELS:
        for patients in SIZES:
            shares = " | ".join(f"{share:.1%}" for share in verdicts(patients, model, count).values())
            print(f"| {model} | {patients} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
