"""A model evaluated on a cohort: its patients, and every number that is computed from them.

Tables, figures, the report and the files all come from this one frozen object, so that nothing can disagree.
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.diagnosis.policy import Policy
from napari_caltomorph.evaluation.confusion import Confusion, coarse_confusion, detailed_confusion
from napari_caltomorph.evaluation.covariates import SHARE, CovariateAssociation, covariate_association
from napari_caltomorph.evaluation.coverage import CoveragePoint, Withholding, coverage_points, withholding
from napari_caltomorph.evaluation.file import patient_table, read_evaluation, write_evaluation
from napari_caltomorph.evaluation.hemoglobin import HemoglobinGroup, hemoglobin_groups
from napari_caltomorph.evaluation.malignancy import OperatingPoint, Screened
from napari_caltomorph.evaluation.metrics import (
    ClassNumbers,
    class_numbers,
    headline,
)
from napari_caltomorph.evaluation.patients import EvaluatedPatients
from napari_caltomorph.evaluation.statements import statements
from napari_caltomorph.statistics.metric import Metric
from napari_caltomorph.statistics.reliability import Reliability, reliability
from napari_caltomorph.statistics.roc import roc_curve
from napari_caltomorph.storage import StrPath

# Keys of evaluation.json that have another name in the code.
_COUNTS_IN_FILE = {"evaluated": "judged", "not evaluated": "not judged"}
_BINS_IN_FILE = {"mean_probability": "said", "observed": "came_true"}


class Evaluation(EvaluatedPatients):
    """A model evaluated on a cohort: `EvaluatedPatients` and their numbers, each computed when it is first used."""

    @cached_property
    def headline(self) -> dict[str, Metric]:
        """Each metric of the model as a whole, by its name in `METRICS`, in the order in which they are read."""
        return headline(self, self.at(), self.reliability, self.malignancy_reliability)

    @cached_property
    def by_class(self) -> dict[str, ClassNumbers]:
        """The metrics of each of the model's classes, by its slug."""
        return class_numbers(self)

    @cached_property
    def screened(self) -> Screened:
        """The patients of one known class, as malignant or not."""
        return Screened.of(self)

    def at(self, threshold: float | None = None) -> OperatingPoint:
        """Return the screening at a threshold of malignancy; without one, at that of this evaluation."""
        return self.screened.at(self.provenance.threshold.value if threshold is None else threshold)

    @cached_property
    def reliability(self) -> Reliability | None:
        """Whether the predicted class is right as often as its probability says; None without known truth."""
        is_known = self.has_one_class
        return self._reliability(self.probabilities.max(axis=1)[is_known], self.is_right[is_known])

    @cached_property
    def malignancy_reliability(self) -> Reliability | None:
        """Whether patients are malignant as often as their malignancy says."""
        return self._reliability(self.screened.malignancy, self.screened.is_malignant)

    @cached_property
    def hemoglobin(self) -> tuple[HemoglobinGroup, ...]:
        """How far hemoglobin is off: all, without healthy donors, each class, within classes, and a baseline."""
        return hemoglobin_groups(self)

    @cached_property
    def confusion(self) -> Confusion:
        """Coarse classes (paper, figure 2B), then sets of right answers and other classes (figure 4D)."""
        return coarse_confusion(self)

    @cached_property
    def detailed_confusion(self) -> Confusion:
        """Detailed classes of the cohort by the model's coarse ones (paper, figure 3A), then the same other rows."""
        return detailed_confusion(self)

    @cached_property
    def covariate_associations(self) -> tuple[CovariateAssociation, ...]:
        """Errors and probabilities by each number of `options.against` (paper, figures 3B and 3C)."""
        columns = (name if name in self.covariates else SHARE + name for name in self.options.against)
        return tuple(covariate_association(self, column) for column in columns)

    @cached_property
    def withholding(self) -> Withholding | None:
        """What the policy of this evaluation does; None without one."""
        return None if self.provenance.policy is None else withholding(self, self.provenance.policy)

    @cached_property
    def coverage(self) -> tuple[CoveragePoint, ...]:
        """How many patients are predicted, and how often wrong, where small leads are withheld."""
        return coverage_points(self)

    def roc(self, slug: str | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return false and true positive rates of a class against the rest, or of malignancy; None where undefined."""
        is_known = self.has_one_class
        if slug is None:
            truth, scores = self.screened.is_malignant, self.screened.malignancy
        else:
            number = self.taxonomy.slugs.index(slug)
            truth, scores = self.classes[is_known] == number, self.probabilities[is_known, number]
        return roc_curve(truth, scores)

    @property
    def statements(self) -> tuple[str, ...]:
        """The sentences that must be shown wherever these numbers are shown."""
        return tuple(statements(self))

    def table(self) -> pd.DataFrame:
        """One row a patient with the columns of ``predictions.csv``: the contract's, and the truth."""
        return patient_table(self)

    def with_threshold(self, threshold: Threshold) -> Evaluation:
        """Return the same predictions at another malignancy threshold."""
        return replace(self, provenance=self.provenance.model_copy(update={"threshold": threshold}))

    def under(self, policy: Policy) -> Evaluation:
        """Return the same predictions with what a policy does; `EvaluationRefused` where it cannot be checked."""
        found = replace(self, provenance=self.provenance.model_copy(update={"policy": policy}))
        assert found.withholding is not None
        return found

    def among(self, chosen: NDArray[np.bool_]) -> Evaluation:
        """Return the evaluation of some of the patients, (P,) bool, without embeddings."""
        some = {name: getattr(self, name) for name in ("patients", "covariates")}
        some = {name: table[chosen].reset_index(drop=True) if len(table) else table for name, table in some.items()}
        return replace(self, **some, embeddings=None)

    def save(self, folder: StrPath) -> list[Path]:
        """Write ``evaluation.json``, ``predictions.csv`` and ``embeddings.safetensors``; return their paths."""
        return write_evaluation(self, self.as_plain_data(), self.statements, Path(folder))

    @classmethod
    def load(cls, path: StrPath) -> Evaluation:
        """Read what `save` wrote: the folder, or its ``evaluation.json``.

        Raises `EvaluationUnreadable` where there is none, it is damaged, or a newer version wrote it.
        """
        evaluated = read_evaluation(Path(path))
        return cls(**{field.name: getattr(evaluated, field.name) for field in fields(evaluated)})

    def _reliability(self, probabilities: NDArray[np.float64], is_true: NDArray[np.bool_]) -> Reliability | None:
        options = self.options
        return reliability(probabilities, is_true, bins=options.bins, seed=options.seed, resamples=options.resamples)

    def as_plain_data(self) -> dict[str, Any]:
        """Return every number, as evaluation.json has it."""
        point, everyone = self.at(), self.screened.everyone
        return {
            "counts": {_COUNTS_IN_FILE.get(kind, kind): count for kind, count in self.counts.items()},
            "headline": _metrics(self.headline),
            "by_class": {
                slug: {"name": one.name, "patients": one.patients, "called": one.called, **_metrics(one.numbers)}
                for slug, one in self.by_class.items()
            },
            "confusion": _confusion(self.confusion),
            "detailed_confusion": _confusion(self.detailed_confusion),
            "operating_point": {
                "threshold": point.threshold,
                "others": point.others_in_words,
                "missed": list(point.missed),
                "fdr_if_all_are_called": asdict(everyone.fdr),
                "fdr_if_all_are_called_without_healthy": asdict(everyone.fdr_without_healthy),
                "sensitivity_by_class": {
                    one.slug: asdict(point.sensitivity_of(one.slug)) for one in self.taxonomy.classes if one.malignant
                },
            },
            "reliability": _reliability(self.reliability),
            "malignancy_reliability": _reliability(self.malignancy_reliability),
            "against": [
                {
                    "column": one.column,
                    "patients": one.patients,
                    "bins": [asdict(part) for part in one.bins],
                    "spearman_r": _metrics(one.correlations),
                }
                for one in self.covariate_associations
            ],
            "coverage": [asdict(point) for point in self.coverage],
            "policy": _withholding(self.withholding),
            "hemoglobin": [{"group": g.name, "patients": g.patients, **_metrics(g.numbers)} for g in self.hemoglobin],
        }


def _metrics(metrics: dict[str, Metric]) -> dict[str, Any]:
    return {name: asdict(metric) for name, metric in metrics.items()}


def _withholding(found: Withholding | None) -> dict[str, Any] | None:
    if found is None:
        return None
    wrong, count = _metrics(found.error), sum(map(bool, found.reasons))
    return {"policy": str(found.policy), "withheld": count, "not_checked": list(found.not_checked), "wrong": wrong}


def _confusion(confusion: Confusion) -> dict[str, Any]:
    return {
        "rows": [{"name": row.name, "kind": row.kind, "right_answers": list(row.slugs)} for row in confusion.rows],
        "columns": list(confusion.columns),
        "counts": confusion.counts.tolist(),
    }


def _reliability(reliability: Reliability | None) -> dict[str, Any] | None:
    if reliability is None:
        return None
    content = asdict(reliability)
    bins = [{_BINS_IN_FILE.get(name, name): value for name, value in one.items()} for one in content["bins"]]
    return content | {"bins": bins}
