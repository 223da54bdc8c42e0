"""What a model says of patients whose truth is known: one row a patient, and every number derived from these rows.

Tables, figures, the report and the files all come from this one frozen object, so that nothing can disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.evaluation.class_numbers import ClassNumbers, class_numbers
from napari_caltomorph.evaluation.columns import UNJUDGED_COLUMNS
from napari_caltomorph.evaluation.confusion_matrix import Confusion
from napari_caltomorph.evaluation.confusion_rows import coarse_confusion, detailed_confusion
from napari_caltomorph.evaluation.covariate_association import SHARE, CovariateAssociation, against
from napari_caltomorph.evaluation.embeddings import Embeddings
from napari_caltomorph.evaluation.headline import headline
from napari_caltomorph.evaluation.hemoglobin import HemoglobinGroup, hemoglobin_groups
from napari_caltomorph.evaluation.malignancy import OperatingPoint, Screened
from napari_caltomorph.evaluation.options import EvaluateOptions
from napari_caltomorph.evaluation.patient_table import patient_table
from napari_caltomorph.evaluation.provenance import Provenance
from napari_caltomorph.evaluation.statements import statements
from napari_caltomorph.statistics.classification import roc_curve
from napari_caltomorph.statistics.metric import Metric
from napari_caltomorph.statistics.reliability import Reliability, reliability
from napari_caltomorph.taxonomy import Taxonomy


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model judged on a cohort.

    Attributes
    ----------
    patients : pandas.DataFrame
        One row for each of P judged patients: `COLUMNS` and ``p_<slug>``, the probabilities as a `Prediction` shows
        them. With no patient's truth known there are predictions and no metrics.
    taxonomy, cohort_taxonomy : Taxonomy
        The model's C classes, and those that the cohort was labelled with.
    provenance : Provenance
    options : EvaluateOptions
    embeddings : Embeddings or None
    covariates : pandas.DataFrame
        What else the cohort's table says of each patient (age, sex, group, and its own columns), in the same order.
    unjudged : pandas.DataFrame
        Patients who should have been judged, and why they were not.
    notes : tuple of str
        What was found while judging, each a sentence; `statements` has these too.
    """

    patients: pd.DataFrame
    taxonomy: Taxonomy
    cohort_taxonomy: Taxonomy
    provenance: Provenance
    options: EvaluateOptions = EvaluateOptions()  # noqa: RUF009 (frozen)
    embeddings: Embeddings | None = None
    covariates: pd.DataFrame = field(default_factory=pd.DataFrame)
    unjudged: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(UNJUDGED_COLUMNS)))
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.patients)

    # What each patient is, and what is said of them.

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """(P, C)"""
        columns = [f"p_{slug}" for slug in self.taxonomy.slugs]
        probabilities: NDArray[np.float64] = self.patients[columns].to_numpy(dtype=float)
        return probabilities

    @cached_property
    def predicted(self) -> NDArray[np.intp]:
        """(P,) number of the most probable class; the first of several."""
        predicted: NDArray[np.intp] = self.probabilities.argmax(axis=1)
        return predicted

    @cached_property
    def malignancy(self) -> NDArray[np.float64]:
        """(P,) sum of the malignant classes' probabilities."""
        return self.taxonomy.malignancy(self.probabilities)

    @cached_property
    def classes(self) -> NDArray[np.intp]:
        """(P,) number of the one true class; -1 for several right answers, other classes, and no label."""
        number = {slug: i for i, slug in enumerate(self.taxonomy.slugs)}
        return np.array(
            [number.get(s, -1) if isinstance(s, str) else -1 for s in self.patients["truth"]], dtype=np.intp
        )

    @property
    def has_one_class(self) -> NDArray[np.bool_]:
        """(P,) whom the metrics are about: patients of exactly one class, which the model knows."""
        known: NDArray[np.bool_] = self.classes >= 0
        return known

    @property
    def has_several(self) -> NDArray[np.bool_]:
        """(P,) borderline and double diagnoses, with several right answers."""
        return self.patients["coarse_set"].notna().to_numpy(dtype=bool)

    @property
    def is_other(self) -> NDArray[np.bool_]:
        """(P,) patients of a class that the model does not know."""
        return self.patients["row"].notna().to_numpy(dtype=bool)

    @property
    def is_labelled(self) -> bool:
        """Whether the truth of any patient is known."""
        return bool((self.has_one_class | self.has_several | self.is_other).any())

    @property
    def is_external(self) -> bool:
        """Whether the smears come from another laboratory than those of the training."""
        return self.options.lab == "other"

    @cached_property
    def is_healthy_donor(self) -> NDArray[np.bool_]:
        """(P,) whose class is one of `options.healthy`."""
        names = list(self.options.healthy)
        return (self.patients["truth"].isin(names) | self.patients["detailed"].isin(names)).to_numpy(dtype=bool)

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """(P, C) numbers of the classes, most probable first; ties in the taxonomy's order."""
        order: NDArray[np.intp] = np.argsort(-self.probabilities, axis=1, kind="stable")
        return order

    @property
    def delta_probability(self) -> NDArray[np.float64]:
        """(P,) first minus second probability (paper, supplementary figure 1)."""
        ranked = np.sort(self.probabilities, axis=1)
        difference: NDArray[np.float64] = ranked[:, -1] - ranked[:, -2]
        return difference

    @cached_property
    def is_right(self) -> NDArray[np.bool_]:
        """(P,) whether the predicted class is a right answer; false where the model knows none."""
        slugs = np.array(self.taxonomy.slugs, dtype=object)[self.predicted]
        within = [
            isinstance(s, str) and slug in s.split("|")
            for s, slug in zip(self.patients["coarse_set"], slugs, strict=True)
        ]
        right: NDArray[np.bool_] = (self.classes == self.predicted) | np.array(within, dtype=bool)
        return right

    @property
    def wrong(self) -> tuple[str, ...]:
        """Patients with a right answer that was not given, the surest mistake first."""
        could = (self.has_one_class | self.has_several) & ~self.is_right
        sure = self.probabilities.max(axis=1)
        ids = self.patients["patient_id"]
        return tuple(ids.iloc[i] for i in sorted(np.flatnonzero(could).tolist(), key=lambda i: -sure[i]))

    # Numbers.

    @cached_property
    def headline(self) -> dict[str, Metric]:
        """Each number about the model as a whole, by name, in the order in which they are read.

        accuracy, balanced_accuracy, macro_f1, weighted_f1, top2_accuracy, macro_auroc, malignant_auroc, sensitivity,
        specificity and fdr of "malignant" at the threshold, fdr_without_healthy, several_right (borderline and double
        diagnoses answered within their set), set_coverage (patients whose class is in the set that a calibrated model
        does not exclude), ece, brier, malignant_brier.
        """
        return headline(self)

    @cached_property
    def is_outside_domain(self) -> NDArray[np.bool_]:
        """(P,) whether the smear is known to be unlike the training cohort."""
        outside: NDArray[np.bool_] = self.patients["is_outside_domain"].fillna(False).to_numpy(dtype=bool)
        return outside

    @cached_property
    def is_calibrated(self) -> NDArray[np.bool_]:
        """(P,) whether the probabilities are calibrated; never outside the training domain."""
        return ~self.is_outside_domain & (self.provenance.calibration is not None)

    @cached_property
    def prediction_sets(self) -> tuple[tuple[str, ...] | None, ...] | None:
        """Slugs of the classes that cannot be excluded, of each patient; None without a calibration in force."""
        calibration, slugs = self.provenance.calibration, self.taxonomy.slugs
        if calibration is None:
            return None
        return tuple(
            calibration.prediction_set(one, slugs) if is_calibrated else None
            for one, is_calibrated in zip(self.probabilities, self.is_calibrated, strict=True)
        )

    @cached_property
    def by_class(self) -> dict[str, ClassNumbers]:
        """The numbers of each of the model's classes, by its slug."""
        return class_numbers(self)

    @cached_property
    def screened(self) -> Screened:
        """The patients of one known class, as malignant or not."""
        who = self.has_one_class
        classes = self.classes[who]
        return Screened(
            patient_ids=tuple(self.patients["patient_id"][who]),
            malignancy=self.malignancy[who],
            is_malignant=self.taxonomy.is_malignant[classes],
            is_healthy_donor=self.is_healthy_donor[who],
            groups=np.array(self.taxonomy.slugs)[classes],
        )

    def at(self, threshold: float | None = None) -> OperatingPoint:
        """Return what a threshold does; without one, that of this evaluation."""
        return self.screened.at(self.provenance.threshold.value if threshold is None else threshold)

    @cached_property
    def reliability(self) -> Reliability | None:
        """Whether the predicted class is right as often as its probability says; None without known truth."""
        who = self.has_one_class
        return self._reliability(self.probabilities.max(axis=1)[who], self.is_right[who])

    @cached_property
    def malignancy_reliability(self) -> Reliability | None:
        """Whether patients are malignant as often as their malignancy says."""
        return self._reliability(self.screened.malignancy, self.screened.is_malignant)

    @cached_property
    def hemoglobin(self) -> tuple[HemoglobinGroup, ...]:
        """How far hemoglobin is off: all, without healthy donors, each class, within classes, and a baseline."""
        return hemoglobin_groups(
            measured=self.patients["measured_hemoglobin_g_dl"].to_numpy(dtype=float, na_value=np.nan),
            predicted=self.patients["hemoglobin_g_dl"].to_numpy(dtype=float, na_value=np.nan),
            classes=self.classes,
            is_healthy_donor=self.is_healthy_donor,
            names=tuple(self.taxonomy.names),
            seed=self.options.seed,
            resamples=self.options.resamples,
        )

    @cached_property
    def confusion(self) -> Confusion:
        """Coarse classes (paper, figure 2B), then sets of right answers and other classes (figure 4D)."""
        return coarse_confusion(self)

    @cached_property
    def detailed_confusion(self) -> Confusion:
        """Detailed classes of the cohort by the model's coarse ones (paper, figure 3A), then the same other rows."""
        return detailed_confusion(self)

    @cached_property
    def against(self) -> tuple[CovariateAssociation, ...]:
        """Errors and probabilities beside each number of `options.against` (paper, figures 3B and 3C)."""
        columns = (name if name in self.covariates else SHARE + name for name in self.options.against)
        return tuple(against(self, column) for column in columns)

    def roc(self, slug: str | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return false and true positive rates of a class against the rest, or of malignancy; None where undefined."""
        who = self.has_one_class
        if slug is None:
            truth, scores = self.screened.is_malignant, self.screened.malignancy
        else:
            number = self.taxonomy.slugs.index(slug)
            truth, scores = self.classes[who] == number, self.probabilities[who, number]
        return roc_curve(truth, scores)

    # Words and tables.

    @property
    def statements(self) -> tuple[str, ...]:
        """What must be said wherever these numbers are shown, each a sentence."""
        return tuple(statements(self))

    @property
    def counts(self) -> dict[str, int]:
        """How many patients there are of each kind."""
        labelled = self.has_one_class | self.has_several | self.is_other
        return {
            "judged": len(self),
            "one class": int(self.has_one_class.sum()),
            "several right answers": int(self.has_several.sum()),
            "other classes": int(self.is_other.sum()),
            "no label": int((~labelled).sum()),
            "not judged": len(self.unjudged),
        }

    def table(self) -> pd.DataFrame:
        """One row a patient with the columns of ``predictions.csv``: the contract's, and the truth."""
        return patient_table(self)

    def with_threshold(self, threshold: Threshold) -> Evaluation:
        """Return the same predictions at another malignancy threshold."""
        return replace(self, provenance=self.provenance.model_copy(update={"threshold": threshold}))

    def save(self, folder: Path) -> list[Path]:
        """Write ``evaluation.json``, ``predictions.csv`` and ``embeddings.safetensors``; return their paths.

        Raises
        ------
        OutputRefused
            The folder cannot be written.
        """
        from napari_caltomorph.evaluation.evaluation_file import save_evaluation

        return save_evaluation(self, folder)

    @classmethod
    def load(cls, path: Path) -> Evaluation:
        """Read what `save` wrote: the folder, or its ``evaluation.json``.

        Raises
        ------
        EvaluationUnreadable
            No evaluation there, damaged, or written by a newer version.
        """
        from napari_caltomorph.evaluation.evaluation_file import load_evaluation

        return load_evaluation(path)

    def _reliability(self, said: NDArray[np.float64], is_true: NDArray[np.bool_]) -> Reliability | None:
        options = self.options
        return reliability(said, is_true, bins=options.bins, seed=options.seed, resamples=options.resamples)
