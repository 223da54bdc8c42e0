"""Should this prediction be believed? The reasons for and against it, as sentences with their numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_caltomorph.diagnosis.domain import UNKNOWN, UNLIKE
from napari_caltomorph.diagnosis.prediction import Prediction
from napari_caltomorph.encoding.features import Features
from napari_caltomorph.errors import CaltomorphError
from napari_caltomorph.explanation.similar import Similar, similar_patients
from napari_caltomorph.statistics.interval import percent
from napari_caltomorph.taxonomy import Taxonomy

if TYPE_CHECKING:
    from napari_caltomorph.diagnosis.ensemble import Ensemble

NO_PATIENTS = "The model has no training patients (private/), so none can be compared with this smear."
NO_MODEL = "The model is not available, so its training patients cannot be compared with this smear."

# With fewer held-out patients, the share that is about as uncertain as this one is no estimate.
_LEAST_HELD_OUT = 40


@dataclass(frozen=True)
class Statement:
    """One reason to believe a prediction or not."""

    about: str  # Its heading
    text: str  # A sentence
    is_warning: bool = False  # Whether it is a reason against the prediction


@dataclass(frozen=True)
class HeldOutCertainty:
    """How certain single members were of P training patients that they were not trained on."""

    entropies: NDArray[np.float64]  # (P,): 0 to 1, ascending
    is_correct: NDArray[np.bool_]  # (P,) bool: whether the most probable class was the patient's

    def share_as_uncertain(self, entropy: float) -> float:
        """Return the share of patients for which a member was at least as uncertain."""
        return float(np.mean(self.entropies >= entropy))

    def correct_nearby(self, entropy: float) -> tuple[int, int]:
        """Return how many of how many patients with the most similar entropy were predicted correctly."""
        count = max(20, len(self.entropies) // 10)
        nearest = np.argsort(np.abs(self.entropies - entropy), kind="stable")[:count]
        return int(self.is_correct[nearest].sum()), count


@dataclass(frozen=True)
class Trust:
    """The reasons for and against a prediction."""

    prediction: Prediction  # With the domain result, from which the most unusual cells derive
    # Training patients that it resembles; None where they are not available, for the reason in `why_none_similar`
    similar: Similar | None = None
    held_out: HeldOutCertainty | None = None  # None where it is not available
    why_none_similar: str = ""

    @property
    def entropy(self) -> float:
        """Entropy of the probabilities, 0 (one class is certain) to 1 (all are equally probable)."""
        return float(entropies(self.prediction.probabilities))

    @property
    def member_entropy(self) -> float:
        """Mean entropy of the members' own raw probabilities, 0 to 1: comparable with `HeldOutCertainty`."""
        return float(entropies(self.prediction.member_probabilities).mean())

    @property
    def disagreement(self) -> float:
        """The part of the raw entropy that comes from members contradicting each other, 0 to 1 (mutual information)."""
        mean = self.prediction.member_probabilities.mean(axis=0)
        return max(float(entropies(mean)) - self.member_entropy, 0.0)

    @property
    def members_hold(self) -> str:
        """After a number of the members' raw probabilities: where it holds, if what is shown holds elsewhere."""
        prevalence = self.prediction.prevalence
        return "" if prevalence is None or prevalence.stated is None else f" {prevalence.at(None)}"

    @property
    def agreeing_members(self) -> int:
        """How many members give the predicted class the highest probability."""
        winner = int(self.prediction.probabilities.argmax())
        return int((self.prediction.shown_member_probabilities.argmax(axis=1) == winner).sum())

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """All reasons, each with its heading."""
        if reasons := self.prediction.withheld_in_words:
            domain = self._training_cohort()
            return (Statement("No prediction", f"{reasons[:1].upper()}{reasons[1:]}.", True), domain, *self._warnings())
        statements = [self._training_cohort(), self._members(), self._certainty(), self._calibration()]
        return (*statements, *self._warnings(), self._similar())

    def _warnings(self) -> list[Statement]:
        warnings = [text for text in self.prediction.warnings if not self._is_about_domain(text)]
        return [Statement("Warning", f"{text}.", True) for text in warnings]

    def _is_about_domain(self, warning: str) -> bool:
        return self.prediction.domain is not None and warning.startswith(UNLIKE)

    def _training_cohort(self) -> Statement:
        domain = self.prediction.domain
        if domain is None:
            return Statement("Training cohort", UNKNOWN)
        return Statement("Training cohort", f"{domain.in_words}.", domain.is_outside)

    def _members(self) -> Statement:
        members, agreeing = len(self.prediction.member_probabilities), self.agreeing_members
        name = self.prediction.predicted_class
        if members == 1:
            return Statement("Members", "The model has one member: there is no other to compare it with.")
        who = f"All {members} members" if agreeing == members else f"{agreeing} of {members} members"
        verb = "predicts" if agreeing == 1 else "predict"
        text = f"{who} {verb} {name}; disagreement {self.disagreement:.2f}{self.members_hold} (0: none)."
        return Statement("Members", text, agreeing <= members / 2)

    def _certainty(self) -> Statement:
        shown = " at the stated prevalence" if self.members_hold else ""
        text = f"Entropy {self.entropy:.2f}{shown} (0: one class is certain, 1: all are equally probable)."
        if self.held_out is None:
            return Statement("Certainty", f"{text} How common that is for held-out patients is not known.")
        share = self.held_out.share_as_uncertain(self.member_entropy)
        correct, count = self.held_out.correct_nearby(self.member_entropy)
        grade = "unusually uncertain" if share <= 0.1 else f"{'more' if share > 0.5 else 'less'} certain than most"
        return Statement(
            "Certainty",
            f"{text} The members are {grade}{self.members_hold}: for {percent(share, 0)} of the training patients, a "
            f"member that was not trained on them was at least as uncertain. Of the {count} patients with the most "
            f"similar entropy, {correct} were predicted correctly.",
            share <= 0.1,
        )

    def _calibration(self) -> Statement:
        prediction = self.prediction
        text = f"{prediction.probabilities_in_words}."
        if prediction.prediction_set_in_words is not None:
            text += f" Not excluded: {prediction.prediction_set_in_words}."
        return Statement("Probabilities", text, prediction.calibration is not None and not prediction.calibrated)

    def _similar(self) -> Statement:
        if self.similar is None:
            return Statement("Similar patients", self.why_none_similar)
        if self.similar.was_trained_on:
            return Statement(
                "Similar patients", "The model was trained on this patient: a correct prediction proves nothing.", True
            )
        if not self.similar.patients:
            return Statement("Similar patients", NO_PATIENTS)
        labels = [one.label for one in self.similar.patients]
        name, nearest = self.prediction.predicted_class, self.similar.patients[0]
        text = (
            f"{labels.count(name)} of the {len(labels)} nearest training patients have {name}; the nearest "
            f"({nearest.label}) is at distance {nearest.distance:.2f} (1: typical for neighbours in training)."
        )
        return Statement("Similar patients", text, name not in labels)


