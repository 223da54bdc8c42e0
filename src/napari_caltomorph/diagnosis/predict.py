"""From a smear to its prediction in one call, for the panel and for the terminal."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from napari_caltomorph.diagnosis.ensemble import Ensemble
from napari_caltomorph.diagnosis.installed import find_model, installed_models
from napari_caltomorph.diagnosis.model_file import ModelDescription, read_description
from napari_caltomorph.diagnosis.options import PredictOptions
from napari_caltomorph.diagnosis.policy import Policy, read_policy
from napari_caltomorph.diagnosis.prediction import Prediction
from napari_caltomorph.diagnosis.prediction_fields import LeftOutCell
from napari_caltomorph.diagnosis.prevalence import Prevalence
from napari_caltomorph.encoding.device import find_device
from napari_caltomorph.encoding.features import Features, load_bag
from napari_caltomorph.encoding.load import LoadedEncoder, load_encoder
from napari_caltomorph.encoding.options import ComputeOptions, EncodeOptions, Preparation
from napari_caltomorph.encoding.run import grade_and_encode, kept_features
from napari_caltomorph.errors import FeaturesRefused, ModelRefused, WeightsRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import Smear, check_smear
from napari_caltomorph.smear.image_traits import appearance
from napari_caltomorph.storage import home

# Where a window has the options that are named in errors: no form of a prediction has them.
_WHERE = " (in napari: Preferences)"


class Predictor:
    """Diagnoses smears; the ensemble and the encoder are loaded once, when first needed."""

    def __init__(self, options: PredictOptions) -> None:
        self.options = options
        self._folder = find_model(options.model)

    @classmethod
    def of(cls, prediction: Prediction, options: PredictOptions) -> Predictor:
        """Return a predictor with the model of a prediction.

        Parameters
        ----------
        prediction : Prediction
        options : PredictOptions
            Its model is taken where it is the one of the prediction, otherwise an installed one.

        Raises
        ------
        ModelRefused
            The model is not on this machine.
        """
        averages = prediction.averaged_views is not None
        damaged = ""
        for name in (options.model, *installed_models()):
            try:
                predictor = cls(options.model_copy(update={"model": name, "average_views": averages}))
                if predictor.description.fingerprint == prediction.model_fingerprint:
                    return predictor
            except ModelRefused as error:
                damaged = damaged or f" It may be the one that cannot be read: {error}"
        raise ModelRefused(
            f"{prediction.patient_id} was predicted by {prediction.model_name}, which is not on this machine in that "
            f"version; get it with `caltomorph models add`, or predict again.{damaged}"
        )

    @cached_property
    def description(self) -> ModelDescription:
        """The model's description; `ModelRefused` when it cannot be used."""
        return read_description(self._folder)

    @property
    def prevalence(self) -> Prevalence | None:
        """Where the probabilities will hold; `ModelRefused` where they cannot be moved to that of `options`."""
        return self.description.prevalence_at(self.options.prevalence)

    @property
    def policy(self) -> Policy | None:
        """The laboratory's rules, as their file is now; `PolicyUnreadable` where it is none."""
        return None if self.options.policy is None else read_policy(self.options.policy)

    @property
    def averaged_views(self) -> str | None:
        """Over which views predictions are averaged; `ModelRefused` where the model was trained without any."""
        return self.description.views_to_average(asked=self.options.average_views, where=_WHERE)

    @cached_property
    def ensemble(self) -> Ensemble:
        """The ensemble, on the device of `options`."""
        return Ensemble.load(self._folder, find_device(self.options.device))

    @cached_property
    def encoder(self) -> LoadedEncoder:
        """The encoder that the model was trained with, on the device of `options`."""
        compute = self.options.model_dump(include=set(ComputeOptions.model_fields))
        need = self.description.encoder
        preparation = Preparation.recorded(need.preprocessing, self.averaged_views)
        encoder = load_encoder(EncodeOptions(encoder=self.description.encoder_name, **compute), preparation)
        if need.weights_sha256 is not None and encoder.weights_sha256 != need.weights_sha256:
            raise WeightsRefused(
                f"The {need.name} weights differ from those that {self.description.name} was trained with (SHA-256 "
                f"{encoder.weights_sha256[:12]}..., not {need.weights_sha256[:12]}...); name that file with "
                f"--weights{_WHERE}."
            )
        made = {"preprocessing": str(encoder.preprocessing), "views": encoder.views_in_words}
        for name, needed in {"preprocessing": need.preprocessing, "views": self.averaged_views}.items():
            if needed is not None and made[name] != needed:
                raise ModelRefused(
                    f"{self.description.name} was trained on cells prepared by {needed}, this version prepares them "
                    f"for {need.name} by {made[name]}; use the version that trained it, or train it again."
                )
        return encoder

    def predict(self, smear: Smear, *, progress: OnProgress = ignore) -> tuple[Smear, Prediction]:
        """Grade a smear if it is not graded yet, encode it, and diagnose its usable cells.

        Parameters
        ----------
        smear : Smear
            A user's choice of cells is kept.
        progress : callable
            See `OnProgress`.

        Returns
        -------
        Smear
            With the grade of each cell.
        Prediction
            Of its usable cells.

        Raises
        ------
        CaltomorphError
            No cell is usable, the encoder's weights are missing, ...; the message names the fix.
        """
        progress(Progress("Loading the model", 0, 1, "models"))
        prevalence, policy, encoder, ensemble = self.prevalence, self.policy, self.encoder, self.ensemble
        smear, features = self._encode(smear, encoder, progress)
        has_images = ensemble.domain is not None and ensemble.domain.images is not None
        prediction = ensemble.predict(features, traits=appearance(smear) if has_images else None, progress=progress)
        return smear, prediction.model_copy(
            update={
                "prevalence": prevalence,
                "policy": policy,
                "smear_path": smear.place,
                "labels": tuple(smear.labels[i] for i in smear.usable),
                "left_out": tuple(
                    LeftOutCell(cell=c.cell, reason=str(c.reason), note=c.note, by=c.by) for c in smear.left_out
                ),
                "passed_over": len(smear.passed_over),
                "warnings": (*prediction.warnings, *smear.notes),
            }
        )

    def predict_bag(self, features: Features, place: str | None = None, *, progress: OnProgress = ignore) -> Prediction:
        """Diagnose cells that were encoded before, without their images; the encoder is not needed.

        Parameters
        ----------
        features : Features
            (N, D) by the encoder of the model.
        place : str, optional
            Their feature files (`storage.place_of`), from which `features_of` reads them again.
        progress : callable
            See `OnProgress`.

        Returns
        -------
        Prediction
            Of all N cells.

        Raises
        ------
        CaltomorphError
            The features are of another encoder, the model is damaged, ...; the message names the fix.
        """
        progress(Progress("Loading the model", 0, 1, "models"))
        found = {"prevalence": self.prevalence, "policy": self.policy, "smear_path": place}
        ensemble, found["smear_fingerprint"] = self.ensemble, features.fingerprint
        return ensemble.predict(features, progress=progress).model_copy(update=found)

    def features_of(
        self, prediction: Prediction, smear: Smear | None = None, *, progress: OnProgress = ignore
    ) -> Features:
        """Return the features of a prediction: from its feature files or the cache, or encoded again.

        Parameters
        ----------
        prediction : Prediction
            Of N cells.
        smear : Smear, optional
            Its images, by default those at the place that the prediction names.
        progress : callable
            See `OnProgress`.

        Returns
        -------
        Features
            (N, D) in the order of the prediction's cells.

        Raises
        ------
        FeaturesRefused
            They are not in the cache, and the images are missing or have changed; or the feature files have.
        """
        if files := prediction.feature_files:
            averages = prediction.averaged_views is not None
            report = partial(progress, Progress("Reading features", 0, 1, "patients"))
            bag = load_bag(files, views=averages, waiting=report)
            if bag.fingerprint != prediction.smear_fingerprint or not set(prediction.cells) <= set(bag.cells):
                raise FeaturesRefused(
                    f"{files[0]} has changed since {prediction.patient_id} was predicted; predict again."
                )
            return replace(bag.of_cells(prediction.cells), patient_id=prediction.patient_id)
        weights, fingerprint = prediction.encoder_weights_sha256, prediction.smear_fingerprint
        if weights is not None and fingerprint is not None:
            need = {
                "quality_rules": prediction.quality_rules,
                "field_of_view_um": prediction.field_of_view_um,
                "views": prediction.averaged_views,
            }
            if self.description.encoder.preprocessing is not None:
                need["preprocessing"] = self.description.encoder.preprocessing
            for kept in kept_features(_cache(), weights, fingerprint):
                is_made_alike = all(getattr(kept.origin, name) == value for name, value in need.items())
                if is_made_alike and set(prediction.cells) <= set(kept.cells):
                    return replace(kept.of_cells(prediction.cells), patient_id=prediction.patient_id)
        if smear is None:
            raise FeaturesRefused(
                f"The features of {prediction.patient_id} are not in this machine's cache, and its images are missing, "
                "so they cannot be encoded again; restore the images."
            )
        if smear.grades is None:
            smear = check_smear(smear, progress=progress)
        if fingerprint is not None and smear.fingerprint != fingerprint:
            raise FeaturesRefused(f"The images of {prediction.patient_id} have changed; predict them again.")
        others = set(smear.cells) - set(prediction.cells)
        chosen = smear.choosing(take_back=prediction.cells, set_aside=others)
        features = self._encode(chosen, self.encoder, progress)[1].of_cells(prediction.cells)
        return replace(features, patient_id=prediction.patient_id)

    def _encode(self, smear: Smear, encoder: LoadedEncoder, progress: OnProgress) -> tuple[Smear, Features]:
        compute = EncodeOptions(encoder=encoder.encoder.name, batch_size=self.options.batch_size)
        return grade_and_encode(smear, compute, encoder=encoder, cache=_cache(), progress=progress)


def _cache() -> Path:
    return home("cache") / "features"
