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
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt

from napari_caltomorph.diagnose.calibration import Calibration
from napari_caltomorph.diagnose.model_file import Threshold
from napari_caltomorph.evaluate.confusion_matrix import Confusion, ConfusionRow
from napari_caltomorph.evaluate.hemoglobin import HemoglobinGroup, hemoglobin_groups
from napari_caltomorph.evaluate.leakage import Check
from napari_caltomorph.evaluate.malignancy import OperatingPoint, Screened
from napari_caltomorph.evaluate.metric import Method, Metric
from napari_caltomorph.evaluate.metrics import auroc, brier_score, class_metrics, classification_metrics
from napari_caltomorph.evaluate.options import EvaluateOptions
from napari_caltomorph.evaluate.reliability import Reliability, reliability
from napari_caltomorph.evaluate.statements import statements
from napari_caltomorph.taxonomy import Taxonomy

COLUMNS = {
    "patient_id": "string",
    "split": "string",
    "raw_label": "string",
    "detailed": "string",  # slug in the cohort's taxonomy
    "truth": "string",  # slug in the model's taxonomy; missing for several right answers, other classes and no label
    "coarse_set": "string",  # the model's slugs joined with '|' where more than one answer is right
    "row": "string",  # what a patient of none of the model's classes is called
    "measured_hemoglobin_g_dl": "Float64",
    "hemoglobin_g_dl": "Float64",  # what the model says
    "n_cells": "Int64",
    "fold": "Int64",  # the one member that judged, out of fold; missing: the whole ensemble did
    "path": "string",  # of the smear, where its images are at hand
    "smear_fingerprint": "string",
    "warnings": "string",
}
"""Columns of `Evaluation.patients`; ``p_<class slug>`` of the model's classes follow."""

UNJUDGED_COLUMNS = ("patient_id", "reason")

_NO_LABELS = "the cohort has no labels"
_NONE_KNOWN = "no patient of a class that the model knows"
_METHODS: dict[str, Method] = {"accuracy": "Wilson", "balanced_accuracy": "MOVER"}