def available_trust(
    prediction: Prediction, ensemble: Callable[[], Ensemble], features: Callable[[], Features]
) -> Trust:
    """Return `trust` with what is available; where model or cells are missing, a statement gives the reason.

    `ensemble` and `features` return what `trust` needs, or raise a `CaltomorphError`.
    """
    try:
        return trust(prediction, ensemble(), features())
    except CaltomorphError as error:
        return Trust(prediction, why_none_similar=f"Training patients cannot be compared with this smear: {error}")


def trust(prediction: Prediction, ensemble: Ensemble | None = None, features: Features | None = None) -> Trust:
    """Collect the reasons for and against a prediction, by the model that made it and the cells that it was made of.

    Without the model no training patient is compared. Raises `FeaturesRefused` where the features are no input of this
    model, and `ModelRefused` where its ``private/`` is damaged.
    """
    if ensemble is None or features is None:
        return Trust(prediction, why_none_similar=NO_MODEL)
    training = ensemble.training_patients()
    if training is None:
        return Trust(prediction, why_none_similar=NO_PATIENTS)
    similar = similar_patients(
        training,
        ensemble.member_outputs(features).embeddings,
        prediction.taxonomy,
        patient_id=prediction.patient_id,
        smear_fingerprint=prediction.smear_fingerprint,
    )
    return Trust(prediction, similar, held_out_certainty(training.table, prediction.taxonomy))


def held_out_certainty(table: pd.DataFrame, taxonomy: Taxonomy) -> HeldOutCertainty | None:
    """Return how certain single members were of their own folds; None with too few patients."""
    columns = [f"out_of_fold_p_{slug}" for slug in taxonomy.slugs]
    if not set(columns) <= set(table.columns):
        return None
    probabilities = table[columns].to_numpy(dtype=float, na_value=np.nan)  # (P, C)
    is_known = np.isfinite(probabilities).all(axis=1)
    if is_known.sum() < _LEAST_HELD_OUT:
        return None
    truth = np.array([taxonomy.slugs.index(slug) for slug in table["coarse"][is_known]])
    uncertainty = entropies(probabilities[is_known])
    order = np.argsort(uncertainty, kind="stable")
    return HeldOutCertainty(uncertainty[order], (probabilities[is_known].argmax(axis=1) == truth)[order])


def entropies(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the entropy of each distribution (..., C) as a share of the largest one."""
    safe = np.where(probabilities > 0, probabilities, 1)
    nats = -(probabilities * np.log(safe)).sum(axis=-1)
    return np.asarray(nats / np.log(max(probabilities.shape[-1], 2)), dtype=np.float64)
