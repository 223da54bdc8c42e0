"""The numbers that derive from what is stored of a prediction: at its prevalence, and calibrated where the model is."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.calibration import Calibration
from napari_caltomorph.diagnosis.model_file import Threshold
from napari_caltomorph.diagnosis.policy import Quantities
from napari_caltomorph.diagnosis.prediction_fields import PredictionFields
from napari_caltomorph.encoding.h5_reader import is_feature_file
from napari_caltomorph.storage import paths_of


class PredictionNumbers(PredictionFields):
    """What `Prediction` computes from its fields."""

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """(C,) softmax averaged over the members (paper, section 2.4), calibrated where the model is, and moved.

        They hold at `prevalence`: that of the training, or the stated one.
        """
        return self._moved(self.training_probabilities)

    @cached_property
    def training_probabilities(self) -> NDArray[np.float64]:
        """(C,) `probabilities` at the training prevalence, whatever is stated."""
        return self._calibrated(self.member_probabilities.mean(axis=0))

    @cached_property
    def shown_member_probabilities(self) -> NDArray[np.float64]:
        """(M, C) each member's probabilities on the scale of `probabilities`, to show how far the members agree.

        With a calibration, each member is shown at its temperature. `probabilities` is then the calibrated mean of the
        raw ones, and not quite the mean of these.
        """
        return self._moved(self._calibrated(self.member_probabilities))

    def _moved(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.prevalence is None:
            return probabilities
        return self.prevalence.move(probabilities, self.taxonomy.is_malignant)

    def _calibrated(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        return probabilities if self.calibration_in_force is None else self.calibration_in_force.apply(probabilities)

    @property
    def is_outside_domain(self) -> bool:
        """Whether the smear is unlike the training cohort, so that calibration and error intervals do not apply."""
        return self.domain is not None and self.domain.is_outside

    @property
    def calibration_in_force(self) -> Calibration | None:
        """The model's calibration, unless the smear is outside the training domain."""
        return None if self.is_outside_domain else self.calibration

    @property
    def calibrated(self) -> bool:
        """Whether `probabilities` are calibrated, or raw averaged softmax."""
        return self.calibration_in_force is not None

    @property
    def prediction_set(self) -> tuple[str, ...] | None:
        """Names of the classes that cannot be excluded; None without a calibration in force, and empty if all can."""
        if self.calibration_in_force is None:
            return None
        # The guarantee is of each class, so no share of the classes changes the set.
        slugs = self.calibration_in_force.prediction_set(self.training_probabilities, self.taxonomy.slugs)
        return tuple(one.name for one in self.taxonomy.classes if one.slug in slugs)

    @property
    def feature_files(self) -> tuple[Path, ...]:
        """The feature files that it was made of, without images; none where it was made of a smear."""
        paths = () if self.smear_path is None else tuple(paths_of(self.smear_path))
        return paths if all(is_feature_file(path.name) and not path.is_dir() for path in paths) else ()

    @cached_property
    def withheld(self) -> tuple[str, ...]:
        """Why the policy withholds this prediction: then no face shows a class or a number as a result."""
        if self.policy is None:
            return ()
        by_rule = sum(one.by == "rule" for one in self.left_out)
        return self.policy.reasons(
            Quantities(
                cells=len(self.cells),
                lead=self.delta_probability,
                is_outside_domain=None if self.domain is None else self.domain.is_outside,
                lead_spread=self.lead_spread if len(self.member_probabilities) > 1 else None,
                classes_in_set=None if self.prediction_set is None else len(self.prediction_set),
                left_out_share=by_rule / (len(self.cells) + len(self.left_out)) if not self.feature_files else None,
            )
        )

    def top(self, count: int) -> list[tuple[str, float]]:
        """Return the names and probabilities of the most probable classes, first first."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.taxonomy.names[i], float(self.probabilities[i])) for i in order]

    @property
    def predicted_class(self) -> str:
        """Name of the most probable class."""
        return self.top(1)[0][0]

    @property
    def delta_probability(self) -> float:
        """First minus second probability (paper, supplementary figure 1)."""
        (_, first), (_, second) = self.top(2)
        return first - second

    @property
    def lead_spread(self) -> float:
        """Standard deviation, over the members, of the most probable class's lead on the second; 0 of one member."""
        first, second = np.argsort(-self.probabilities, kind="stable")[:2]
        leads = self.shown_member_probabilities[:, first] - self.shown_member_probabilities[:, second]
        return float(leads.std(ddof=1)) if len(leads) > 1 else 0.0

    @property
    def stands_out(self) -> bool:
        """Whether the most probable class leads the second by more than the members differ in that lead."""
        return self.delta_probability > self.lead_spread

    @property
    def class_color(self) -> str | None:
        """Colour of the predicted class; None where it does not stand out, or is withheld."""
        if self.withheld or not self.stands_out:
            return None
        return self.taxonomy.colors[self.taxonomy.names.index(self.predicted_class)]

    @property
    def malignancy(self) -> float:
        """Sum of the malignant classes' probabilities (paper, section 2.4)."""
        return float(self.taxonomy.malignancy(self.probabilities))

    @property
    def is_malignant(self) -> bool:
        if self.threshold.is_chosen:  # a stated prevalence calls the same patients
            return float(self.taxonomy.malignancy(self.training_probabilities)) >= self.threshold.value
        return self.malignancy >= self.threshold.value

    @property
    def shown_threshold(self) -> Threshold:
        """The threshold on the scale of `malignancy`: a chosen one moves with the prevalence, 0.5 as such does not."""
        return self.threshold.at(self.prevalence)

    @property
    def hemoglobin(self) -> float | None:
        """Mean over the members, in g/dl; None when the model was not trained for it."""
        return None if self.member_hemoglobin is None else float(self.member_hemoglobin.mean())

    @property
    def hemoglobin_range(self) -> tuple[float, float] | None:
        """Interval of the measured value by `hemoglobin_error`, in g/dl.

        None outside the training domain, where the patients behind it are no reference.
        """
        if self.hemoglobin is None or self.hemoglobin_error is None or self.is_outside_domain:
            return None
        return self.hemoglobin_error.around(self.hemoglobin)

    @property
    def has_attention(self) -> bool:
        """Whether the model has attention; where it has none, all views show `NO_ATTENTION`."""
        return self.attention_kind != "none"

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """(N,) indices of the cells, most attended first; ties in the smear's order."""
        return np.asarray(np.argsort(-self.attention, kind="stable"))

    @cached_property
    def ranks(self) -> NDArray[np.intp]:
        """(N,) rank of each cell, 1 for the most attended."""
        ranks = np.empty(len(self.cells), dtype=np.intp)
        ranks[self.order] = np.arange(1, len(self.cells) + 1)
        return ranks

    @cached_property
    def alone_class(self) -> NDArray[np.intp]:
        """(N,) index of the most probable class for each cell alone."""
        return np.asarray(self.alone.argmax(axis=1))