class Provenance(BaseModel):
    """What was judged, on whom, and with which versions.

    Attributes
    ----------
    training_check
        Whether patients that the model was trained on could be looked for.
    training_recipe
        ``"paper"`` stops each member on its own fold, which makes out-of-fold numbers optimistic.
    cohort_fingerprint
        SHA-256 over ids, labels and smears of the judged patients.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    model_name: str
    model_fingerprint: str
    model_synthetic: bool
    members: NonNegativeInt
    calibration: Calibration | None
    threshold: Threshold
    encoder: str | None
    encoder_weights_sha256: str | None
    training_cohort: str
    training_recipe: str
    training_check: Check
    cohort_name: str
    cohort_source: str
    cohort_layout: str
    cohort_fingerprint: str
    cohort_left_out: dict[str, int]
    cohort_notes: tuple[str, ...]
    device: str
    seconds: NonNegativeFloat
    created: str
    library_versions: dict[str, str]


@dataclass(frozen=True)
class Embeddings:
    """What one member makes of patients; the spaces of two members have nothing in common.

    Attributes
    ----------
    member : int
    judged : (P, width) float32
        In the order of `Evaluation.patients`.
    training : (T, width) float32 or None
        Training patients that are not among the judged; None where the model does not bring them.
    training_classes : tuple of str
        Their slugs.
    """

    member: int
    judged: NDArray[np.float32]
    training: NDArray[np.float32] | None = None
    training_classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassNumbers:
    """What can be said of one class of the model.

    `patients` have it, `called` are predicted as it (of those whose one class is known).
    """

    slug: str
    name: str
    patients: int
    called: int
    sensitivity: Metric
    precision: Metric
    f1: Metric
    fdr: Metric
    auroc: Metric
    top2: Metric

    @property
    def numbers(self) -> dict[str, Metric]:
        """All of them by name."""
        names = ("sensitivity", "precision", "f1", "fdr", "auroc", "top2")
        return {name: getattr(self, name) for name in names}


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
        malignancy: NDArray[np.float64] = self.probabilities[:, self.taxonomy.is_malignant].sum(axis=1)
        return malignancy.clip(max=1.0)

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
        point = self.at()
        return {
            **self._whole,
            "sensitivity": point.sensitivity,
            "specificity": point.specificity,
            "fdr": point.fdr,
            "fdr_without_healthy": point.fdr_without_healthy,
            "several_right": Metric.of_counts(
                int(self.is_right[self.has_several].sum()),
                int(self.has_several.sum()),
                "no borderline or double diagnosis",
            ),
            "set_coverage": self._set_coverage,
            **self._probability_numbers,
        }

    @cached_property
    def prediction_sets(self) -> tuple[tuple[str, ...], ...] | None:
        """Slugs of the classes that cannot be excluded, of each patient; None without a calibration."""
        calibration, slugs = self.provenance.calibration, self.taxonomy.slugs
        if calibration is None:
            return None
        return tuple(calibration.prediction_set(one, slugs) for one in self.probabilities)

    @cached_property
    def by_class(self) -> dict[str, ClassNumbers]:
        """The numbers of each of the model's classes, by its slug."""
        who, order = self.has_one_class, self.order
        classes, predicted = self.classes[who], self.predicted[who]
        found = class_metrics(
            classes, self.probabilities[who], seed=self.options.seed, resamples=self.options.resamples
        )
        in_top2 = (order[who, :2] == classes[:, None]).any(axis=1)
        numbers = {}
        for c, (slug, name) in enumerate(zip(self.taxonomy.slugs, self.taxonomy.names, strict=True)):
            mine, called = classes == c, predicted == c
            size = int(mine.sum())
            none = f"no patient has {name}" if self.is_labelled else _NO_LABELS
            nobody = f"nobody is predicted as {name}" if who.any() else none

            if not size:
                f1 = area = Metric.undefined(none)
            else:
                f1 = Metric.of(found["f1"][c], len(classes), "bootstrap", smallest=size)
                area = Metric.undefined("all patients are of this class", len(classes))
                if c in found["auroc"]:
                    area = Metric.of(found["auroc"][c], len(classes), "Newcombe")
            precision = Metric.of_counts(int((mine & called).sum()), int(called.sum()), nobody)
            numbers[slug] = ClassNumbers(
                slug=slug,
                name=name,
                patients=size,
                called=int(called.sum()),
                sensitivity=Metric.of_counts(int((mine & called).sum()), size, none),
                precision=precision,
                f1=f1,
                fdr=precision.complement(),
                auroc=area,
                top2=Metric.of_counts(int(in_top2[mine].sum()), size, none),
            )
        return numbers

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
        names = dict(zip(self.taxonomy.slugs, self.taxonomy.names, strict=True))
        rows = {slug: ConfusionRow(name, "class", (slug,)) for slug, name in names.items()}
        return self._confusion(list(rows.values()), [rows.get(truth) for truth in self.patients["truth"].fillna("")])

    @cached_property
    def detailed_confusion(self) -> Confusion:
        """Detailed classes of the cohort by the model's coarse ones (paper, figure 3A), then the same other rows."""
        names = {d.slug: d.name for c in self.cohort_taxonomy.classes for d in c.detailed}
        truth: list[ConfusionRow | None] = []
        places: dict[ConfusionRow, tuple[int, int]] = {}
        for slug, fine in zip(self.patients["truth"].fillna(""), self.patients["detailed"].fillna(""), strict=True):
            if not slug:
                truth.append(None)
                continue
            name = names.get(fine, fine) or f"{self.taxonomy.coarse(slug).name}, not detailed"
            row = ConfusionRow(name, "class", (slug,))
            places[row] = self.taxonomy.slugs.index(slug), list(names).index(fine) if fine in names else len(names)
            truth.append(row)
        return self._confusion(sorted(places, key=places.__getitem__), truth)

    def roc(self, slug: str | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return false and true positive rates of a class against the rest, or of malignancy; None where undefined."""
        who = self.has_one_class
        if slug is None:
            truth, scores = self.screened.is_malignant, self.screened.malignancy
        else:
            number = self.taxonomy.slugs.index(slug)
            truth, scores = self.classes[who] == number, self.probabilities[who, number]
        if not truth.any() or truth.all():
            return None
        thresholds = np.concatenate([[np.inf], np.unique(scores)[::-1]])
        called = scores[:, None] >= thresholds  # (P, thresholds)
        return called[~truth].mean(axis=0), called[truth].mean(axis=0)

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
        names = np.array(self.taxonomy.names, dtype=object)
        patients = self.patients
        columns: dict[str, object] = {
            "patient_id": patients["patient_id"],
            "predicted_class": names[self.predicted],
            **{f"p_{slug}": self.probabilities[:, i] for i, slug in enumerate(self.taxonomy.slugs)},
            "malignancy": self.malignancy,
            "hemoglobin_g_dl": patients["hemoglobin_g_dl"],
            "second_class": names[self.order[:, 1]],
            "delta_probability": self.delta_probability,
            "n_cells": patients["n_cells"],
            "calibrated": self.provenance.calibration is not None,
            **(
                {}
                if self.prediction_sets is None
                else {"prediction_set": [self._named(s) for s in self.prediction_sets]}
            ),
            "warnings": patients["warnings"],
            "split": patients["split"],
            "true_class": [names[c] if c >= 0 else None for c in self.classes],
            "right_answers": patients["coarse_set"],
            "other_class": patients["row"],
            "detailed_class": patients["detailed"],
            "raw_label": patients["raw_label"],
            "is_right": [
                bool(r) if c else None
                for r, c in zip(self.is_right, self.has_one_class | self.has_several, strict=True)
            ],
            "measured_hemoglobin_g_dl": patients["measured_hemoglobin_g_dl"],
            "judged_by_member": patients["fold"],
            "lab": self.options.lab,
        }
        return pd.DataFrame(columns)

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
        from napari_caltomorph.evaluate.evaluation_file import save_evaluation

        return save_evaluation(self, folder)

    @classmethod
    def load(cls, path: Path) -> Evaluation:
        """Read what `save` wrote: the folder, or its ``evaluation.json``.

        Raises
        ------
        EvaluationUnreadable
            No evaluation there, damaged, or written by a newer version.
        """
        from napari_caltomorph.evaluate.evaluation_file import load_evaluation

        return load_evaluation(path)

    # Helpers.

    @property
    def _smallest(self) -> int:
        """Patients of the smallest class that has any."""
        sizes = np.bincount(self.classes[self.has_one_class])
        return int(sizes[sizes > 0].min()) if sizes.any() else 0

    def _named(self, slugs: tuple[str, ...]) -> str:
        return "; ".join(self.taxonomy.coarse(slug).name for slug in slugs)

    @property
    def _set_coverage(self) -> Metric:
        if self.prediction_sets is None:
            return Metric.undefined("the model is not calibrated")
        truths = zip(self.patients["truth"], self.prediction_sets, self.has_one_class, strict=True)
        held = [truth in said for truth, said, is_known in truths if is_known]
        return Metric.of_counts(sum(held), len(held), self._why_none)

    @property
    def _why_none(self) -> str:
        return _NONE_KNOWN if self.is_labelled else _NO_LABELS

    @cached_property
    def _whole(self) -> dict[str, Metric]:
        who, count = self.has_one_class, int(self.has_one_class.sum())
        names = (
            "accuracy",
            "balanced_accuracy",
            "macro_f1",
            "weighted_f1",
            "top2_accuracy",
            "macro_auroc",
            "malignant_auroc",
        )
        if not count:
            return {name: Metric.undefined(self._why_none) for name in names}
        found = classification_metrics(
            self.classes[who],
            self.probabilities[who],
            self.taxonomy.is_malignant,
            seed=self.options.seed,
            resamples=self.options.resamples,
        )
        malignant = self.screened.is_malignant
        why = {
            "macro_auroc": "all patients are of one class",
            "malignant_auroc": "no malignant patient" if not malignant.any() else "all patients are malignant",
        }
        whole = {}
        for name in names:
            if name == "top2_accuracy":
                in_top2 = (self.order[who, :2] == self.classes[who][:, None]).any(axis=1)
                whole[name] = Metric.of_counts(int(in_top2.sum()), count, self._why_none)
            elif name == "malignant_auroc" and (area := auroc(malignant, self.screened.malignancy)) is not None:
                whole[name] = Metric.of(area, count, "Newcombe")
            elif name in found:
                whole[name] = Metric.of(found[name], count, _METHODS.get(name, "bootstrap"), smallest=self._smallest)
            else:
                whole[name] = Metric.undefined(why[name], count)
        return whole

    @cached_property
    def _probability_numbers(self) -> dict[str, Metric]:
        who, count = self.has_one_class, int(self.has_one_class.sum())
        if not count or self.reliability is None:
            return {name: Metric.undefined(self._why_none) for name in ("ece", "brier", "malignant_brier")}
        classes, chance = self.classes[who], self.reliability.chance
        is_class = np.eye(len(self.taxonomy.classes))[classes]
        said, is_malignant = self.screened.malignancy[:, None], self.screened.is_malignant[:, None].astype(float)
        drawn = {"seed": self.options.seed, "resamples": self.options.resamples}
        beside = ""
        if chance is not None and chance.low is not None:
            beside = (
                f"a perfectly calibrated model would show {chance.value:.3f} ({chance.low:.3f} to {chance.high:.3f}) "
                f"on {count} patients in {self.options.bins} bins"
            )
        return {
            "ece": Metric(self.reliability.ece, patients=count, remark=beside),
            "brier": Metric.of(
                brier_score(is_class, self.probabilities[who], classes, **drawn),
                count,
                "bootstrap",
                smallest=self._smallest,
            ),
            "malignant_brier": Metric.of(
                brier_score(is_malignant, said, classes, **drawn), count, "bootstrap", smallest=self._smallest
            ),
        }

    def _reliability(self, said: NDArray[np.float64], is_true: NDArray[np.bool_]) -> Reliability | None:
        options = self.options
        return reliability(said, is_true, bins=options.bins, seed=options.seed, resamples=options.resamples)

    def _confusion(self, rows: list[ConfusionRow], truth: list[ConfusionRow | None]) -> Confusion:
        """Count patients of one class by the rows given, and all others in rows below."""
        names = dict(zip(self.taxonomy.slugs, self.taxonomy.names, strict=True))
        several = {
            one: ConfusionRow(" or ".join(names[slug] for slug in one.split("|")), "several", tuple(one.split("|")))
            for one in sorted(set(self.patients["coarse_set"].dropna()))
        }
        others = {name: ConfusionRow(str(name), "other") for name in self.patients["row"].value_counts().index}
        below = [
            several.get(one) or others.get(name)
            for one, name in zip(self.patients["coarse_set"].fillna(""), self.patients["row"].fillna(""), strict=True)
        ]
        return Confusion.of(
            [*rows, *several.values(), *others.values()],
            self.taxonomy.slugs,
            [mine or other for mine, other in zip(truth, below, strict=True)],
            self.predicted,
            list(self.patients["patient_id"]),
        )
