"""From a smear to its prediction in one call: what both the panel's button and the terminal's verb do."""

from __future__ import annotations

from functools import cached_property

from napari_caltomorph.diagnose.ensemble import Ensemble
from napari_caltomorph.diagnose.installed import find_model
from napari_caltomorph.diagnose.model_file import ModelDescription, read_description
from napari_caltomorph.diagnose.options import PredictOptions
from napari_caltomorph.diagnose.prediction import LeftOutCell, Prediction
from napari_caltomorph.encode.device import find_device
from napari_caltomorph.encode.load import LoadedEncoder, load_encoder
from napari_caltomorph.encode.options import EncodeOptions
from napari_caltomorph.encode.run import encode
from napari_caltomorph.errors import ModelRefused, WeightsRefused
from napari_caltomorph.progress import OnProgress, Progress, ignore
from napari_caltomorph.smear import Smear, check_smear, printable
from napari_caltomorph.storage import home


class Predictor:
    """Diagnoses smears; the ensemble and the encoder are loaded once, when first needed.

    Parameters
    ----------
    options : PredictOptions
    """

    def __init__(self, options: PredictOptions) -> None:
        self.options = options
        self._folder = find_model(options.model)

    @cached_property
    def description(self) -> ModelDescription:
        """The model's description; `ModelRefused` when it cannot be used."""
        return read_description(self._folder)

    @cached_property
    def ensemble(self) -> Ensemble:
        """The ensemble, on the device of `options`."""
        return Ensemble.load(self._folder, find_device(self.options.device))

    @cached_property
    def encoder(self) -> LoadedEncoder:
        """The encoder that the model was trained with, on the device of `options`."""
        compute = self.options.model_dump(exclude={"model"})
        need = self.description.encoder
        encoder = load_encoder(EncodeOptions(encoder=self.description.encoder_name, **compute))
        if need.weights_sha256 is not None and encoder.weights_sha256 != need.weights_sha256:
            raise WeightsRefused(
                f"The {need.name} weights are not those that {self.description.name} was trained with (SHA-256 "
                f"{encoder.weights_sha256[:12]}..., not {need.weights_sha256[:12]}...); name that file with --weights."
            )
        if need.preprocessing is not None and str(encoder.preprocessing) != need.preprocessing:
            raise ModelRefused(
                f"{self.description.name} was trained on cells prepared by {need.preprocessing}, this version prepares "
                f"them for {need.name} by {encoder.preprocessing}; use the version that trained it, or train it again."
            )
        return encoder

    def predict(self, smear: Smear, *, progress: OnProgress = ignore) -> tuple[Smear, Prediction]:
        """Grade, encode and diagnose one patient.

        Parameters
        ----------
        smear : Smear
            Graded first if it is not; a user's choice of cells is kept.
        progress : callable
            Called often; raising `Cancelled` in it stops cleanly.

        Returns
        -------
        Smear, Prediction
            The graded smear, and the diagnosis of its usable cells.

        Raises
        ------
        CaltomorphError
            What a person can mend; the message says how.
        """
        progress(Progress("Loading the model", 0, 1, "models"))
        encoder, ensemble = self.encoder, self.ensemble
        if smear.grades is None:
            smear = check_smear(smear, progress=progress)
        compute = EncodeOptions(encoder=encoder.encoder.name, batch_size=self.options.batch_size)
        features = encode(smear, compute, encoder=encoder, cache=home("cache") / "features", progress=progress)
        prediction = ensemble.predict(features, progress=progress)
        return smear, prediction.model_copy(
            update={
                "smear_path": None if smear.path is None else printable(str(smear.path)),
                "labels": tuple(smear.labels[i] for i in smear.usable),
                "left_out": tuple(
                    LeftOutCell(cell=c.cell, reason=str(c.reason), note=c.note, by=c.by) for c in smear.left_out
                ),
                "passed_over": len(smear.passed_over),
            }
        )
