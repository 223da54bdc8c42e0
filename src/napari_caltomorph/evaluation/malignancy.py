"""Malignant or not at a threshold: patients called, patients missed, and false calls."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.evaluation.patients import EvaluatedPatients
from napari_caltomorph.statistics.interval import false_discovery_rate
from napari_caltomorph.statistics.metric import Metric

_NO_MALIGNANT = "no malignant patient"
_NO_OTHERS = "no patient that is not malignant"
_NO_OTHER_PATIENTS = "all patients that are not malignant are healthy donors"
_NONE_CALLED = "no patient is called malignant"


@dataclass(frozen=True)
class Screened:
    """P patients of known truth, and their predicted malignancy."""

    patient_ids: tuple[str, ...]
    malignancy: NDArray[np.float64]  # (P,)
    # (P,) bool: the truth; healthy donors are some of those that are not malignant
    is_malignant: NDArray[np.bool_]
    is_healthy_donor: NDArray[np.bool_]
    groups: NDArray[np.str_]  # (P,) str: slug of each patient's class

    @classmethod
    def of(cls, evaluated: EvaluatedPatients) -> Screened:
        """Return the patients of one known class."""
        is_known = evaluated.has_one_class
        classes = evaluated.classes[is_known]
        return cls(
            patient_ids=tuple(evaluated.patients["patient_id"][is_known]),
            malignancy=evaluated.malignancy[is_known],
            is_malignant=evaluated.taxonomy.is_malignant[classes],
            is_healthy_donor=evaluated.is_healthy_donor[is_known],
            groups=np.array(evaluated.taxonomy.slugs)[classes],
        )

    def __len__(self) -> int:
        return len(self.malignancy)

    def at(self, threshold: float) -> OperatingPoint:
        return OperatingPoint(self, threshold)

    def at_each(self, thresholds: NDArray[np.float64]) -> OperatingPoint:
        """Return the screening at a threshold (P,) for each patient, as an excess over it."""
        return replace(self, malignancy=self.malignancy - thresholds).at(0.0)

    def among(self, rows: NDArray[np.bool_]) -> Screened:
        """Return some of the patients."""
        return Screened(
            patient_ids=tuple(np.array(self.patient_ids, dtype=object)[rows]),
            malignancy=self.malignancy[rows],
            is_malignant=self.is_malignant[rows],
            is_healthy_donor=self.is_healthy_donor[rows],
            groups=self.groups[rows],
        )

    @property
    def everyone(self) -> OperatingPoint:
        """Every patient is called, as where all are punctured: the FDR that a model must improve (paper, figure 3D)."""
        return self.at(0.0)

    def curve(self) -> pd.DataFrame:
        """One row for each threshold that changes anything, falling, from "no patient is called" on.

        Columns: threshold; sensitivity, specificity, fdr, fdr_without_healthy; sensitivity_<slug> of each malignant
        class. NaN where undefined.
        """
        values = np.unique(self.malignancy)[::-1]
        thresholds = np.concatenate([[np.inf], values])

        def called(who: NDArray[np.bool_]) -> NDArray[np.intp]:
            scores = np.sort(self.malignancy[who])
            return len(scores) - np.searchsorted(scores, thresholds, side="left")

        def share(who: NDArray[np.bool_]) -> NDArray[np.float64]:
            return called(who) / who.sum() if who.any() else np.full(len(thresholds), np.nan)

        others, true = ~self.is_malignant, called(self.is_malignant)

        def fdr(who: NDArray[np.bool_]) -> NDArray[np.float64]:
            false = called(who)
            return np.asarray(np.where(true + false > 0, false / np.maximum(true + false, 1), np.nan))

        columns = {
            "threshold": thresholds,
            "sensitivity": share(self.is_malignant),
            "specificity": 1 - share(others),
            "fdr": fdr(others),
            "fdr_without_healthy": fdr(others & ~self.is_healthy_donor),
        }
        for slug in dict.fromkeys(self.groups[self.is_malignant]):
            columns[f"sensitivity_{slug}"] = share(self.is_malignant & (self.groups == slug))
        return pd.DataFrame(columns)


@dataclass(frozen=True)
class OperatingPoint:
    """Some patients at a threshold: at or above it, a patient is called malignant."""

    screened: Screened
    threshold: float

    @property
    def is_called(self) -> NDArray[np.bool_]:
        return np.asarray(self.screened.malignancy >= self.threshold)

    @property
    def missed(self) -> tuple[str, ...]:
        """Malignant patients below the threshold."""
        return self._ids(self.screened.is_malignant & ~self.is_called)

    @property
    def false_alarms(self) -> tuple[str, ...]:
        """Patients at or above it that are not malignant."""
        return self._ids(~self.screened.is_malignant & self.is_called)

    @property
    def sensitivity(self) -> Metric:
        """Share of the malignant patients that are called."""
        return self._share(self.screened.is_malignant, _NO_MALIGNANT)

    @property
    def specificity(self) -> Metric:
        """Share of the others that are not called."""
        return self._share(~self.screened.is_malignant, _NO_OTHERS).complement()

    @property
    def fdr(self) -> Metric:
        """Share of those called that are not malignant; it depends on how many such patients the cohort has."""
        return self._false_share(~self.screened.is_malignant, _NO_OTHERS)

    @property
    def fdr_without_healthy(self) -> Metric:
        """The same as if the cohort had no healthy donors: their bone marrow is not punctured."""
        others = ~self.screened.is_malignant
        return self._false_share(
            others & ~self.screened.is_healthy_donor, _NO_OTHER_PATIENTS if others.any() else _NO_OTHERS
        )

    @property
    def others_in_words(self) -> str:
        """Patients that are not malignant, by class, e.g. ``"112 not malignant: 42 reactive_changes, 70 healthy"``."""
        groups = pd.Series(self.screened.groups[~self.screened.is_malignant]).value_counts()
        counts = ", ".join(f"{count} {slug}" for slug, count in groups.items())
        return f"{int(groups.sum())} not malignant" + (f": {counts}" if counts else "")

    def sensitivity_of(self, group: str) -> Metric:
        """Sensitivity for one malignant class by its slug."""
        who = self.screened.is_malignant & (self.screened.groups == group)
        return self._share(who, "no patient of this class")

    def fdr_at(self, prevalence: float, *, healthy: bool = True) -> Metric:
        """Return the FDR where a share `prevalence` of those screened is malignant.

        The others are as this cohort's, or, without `healthy`, as those of them that are no healthy donors.
        """
        if not 0 <= prevalence <= 1:
            raise ValueError(f"a prevalence is between 0 and 1, not {prevalence}")
        malignant, others = self.screened.is_malignant, ~self.screened.is_malignant
        tested = others & (healthy | ~self.screened.is_healthy_donor)
        if not tested.any():
            return Metric.undefined(_NO_OTHER_PATIENTS if others.any() else _NO_OTHERS)
        if not malignant.any():
            return Metric.undefined(_NO_MALIGNANT)
        false_alarms, found = ((int(self.is_called[who].sum()), int(who.sum())) for who in (tested, malignant))
        rate = false_discovery_rate(false_alarms, found, prevalence)
        if rate is None:
            return Metric.undefined(_NONE_CALLED)
        patients = int((tested | malignant).sum())
        return Metric(rate.value, rate.low, rate.high, patients, "none" if rate.low is None else "MOVER")

    def _share(self, who: NDArray[np.bool_], if_none: str) -> Metric:
        return Metric.of_counts(int(self.is_called[who].sum()), int(who.sum()), if_none)

    def _false_share(self, others: NDArray[np.bool_], if_none: str) -> Metric:
        false, true = (int(self.is_called[who].sum()) for who in (others, self.screened.is_malignant))
        if not others.any():
            return Metric.undefined(if_none)
        return Metric.of_counts(false, false + true, _NONE_CALLED)

    def _ids(self, who: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(self.screened.patient_ids[i] for i in np.flatnonzero(who))
