"""The prediction for one patient. Layers, tables, plots, files and reports all derive from this one object."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import model_validator

from napari_caltomorph.diagnosis.domain import WITHDRAWN
from napari_caltomorph.diagnosis.policy import Policy
from napari_caltomorph.diagnosis.prediction_numbers import PredictionNumbers
from napari_caltomorph.diagnosis.prevalence import UNKNOWN
from napari_caltomorph.errors import FeaturesRefused, ModelRefused, PredictionUnreadable
from napari_caltomorph.reading import read_as
from napari_caltomorph.storage import StrPath, replacing

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from napari_caltomorph.encoding.features import Features

FILE_NAME = "prediction.json"
NO_CLASS = "No class stands out"
"""Shown instead of a class where no probability is clearly the highest."""
NO_PREDICTION = "No prediction"
"""Shown instead of a class where the policy withholds the prediction."""
NO_ATTENTION = "This model has no attention: its cells are in the smear's order."
"""Shown where cells cannot be ranked by attention."""


class Prediction(PredictionNumbers):
    """The diagnosis of one patient."""

    # The prediction by the same model before the user left cells out; None where none was left out
    original: Prediction | None = None

    @model_validator(mode="after")
    def _original_is_of_these_cells(self) -> Prediction:
        if (before := self.original) is None:
            return self
        if before.original is not None or before.model_fingerprint != self.model_fingerprint:
            raise ValueError("original is not a plain prediction by the same model")
        if before.prevalence != self.prevalence:
            raise ValueError("original is at another prevalence")
        if before.policy != self.policy:
            raise ValueError("original is under another policy")
        by_hand = {one.cell for one in self.left_out if one.by == "user"}
        if not set(before.cells) - set(self.cells) <= by_hand or not set(self.cells) < set(before.cells):
            raise ValueError("original has other cells than these and those left out by hand")
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Prediction):
            return NotImplemented
        return all(np.array_equal(getattr(self, f), getattr(other, f)) for f in type(self).model_fields)

    def __hash__(self) -> int:
        return hash((self.patient_id, self.smear_fingerprint, self.model_fingerprint, self.created))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Prediction:
        """Return a validated copy with other values in some fields, and without cached values of the old ones."""
        del deep  # all fields are frozen
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate(fields | dict(update or {}))

    def at_prevalence(self, stated: float | None) -> Prediction:
        """Return the prediction where this share of patients is malignant; None: where the members' outputs hold.

        Raises `ModelRefused` where the prevalence of the training is not known, ValueError unless 0 < stated < 1.
        """
        if self.prevalence is None and stated is not None:
            raise ModelRefused(f"{self.patient_id} cannot be moved to a prevalence. {UNKNOWN}; predict again.")
        prevalence = None if self.prevalence is None else self.prevalence.at(stated)
        original = None if self.original is None else self.original.at_prevalence(stated)
        return self.model_copy(update={"prevalence": prevalence, "original": original})

    def under(self, policy: Policy | None) -> Prediction:
        """Return the prediction under these rules of a laboratory; None: it is never withheld."""
        original = None if self.original is None else self.original.under(policy)
        return self.model_copy(update={"policy": policy, "original": original})

    @property
    def withheld_in_words(self) -> str:
        """Why the policy withholds it, and what to do, without a full stop; empty where it is not withheld."""
        return f"{'; '.join(self.withheld)}; refer" if self.withheld else ""

    @property
    def shown_original(self) -> Prediction | None:
        """`original`, to compare numbers with; None where either is withheld."""
        return None if self.withheld or self.original is None or self.original.withheld else self.original

    @property
    def calibration_in_words(self) -> str:
        """How `probabilities` were computed, as a sentence without its full stop."""
        if self.calibration is None:
            return "Probabilities are the mean of the members, not calibrated on patients set aside"
        if self.is_outside_domain:
            return f"Probabilities are the mean of the members: the smear is unlike the training cohort, so {WITHDRAWN}"
        return f"Probabilities are calibrated: {self.calibration.in_words}"

    @property
    def probabilities_in_words(self) -> str:
        """How `probabilities` were computed and where they hold, as sentences without the last full stop."""
        where = UNKNOWN if self.prevalence is None else self.prevalence.in_words
        views = (
            self.averaged_views and f". Averaged over {self.averaged_views.split()[0]} views and the cells as they are"
        )
        return f"{self.calibration_in_words}. {where}{views or ''}"

    @property
    def prediction_set_in_words(self) -> str | None:
        """The set and its guarantee, in words; None without a calibration in force, or where it is withheld."""
        if self.withheld or self.calibration is None or self.prediction_set is None:
            return None
        unclaimed = [one.name for one in self.taxonomy.classes if one.slug in self.calibration.without_claim]
        counts = {one.name: self.calibration.patients[one.slug] for one in self.taxonomy.classes}
        likely = [f"{name} (n = {counts[name]})" for name in self.prediction_set if name not in unclaimed]
        words = ", ".join(likely) or "none: the smear is unlike the calibration patients of every class"
        words += f"; {', '.join(unclaimed)}, with too few calibration patients to be excluded" if unclaimed else ""
        return f"{words}. {self.calibration.claim_in_words}"

    @property
    def diagnosis_in_words(self) -> str:
        """The most probable class with its probability; why not, where it does not stand out or is withheld."""
        if self.withheld:
            return f"{NO_PREDICTION}: {self.withheld_in_words}"
        (first, p), *_ = self.top(1)
        return f"{first} {p:.2f}" if self.stands_out else f"{NO_CLASS} ({first} {p:.2f})"

    @property
    def lead_in_words(self) -> str:
        """What follows the diagnosis: the second class and the distance, or both classes of which none stands out.

        Where it is withheld, the reasons.
        """
        if self.withheld:
            return self.withheld_in_words
        (first, p), (second, q) = self.top(2)
        difference = f"difference {round(p, 2) - round(q, 2):.2f}"  # of what is shown: a reader subtracts it
        if self.stands_out:
            return f"then {second} {q:.2f} ({difference})"
        return f"{first} {p:.2f}, {second} {q:.2f} ({difference}; it varies by {self.lead_spread:.2f} between members)"

    @property
    def call_in_words(self) -> str:
        """The diagnosis and what follows it, in one line."""
        if self.withheld:
            return self.diagnosis_in_words
        head = f"{self.diagnosis_in_words}," if self.stands_out else f"{NO_CLASS}:"
        return f"{head} {self.lead_in_words}"

    @property
    def malignancy_in_words(self) -> str:
        """Malignancy, where it holds, and on which side of the threshold it is; "withheld" where it is."""
        if self.withheld:
            return "withheld"
        where = "" if self.prevalence is None else f" {self.prevalence}"
        side = "at or above" if self.is_malignant else "below"
        return f"{self.malignancy:.2f}{where}, {side} the threshold {self.shown_threshold.value:.3g}"

    @property
    def hemoglobin_in_words(self) -> str | None:
        """The estimate and its error, without a full stop; None when the model was not trained for it, or withheld."""
        if self.hemoglobin is None or self.withheld:
            return None
        if self.hemoglobin_error is None:
            error = "its error was not measured"
        elif self.is_outside_domain:
            error = "the smear is unlike the training cohort, so its error is not known"
        else:
            error = self.hemoglobin_error.in_words(self.hemoglobin)
        return f"{self.hemoglobin:.1f} g/dl, estimated; {error}"

    @property
    def original_in_words(self) -> str | None:
        """What was left out by hand after the prediction, and its numbers before; None where no cell was left out."""
        if (before := self.original) is None:
            return None
        count = len(before.cells) - len(self.cells)
        what = f"{count} {'cell was' if count == 1 else 'cells were'} left out by hand"
        if self.withheld and not before.withheld:
            return f"{what}; with all cells, there is a prediction"
        numbers = [before.diagnosis_in_words]
        if not before.withheld:
            numbers += [f"malignant {before.malignancy:.2f}"]
            numbers += [] if before.hemoglobin is None else [f"hemoglobin {before.hemoglobin:.1f} g/dl"]
        return f"{what}; before: {', '.join(numbers)}"

    def cell_table(self) -> pd.DataFrame:
        """Return one row a cell, most attended first, with the columns of ``cells.csv``; no attention is NaN.

        Where the prediction is withheld, the responses to cells alone are empty: the commonest would hint at it.
        """
        import pandas as pd

        order, taxonomy = self.order, self.taxonomy
        columns: dict[str, Any] = {
            "patient_id": self.patient_id,
            "cell": [self.cells[i] for i in order],
            "rank": self.ranks[order],
            "attention": self.attention[order] if self.has_attention else np.nan,
            "alone_class": [taxonomy.names[i] for i in self.alone_class[order]],
        }
        columns |= {f"alone_p_{slug}": self.alone[order, i] for i, slug in enumerate(taxonomy.slugs)}
        if self.withheld:
            columns |= {name: "" if name == "alone_class" else np.nan for name in columns if name.startswith("alone_")}
        return pd.DataFrame(columns)

    def to_anndata(self, features: Features) -> AnnData:
        """Return cells x features, with attention, rank, label and the response to each cell alone in ``obs``.

        `Predictor.features_of` returns the features. Raises `FeaturesRefused` where they are of other cells, and
        `PackageMissing` without the extra ``anndata``.
        """
        from napari_caltomorph.diagnosis.as_anndata import as_anndata

        if missing := set(self.cells) - set(features.cells):
            raise FeaturesRefused(f"{self.patient_id}: {len(missing)} of its cells have no features; encode it again.")
        obs = (
            self.cell_table().set_index("cell").loc[list(self.cells)].assign(label=np.array(self.labels, dtype=object))
        )
        about: dict[str, Any] = {"model": self.model_name}
        about |= (
            {"withheld": self.withheld_in_words}
            if self.withheld
            else {"predicted_class": self.predicted_class, "malignancy": self.malignancy}
        )
        return as_anndata(features.of_cells(self.cells).values, obs, features.origin, **about)

    def save(self, path: StrPath) -> None:
        """Write ``prediction.json``; `OutputRefused` when it cannot be written."""
        with replacing(Path(path)) as part:
            part.write_text(self.model_dump_json(indent=1), "utf-8")

    @classmethod
    def load(cls, path: StrPath) -> Prediction:
        """Read a saved prediction: the file, or the folder that contains ``prediction.json``.

        Raises `PredictionUnreadable` where there is none, it is damaged, or a newer version wrote it.
        """
        path = Path(path)
        path = path / FILE_NAME if path.is_dir() else path
        return read_as(cls, path, "a prediction", PredictionUnreadable, "predict the smear again")
